//! Shapes of targets, and their endpoints by priority and member.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Members with their Services; in a world, `c1 svc 10.0.0.1=gray 10.0.0.2` is a Service of c1
/// with one port 80 and these endpoints, a Pod behind each `=`.
#[derive(Debug)]
pub(super) struct World {
    pub(super) members: Vec<(MemberId, Locality, ServicesOfMember)>,
    unread: BTreeSet<MemberId>,
    /// Of each member, in order; zero of those that are not there.
    ranks: Vec<u32>,
}

impl World {
    pub(super) fn new(members: &str, services: &[&str]) -> World {
        let member = |id: &str| (super::tests::id(id), Locality::default(), BTreeMap::new());
        let mut members: Vec<_> = members.split_whitespace().map(member).collect();
        for line in services {
            let mut words = line.split_whitespace();
            let (id, own) = (words.next().unwrap(), words.next().unwrap());
            let (own, protocol) = own.split_once('/').unwrap_or((own, "http"));
            let endpoints: Vec<_> = words.collect();
            let service = service(own, &[&format!("{protocol}:80")]);
            let slices = [slice("s", &[(protocol, 80)], &endpoints)];
            let (_, _, services) = members.iter_mut().find(|(m, ..)| m.as_str() == id).unwrap();
            services.insert(name(own), Arc::new(shards_of(&service, &slices).0));
        }
        World { members, unread: BTreeSet::new(), ranks: Vec::new() }
    }

    /// The world, with these members never read.
    fn unread(mut self, members: &str) -> World {
        self.unread = members.split_whitespace().map(super::tests::id).collect();
        self
    }

    /// The world, with its members so far away.
    pub(super) fn ranked(self, ranks: &[u32]) -> World {
        World { ranks: ranks.to_vec(), ..self }
    }

    pub(super) fn offers(&self) -> Vec<Offer<'_>> {
        let ranks = self.ranks.iter().copied().chain(std::iter::repeat(0));
        let offer = |((member, locality, services), rank)| Offer {
            member,
            locality,
            rank,
            services,
            is_unread: self.unread.contains(member),
        };
        let members = self.members.iter().map(|(m, l, s)| (m, l, s));
        members.zip(ranks).map(offer).collect()
    }

    pub(super) fn form(&self, target: &Target) -> Form {
        shape(target, &self.offers()).0.form
    }

    pub(super) fn arrange(&self, target: &Target) -> (Arrangement, Vec<Issue>) {
        arrange(target, &self.offers(), self.form(target))
    }
}

fn backend(own: &str) -> BackendKey {
    BackendKey { service: name(own), port: port("80") }
}

/// A subset as a target's name shows it: `c1`, `pod=gray`, `c1,pod=gray`; empty for all.
fn subset(text: &str) -> Subset {
    let mut subset = Subset::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((key, value)) => drop(subset.labels.insert(key.into(), value.into())),
            None => subset.member = Some(part.into()),
        }
    }
    subset
}

/// `svc@c1` with the rest after it, and more such after `>`.
pub(super) fn target(text: &str) -> Target {
    let of = |text: &str| {
        let (service, own) = text.split_once('@').unwrap_or((text, ""));
        Target::of(backend(service), subset(own))
    };
    let mut parts = text.split('>').map(of);
    let first = parts.next().unwrap();
    parts.fold(first, |target, other| target.or(&other))
}

/// Levels separated by ` | `: `c1(2) 10.0.0.1 10.0.0.2` a share, `c1(0)` a placeholder.
pub(super) fn levels(priorities: &[Vec<LocalityShare>]) -> String {
    let share = |share: &LocalityShare| {
        let addresses = share.endpoints.iter().map(|e| format!(" {}", e.address.ip()));
        format!("{}({}){}", share.member, share.weight, addresses.collect::<String>())
    };
    let level = |level: &Vec<LocalityShare>| level.iter().map(share).collect::<Vec<_>>().join(" ");
    priorities.iter().map(level).collect::<Vec<_>>().join(" | ")
}

