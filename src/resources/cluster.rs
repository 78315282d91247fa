//! CDS: a target as one plain cluster, or as a composite of two (semantics.md 5.4, 5.7).
//!
//! Owns how a target fails over inside Envoy. Must not know endpoints: nothing here changes when
//! a member scales. Cost: constant.

use std::sync::Arc;

use envoy_types::pb::envoy::{
    config::{
        cluster::v3::{self as pb, cluster as parts},
        core::v3 as core,
    },
    extensions::{
        clusters::composite::v3::{ClusterConfig, cluster_config::ClusterEntry},
        upstreams::http::v3::{HttpProtocolOptions, http_protocol_options as http},
    },
    r#type::v3::Percent,
};
use prost::Message;

use crate::{
    model::{Balance, Form, Protocol, Shape, Target, name},
    resources::{defaults, health_check, pack},
    settings::Mechanisms,
    snapshot::{Kind, Resource},
};

/// Level and name of `TCP_USER_TIMEOUT` on Linux: `IPPROTO_TCP`, 18.
const TCP_USER_TIMEOUT_OPTION: (i64, i64) = (6, 18);

/// The key under which Envoy looks for HTTP options of a cluster.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The clusters of a target.
pub fn build(target: &Target, shape: &Shape, mechanisms: &Mechanisms) -> Vec<Resource> {
    let name = &name::target(target);
    let eds = |name: &Arc<str>| {
        let cluster = eds_cluster(name, target, shape.protocol, mechanisms);
        let settles = target.health_check.as_deref().map(health_check::first_round);
        resource(name, &cluster, vec![(Kind::Endpoint, name.clone())])
            .settling(settles.unwrap_or_default())
    };
    match form(shape, mechanisms) {
        Form::Plain => vec![eds(name)],
        Form::Composite => {
            let members = name::members(name);
            let routed = name::routed(name, Form::Composite);
            let cluster = composite_cluster(&routed, name, &members, shape, mechanisms);
            let parts = vec![(Kind::Cluster, name.clone()), (Kind::Cluster, members.clone())];
            vec![eds(name), eds(&members), resource(&routed, &cluster, parts)]
        }
    }
}

/// The form a target gets: with composite targets switched off, always plain.
pub(super) fn form(shape: &Shape, mechanisms: &Mechanisms) -> Form {
    if mechanisms.composite_targets { shape.form } else { Form::Plain }
}

fn resource(name: &Arc<str>, cluster: &pb::Cluster, awaits: Vec<(Kind, Arc<str>)>) -> Resource {
    Resource::new(Kind::Cluster, name.clone(), &cluster.encode_to_vec(), awaits)
}

fn eds_cluster(
    name: &str,
    target: &Target,
    protocol: Protocol,
    mechanisms: &Mechanisms,
) -> pb::Cluster {
    let (lb_policy, lb_config) = balance(&target.balance);
    pb::Cluster {
        cluster_discovery_type: Some(parts::ClusterDiscoveryType::Type(
            parts::DiscoveryType::Eds.into(),
        )),
        // xds: without `service_name` the assignment has the cluster's name.
        eds_cluster_config: Some(parts::EdsClusterConfig {
            eds_config: Some(pack::ads()),
            ..Default::default()
        }),
        lb_policy: lb_policy.into(),
        lb_config,
        health_checks: health_check::of(target, protocol).into_iter().collect(),
        // xds: otherwise a host that answers its checks stays after it left the assignment.
        ignore_health_on_host_removal: target.health_check.is_some(),
        common_lb_config: Some(common_lb_config(target, mechanisms)),
        outlier_detection: mechanisms.outlier_detection.then(outlier_detection),
        upstream_bind_config: mechanisms.dead_peer_detection.then(user_timeout),
        upstream_connection_options: mechanisms.dead_peer_detection.then(keepalive),
        ..base(name, protocol, mechanisms)
    }
}

/// Every policy honours the weights of localities. A ring spans the members of a group, and each
/// has its share of it.
fn balance(balance: &Balance) -> (parts::LbPolicy, Option<parts::LbConfig>) {
    match balance {
        Balance::RoundRobin => (parts::LbPolicy::RoundRobin, None),
        Balance::LeastRequest => (parts::LbPolicy::LeastRequest, None),
        // xds: absent means a ring of 1,024 points at least, and of 8 million at most.
        Balance::Hash(_) => (parts::LbPolicy::RingHash, None),
    }
}

/// One entry an attempt. One group: the retry leaves the member at once. Several: one retry in
/// place, so that one refused pod does not spill to the next group, then away.
fn composite_cluster(
    name: &str,
    assignment: &str,
    members: &str,
    shape: &Shape,
    mechanisms: &Mechanisms,
) -> pb::Cluster {
    let attempts = match shape.groups {
        0 | 1 => [assignment, members, members, members],
        _ => [assignment, assignment, members, members],
    };
    let clusters = attempts.map(|name| ClusterEntry { name: name.into() }).into();
    pb::Cluster {
        cluster_discovery_type: Some(parts::ClusterDiscoveryType::ClusterType(
            parts::CustomClusterType {
                name: "envoy.clusters.composite".into(),
                typed_config: Some(pack::any(ClusterConfig { clusters })),
            },
        )),
        lb_policy: parts::LbPolicy::ClusterProvided.into(),
        // Retries and their budget are counted where the route points, so here.
        ..base(name, shape.protocol, mechanisms)
    }
}

