//! One host's routes as an encoded `VirtualHost`, the unit that is built, cached and replaced.
//!
//! Owns actions, timeouts, retries and the origin that each route carries. Must not know which
//! table the host ends in ([`super::layout`]). Cost: linear in the routes of one host.

use bytes::Bytes;
use envoy_types::pb::{
    envoy::{
        config::{
            core::v3::Metadata,
            route::v3::{
                self as pb, WeightedCluster, redirect_action::SchemeRewriteSpecifier, retry_policy,
                route::Action as RouteKind, route_action::ClusterSpecifier,
                weighted_cluster::ClusterWeight,
            },
        },
        extensions::retry::{
            host::previous_hosts::v3::PreviousHostsPredicate,
            priority::previous_priorities::v3::PreviousPrioritiesConfig,
        },
    },
    google::protobuf::{Struct, Value, value},
};
use prost::Message;

use crate::{
    diag::Field,
    key::ObjectRef,
    model::{Action, Arm, Forward, Route, Shape, Target, VirtualHost, name},
    resources::{
        affinity, cluster, conditions, defaults,
        observe::{self, ARM_FILTER},
        pack,
    },
    settings::Mechanisms,
};

/// Name of our entry in a route's metadata; its only field is [`ORIGIN`].
pub const METADATA: &str = "convoy";

/// The user's object and field, as diagnostics print them: `%METADATA(ROUTE:convoy:origin)%`.
pub const ORIGIN: &str = "origin";

/// The encoded `VirtualHost` of one host. `shape_of` says how each target is built, because the
/// form decides the name of the cluster that a route uses.
pub fn encode_host(
    host: &VirtualHost,
    shape_of: &dyn Fn(&Target) -> Shape,
    mechanisms: &Mechanisms,
) -> Bytes {
    let builder = Builder { shape_of, mechanisms };
    let message = pb::VirtualHost {
        name: host.host.to_string(),
        domains: vec![host.host.to_string()],
        routes: host.routes.iter().map(|route| builder.route(host, route)).collect(),
        ..Default::default()
    };
    message.encode_to_vec().into()
}

struct Builder<'a> {
    shape_of: &'a dyn Fn(&Target) -> Shape,
    mechanisms: &'a Mechanisms,
}

impl Builder<'_> {
    fn route(&self, host: &VirtualHost, route: &Route) -> pb::Route {
        let action = match &route.action {
            Action::Forward(forward) => {
                RouteKind::Route(self.forward(forward, &route.origin.object))
            }
            Action::RedirectToHttps => RouteKind::Redirect(redirect_to_https()),
            Action::Deny => RouteKind::DirectResponse(pb::DirectResponseAction {
                status: 403,
                ..Default::default()
            }),
        };
        pb::Route {
            // What the access log has as the Ingress.
            name: route.origin.object.name.to_string(),
            r#match: Some(conditions::route_match(&host.host, &route.path, &route.conditions)),
            metadata: Some(origin(&route.origin)),
            action: Some(action),
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
            ..Default::default()
        }
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
            per_try_timeout: forward.per_try_timeout.and_then(pack::duration),
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

/// Host, path and query stay (semantics.md 3.2).
fn redirect_to_https() -> pb::RedirectAction {
    pb::RedirectAction {
        scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::HttpsRedirect(true)),
        response_code: pb::redirect_action::RedirectResponseCode::PermanentRedirect.into(),
        ..Default::default()
    }
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
