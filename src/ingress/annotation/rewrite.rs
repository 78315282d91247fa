//! `rewrite-target`: what the backend sees as the path (semantics.md 2.7, 3.2).

use std::sync::Arc;

use crate::{
    diag::Diag,
    ingress::annotation::{Annotations, value},
};

/// Longest target: as long as a path may be.
const MAX: usize = 4096;

/// A path with numbers of groups in it, `/path/${2}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ingress) struct Template {
    /// With `\2` in place of `${2}`.
    pub(in crate::ingress) substitution: Arc<str>,
    /// The largest number in it; zero if it has none.
    pub(in crate::ingress) n_groups: u8,
}

/// Reads it.
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Option<Template> {
    annotations.read("rewrite-target", template, diags)
}

fn template(text: &str) -> Result<Template, String> {
    let refuse = |why: &str| Err(format!("{} {why}", value::quote(text)));
    if !text.starts_with('/') {
        return refuse("does not begin with `/`");
    }
    if text.len() > MAX {
        return refuse("is too long");
    }
    let (mut substitution, mut n_groups) = (String::new(), 0);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        substitution.push_str(before);
        let inner = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        // One digit is all that Envoy knows.
        let group = inner.filter(|(group, _)| group.len() == 1);
        let Some((group, after)) = group.and_then(|(g, r)| Some((g.parse::<u8>().ok()?, r))) else {
            return refuse("has a `$` that is not of the form `${1}`");
        };
        n_groups = n_groups.max(group);
        substitution.push_str(&format!(r"\{group}"));
        rest = after;
    }
    substitution.push_str(rest);
    let literal = |c: char| c.is_ascii_alphanumeric() || "/-._~!&'()*+,;=:@%\\".contains(c);
    if text.contains('\\') || !substitution.chars().all(literal) {
        return refuse("has a character that a path cannot have");
    }
    Ok(Template { substitution: substitution.into(), n_groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (text, expect) in [
            ("/", Some(("/", 0))),
            ("/path/${2}", Some((r"/path/\2", 2))),
            ("/${1}${2}/a=${1}", Some((r"/\1\2/a=\1", 2))),
            // The query of the request follows by itself.
            ("/${1}?a=1", None),
            ("/${0}", Some((r"/\0", 0))),
            ("/$1", None),
            ("/${10}", None),
            ("/${x}", None),
            ("/${", None),
            ("/a$", None),
            (r"/\1", None),
            ("/a b", None),
            ("/a\r\nx: y", None),
            ("path", None),
            ("http://a.com/", None),
        ] {
            let found = template(text).ok();
            let expect = expect.map(|(substitution, n_groups)| Template {
                substitution: substitution.into(),
                n_groups,
            });
            assert_eq!(found, expect, "{text}");
        }
        assert!(template(&format!("/{}", "a".repeat(MAX))).is_err());
    }
}