/// What every cluster has, whatever its type.
fn base(name: &str, protocol: Protocol, mechanisms: &Mechanisms) -> pb::Cluster {
    let options = match protocol {
        Protocol::Http1 => None,
        Protocol::Http2 => Some(pack::any(http2())),
    };
    pb::Cluster {
        name: name.into(),
        connect_timeout: pack::duration(defaults::CONNECT_TIMEOUT),
        circuit_breakers: Some(circuit_breakers(mechanisms)),
        typed_extension_protocol_options: options
            .map(|options| pack::one(HTTP_OPTIONS, options))
            .unwrap_or_default(),
        ..Default::default()
    }
}

/// A cluster of Convoy's own, to which Envoy speaks gRPC.
pub(super) fn grpc(name: &str) -> pb::Cluster {
    pb::Cluster {
        name: name.into(),
        connect_timeout: pack::duration(defaults::CONNECT_TIMEOUT),
        typed_extension_protocol_options: pack::one(HTTP_OPTIONS, pack::any(http2())),
        ..Default::default()
    }
}

fn common_lb_config(target: &Target, mechanisms: &Mechanisms) -> parts::CommonLbConfig {
    let panic = if mechanisms.panic_threshold { defaults::PANIC_THRESHOLD } else { 0.0 };
    parts::CommonLbConfig {
        // xds: absent means 50 %, which would undo a group's priority while it is half ejected.
        healthy_panic_threshold: Some(Percent { value: panic }),
        // xds: without this Envoy ignores locality weights.
        locality_config_specifier: Some(
            parts::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(
                parts::common_lb_config::LocalityWeightedLbConfig {},
            ),
        ),
        update_merge_window: target
            .health_check
            .as_ref()
            .and_then(|_| pack::duration(defaults::HEALTH_MERGE_WINDOW)),
        ..Default::default()
    }
}

/// Not split by origin: in split mode a hung host that still accepts connections keeps resetting
/// its own counter.
fn outlier_detection() -> pb::OutlierDetection {
    pb::OutlierDetection {
        consecutive_gateway_failure: pack::uint(defaults::CONSECUTIVE_GATEWAY_FAILURES),
        // xds: the default is 0, which only counts.
        enforcing_consecutive_gateway_failure: pack::uint(100),
        // An application's own 5xx must not shift its traffic.
        enforcing_consecutive_5xx: pack::uint(0),
        enforcing_success_rate: pack::uint(0),
        interval: pack::duration(defaults::OUTLIER_INTERVAL),
        base_ejection_time: pack::duration(defaults::BASE_EJECTION),
        max_ejection_time: pack::duration(defaults::MAX_EJECTION),
        max_ejection_percent: pack::uint(defaults::MAX_EJECTION_PERCENT),
        ..Default::default()
    }
}

fn circuit_breakers(mechanisms: &Mechanisms) -> pb::CircuitBreakers {
    use pb::circuit_breakers::{Thresholds, thresholds::RetryBudget};
    let budget = RetryBudget {
        budget_percent: Some(Percent { value: defaults::RETRY_BUDGET_PERCENT }),
        min_retry_concurrency: pack::uint(defaults::MIN_RETRY_CONCURRENCY),
        ..Default::default()
    };
    let limit = pack::uint(defaults::UPSTREAM_LIMIT);
    let thresholds = Thresholds {
        max_connections: limit,
        max_pending_requests: limit,
        max_requests: limit,
        // xds: without a budget three retries at a time.
        retry_budget: mechanisms.retry_budget.then_some(budget),
        ..Default::default()
    };
    pb::CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }
}

/// The kernel closes a connection whose peer acknowledges nothing (M32). No source address: the
/// option is set on the socket, and nothing is bound.
fn user_timeout() -> core::BindConfig {
    use core::socket_option::{SocketState, Value};
    let (level, name) = TCP_USER_TIMEOUT_OPTION;
    let milliseconds = defaults::TCP_USER_TIMEOUT.as_millis();
    let option = core::SocketOption {
        description: "TCP_USER_TIMEOUT, in milliseconds".into(),
        level,
        name,
        state: SocketState::StatePrebind.into(),
        value: Some(Value::IntValue(i64::try_from(milliseconds).unwrap_or(i64::MAX))),
        ..Default::default()
    };
    core::BindConfig { socket_options: vec![option], ..Default::default() }
}

/// The kernel probes a connection on which it only waits, so that [`user_timeout`] has something to
/// time: a request that was acknowledged leaves nothing.
fn keepalive() -> pb::UpstreamConnectionOptions {
    let seconds = u32::try_from(defaults::TCP_KEEPALIVE.as_secs()).ok();
    let keepalive = core::TcpKeepalive {
        keepalive_probes: pack::uint(defaults::TCP_KEEPALIVE_PROBES),
        keepalive_time: seconds.and_then(pack::uint),
        keepalive_interval: seconds.and_then(pack::uint),
    };
    pb::UpstreamConnectionOptions { tcp_keepalive: Some(keepalive), ..Default::default() }
}

/// HTTP/2 without negotiation, as gRPC backends speak it.
fn http2() -> HttpProtocolOptions {
    use http::{ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig};
    let config = ExplicitHttpConfig {
        protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Default::default())),
    };
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
