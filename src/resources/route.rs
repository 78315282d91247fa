//! One host's routes as an encoded `VirtualHost`, the unit that is built, cached and replaced.
//!
//! Owns actions, timeouts, retries and the origin that each route carries. Must not know which
//! table the host ends in ([`super::layout`]). Cost: linear in the routes of one host.

mod headers;
mod url;

use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::{
    envoy::{
        config::{
            core::v3::Metadata,
            route::v3::{
                self as pb, WeightedCluster, retry_policy, route::Action as RouteKind,
                route_action::ClusterSpecifier, weighted_cluster::ClusterWeight,
            },
        },
        extensions::retry::{
            host::previous_hosts::v3::PreviousHostsPredicate,
            priority::previous_priorities::v3::PreviousPrioritiesConfig,
        },
    },
    google::protobuf::{Struct, Value, value},
};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

use crate::{
    diag::Field,
    key::ObjectRef,
    model::{Action, Arm, Forward, Front, Route, Shape, Target, VirtualHost, name},
    resources::{
        affinity, cluster, conditions, defaults, filters,
        observe::{self, ARM_FILTER},
        pack,
    },
    settings::Mechanisms,
};

/// Name of our entry in a route's metadata; its only field is [`ORIGIN`].
pub const METADATA: &str = "convoy";

/// The user's object and field, as diagnostics print them: `%METADATA(ROUTE:convoy:origin)%`.
pub const ORIGIN: &str = "origin";

/// Field `routes` of `VirtualHost`.
const ROUTES: u32 = 3;

/// The encoded `VirtualHost` of one host on a listener. `shape_of` says how each target is built,
/// because the form decides the name of the cluster that a route uses.
pub fn encode_host(
    host: &VirtualHost,
    front: &Front,
    shape_of: &dyn Fn(&Target) -> Shape,
    mechanisms: &Mechanisms,
) -> Bytes {
    let builder = Builder { front, shape_of, mechanisms };
    let frame = pb::VirtualHost {
        name: host.host.to_string(),
        domains: vec![host.host.to_string()],
        ..Default::default()
    };
    let mut message = frame.encode_to_vec();
    for route in &host.routes {
        let route = builder.encode(host, route);
        encode_key(ROUTES, WireType::LengthDelimited, &mut message);
        encode_varint(route.len() as u64, &mut message);
        message.extend(route);
    }
    message.into()
}

struct Builder<'a> {
    front: &'a Front,
    shape_of: &'a dyn Fn(&Target) -> Shape,
    mechanisms: &'a Mechanisms,
}

