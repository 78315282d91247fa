use std::{
    collections::BTreeSet,
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::{
    key::{BackendKey, MemberId, PortRef},
    model::{ClusterWeights, StatusRange, Subset},
};

fn backend(service: &str) -> BackendKey {
    BackendKey { service: ObjectName::new("shop", service), port: PortRef::First }
}

fn in_member(member: &str) -> Target {
    Target::of(backend("web"), Subset { member: Some(member.into()), ..Subset::default() })
}

fn plain() -> Target {
    Target::of(backend("web"), Subset::default())
}

/// Envoys and dashboards know these: they never change.
#[test]
fn names_are_what_they_have_always_been() {
    for (target, expect) in [
        (plain(), "shop/web:*"),
        (in_member("c1"), "shop/web:*@c1"),
        (plain().or(&Target::of(backend("spare"), Subset::default())), "shop/web:*~786866f031"),
        (in_member("c1").or(&in_member("c2")), "shop/web:*@c1~86ab26e79a"),
    ] {
        assert_eq!(&*super::target(&target), expect);
    }
}

#[test]
fn whatever_differs_from_the_default_is_in_the_name() {
    let check = HealthCheck {
        probe: Probe::Tcp,
        timeout: Duration::from_secs(1),
        interval: Duration::from_secs(2),
        healthy: NonZeroU32::MIN,
        unhealthy: NonZeroU32::MIN,
        port: None,
    };
    let weights = [(MemberId::new("c1").unwrap(), 1)].into_iter().collect();
    let targets = [
        Target { weights, ..plain() },
        Target { health_check: Some(Arc::new(check)), ..plain() },
        Target { balance: Balance::LeastRequest, ..plain() },
    ];
    let names: BTreeSet<_> = targets.iter().map(super::target).collect();
    assert_eq!(names.len(), targets.len());
    assert!(names.iter().all(|name| name.starts_with("shop/web:*~")), "{names:?}");
}

/// Free text that tries to look like what stands around it.
fn free_text() -> impl Strategy<Value = Arc<str>> {
    prop::string::string_regex("[a;:= 0-3/,]{0,6}").unwrap().prop_map(Arc::from)
}

fn any_check() -> impl Strategy<Value = HealthCheck> {
    let statuses = prop::collection::btree_set((100..103u16, 103..105u16), 1..3);
    let http = (free_text(), any::<bool>(), statuses).prop_map(|(path, is_get, statuses)| {
        let method = if is_get { ProbeMethod::Get } else { ProbeMethod::Head };
        let range = |(first, last)| StatusRange::new(first, last).unwrap();
        Probe::Http { path, method, statuses: statuses.into_iter().map(range).collect() }
    });
    let probe = prop_oneof![Just(Probe::Tcp), http];
    let port = prop::option::of(1..3u16).prop_map(|port| port.and_then(NonZeroU16::new));
    (probe, 1..3u64, 1..3u64, 1..3u32, 1..3u32, port).prop_map(
        |(probe, timeout, interval, healthy, unhealthy, port)| HealthCheck {
            probe,
            timeout: Duration::from_millis(timeout),
            interval: Duration::from_millis(interval),
            healthy: NonZeroU32::new(healthy).unwrap(),
            unhealthy: NonZeroU32::new(unhealthy).unwrap(),
            port,
        },
    )
}

fn any_balance() -> impl Strategy<Value = Balance> {
    let ttl = prop::option::of((0..3u64).prop_map(Duration::from_nanos));
    let cookie = (free_text(), ttl).prop_map(|(name, ttl)| HashKey::Cookie { name, ttl });
    prop_oneof![
        Just(Balance::RoundRobin),
        Just(Balance::LeastRequest),
        Just(Balance::Hash(HashKey::SourceAddress)),
        free_text().prop_map(|name| Balance::Hash(HashKey::Query(name))),
        cookie.prop_map(Balance::Hash),
    ]
}

fn any_target() -> impl Strategy<Value = Target> {
    let weights = prop::collection::vec((prop::sample::select(vec!["c1", "c11"]), 0..12u32), 0..3);
    let weights = weights.prop_map(|weights| -> ClusterWeights {
        weights.into_iter().map(|(id, own)| (MemberId::new(id).unwrap(), own)).collect()
    });
    let check = prop::option::of(any_check().prop_map(Arc::new));
    let chain = prop::sample::select(vec![plain(), in_member("c1"), plain().or(&in_member("c1"))]);
    (chain, weights, check, any_balance()).prop_map(|(target, weights, health_check, balance)| {
        Target { weights, health_check, balance, ..target }
    })
}

proptest! {
    /// The hash is of 40 bits, so what it is of is compared.
    #[test]
    fn distinct_targets_have_distinct_texts(a in any_target(), b in any_target()) {
        prop_assert_eq!(a == b, canonical(&a) == canonical(&b), "{} {}", canonical(&a), canonical(&b));
    }
}
