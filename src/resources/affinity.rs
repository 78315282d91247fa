//! What of a request keeps it at its endpoint: the hash policies of a route (semantics.md 3.7).
//!
//! Owns how the wishes of several targets share one list. Must not know rings, which are the
//! clusters' own. Cost: the square of a route's arms.

use envoy_types::pb::envoy::config::route::v3::route_action::{
    HashPolicy,
    hash_policy::{ConnectionProperties, Cookie, PolicySpecifier, QueryParameter},
};

use crate::{
    model::{Arm, Balance, HashKey},
    resources::{defaults, pack},
};

/// The keys of all arms, main first; none if no arm has one. An arm that balances by no key never
/// asks for a hash, so it neither moves nor gets a cookie.
///
/// One list serves all arms, and the first policy that finds its key decides alone: a client that
/// keeps the first key stays where it is on every arm, whatever becomes of the others. A cookie
/// that several arms name is one, which the gateway gives if any of them wants it to, for the
/// longest time asked for.
pub(super) fn policies(arms: &[Arm]) -> Vec<HashPolicy> {
    let mut keys: Vec<HashKey> = Vec::new();
    for arm in arms {
        let Balance::Hash(key) = &arm.target.balance else { continue };
        match keys.iter_mut().find(|known| is_same(known, key)) {
            // Of equal cookies the greater lives longer, and one that is only read is the least.
            Some(known) => *known = (*known).clone().max(key.clone()),
            None => keys.push(key.clone()),
        }
    }
    keys.into_iter().map(policy).collect()
}

fn is_same(a: &HashKey, b: &HashKey) -> bool {
    match (a, b) {
        (HashKey::Cookie { name: a, .. }, HashKey::Cookie { name: b, .. }) => a == b,
        (HashKey::Cookie { .. } | HashKey::SourceAddress | HashKey::Query(_), _) => a == b,
    }
}

fn policy(key: HashKey) -> HashPolicy {
    let specifier = match key {
        HashKey::Cookie { name, ttl } => PolicySpecifier::Cookie(Cookie {
            name: name.to_string(),
            // xds: absent means that the cookie is never given, zero that it ends with the session.
            ttl: ttl.and_then(pack::duration),
            path: defaults::AFFINITY_COOKIE_PATH.into(),
            ..Default::default()
        }),
        HashKey::SourceAddress => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
        HashKey::Query(name) => {
            PolicySpecifier::QueryParameter(QueryParameter { name: name.to_string() })
        }
    };
    HashPolicy { terminal: true, policy_specifier: Some(specifier) }
}

#[cfg(test)]
mod tests;
