//! `healthcheck-…`, `healthy-threshold-count`, `unhealthy-threshold-count`: what Envoys ask
//! endpoints by themselves (semantics.md 2.7).

use std::{collections::BTreeSet, num::NonZeroU16, num::NonZeroU32, sync::Arc, time::Duration};

use crate::{
    diag::Diag,
    ingress::annotation::{Annotations, value},
    model::{HealthCheck, Probe, ProbeMethod, StatusRange},
};

/// What holds where nothing is said; the vendor's.
const PATH: &str = "/";
const TIMEOUT: u32 = 5;
const INTERVAL: u32 = 2;
const THRESHOLD: u32 = 3;
/// In seconds, and in checks.
const TIMEOUTS: std::ops::RangeInclusive<u32> = 1..=300;
const INTERVALS: std::ops::RangeInclusive<u32> = 1..=50;
const THRESHOLDS: std::ops::RangeInclusive<u32> = 2..=10;

/// Reads them; `None` unless it is enabled.
pub(super) fn parse(
    annotations: &Annotations<'_>,
    diags: &mut Vec<Diag>,
) -> Option<Arc<HealthCheck>> {
    if !annotations.flag("healthcheck-enabled", diags) {
        return None;
    }
    let probe = probe(annotations, diags);
    let mut number = |key, range: std::ops::RangeInclusive<u32>, default| {
        annotations.read(key, |text| value::number(text, range), diags).unwrap_or(default)
    };
    let timeout = number("healthcheck-timeout-seconds", TIMEOUTS, TIMEOUT);
    let interval = number("healthcheck-interval-seconds", INTERVALS, INTERVAL);
    let healthy = number("healthy-threshold-count", THRESHOLDS, THRESHOLD);
    let unhealthy = number("unhealthy-threshold-count", THRESHOLDS, THRESHOLD);
    let port = |text: &str| value::number(text, 0..=u16::MAX);
    let port = annotations.read("healthcheck-connect-port", port, diags).unwrap_or(0);
    let count = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Some(Arc::new(HealthCheck {
        probe,
        timeout: Duration::from_secs(timeout.into()),
        interval: Duration::from_secs(interval.into()),
        healthy: count(healthy),
        unhealthy: count(unhealthy),
        port: NonZeroU16::new(port),
    }))
}

fn probe(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Probe {
    let is_tcp = |text: &str| match text {
        "HTTP" => Ok(false),
        "TCP" => Ok(true),
        other => Err(format!("{} is neither HTTP nor TCP", value::quote(other))),
    };
    if annotations.read("healthcheck-protocol", is_tcp, diags).unwrap_or(false) {
        return Probe::Tcp;
    }
    let path = annotations.read("healthcheck-path", path, diags);
    let method = annotations.read("healthcheck-method", method, diags);
    let statuses = annotations.read("healthcheck-httpcode", statuses, diags);
    Probe::Http {
        path: path.unwrap_or_else(|| PATH.into()),
        method: method.unwrap_or(ProbeMethod::Head),
        statuses: statuses.unwrap_or_else(|| class(2).into_iter().collect()),
    }
}

fn path(text: &str) -> Result<Arc<str>, String> {
    let is_legal = text.starts_with('/')
        && text.len() <= 256
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if is_legal { Ok(text.into()) } else { Err(format!("{} is not a path", value::quote(text))) }
}

fn method(text: &str) -> Result<ProbeMethod, String> {
    match text {
        "GET" => Ok(ProbeMethod::Get),
        "HEAD" => Ok(ProbeMethod::Head),
        other => Err(format!("{} is neither GET nor HEAD", value::quote(other))),
    }
}

/// `http_2xx,http_3xx`.
fn statuses(text: &str) -> Result<BTreeSet<StatusRange>, String> {
    let one = |text: &str| match text {
        "http_1xx" => Ok(class(1)),
        "http_2xx" => Ok(class(2)),
        "http_3xx" => Ok(class(3)),
        "http_4xx" => Ok(class(4)),
        "http_5xx" => Ok(class(5)),
        other => Err(format!("{} is not of the form http_2xx", value::quote(other))),
    };
    let parsed: Result<Vec<_>, _> = text.split(',').map(str::trim).map(one).collect();
    Ok(parsed?.into_iter().flatten().collect())
}

fn class(hundred: u16) -> Option<StatusRange> {
    StatusRange::new(hundred * 100, hundred * 100 + 99)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::with_alb;

    fn show(check: &HealthCheck) -> String {
        let probe = match &check.probe {
            Probe::Tcp => "tcp".into(),
            Probe::Http { path, method, statuses } => {
                let statuses: Vec<_> = statuses.iter().map(ToString::to_string).collect();
                format!("{method:?} {path} {}", statuses.join(","))
            }
        };
        let (timeout, interval) = (check.timeout.as_secs(), check.interval.as_secs());
        let port = check.port.map_or("own".into(), |port| port.to_string());
        let (up, down) = (check.healthy, check.unhealthy);
        format!("{probe} timeout {timeout} every {interval} up {up} down {down} port {port}")
    }

    #[test]
    fn checks() {
        let rest = "timeout 5 every 2 up 3 down 3 port own";
        for (pairs, expect, n_diags) in [
            (&[][..], format!("Head / 200-299 {rest}"), 0),
            (&[("healthcheck-protocol", "TCP")], format!("tcp {rest}"), 0),
            (
                &[
                    ("healthcheck-path", "/healthz?deep=1"),
                    ("healthcheck-method", "GET"),
                    ("healthcheck-httpcode", "http_2xx, http_3xx"),
                    ("healthcheck-timeout-seconds", "1"),
                    ("healthcheck-interval-seconds", "50"),
                    ("healthcheck-connect-port", "8081"),
                    ("healthy-threshold-count", "2"),
                    ("unhealthy-threshold-count", "10"),
                ],
                "Get /healthz?deep=1 200-299,300-399 timeout 1 every 50 up 2 down 10 port 8081"
                    .into(),
                0,
            ),
            (
                &[
                    ("healthcheck-path", "healthz"),
                    ("healthcheck-method", "POST"),
                    ("healthcheck-httpcode", "200"),
                    ("healthcheck-timeout-seconds", "0"),
                    ("healthcheck-interval-seconds", "51"),
                    ("healthcheck-connect-port", "65536"),
                    ("healthy-threshold-count", "1"),
                    ("unhealthy-threshold-count", "11"),
                    ("healthcheck-protocol", "GRPC"),
                ],
                format!("Head / 200-299 {rest}"),
                9,
            ),
            (&[("healthcheck-path", "/a b")], format!("Head / 200-299 {rest}"), 1),
        ] {
            let pairs = [&[("healthcheck-enabled", "true")], pairs].concat();
            let (check, diags) = with_alb(&pairs, parse);
            assert_eq!(show(&check.unwrap()), expect, "{pairs:?}");
            assert_eq!(diags.len(), n_diags, "{diags:?}");
        }
        let off = [("healthcheck-enabled", "false"), ("healthcheck-path", "x")];
        assert_eq!(with_alb(&off, parse), (None, vec![]));
    }
}