pub(super) fn said(issues: &[Issue]) -> Vec<String> {
    let route = ObjectRef::fleet(ObjectKind::Ingress, name("i"));
    let origin = Field::of(&route);
    issues.iter().flat_map(|issue| issue.diags([&origin])).map(|diag| diag.to_string()).collect()
}

#[track_caller]
fn check(world: &World, target_text: &str, groups: &str, members: Option<&str>) {
    check_target(world, &target(target_text), groups, members);
}

#[track_caller]
pub(super) fn check_target(world: &World, target: &Target, groups: &str, members: Option<&str>) {
    let (arrangement, _) = world.arrange(target);
    assert_eq!(levels(&arrangement.groups.priorities), groups, "groups of {target:?}");
    let own = arrangement.members.map(|members| levels(&members.priorities));
    assert_eq!(own.as_deref(), members, "members of {target:?}");
}

#[test]
fn row_016_shares_follow_the_replicas() {
    let world = World::new("c1 c2", &["c1 svc 10.0.0.1 10.0.0.2", "c2 svc 10.1.0.1"]);
    check(
        &world,
        "svc",
        "c1(2) 10.0.0.1 10.0.0.2 c2(1) 10.1.0.1",
        Some("c1(0) | c2(1) 10.1.0.1 | c1(2) 10.0.0.1 10.0.0.2"),
    );
    let (arrangement, issues) = world.arrange(&target("svc"));
    assert_eq!(arrangement.groups.overprovisioning, OVERPROVISIONING_SINGLE);
    assert_eq!(arrangement.members.unwrap().overprovisioning, OVERPROVISIONING_SEVERAL);
    assert_eq!(issues, []);
}

#[test]
fn equal_shares_keep_the_order_of_remote_clusters() {
    let world = World::new("c2 c1", &["c1 svc 10.0.0.1", "c2 svc 10.1.0.1"]);
    check(
        &world,
        "svc",
        "c2(1) 10.1.0.1 c1(1) 10.0.0.1",
        Some("c2(0) | c2(1) 10.1.0.1 | c1(1) 10.0.0.1"),
    );
}

/// The form stays, so that scaling to zero is a change of endpoints only.
#[test]
fn row_019_a_member_scaled_to_zero() {
    let world = World::new("c1 c2", &["c1 svc", "c2 svc 10.1.0.1"]);
    assert_eq!(world.form(&target("svc")), Form::Composite);
    check(&world, "svc", "c2(1) 10.1.0.1", Some("c1(0) | c1(0) | c2(1) 10.1.0.1"));
}

#[test]
fn row_024_a_service_that_one_member_has() {
    let world = World::new("c1 c2", &["c2 svc 10.1.0.1"]);
    check(&world, "svc", "c2(1) 10.1.0.1", None);
    assert_eq!(shape(&target("svc"), &world.offers()).1, []);
}

#[test]
fn row_025_and_026_nobody_has_anything() {
    let world = World::new("c1 c2", &[]);
    check(&world, "svc", "c1(0)", None);
    assert_eq!(
        said(&shape(&target("svc"), &world.offers()).1),
        ["error: Ingress web/i: ServiceNotFound: no member has the Service web/svc"]
    );
    check(
        &World::new("c1 c2", &["c1 svc", "c2 svc"]),
        "svc",
        "c1(0)",
        Some("c1(0) | c1(0) | c2(0)"),
    );
    check(&World::new("", &[]), "svc@c1", " | ", None);
}

