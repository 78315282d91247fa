//! `traffic-limit-qps`, `traffic-limit-ip-qps`: how many requests a second a rule takes
//! (semantics.md 2.7).
//!
//! Each Envoy counts by itself, which is said on the annotation: nothing is shared between them
//! (semantics.md 10, A46).

use std::num::NonZeroU32;

use crate::{
    diag::{Diag, Reason},
    ingress::annotation::{Annotations, value},
    model::RateLimit,
};

/// The vendor's bound.
const MAX: u32 = 1_000_000;

/// Reads them.
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Option<RateLimit> {
    let total = annotations.read("traffic-limit-qps", rate, diags);
    let each = |text: &str| rate(text).and_then(|each| below(each, total));
    let each = annotations.read("traffic-limit-ip-qps", each, diags);
    for (key, rate) in [("traffic-limit-qps", total), ("traffic-limit-ip-qps", each)] {
        if let (Some(rate), Some(entry)) = (rate, annotations.get(key)) {
            diags.push(Diag::warning(&entry.at, Reason::LimitPerEnvoy, per_envoy(rate)));
        }
    }
    limit(total, each)
}

/// `None` if nothing is limited.
pub(super) fn limit(total: Option<NonZeroU32>, each: Option<NonZeroU32>) -> Option<RateLimit> {
    (total.is_some() || each.is_some()).then_some(RateLimit { total, each })
}

/// Requests a second.
pub(super) fn rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = value::number(text, 1..=MAX)?;
    NonZeroU32::new(rate).ok_or_else(|| "0 is no rate".into())
}

/// A client's rate is less than that of all clients.
pub(super) fn below(each: NonZeroU32, total: Option<NonZeroU32>) -> Result<NonZeroU32, String> {
    match total {
        Some(total) if each >= total => {
            Err(format!("{each} of each client is not less than {total} of all"))
        }
        Some(_) | None => Ok(each),
    }
}

/// What an author should know of the limit.
pub(super) fn per_envoy(rate: NonZeroU32) -> String {
    format!("each Envoy of the gateway lets {rate} requests a second through, and counts by itself")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::with_alb;

    #[test]
    fn limits() {
        let limit = |total, each| {
            let some = |rate| NonZeroU32::new(rate);
            Some(RateLimit { total: some(total), each: some(each) })
        };
        for (pairs, expect, reasons) in [
            (&[][..], None, ""),
            (&[("traffic-limit-qps", "50")], limit(50, 0), "LimitPerEnvoy"),
            (&[("traffic-limit-ip-qps", "5")], limit(0, 5), "LimitPerEnvoy"),
            (
                &[("traffic-limit-qps", "50"), ("traffic-limit-ip-qps", "5")],
                limit(50, 5),
                "LimitPerEnvoy LimitPerEnvoy",
            ),
            (
                &[("traffic-limit-qps", "5"), ("traffic-limit-ip-qps", "5")],
                limit(5, 0),
                "InvalidAnnotation LimitPerEnvoy",
            ),
            (&[("traffic-limit-qps", "0")], None, "InvalidAnnotation"),
            (&[("traffic-limit-qps", "1000001")], None, "InvalidAnnotation"),
            (&[("traffic-limit-qps", "many")], None, "InvalidAnnotation"),
        ] {
            let (found, diags) = with_alb(pairs, parse);
            assert_eq!(found, expect, "{pairs:?}");
            let found: Vec<_> = diags.iter().filter_map(|diag| diag.split(": ").nth(1)).collect();
            assert_eq!(found.join(" "), reasons, "{pairs:?}");
        }
    }
}
