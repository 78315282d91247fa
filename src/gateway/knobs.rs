//! `convoy.dev/…` annotations of a gateway: ports, and what its listeners take from clients.
//!
//! Owns the grammar of each. A value that is refused is reported on its annotation, and the default
//! holds (semantics.md 9, row 14: nothing else of the gateway depends on it).

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use crate::{
    diag::{Diag, Field, Reason},
    gateway::Size,
    model::Edge,
    settings::Collector,
};

/// Port of the plaintext listener.
pub(super) const HTTP_PORT: &str = "convoy.dev/http-port";
/// Port of the TLS listener.
pub(super) const HTTPS_PORT: &str = "convoy.dev/https-port";
/// Port of the readiness listener.
pub(super) const READY_PORT: &str = "convoy.dev/ready-port";
/// Proxies before the gateway whose `x-forwarded-for` is believed.
const TRUSTED_HOPS: &str = "convoy.dev/trusted-hops";
/// How long a stream may be silent.
const STREAM_IDLE_TIMEOUT: &str = "convoy.dev/stream-idle-timeout";
/// How long a connection without a stream stays open.
const IDLE_TIMEOUT: &str = "convoy.dev/idle-timeout";
/// How long request headers may take.
const REQUEST_HEADERS_TIMEOUT: &str = "convoy.dev/request-headers-timeout";
/// Size of request headers.
const MAX_REQUEST_HEADERS: &str = "convoy.dev/max-request-headers-kib";

/// How many Envoys an `AlbConfig` has, where these are managed.
const ENVOYS: &str = "convoy.dev/replicas";
/// The size of each: one of [`Size::ALL`].
const ENVOY_SIZE: &str = "convoy.dev/size";

/// Who takes spans.
pub(super) const OTLP_ENDPOINT: &str = "convoy.dev/otlp-endpoint";

/// A chain of proxies that is longer is a mistake: each is one more that clients may pretend to be.
const HOPS: RangeInclusive<u32> = 0..=16;
/// No limit of time may be taken away, but a day is none in practice.
const SECONDS: RangeInclusive<u64> = 1..=24 * 3600;
/// The vendor's range of replicas; zero is allowed.
pub(super) const REPLICAS: RangeInclusive<u32> = 0..=30;
/// Less breaks ordinary browsers; more, times the connections of an Envoy, is no limit.
const HEADERS_KIB: RangeInclusive<u32> = 4..=256;

pub(super) type Annotations = BTreeMap<Arc<str>, Arc<str>>;

/// Reads the knobs of one gateway.
pub(super) struct Knobs<'a> {
    pub(super) annotations: &'a Annotations,
    /// The gateway object.
    pub(super) root: &'a Field,
    pub(super) diags: &'a mut Vec<Diag>,
}

impl Knobs<'_> {
    pub(super) fn port(&mut self, key: &str, default: u16) -> u16 {
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
        self.value(key, port, "a port", default, &default.to_string())
    }

    /// `default`, but for what the annotations say.
    pub(super) fn edge(&mut self, default: Edge) -> Edge {
        Edge {
            trusted_hops: self.number(TRUSTED_HOPS, HOPS, default.trusted_hops),
            stream_idle_timeout: self.duration(STREAM_IDLE_TIMEOUT, default.stream_idle_timeout),
            idle_timeout: self.duration(IDLE_TIMEOUT, default.idle_timeout),
            request_headers_timeout: self
                .duration(REQUEST_HEADERS_TIMEOUT, default.request_headers_timeout),
            max_request_headers_kib: self.number(
                MAX_REQUEST_HEADERS,
                HEADERS_KIB,
                default.max_request_headers_kib,
            ),
            ..default
        }
    }

    /// How many Envoys; `None` leaves that to others.
    pub(super) fn replicas(&mut self) -> Option<u32> {
        let kind = format!("a whole number from {} to {}", REPLICAS.start(), REPLICAS.end());
        let number = |text: &str| text.parse().ok().filter(|own| REPLICAS.contains(own)).map(Some);
        self.value(ENVOYS, number, &kind, None, "the default")
    }

    /// Of each Envoy.
    pub(super) fn size(&mut self) -> Size {
        let kind = format!("one of {}", Size::ALL.map(Size::as_str).join(", "));
        self.value(ENVOY_SIZE, Size::named, &kind, Size::DEFAULT, Size::DEFAULT.as_str())
    }

    /// Who takes spans; nobody, unless the annotation or the operator says so.
    pub(super) fn collector(&mut self, default: &Option<Collector>) -> Option<Collector> {
        let shown = default.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        let collector = |text: &str| text.parse().ok().map(Some);
        self.value(OTLP_ENDPOINT, collector, "HOST:PORT", default.clone(), &shown)
    }

    fn number(&mut self, key: &str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let kind = format!("a whole number from {} to {}", range.start(), range.end());
        let number = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.value(key, number, &kind, default, &default.to_string())
    }

    fn duration(&mut self, key: &str, default: Duration) -> Duration {
        let kind = "a time from 1s to 24h, as in `90s`, `15m` or `1h`";
        self.value(key, duration, kind, default, &format!("{}s", default.as_secs()))
    }

    /// What the annotation says, or `default`, `shown`, if it is absent or is not `kind`.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
        kind: &str,
        default: T,
        shown: &str,
    ) -> T {
        let Some(text) = self.annotations.get(key) else { return default };
        parse(text.trim()).unwrap_or_else(|| {
            let message = format!("{text:?} is not {kind}; {shown} is used");
            self.diags.push(Diag::error(
                &self.root.annotation(key),
                Reason::InvalidAnnotation,
                message,
            ));
            default
        })
    }
}

