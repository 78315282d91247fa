//! `service-subset`, `subset-labels`: which endpoints come first (semantics.md 3.1, 5.3).

use std::sync::Arc;

use crate::{
    diag::{Diag, Reason},
    ingress::annotation::{Annotations, value},
    key::MemberId,
    model::Subset,
};

/// The label whose value is the member that an endpoint was read from.
const CLUSTER_LABEL: &str = "topology.istio.io/cluster";
/// What a subset that is only named selects by: `opensergo.io/canary-NAME: NAME`.
const NAMED_LABEL_PREFIX: &str = "opensergo.io/canary-";
/// Longest name and longest value of a label; a prefix before `/` may have 253 more.
const MAX_LABEL_TEXT: usize = 63;
const MAX_LABEL_PREFIX: usize = 253;

/// Reads them. Labels decide; the name is then only a name (semantics.md 10, A7).
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Subset {
    if annotations.get("subset-labels").is_some() {
        return annotations.read("subset-labels", labels, diags).unwrap_or_default();
    }
    match annotations.get("service-subset") {
        Some(entry) if entry.value == "base" => {
            let message =
                "`base` without `subset-labels` is not served yet: all endpoints are used";
            diags.push(Diag::warning(&entry.at, Reason::UnsupportedAnnotation, message));
            Subset::default()
        }
        Some(_) => annotations.read("service-subset", named, diags).unwrap_or_default(),
        None => Subset::default(),
    }
}

fn named(name: &str) -> Result<Subset, String> {
    let label = format!("{NAMED_LABEL_PREFIX}{name}");
    if !is_label_key(&label) {
        return Err(format!("{} is not the name of a subset", value::quote(name)));
    }
    let labels = [(Arc::from(label), Arc::from(name))];
    Ok(Subset { member: None, labels: labels.into() })
}

/// One `key value` a line; all must hold.
fn labels(text: &str) -> Result<Subset, String> {
    let mut subset = Subset::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Some((key, value)) = line.split_once(char::is_whitespace) else {
            return Err(format!("{} is not a key and a value", value::quote(line)));
        };
        let value = value.trim();
        let previous = if key == CLUSTER_LABEL {
            let member = MemberId::new(value).ok_or_else(|| not_a_value(value))?;
            subset.member.replace(member.as_str().into())
        } else {
            if !is_label_key(key) {
                return Err(format!("{} is not the key of a label", value::quote(key)));
            }
            if !is_label_text(value) {
                return Err(not_a_value(value));
            }
            subset.labels.insert(key.into(), value.into())
        };
        if previous.is_some_and(|previous| *previous != *value) {
            return Err(format!("{key:?} has two values, and no endpoint has both"));
        }
    }
    Ok(subset)
}

fn not_a_value(text: &str) -> String {
    format!("{} is not the value of a label", value::quote(text))
}

/// `[prefix/]name` as Kubernetes allows it.
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    let is_prefix = |prefix: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        (1..=MAX_LABEL_PREFIX).contains(&prefix.len()) && prefix.bytes().all(legal)
    };
    prefix.is_none_or(is_prefix) && is_label_text(name)
}

fn is_label_text(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_end = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LABEL_TEXT
        && text.bytes().all(legal)
        && is_end(bytes.first())
        && is_end(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::with;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expect: &str) {
        let (subset, diags) = with(pairs, parse);
        let shown = if diags.is_empty() { subset.to_string() } else { diags.join("\n") };
        assert_eq!(shown, expect, "{pairs:?}");
        assert!(diags.is_empty() || subset.is_all(), "{pairs:?}: a refused annotation is ignored");
    }

    #[test]
    fn labels_and_names() {
        check(&[], "");
        check(&[("subset-labels", "topology.istio.io/cluster c1\n")], "c1");
        check(&[("subset-labels", "\n  version\t gray \n\n")], "version=gray");
        check(
            &[("subset-labels", "version gray\ntopology.istio.io/cluster c1")],
            "c1,version=gray",
        );
        check(&[("subset-labels", "a 1\na 1\r\nb 2")], "a=1,b=2");
        check(&[("subset-labels", "a 1"), ("service-subset", "base")], "a=1");
        check(&[("subset-labels", "a 1"), ("service-subset", "gray")], "a=1");
        check(&[("service-subset", "gray")], "opensergo.io/canary-gray=gray");
        check(&[("service-subset", "")], "");
    }

    #[test]
    fn refused() {
        let refused = |key: &str, problem: &str| {
            format!("{key}: InvalidAnnotation: {problem}; the annotation is ignored")
        };
        for (text, problem) in [
            ("version", "\"version\" is not a key and a value"),
            ("a 1\nb", "\"b\" is not a key and a value"),
            ("a 1\na 2", "\"a\" has two values, and no endpoint has both"),
            ("a b c", "\"b c\" is not the value of a label"),
            ("a -b", "\"-b\" is not the value of a label"),
            ("a,b c", "\"a,b\" is not the key of a label"),
            ("/a c", "\"/a\" is not the key of a label"),
            ("a/b/c d", "\"a/b/c\" is not the key of a label"),
            (
                "topology.istio.io/cluster ${cluster1-id}",
                "\"${cluster1-id}\" is not the value of a label",
            ),
        ] {
            check(&[("subset-labels", text)], &refused("subset-labels", problem));
        }
        check(
            &[("service-subset", "a b")],
            &refused("service-subset", "\"a b\" is not the name of a subset"),
        );
        check(
            &[("service-subset", "base")],
            "service-subset: UnsupportedAnnotation: \
             `base` without `subset-labels` is not served yet: all endpoints are used",
        );
    }
}