impl Builder<'_> {
    /// Configurations of filters are a proto map, which would be encoded in random order. Messages
    /// that follow each other are merged, so each of them is a message of its own.
    fn encode(&self, host: &VirtualHost, route: &Route) -> Vec<u8> {
        let mut message = self.route(host, route).encode_to_vec();
        for (name, config) in filters::of_route(&route.filters) {
            let one = pb::Route {
                typed_per_filter_config: pack::one(name, config),
                ..Default::default()
            };
            message.extend(one.encode_to_vec());
        }
        message
    }

    fn route(&self, host: &VirtualHost, route: &Route) -> pb::Route {
        let mut response_headers_to_add = Vec::new();
        let action = match &route.action {
            Action::Forward(forward) => {
                RouteKind::Route(self.forward(forward, &route.origin.object))
            }
            Action::RedirectToHttps => {
                RouteKind::Redirect(url::redirect_to_https(&host.host, self.front))
            }
            Action::Redirect(redirect) => RouteKind::Redirect(url::redirect(redirect)),
            Action::Answer(answer) => {
                response_headers_to_add.push(headers::content_type(&answer.content_type));
                RouteKind::DirectResponse(url::answer(answer))
            }
            Action::Deny => RouteKind::DirectResponse(url::status(403)),
        };
        let (request_headers_to_add, request_headers_to_remove) =
            headers::of_requests(&route.filters.headers);
        pb::Route {
            // What the access log has as the Ingress.
            name: route.origin.object.name.to_string(),
            r#match: Some(conditions::route_match(&host.host, &route.path, &route.conditions)),
            metadata: Some(origin(&route.origin)),
            action: Some(action),
            request_headers_to_add,
            request_headers_to_remove,
            response_headers_to_add,
            ..Default::default()
        }
    }

    fn forward(&self, forward: &Forward, ingress: &ObjectRef) -> pb::RouteAction {
        pb::RouteAction {
            cluster_specifier: Some(self.clusters(&forward.arms, ingress)),
            // xds: absent means 15 s, zero means none.
            timeout: pack::duration(forward.timeout.unwrap_or_default()),
            retry_policy: self.mechanisms.retries.then(|| self.retry_policy(forward)),
            hash_policy: affinity::policies(&forward.arms),
            regex_rewrite: forward.rewrite.as_ref().map(url::rewrite),
            ..Default::default()
        }
    }

    /// The listener's limit of an answer's beginning is one of each attempt: once an answer has
    /// begun, Envoy ignores it. What was never sent is sent again at once; a request that was, and
    /// ran out of time, is tried again only if it is safe. So its client waits up to four times as
    /// long for a 504, and the client of another once.
    fn attempt_timeout(&self, forward: &Forward) -> Option<Duration> {
        forward.per_try_timeout.or(self.front.answer_timeout)
    }

    fn clusters(&self, arms: &[Arm], ingress: &ObjectRef) -> ClusterSpecifier {
        if let [arm] = arms {
            return ClusterSpecifier::Cluster(self.cluster(&arm.target));
        }
        let divisor = weight_divisor(arms);
        let clusters = arms.iter().map(|arm| ClusterWeight {
            name: self.cluster(&arm.target),
            weight: pack::uint((arm.weight.get() / divisor).max(1)),
            // A canary's share is served for another Ingress than the route is of.
            typed_per_filter_config: if arm.origin.object == *ingress {
                Default::default()
            } else {
                pack::one(ARM_FILTER, observe::arm(&arm.origin.object.name.to_string()))
            },
            ..Default::default()
        });
        ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: clusters.collect(),
            ..Default::default()
        })
    }

    fn cluster(&self, target: &Target) -> String {
        let form = cluster::form(&(self.shape_of)(target), self.mechanisms);
        name::routed(&name::target(target), form).to_string()
    }

    /// The policy of semantics.md 3.4. A retry avoids hosts that were tried, and leaves the
    /// priorities that were tried: at once where every arm has one group, after one retry in place
    /// where some arm has several. In a composite cluster the priorities are members.
    fn retry_policy(&self, forward: &Forward) -> pb::RetryPolicy {
        let one_group = forward.arms.iter().all(|arm| (self.shape_of)(&arm.target).groups == 1);
        let priorities =
            PreviousPrioritiesConfig { update_frequency: if one_group { 1 } else { 2 } };
        pb::RetryPolicy {
            retry_on: defaults::RETRY_ON.into(),
            num_retries: pack::uint(defaults::NUM_RETRIES),
            per_try_timeout: self.attempt_timeout(forward).and_then(pack::duration),
            retry_host_predicate: vec![retry_policy::RetryHostPredicate {
                name: "envoy.retry_host_predicates.previous_hosts".into(),
                config_type: Some(retry_policy::retry_host_predicate::ConfigType::TypedConfig(
                    pack::any(PreviousHostsPredicate {}),
                )),
            }],
            host_selection_retry_max_attempts: defaults::HOST_SELECTION_ATTEMPTS,
            retry_priority: Some(retry_policy::RetryPriority {
                name: "envoy.retry_priorities.previous_priorities".into(),
                config_type: Some(retry_policy::retry_priority::ConfigType::TypedConfig(
                    pack::any(priorities),
                )),
            }),
            retry_back_off: Some(retry_policy::RetryBackOff {
                base_interval: pack::duration(defaults::RETRY_BACK_OFF),
                max_interval: pack::duration(defaults::MAX_RETRY_BACK_OFF),
            }),
            ..Default::default()
        }
    }
}

/// One, unless the weights add up to more than Envoy takes (faults.md M17, F19).
fn weight_divisor(arms: &[Arm]) -> u32 {
    let total: u64 = arms.iter().map(|arm| u64::from(arm.weight.get())).sum();
    let divisor = total.saturating_sub(1) / u64::from(u32::MAX) + 1;
    u32::try_from(divisor).unwrap_or(u32::MAX)
}

/// One field in one map: maps are encoded in random order.
fn origin(origin: &Field) -> Metadata {
    let separator = if origin.path.is_empty() { "" } else { ": " };
    let text = format!("{}{separator}{}", origin.object, origin.path);
    let text = Value { kind: Some(value::Kind::StringValue(text)) };
    let fields = Struct { fields: pack::one(ORIGIN, text) };
    Metadata { filter_metadata: pack::one(METADATA, fields), ..Default::default() }
}

#[cfg(test)]
mod tests;
