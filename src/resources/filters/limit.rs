//! Rate limits of routes: token buckets of each Envoy (semantics.md 2.7, 3.5).
//!
//! A bucket belongs to the route as it was loaded: a change of the table begins with a full one.

use std::num::NonZeroU32;

use envoy_types::pb::envoy::{
    config::{
        core::v3::{self as core, RuntimeFractionalPercent},
        route::v3::{RateLimit as Descriptor, rate_limit},
    },
    extensions::{
        common::ratelimit::v3::{LocalRateLimitDescriptor, rate_limit_descriptor::Entry},
        filters::http::local_ratelimit::v3::LocalRateLimit,
    },
    r#type::v3::{FractionalPercent, HttpStatus, TokenBucket},
};

use crate::{
    model::RateLimit,
    resources::{defaults, pack},
};

/// Of the filter's statistics.
const STAT_PREFIX: &str = "limit";

/// The key under which Envoy counts a client's address.
const CLIENT: &str = "remote_address";

/// Tells a limit's 503 from a backend's.
const MARK: &str = "x-local-rate-limit";

/// What is in the chain, and limits nothing.
pub(super) fn in_chain() -> LocalRateLimit {
    LocalRateLimit { stat_prefix: STAT_PREFIX.into(), ..Default::default() }
}

/// What a route limits.
pub(super) fn of_route(limit: RateLimit) -> LocalRateLimit {
    let each = limit.each.map(|each| LocalRateLimitDescriptor {
        // xds: no value stands for every value, each with a bucket of its own.
        entries: vec![Entry { key: CLIENT.into(), ..Default::default() }],
        token_bucket: Some(bucket(each)),
        ..Default::default()
    });
    let by_client = each.is_some().then(|| Descriptor {
        actions: vec![rate_limit::Action {
            action_specifier: Some(rate_limit::action::ActionSpecifier::RemoteAddress(
                rate_limit::action::RemoteAddress {},
            )),
        }],
        ..Default::default()
    });
    LocalRateLimit {
        status: Some(HttpStatus { code: defaults::RATE_LIMITED.into() }),
        // xds: a route must have a bucket for all clients; this one is never empty.
        token_bucket: Some(bucket(limit.total.unwrap_or(NonZeroU32::MAX))),
        filter_enabled: all(),
        filter_enforced: all(),
        response_headers_to_add: vec![mark()],
        descriptors: each.into_iter().collect(),
        rate_limits: by_client.into_iter().collect(),
        max_dynamic_descriptors: pack::uint(defaults::RATE_LIMIT_CLIENTS),
        ..in_chain()
    }
}

/// So many a second; a second's worth at once.
fn bucket(per_second: NonZeroU32) -> TokenBucket {
    TokenBucket {
        max_tokens: per_second.get(),
        tokens_per_fill: pack::uint(per_second.get()),
        fill_interval: pack::duration(std::time::Duration::from_secs(1)),
    }
}

fn all() -> Option<RuntimeFractionalPercent> {
    let all = FractionalPercent { numerator: 100, ..Default::default() };
    Some(RuntimeFractionalPercent { default_value: Some(all), ..Default::default() })
}

fn mark() -> core::HeaderValueOption {
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: MARK.into(),
            value: "true".into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}
