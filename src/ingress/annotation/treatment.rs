//! Keys that Convoy does not honour, and what that means for the Ingress (faults.md F15).
//!
//! Most are reported and the Ingress is served without them. Two kinds must not be ignored:
//! one that protects (its paths answer 403, because leaving them out would open them to another
//! route), and one that narrows which requests a rule is for (its rules are left out, because
//! they would take requests that are meant for others).

use crate::{
    diag::{Diag, Reason},
    ingress::{
        annotation::{Annotations, cluster_weight, value},
        row::Role,
    },
};

/// Keys that some concern reads.
const HONOURED: [&str; 21] = [
    "canary",
    "canary-by-cookie",
    "canary-by-cookie-value",
    "canary-by-header",
    "canary-by-header-pattern",
    "canary-by-header-value",
    "canary-by-query",
    "canary-by-query-pattern",
    "canary-by-query-value",
    "canary-weight",
    "canary-weight-total",
    "default-backend",
    "force-ssl-redirect",
    "full-path-regex",
    "listen-ports",
    "proxy-next-upstream-timeout",
    "service-subset",
    "ssl-redirect",
    "subset-labels",
    "timeout",
    "use-regex",
];

/// Whether an Ingress can be served as it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ingress) enum Treatment {
    /// It is.
    Served,
    /// Its paths answer 403.
    Denied,
    /// Its rules are left out.
    Withheld,
}

/// Judges every key that is not honoured. The worst decides.
pub(super) fn parse(
    annotations: &Annotations<'_>,
    role: &Role,
    diags: &mut Vec<Diag>,
) -> Treatment {
    let mut worst = Treatment::Served;
    for (key, entry) in annotations.iter() {
        if HONOURED.contains(&key) || key.starts_with(cluster_weight::FAMILY) {
            continue;
        }
        let treatment = match (treatment(key, entry.value), role) {
            // A canary's share of a path cannot be denied alone: its main keeps all of it.
            (Treatment::Denied, Role::Canary(_)) => Treatment::Withheld,
            (treatment, Role::Main | Role::Canary(_)) => treatment,
        };
        worst = worst.max(treatment);
        let diag = match treatment {
            Treatment::Served => Diag::warning,
            Treatment::Denied | Treatment::Withheld => Diag::error,
        };
        let effect = match treatment {
            Treatment::Served => "the Ingress is served without it",
            Treatment::Denied => "it protects, so the paths of the Ingress answer 403",
            Treatment::Withheld => "the rules of the Ingress are not served without it",
        };
        let message = format!("{} is not supported: {effect}", value::quote(key));
        diags.push(diag(&entry.at, Reason::UnsupportedAnnotation, message));
    }
    worst
}

fn treatment(key: &str, value: &str) -> Treatment {
    if protects(key, value) {
        Treatment::Denied
    } else if narrows(key) {
        Treatment::Withheld
    } else {
        Treatment::Served
    }
}

/// Authentication, client certificates, address lists, request inspection, and snippets, which
/// may hold any of these.
fn protects(key: &str, value: &str) -> bool {
    // Only these two are switches: one that is off asks for nothing.
    if matches!(key, "enable-modsecurity" | "enable-owasp-core-rules") {
        return value::boolean(value) != Ok(false);
    }
    key.starts_with("auth-")
        || key.ends_with("-source-range")
        || key.ends_with("-snippet")
        || key.starts_with("modsecurity")
}

/// `match-method`, `exact-match-header-…` and their like.
fn narrows(key: &str) -> bool {
    let field = ["exact-", "prefix-", "regex-"].iter().find_map(|kind| key.strip_prefix(kind));
    key == "match-method"
        || field.is_some_and(|field| {
            ["match-header-", "match-query-", "match-pseudo-header-"]
                .iter()
                .any(|kind| field.starts_with(kind))
        })
}

#[cfg(test)]
mod tests;