/// Nobody knows yet what it has, so nothing is said to be missing, and a target may span it.
#[test]
fn a_member_that_was_never_read_may_have_anything() {
    let world = World::new("c1 c2", &["c1 svc 10.0.0.1=gray"]).unread("c2");
    check(&world, "svc", "c1(1) 10.0.0.1", Some("c1(0) | c1(1) 10.0.0.1"));
    for (target_text, form) in [
        ("svc", Form::Composite),
        ("other", Form::Plain),
        ("svc@c1", Form::Plain),
        ("svc@c2", Form::Plain),
        ("svc@pod=blue", Form::Composite),
    ] {
        assert_eq!(world.form(&target(target_text)), form, "{target_text}");
        let target = target(target_text);
        assert_eq!(said(&shape(&target, &world.offers()).1), [""; 0]);
        assert_eq!(said(&world.arrange(&target).1), [""; 0]);
    }
    let nobody = World::new("c1 c2 c3", &[]).unread("c2 c3");
    assert_eq!(nobody.form(&target("svc")), Form::Composite);
    check(&nobody, "svc", "c1(0)", Some("c1(0)"));
}

#[test]
fn row_030_a_port_that_one_member_lacks() {
    let mut world = World::new("c1 c2", &["c1 svc 10.0.0.1"]);
    let lacking = shards_of(&service("svc", &["http:81"]), &[]).0;
    world.members[1].2.insert(name("svc"), Arc::new(lacking));
    check(&world, "svc", "c1(1) 10.0.0.1", None);
    assert_eq!(
        said(&shape(&target("svc"), &world.offers()).1),
        ["warning: Ingress web/i: PortNotFound: web/svc of member c2 has no port `80`"]
    );
}

#[test]
fn an_external_name_is_no_missing_port() {
    let mut world = World::new("c1 c2", &["c1 svc 10.0.0.1"]);
    let external = Service { kind: ServiceKind::ExternalName, ..service("svc", &["http:80"]) };
    world.members[1].2.insert(name("svc"), Arc::new(shards_of(&external, &[]).0));
    assert_eq!(
        said(&shape(&target("svc"), &world.offers()).1),
        ["warning: Ingress web/i: UnsupportedBackend: web/svc of member c2 is an ExternalName; \
          not used"]
    );
}

#[test]
fn row_039_an_address_of_two_members_is_the_first_ones() {
    let world =
        World::new("c1 c2", &["c1 svc 10.0.0.1 10.0.0.2", "c2 svc 10.0.0.1 10.0.0.2 10.1.0.1"]);
    check(
        &world,
        "svc",
        "c1(2) 10.0.0.1 10.0.0.2 c2(1) 10.1.0.1",
        Some("c1(0) | c2(1) 10.1.0.1 | c1(2) 10.0.0.1 10.0.0.2"),
    );
    assert_eq!(
        said(&world.arrange(&target("svc")).1),
        ["warning: Service web/svc of member c2: AddressConflict: 10.0.0.1:80 (and 1 more) is \
          also an endpoint of member c1, which is preferred; Pod networks of members must not \
          overlap"]
    );
    // The first group wins before the first member does.
    check(&world, "svc@c2", "c2(3) 10.0.0.1 10.0.0.2 10.1.0.1 | c1(0)", None);
    assert!(said(&world.arrange(&target("svc@c2")).1)[0].contains("of member c1: AddressConflict"));
}

/// One member a group needs no second assignment (M31c).
#[test]
fn row_040_primary_and_secondary() {
    let world = World::new("c1 c2", &["c1 svc 10.0.0.1", "c2 svc 10.1.0.1 10.1.0.2"]);
    check(&world, "svc@c1", "c1(1) 10.0.0.1 | c2(2) 10.1.0.1 10.1.0.2", None);
    let (arrangement, issues) = world.arrange(&target("svc@c1"));
    assert_eq!(arrangement.groups.overprovisioning, OVERPROVISIONING_SEVERAL);
    assert_eq!(issues, []);
}

#[test]
fn row_043_and_045_the_primary_is_empty() {
    let world = World::new("c1 c2", &["c1 svc", "c2 svc 10.1.0.1"]);
    check(&world, "svc@c1", "c1(0) | c2(1) 10.1.0.1", None);
    let world = World::new("c1 c2 c3", &["c1 svc", "c2 svc 10.1.0.1 10.1.0.2", "c3 svc 10.2.0.1"]);
    check(
        &world,
        "svc@c1",
        "c1(0) | c2(2) 10.1.0.1 10.1.0.2 c3(1) 10.2.0.1",
        Some("c1(0) | c1(0) | c3(1) 10.2.0.1 | c2(2) 10.1.0.1 10.1.0.2 | c1(0)"),
    );
}

