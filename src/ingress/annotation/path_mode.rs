//! `use-regex`, `full-path-regex`: paths that are expressions (semantics.md 3.2).

use crate::{
    diag::Diag,
    ingress::{
        annotation::Annotations,
        dialect::Dialect,
        path::{Extent, PathMode},
    },
};

/// Reads them; the whole path beats its beginning. An ALB's paths are also expressions where they
/// are rewritten.
pub(super) fn parse(
    annotations: &Annotations<'_>,
    rewrites: bool,
    diags: &mut Vec<Diag>,
) -> PathMode {
    let beginning = annotations.flag("use-regex", diags);
    let whole = annotations.flag("full-path-regex", diags);
    match annotations.dialect {
        Dialect::Alb if beginning || rewrites => return PathMode::Folded,
        Dialect::Alb => return PathMode::Pattern,
        Dialect::Mse => {}
    }
    match (beginning, whole) {
        (_, true) => PathMode::Regex(Extent::Whole),
        (true, false) => PathMode::Regex(Extent::Beginning),
        (false, false) => PathMode::Literal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::{with, with_alb};

    #[test]
    fn path_modes() {
        for (pairs, expect) in [
            (&[][..], PathMode::Literal),
            (&[("use-regex", "true")], PathMode::Regex(Extent::Beginning)),
            (&[("full-path-regex", "true")], PathMode::Regex(Extent::Whole)),
            (&[("use-regex", "true"), ("full-path-regex", "true")], PathMode::Regex(Extent::Whole)),
            (&[("use-regex", "false")], PathMode::Literal),
        ] {
            assert_eq!(
                with(pairs, |it, diags| parse(it, false, diags)),
                (expect, vec![]),
                "{pairs:?}"
            );
        }
        let alb = |pairs: &[(&str, &str)], rewrites| {
            with_alb(pairs, |it, diags| parse(it, rewrites, diags)).0
        };
        assert_eq!(alb(&[], false), PathMode::Pattern);
        assert_eq!(alb(&[], true), PathMode::Folded);
        assert_eq!(alb(&[("use-regex", "true")], false), PathMode::Folded);
        assert_eq!(alb(&[("full-path-regex", "true")], false), PathMode::Pattern, "not an ALB's");
        let (mode, diags) = with(&[("use-regex", "maybe")], |it, diags| parse(it, false, diags));
        assert_eq!((mode, diags.len()), (PathMode::Literal, 1));
    }
}
