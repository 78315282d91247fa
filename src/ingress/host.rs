//! Hosts of rules and of TLS entries (faults.md F5).
//!
//! Envoy accepts junk as a domain (M16), so what reaches it is checked here.

use std::net::IpAddr;

use crate::{ingress::dns, model::Host};

/// A host that an Ingress names: RFC 1123 or one left-most `*.`, in lower case.
///
/// # Errors
/// Says why it is refused. An empty host is refused too; in a rule it means any host, which is
/// for the caller to know.
pub(super) fn parse(text: &str) -> Result<Host, String> {
    let lower = text.to_ascii_lowercase();
    let suffix = lower.strip_prefix("*.");
    let name = suffix.unwrap_or(&lower);
    if let Some(problem) = problem(name) {
        return Err(format!("{text:?} is not a host: {problem}"));
    }
    if !dns::is_name(name) || lower.len() > 253 {
        let rule = "a host is labels of at most 63 letters, digits and inner hyphens, 253 in all";
        return Err(format!("{text:?} is not a host: {rule}"));
    }
    Ok(match suffix {
        Some(suffix) => Host::Wildcard(suffix.into()),
        None => Host::Exact(name.into()),
    })
}

/// What people get wrong, said more precisely than the rule.
fn problem(name: &str) -> Option<&'static str> {
    if name.contains('*') {
        return Some("`*` may only be the whole first label, as in `*.example.com`");
    }
    if name.parse::<IpAddr>().is_ok() {
        return Some("it is an IP address");
    }
    if name.contains(':') {
        return Some("ports are not part of it");
    }
    if !name.is_ascii() {
        return Some("international names are written in punycode (`xn--…`)");
    }
    name.ends_with('.').then_some("it ends with a dot")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::READY_HOST;

    /// Nobody's rules can answer for it (faults.md D1).
    #[test]
    fn fault_d01_the_host_of_readiness_is_nobodys() {
        for host in [READY_HOST, "_READY.convoy", "*._ready.convoy"] {
            check(host, "! a host is");
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let shown = match parse(text) {
            Ok(host) => host.to_string(),
            Err(problem) => problem.replace(&format!("{text:?} is not a host: "), "! "),
        };
        assert!(shown.starts_with(expect), "{text:?}: {shown}");
    }

    #[test]
    fn fault_f05_hosts_are_rfc_1123_with_one_leading_wildcard() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        for (text, expect) in [
            ("example.com", "example.com"),
            ("EXAMPLE.Com", "example.com"),
            ("localhost", "localhost"),
            ("xn--caf-dma.fr", "xn--caf-dma.fr"),
            ("1.example.com", "1.example.com"),
            ("*.foo.com", "*.foo.com"),
            ("*.com", "*.com"),
            (longest.as_str(), longest.as_str()),
            ("", "! a host is"),
            ("*", "! `*` may only"),
            ("*.", "! a host is"),
            ("*foo.com", "! `*` may only"),
            ("a*.com", "! `*` may only"),
            ("foo.*.com", "! `*` may only"),
            ("*.*.com", "! `*` may only"),
            ("example.com.", "! it ends with a dot"),
            (".example.com", "! a host is"),
            ("a..b", "! a host is"),
            ("-a.com", "! a host is"),
            ("a-.com", "! a host is"),
            ("a_b.com", "! a host is"),
            ("a b.com", "! a host is"),
            ("a.com\r\n", "! a host is"),
            ("café.fr", "! international"),
            ("1.2.3.4", "! it is an IP"),
            ("*.1.2.3.4", "! it is an IP"),
            ("::1", "! it is an IP"),
            ("[::1]", "! ports"),
            ("example.com:80", "! ports"),
            ("a.com/x", "! a host is"),
        ] {
            check(text, expect);
        }
        check(&format!("{longest}a"), "! a host is");
        check(&format!("*.{longest}"), "! a host is");
        check(&format!("{label}a.com"), "! a host is");
    }
}
