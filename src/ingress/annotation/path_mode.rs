//! `use-regex`, `full-path-regex`: paths that are expressions (semantics.md 3.2).

use crate::{
    diag::Diag,
    ingress::{
        annotation::Annotations,
        path::{Extent, PathMode},
    },
};

/// Reads them; the whole path beats its beginning.
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> PathMode {
    let beginning = annotations.flag("use-regex", diags);
    let whole = annotations.flag("full-path-regex", diags);
    match (beginning, whole) {
        (_, true) => PathMode::Regex(Extent::Whole),
        (true, false) => PathMode::Regex(Extent::Beginning),
        (false, false) => PathMode::Literal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::with;

    #[test]
    fn path_modes() {
        for (pairs, expect) in [
            (&[][..], PathMode::Literal),
            (&[("use-regex", "true")], PathMode::Regex(Extent::Beginning)),
            (&[("full-path-regex", "true")], PathMode::Regex(Extent::Whole)),
            (&[("use-regex", "true"), ("full-path-regex", "true")], PathMode::Regex(Extent::Whole)),
            (&[("use-regex", "false")], PathMode::Literal),
        ] {
            assert_eq!(with(pairs, parse), (expect, vec![]), "{pairs:?}");
        }
        let (mode, diags) = with(&[("use-regex", "maybe")], parse);
        assert_eq!((mode, diags.len()), (PathMode::Literal, 1));
    }
}
