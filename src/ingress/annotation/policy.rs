//! `ssl-redirect`, `force-ssl-redirect`, `timeout`, `proxy-next-upstream-timeout`: how the routes
//! of an Ingress behave (semantics.md 3.2, 3.4). Canaries have those of their main.

use std::time::Duration;

use crate::{
    diag::Diag,
    ingress::annotation::{Annotations, value},
};

/// How the routes of an Ingress behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Plaintext requests are sent to https.
    pub redirects_to_https: bool,
    /// Whole request; `None` is none.
    pub timeout: Option<Duration>,
    /// Each attempt; `None` is none.
    pub per_try_timeout: Option<Duration>,
}

/// Reads them. Both redirects mean the same, and either asks for it (semantics.md 3.2).
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Policy {
    let ssl = annotations.flag("ssl-redirect", diags);
    let force = annotations.flag("force-ssl-redirect", diags);
    let mut seconds = |key| annotations.read(key, value::seconds, diags).flatten();
    Policy {
        redirects_to_https: ssl || force,
        timeout: seconds("timeout"),
        per_try_timeout: seconds("proxy-next-upstream-timeout"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::with;

    #[test]
    fn policies() {
        let seconds = |n| Some(Duration::from_secs(n));
        let plain = Policy::default();
        let redirect = Policy { redirects_to_https: true, ..plain };
        let invalid = "; the annotation is ignored";
        for (pairs, expect, diag) in [
            (&[][..], plain, None),
            (&[("ssl-redirect", "true")], redirect, None),
            (&[("force-ssl-redirect", "1")], redirect, None),
            (&[("ssl-redirect", "false"), ("force-ssl-redirect", "true")], redirect, None),
            (&[("ssl-redirect", "false")], plain, None),
            (
                &[("ssl-redirect", "on")],
                plain,
                Some("ssl-redirect: InvalidAnnotation: \"on\" is neither true nor false"),
            ),
            (&[("timeout", "5")], Policy { timeout: seconds(5), ..plain }, None),
            (&[("timeout", "0")], plain, None),
            (
                &[("timeout", "abc"), ("proxy-next-upstream-timeout", "2")],
                Policy { per_try_timeout: seconds(2), ..plain },
                Some("timeout: InvalidAnnotation: \"abc\" is not a whole number of seconds"),
            ),
        ] {
            let (policy, diags) = with(pairs, parse);
            assert_eq!(policy, expect, "{pairs:?}");
            let expect: Vec<_> = diag.map(|diag| format!("{diag}{invalid}")).into_iter().collect();
            assert_eq!(diags, expect, "{pairs:?}");
        }
    }
}