/// A whole number and its unit.
fn duration(text: &str) -> Option<Duration> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let (number, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    // `parse` would take a sign.
    let digits = Some(number).filter(|number| number.bytes().all(|b| b.is_ascii_digit()))?;
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    SECONDS.contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{ObjectKind, ObjectName, ObjectRef};

    fn edge(key: &str, text: &str) -> (Edge, Vec<String>) {
        let gateway = ObjectName::cluster_scoped("gw");
        let root = Field::of(&ObjectRef::fleet(ObjectKind::MseIngressConfig, gateway));
        let annotations = BTreeMap::from([(key.into(), text.into())]);
        let mut diags = Vec::new();
        let mut knobs = Knobs { annotations: &annotations, root: &root, diags: &mut diags };
        let edge = knobs.edge(Edge::DEFAULT);
        (edge, diags.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_knob_sets_its_own_field() {
        let seconds = Duration::from_secs;
        for (key, text, expect) in [
            (TRUSTED_HOPS, "2", Edge { trusted_hops: 2, ..Edge::DEFAULT }),
            (
                STREAM_IDLE_TIMEOUT,
                " 6h ",
                Edge { stream_idle_timeout: seconds(6 * 3600), ..Edge::DEFAULT },
            ),
            (IDLE_TIMEOUT, "2m", Edge { idle_timeout: seconds(120), ..Edge::DEFAULT }),
            (
                REQUEST_HEADERS_TIMEOUT,
                "30s",
                Edge { request_headers_timeout: seconds(30), ..Edge::DEFAULT },
            ),
            (MAX_REQUEST_HEADERS, "96", Edge { max_request_headers_kib: 96, ..Edge::DEFAULT }),
        ] {
            assert_eq!(edge(key, text), (expect, Vec::new()), "{key}: {text}");
        }
    }

    #[test]
    fn what_is_refused_is_reported_on_its_annotation() {
        for (key, refused) in [
            (TRUSTED_HOPS, &["17", "-1", "x", ""][..]),
            (STREAM_IDLE_TIMEOUT, &["0s", "25h", "90", "1.5h", "-1s", "+1s", "s", "1d", "1ms"]),
            (IDLE_TIMEOUT, &["18446744073709551615h", "1 h"]),
            (MAX_REQUEST_HEADERS, &["3", "257", "60k"]),
        ] {
            for text in refused {
                let (edge, diags) = edge(key, text);
                assert_eq!(edge, Edge::DEFAULT, "{key}: {text}");
                assert_eq!(diags.len(), 1, "{key}: {text}: {diags:?}");
                assert!(diags[0].contains(key) && diags[0].contains("InvalidAnnotation"));
            }
        }
        let (_, diags) = edge(STREAM_IDLE_TIMEOUT, "never");
        let expect = "error: MseIngressConfig gw: \
                      metadata.annotations[convoy.dev/stream-idle-timeout]: InvalidAnnotation: \
                      \"never\" is not a time from 1s to 24h, as in `90s`, `15m` or `1h`; 3600s is used";
        assert_eq!(diags, [expect]);
    }
}
