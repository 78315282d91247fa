//! Members in order of their weight or of how near they are.

use std::{collections::BTreeSet, net::SocketAddr, num::NonZeroU32};

use proptest::prelude::*;

use super::{
    assignments::{World, any_target, any_world, check_target, levels, said, target},
    *,
};
use crate::model::{ClusterWeights, ShardEndpoint, Target, WeightedAddress};

/// `svc@c1 >` as in [`target`], with weights `c1=80 c2=20`.
fn weighted(text: &str, weights: &str) -> Target {
    let weight = |text: &str| {
        let (member, weight) = text.split_once('=').unwrap();
        (id(member), weight.parse().unwrap())
    };
    let weights = weights.split_whitespace().map(weight).collect();
    Target { weights, ..target(text) }
}

/// Members with so many replicas of `svc`, each in a network of its own.
fn replicas(counts: &[usize]) -> World {
    let member = |(idx, count): (usize, &usize)| {
        let addresses = (1..=*count).map(|n| format!(" 10.{idx}.0.{n}")).collect::<String>();
        format!("c{} svc{addresses}", idx + 1)
    };
    let services: Vec<_> = counts.iter().enumerate().map(member).collect();
    let ids: Vec<_> = (1..=counts.len()).map(|n| format!("c{n}")).collect();
    World::new(&ids.join(" "), &services.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Only the shares: `c1(80) c2(20) | c3(1)`.
fn shares(world: &World, target: &Target) -> String {
    let mut levels_of = world.arrange(target).0.groups.priorities;
    levels_of.iter_mut().flatten().for_each(|share| share.endpoints.clear());
    levels(&levels_of)
}

fn overprovisioning(world: &World, target: &Target) -> u32 {
    world.arrange(target).0.groups.overprovisioning
}

#[test]
fn row_169_weights_beat_replicas() {
    let (world, target) = (replicas(&[1, 9]), weighted("svc", "c1=80 c2=20"));
    assert_eq!(shares(&world, &target), "c1(80) c2(20)");
    let (arrangement, issues) = world.arrange(&target);
    assert_eq!(arrangement.groups.overprovisioning, OVERPROVISIONING_SEVERAL);
    // The first attempt most likely went to c1.
    let members = levels(&arrangement.members.unwrap().priorities);
    assert!(members.starts_with("c1(0) | c2(20) "), "{members}");
    assert_eq!(issues, []);
    let (shape, issues) = shape(&target, &world.offers());
    assert_eq!((shape.form, shape.groups, issues), (Form::Composite, 1, vec![]));
}

#[test]
fn row_171_a_member_without_endpoints_leaves_its_share_to_the_others() {
    let target = weighted("svc", "c1=80 c2=20 c3=60");
    assert_eq!(shares(&replicas(&[0, 9, 1]), &target), "c2(20) c3(60)");
    assert_eq!(shares(&replicas(&[0, 0, 0]), &target), "c1(0)");
}

#[test]
fn row_172_who_is_not_named_is_the_last_resort() {
    let target = weighted("svc", "c1=100");
    check_target(&replicas(&[1, 1]), &target, "c1(100) 10.0.0.1 | c2(1) 10.1.0.1", None);
    check_target(&replicas(&[0, 1]), &target, "c1(0) | c2(1) 10.1.0.1", None);
    // A weight of zero says the same, so it is the same target.
    assert_eq!(weighted("svc", "c1=100 c2=0"), target);
    // Replicas decide among those that are left.
    assert_eq!(shares(&replicas(&[2, 3, 4]), &target), "c1(100) | c2(3) c3(4)");
    assert_eq!(shares(&replicas(&[2, 3, 4]), &weighted("svc", "c3=7")), "c3(7) | c1(2) c2(3)");
}

#[test]
fn weights_hold_in_every_link() {
    let world = World::new(
        "c1 c2 c3",
        &[
            "c1 svc 10.0.0.1=gray 10.0.0.2=base",
            "c2 svc 10.1.0.1=gray 10.1.0.2=base",
            "c3 svc 10.2.0.1=gray",
            "c3 spare 10.2.0.9",
        ],
    );
    check_target(
        &world,
        &weighted("svc@pod=gray>spare", "c1=80 c2=20"),
        "c1(80) 10.0.0.1 c2(20) 10.1.0.1 | c3(1) 10.2.0.1 | c1(80) 10.0.0.2 c2(20) 10.1.0.2 | \
         c3(0) | c1(0) | c3(1) 10.2.0.9",
        Some(
            "c1(0) | c3(0) | c1(0) | c3(0) | c1(0) | c3(0) | c3(1) 10.2.0.1 | c2(20) 10.1.0.1 | \
             c1(80) 10.0.0.1",
        ),
    );
    // Who is asked alone has a group alone, whatever its weight.
    check_target(
        &world,
        &weighted("svc@c3", "c1=80 c2=20"),
        "c3(1) 10.2.0.1 | c1(80) 10.0.0.1 10.0.0.2 c2(20) 10.1.0.1 10.1.0.2 | c3(0)",
        Some(
            "c3(0) | c1(0) | c3(0) | c2(20) 10.1.0.1 10.1.0.2 | c1(80) 10.0.0.1 10.0.0.2 | \
             c3(1) 10.2.0.1",
        ),
    );
}

#[test]
fn weights_of_strangers() {
    let world = replicas(&[1, 3]);
    let issue = |weights: &str| said(&shape(&weighted("svc", weights), &world.offers()).1);
    assert_eq!(
        issue("c1=80 c7=10 c9=10"),
        ["warning: Ingress web/i: ClusterNotFound: the weight of `c7` and 1 more, no member of \
          the gateway: ignored"]
    );
    assert_eq!(
        issue("c9=10"),
        ["warning: Ingress web/i: ClusterNotFound: the weight of `c9`, no member of the gateway: \
          no member of it has a weight, and every replica is equal"]
    );
    assert_eq!(shares(&world, &weighted("svc", "c1=80 c9=10")), "c1(80) | c2(3)");
    let none = weighted("svc", "c9=10");
    assert_eq!(shares(&world, &none), "c1(1) c2(3)");
    assert_eq!(overprovisioning(&world, &none), OVERPROVISIONING_SINGLE);
}

#[test]
fn the_near_come_first() {
    let target = target("svc");
    for (ranks, expect) in [
        ([0, 0, 0], "c1(1) c2(2) c3(3)"),
        ([1, 1, 1], "c1(1) c2(2) c3(3)"),
        ([0, 0, 1], "c1(1) c2(2) | c3(3)"),
        ([2, 0, 1], "c2(2) | c3(3) | c1(1)"),
        ([2, 2, 0], "c3(3) | c1(1) c2(2)"),
    ] {
        let world = replicas(&[1, 2, 3]).ranked(&ranks);
        assert_eq!(shares(&world, &target), expect, "{ranks:?}");
    }
    let near = replicas(&[1, 2, 3]).ranked(&[0, 0, 1]);
    assert_eq!(overprovisioning(&near, &target), OVERPROVISIONING_SEVERAL);
    let (shape, _) = shape(&target, &near.offers());
    assert_eq!((shape.form, shape.groups), (Form::Composite, 2));
    // Each group lies in one member.
    let apart = replicas(&[1, 2, 3]).ranked(&[0, 1, 2]);
    assert_eq!(apart.form(&target), Form::Plain);
    // Weights decide alone.
    assert_eq!(shares(&near, &weighted("svc", "c3=1")), "c3(1) | c1(1) c2(2)");
}

#[test]
fn a_subset_comes_before_what_is_near() {
    let world = replicas(&[1, 1, 1]).ranked(&[0, 1, 0]);
    assert_eq!(shares(&world, &target("svc@c2")), "c2(1) | c1(1) c3(1) | c2(0)");
    assert_eq!(shares(&world, &target("svc@typo")), "c1(0) | c1(1) c3(1) | c2(1)");
}

/// A shard whose endpoints are not one replica each, as nodes in front of Pods are.
#[test]
fn part_of_a_shard_has_part_of_its_replicas() {
    let address = |host: u8| SocketAddr::from(([10, 0, 0, host], 80));
    let endpoint = |(host, weight): &(u8, u32)| ShardEndpoint {
        address: address(*host),
        weight: NonZeroU32::new(*weight).unwrap(),
        labels: Arc::default(),
    };
    for (replicas, weights, kept, expect) in [
        (4, &[(1, 3), (2, 1)][..], &[1, 2][..], 4),
        (4, &[(1, 3), (2, 1)], &[1], 3),
        (4, &[(1, 3), (2, 1)], &[2], 1),
        (7, &[(1, 1), (2, 1), (3, 1)], &[1, 2], 5),
        (1, &[(1, 1), (2, 1), (3, 1), (4, 1)], &[1], 1),
        (0, &[(1, 1)], &[1], 1),
        (u32::MAX, &[(1, u32::MAX), (2, u32::MAX)], &[1], u32::MAX / 2 + 1),
    ] {
        let endpoints = weights.iter().map(endpoint).collect();
        let shard = Shard { protocol: Protocol::Http1, replicas, endpoints };
        let own = shard.endpoints.iter().filter(|e| kept.iter().any(|k| e.address == address(*k)));
        let kept: Vec<_> =
            own.map(|e| WeightedAddress { address: e.address, weight: e.weight }).collect();
        assert_eq!(super::arrange::replicas(&shard, &kept), expect, "{replicas} {weights:?}");
    }
}

fn any_weights() -> impl Strategy<Value = ClusterWeights> {
    let weight = (prop::sample::select(vec!["c1", "c2", "c3", "c9"]), 0..3u32);
    prop::collection::vec(weight, 0..4)
        .prop_map(|weights| weights.into_iter().map(|(member, own)| (id(member), own)).collect())
}

proptest! {
    #[test]
    fn groups_are_what_envoy_accepts(
        world in any_world(),
        target in any_target(),
        weights in any_weights(),
        ranks in prop::collection::vec(0..3u32, 3),
    ) {
        let world = world.ranked(&ranks);
        let even = world.arrange(&target).0;
        let target = Target { weights, ..target };
        let (shape, _) = shape(&target, &world.offers());
        let (Arrangement { groups, members }, _) = world.arrange(&target);
        prop_assert_eq!(groups.priorities.len(), shape.groups as usize);
        prop_assert_eq!(members.is_some(), shape.form == Form::Composite);
        let addresses = |own: &[Vec<LocalityShare>]| -> Vec<SocketAddr> {
            own.iter().flatten().flat_map(|share| &share.endpoints).map(|e| e.address).collect()
        };
        let served = addresses(&groups.priorities);
        let set: BTreeSet<_> = served.iter().copied().collect();
        prop_assert_eq!(served.len(), set.len(), "an address is there once");
        let all: BTreeSet<_> = addresses(&even.groups.priorities).into_iter().collect();
        prop_assert_eq!(set, all, "weights move endpoints, and lose none");
        for level in &groups.priorities {
            prop_assert!(!level.is_empty(), "a level without a locality is a gap");
            let is_empty = level.iter().all(|share| share.endpoints.is_empty());
            prop_assert!(is_empty || level.iter().all(|share| share.weight > 0));
            prop_assert!(level.len() == 1 || shape.form == Form::Composite);
        }
        if let Some(members) = members {
            let (padding, levels) = members.priorities.split_at(groups.priorities.len());
            prop_assert!(padding.iter().flatten().all(|share| share.endpoints.is_empty()));
            prop_assert!(levels.iter().all(|level| level.len() == 1));
        }
    }

    /// Scaling moves endpoints, and neither clusters nor routes.
    #[test]
    fn groups_do_not_depend_on_endpoints(
        world in any_world(),
        target in any_target(),
        weights in any_weights(),
        ranks in prop::collection::vec(0..3u32, 3),
    ) {
        let target = Target { weights, ..target };
        let before = shape(&target, &world.offers()).0.groups;
        let bare = World::new("c1 c2 c3", &[]);
        prop_assert_eq!(shape(&target, &bare.offers()).0.groups, before);
        let ranked = (world.ranked(&ranks), bare.ranked(&ranks));
        let groups = |world: &World| shape(&target, &world.offers()).0.groups;
        prop_assert_eq!(groups(&ranked.0), groups(&ranked.1));
    }
}
