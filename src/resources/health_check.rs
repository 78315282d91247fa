//! Active health checks of a target's endpoints (semantics.md 2.7, 5.7).
//!
//! Owns what an Envoy asks by itself. Must not know who asked for it. Cost: constant. Every Envoy
//! checks every endpoint, and once more where the target is a composite of two clusters.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use envoy_types::pb::envoy::{
    config::core::v3::{
        self as pb, RequestMethod,
        health_check::{HealthChecker, HttpHealthCheck, TcpHealthCheck},
    },
    r#type::v3::{CodecClientType, Int64Range},
};

use crate::{
    key::BackendKey,
    model::{HealthCheck, Probe, ProbeMethod, Protocol, StatusRange, Target},
    resources::{defaults, pack},
};

/// Every status code: a bad answer counts towards the threshold, as no answer does.
const ANY_STATUS: Int64Range = Int64Range { start: 100, end: 600 };

/// How long a new cluster is out of use, because Envoy waits for as many checks to end as there
/// are endpoints: until one that hangs is given up, or those that answer are asked again. While
/// most of them hang it can be longer.
pub(super) fn first_round(check: &HealthCheck) -> Duration {
    let jitter = check.interval * defaults::HEALTH_CHECK_JITTER_PERCENT / 100;
    let again = check.timeout.min(check.interval + jitter);
    again.min(defaults::MAX_FIRST_ROUND) + defaults::FIRST_ROUND_MARGIN
}

/// The check of a target whose endpoints speak `protocol`, if it has one.
pub(super) fn of(target: &Target, protocol: Protocol) -> Option<pb::HealthCheck> {
    let HealthCheck { probe, timeout, interval, healthy, unhealthy, port } =
        target.health_check.as_deref()?;
    let checker = match probe {
        Probe::Tcp => HealthChecker::TcpHealthCheck(TcpHealthCheck::default()),
        Probe::Http { path, method, statuses } => {
            // Who answers on another port need not speak what the endpoint does.
            let protocol = if port.is_some() { Protocol::Http1 } else { protocol };
            HealthChecker::HttpHealthCheck(http(
                target.backend(),
                path,
                *method,
                statuses,
                protocol,
            ))
        }
    };
    Some(pb::HealthCheck {
        timeout: pack::duration(*timeout),
        interval: pack::duration(*interval),
        // xds: absent means 60 s for a cluster that nobody has used yet.
        no_traffic_interval: pack::duration(*interval),
        interval_jitter_percent: defaults::HEALTH_CHECK_JITTER_PERCENT,
        healthy_threshold: pack::uint(healthy.get()),
        unhealthy_threshold: pack::uint(unhealthy.get()),
        health_checker: Some(checker),
        ..Default::default()
    })
}

fn http(
    backend: &BackendKey,
    path: &Arc<str>,
    method: ProbeMethod,
    statuses: &BTreeSet<StatusRange>,
    protocol: Protocol,
) -> HttpHealthCheck {
    let method = match method {
        ProbeMethod::Get => RequestMethod::Get,
        ProbeMethod::Head => RequestMethod::Head,
    };
    let codec = match protocol {
        Protocol::Http1 => CodecClientType::Http1,
        Protocol::Http2 => CodecClientType::Http2,
    };
    HttpHealthCheck {
        // xds: absent means the cluster's name, which is no host.
        host: format!("{}.{}", backend.service.name, backend.service.namespace),
        path: path.to_string(),
        method: method.into(),
        expected_statuses: statuses.iter().map(|range| half_open(*range)).collect(),
        // xds: without these a bad answer would fail the endpoint at once.
        retriable_statuses: vec![ANY_STATUS],
        codec_client_type: codec.into(),
        ..Default::default()
    }
}

fn half_open(range: StatusRange) -> Int64Range {
    Int64Range { start: range.first().into(), end: i64::from(range.last()) + 1 }
}

#[cfg(test)]
mod tests;