#[test]
fn row_049_a_subset_that_names_nobody() {
    let world = World::new("c1 c2", &["c1 svc 10.0.0.1", "c2 svc 10.1.0.1"]);
    check(
        &world,
        "svc@typo",
        "c1(0) | c1(1) 10.0.0.1 c2(1) 10.1.0.1",
        Some("c1(0) | c1(0) | c1(1) 10.0.0.1 | c2(1) 10.1.0.1"),
    );
    assert_eq!(
        said(&world.arrange(&target("svc@typo")).1),
        ["warning: Ingress web/i: SubsetEmpty: no ready endpoint of web/svc:80 is `typo`"]
    );
}

#[test]
fn row_050_and_051_labels_and_cluster_together() {
    let world =
        World::new("c1 c2", &["c1 svc 10.0.0.1=gray 10.0.0.2=base", "c2 svc 10.1.0.1=gray"]);
    check(
        &world,
        "svc@c1,pod=gray",
        "c1(1) 10.0.0.1 | c1(1) 10.0.0.2 c2(1) 10.1.0.1",
        Some("c1(0) | c1(0) | c2(1) 10.1.0.1 | c1(1) 10.0.0.1"),
    );
    assert!(said(&world.arrange(&target("svc@c1,pod=none")).1)[0].contains("SubsetEmpty"));
}

/// M31b: away from the first group's member first.
#[test]
fn a_canary_that_one_member_has() {
    let world =
        World::new("c1 c2", &["c1 canary 10.0.9.1", "c1 svc 10.0.0.1", "c2 svc 10.1.0.1 10.1.0.2"]);
    check(
        &world,
        "canary>svc",
        "c1(1) 10.0.9.1 | c1(1) 10.0.0.1 c2(2) 10.1.0.1 10.1.0.2",
        Some("c1(0) | c1(0) | c2(2) 10.1.0.1 10.1.0.2 | c1(1) 10.0.9.1"),
    );
}

#[test]
fn a_chain_names_what_is_missing_in_it() {
    let world = World::new("c1", &["c1 svc 10.0.0.1"]);
    assert_eq!(
        said(&shape(&target("svc>fallback"), &world.offers()).1),
        ["warning: Ingress web/i: ServiceNotFound: no member has the Service web/fallback"]
    );
}

#[test]
fn forms() {
    let world = World::new(
        "c1 c2 c3",
        &["c1 two", "c2 two", "c1 three", "c2 three", "c3 three", "c1 one", "c2 other"],
    );
    for (text, form) in [
        ("nobody", Form::Plain),
        ("one", Form::Plain),
        ("two", Form::Composite),
        ("two@c1", Form::Plain),
        ("two@c2", Form::Plain),
        ("two@c3", Form::Composite),
        ("two@typo", Form::Composite),
        ("two@pod=a", Form::Composite),
        ("two@c1,pod=a", Form::Composite),
        ("three@c1", Form::Composite),
        ("one>two", Form::Composite),
        ("one>other", Form::Plain),
        ("one>two@c1", Form::Plain),
        ("two@c2>two@c1", Form::Plain),
    ] {
        assert_eq!(world.form(&target(text)), form, "{text}");
    }
}

#[test]
fn the_first_member_decides_the_protocol() {
    let world = World::new("c1 c2 c3", &["c2 svc/grpc 10.1.0.1", "c3 svc 10.2.0.1"]);
    let (shape, issues) = shape(&target("svc"), &world.offers());
    assert_eq!(shape.protocol, Protocol::Http2);
    assert_eq!(
        said(&issues),
        ["warning: Service web/svc of member c3: spec.ports: ProtocolConflict: port 80 speaks \
          HTTP/1.1, but web/svc:80 of member c2, which comes first, speaks HTTP/2, which is used \
          for both"]
    );
    let nobody = super::shape(&target("nobody"), &world.offers()).0;
    assert_eq!(nobody.protocol, Protocol::Http1);
}

