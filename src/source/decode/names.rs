//! Legal names: what the API server would insist on, for manifests that never met one.

/// RFC 1123 subdomain, at most 253 bytes: labels joined by dots.
pub(crate) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| is_label_of(label, 253))
}

/// RFC 1123 label, at most 63 bytes: a namespace.
pub(crate) fn is_label(name: &str) -> bool {
    is_label_of(name, 63)
}

/// A port's name: at most 63 bytes, of which at least one is a letter.
pub(super) fn is_port_name(name: &str) -> bool {
    is_label(name) && name.bytes().any(|b| b.is_ascii_lowercase())
}

fn is_label_of(label: &str, max: usize) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (first, last) = (label.bytes().next(), label.bytes().next_back());
    label.len() <= max
        && first.is_some_and(legal)
        && last.is_some_and(legal)
        && label.bytes().all(|b| legal(b) || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains() {
        let longest = "a".repeat(253);
        for name in ["a", "a-b", "a.b-c.d", "1", "mse-ingress", longest.as_str()] {
            assert!(is_subdomain(name), "{name}");
        }
        let too_long = "a".repeat(254);
        for name in
            ["", "A", "a_b", "a/b", "a:b", "-a", "a-", "a..b", ".a", "a.", "ä", "a b", &too_long]
        {
            assert!(!is_subdomain(name), "{name}");
        }
    }

    #[test]
    fn labels_and_ports() {
        assert!(is_label("kube-system") && !is_label("a.b") && !is_label(&"a".repeat(64)));
        assert!(is_port_name("http") && is_port_name("h2c") && !is_port_name("80"));
    }
}
