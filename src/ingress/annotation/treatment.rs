//! Keys that Convoy does not honour, and what that means for the Ingress (faults.md F15).
//!
//! Most are reported and the Ingress is served without them. Two kinds must not be ignored:
//! one that protects (its paths answer 403, because leaving them out would open them to another
//! route), and one that narrows which requests a rule is for (its rules are left out, because
//! they would take requests that are meant for others).

use crate::{
    diag::{Diag, Reason},
    ingress::{
        annotation::{Annotations, cluster_weight, custom, value},
        dialect::Dialect,
        row::Role,
    },
};

/// Keys that some concern reads in Ingresses of both dialects.
const SHARED: [&str; 12] = [
    "canary",
    "canary-by-cookie",
    "canary-by-header",
    "canary-by-header-pattern",
    "canary-by-header-value",
    "canary-weight",
    "canary-weight-total",
    "force-ssl-redirect",
    "service-subset",
    "ssl-redirect",
    "subset-labels",
    "use-regex",
];

/// Those of an MSE gateway alone.
const MSE: [&str; 8] = [
    "canary-by-cookie-value",
    "canary-by-query",
    "canary-by-query-pattern",
    "canary-by-query-value",
    "default-backend",
    "full-path-regex",
    "proxy-next-upstream-timeout",
    "timeout",
];

/// Those of an ALB alone.
const ALB: [&str; 28] = [
    "backend-scheduler",
    "backend-scheduler-uch-value",
    "cookie",
    "cookie-timeout",
    "cors-allow-credentials",
    "cors-allow-headers",
    "cors-allow-methods",
    "cors-allow-origin",
    "cors-expose-headers",
    "cors-max-age",
    "enable-cors",
    "healthcheck-connect-port",
    "healthcheck-enabled",
    "healthcheck-httpcode",
    "healthcheck-interval-seconds",
    "healthcheck-method",
    "healthcheck-path",
    "healthcheck-protocol",
    "healthcheck-timeout-seconds",
    "healthy-threshold-count",
    "listen-ports",
    "order",
    "rewrite-target",
    "sticky-session",
    "sticky-session-type",
    "traffic-limit-ip-qps",
    "traffic-limit-qps",
    "unhealthy-threshold-count",
];

/// Whether some concern reads the key in Ingresses of the dialect.
pub(super) fn is_honoured(dialect: Dialect, key: &str) -> bool {
    let (own, families): (&[&str], &[&str]) = match dialect {
        Dialect::Mse => (&MSE, &[]),
        Dialect::Alb => (&ALB, &custom::FAMILIES),
    };
    SHARED.contains(&key)
        || own.contains(&key)
        || key.starts_with(cluster_weight::FAMILY)
        || families.iter().any(|family| key.starts_with(family))
}

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
        let dialect = annotations.dialect;
        if is_honoured(dialect, key) || is_default(dialect, key, entry.value) {
            continue;
        }
        let treatment = match (treatment(dialect, key, entry.value), role) {
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

/// What asks for no more than there is anyway.
fn is_default(dialect: Dialect, key: &str, value: &str) -> bool {
    match dialect {
        Dialect::Mse => false,
        Dialect::Alb => key == "backend-protocol" && value.eq_ignore_ascii_case("http"),
    }
}

fn treatment(dialect: Dialect, key: &str, value: &str) -> Treatment {
    let (protects_there, narrows_there) = match dialect {
        Dialect::Mse => (false, false),
        Dialect::Alb => (encrypts(key, value), chooses(key)),
    };
    if protects(key, value) || protects_there {
        Treatment::Denied
    } else if narrows(key) || narrows_there {
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

/// An ALB speaks TLS to backends that ask for it; in plaintext, requests would be read on their way.
fn encrypts(key: &str, value: &str) -> bool {
    key == "backend-protocol"
        && ["https", "grpcs"].iter().any(|secure| value.eq_ignore_ascii_case(secure))
}

/// Conditions of canaries that an ALB does not have, and backends in the vendor's store.
fn chooses(key: &str) -> bool {
    key == "server-group-id"
        || key == "canary-by-cookie-value"
        || key.starts_with("canary-by-query")
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