pub(super) fn any_world() -> impl Strategy<Value = World> {
    let service = (
        prop::sample::select(vec!["c1", "c2", "c3"]),
        prop::sample::select(vec!["svc", "canary"]),
        prop::collection::vec((0..6u8, prop::sample::select(vec!["a", "b"])), 0..5),
    );
    prop::collection::vec(service, 0..6).prop_map(|services| {
        let line = |(member, own, endpoints): &(&str, &str, Vec<(u8, &str)>)| {
            let endpoints = endpoints.iter().map(|(host, pod)| format!(" 10.0.0.{host}={pod}"));
            format!("{member} {own}{}", endpoints.collect::<String>())
        };
        let lines: Vec<_> = services.iter().map(line).collect();
        World::new("c1 c2 c3", &lines.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

pub(super) fn any_target() -> impl Strategy<Value = Target> {
    let links = || {
        let subsets = vec!["", "@c1", "@c3", "@typo", "@pod=a", "@c2,pod=b"];
        (prop::sample::select(vec!["svc", "canary"]), prop::sample::select(subsets))
            .prop_map(|(service, subset)| format!("{service}{subset}"))
    };
    prop::collection::vec(links(), 1..4).prop_map(|links| target(&links.join(">")))
}

proptest! {
    #[test]
    fn an_arrangement_is_what_envoy_accepts(world in any_world(), target in any_target()) {
        let (shape, _) = shape(&target, &world.offers());
        let (Arrangement { groups, members }, _) = world.arrange(&target);
        prop_assert_eq!(groups.priorities.len(), target.chain.len());
        prop_assert_eq!(members.is_some(), shape.form == Form::Composite);
        for assignment in [Some(&groups), members.as_ref()].into_iter().flatten() {
            let mut seen = std::collections::BTreeSet::new();
            for level in &assignment.priorities {
                prop_assert!(!level.is_empty(), "a level without a locality is a gap");
                let mut localities = std::collections::BTreeSet::new();
                for share in level {
                    prop_assert!(localities.insert(&share.member));
                    prop_assert_eq!(share.weight as usize, share.endpoints.len());
                    prop_assert!(share.endpoints.is_sorted());
                    prop_assert!(share.endpoints.iter().all(|address| seen.insert(*address)));
                }
                let is_empty = level.iter().all(|share| share.endpoints.is_empty());
                prop_assert!(!is_empty || level.len() == 1);
                prop_assert!(is_empty || level.iter().all(|share| share.weight > 0));
            }
        }
        // A group spans members only where the form allows for it.
        let spans = groups.priorities.iter().any(|level| level.len() > 1);
        prop_assert!(!spans || shape.form == Form::Composite);
        if let Some(members) = members {
            let (padding, levels) = members.priorities.split_at(target.chain.len());
            prop_assert!(padding.iter().flatten().all(|share| share.endpoints.is_empty()));
            prop_assert!(levels.iter().all(|level| level.len() == 1));
        }
    }

    /// Every endpoint that some link asks for is in the arrangement.
    #[test]
    fn nothing_is_lost(world in any_world(), target in any_target()) {
        let (arrangement, _) = world.arrange(&target);
        let last: Link = target.chain.last().unwrap().clone();
        let groups = arrangement.groups.priorities.iter().flatten();
        let served: std::collections::BTreeSet<_> =
            groups.flat_map(|share| share.endpoints.iter().map(|e| e.address)).collect();
        for (_, _, services) in &world.members {
            let Some(shard) = services.get(&last.backend.service) else { continue };
            for endpoint in &shard.shard(&last.backend.port).unwrap().endpoints {
                prop_assert!(!last.subset.is_all() || served.contains(&endpoint.address));
            }
        }
    }
}
