//! A member's life: first sync, refusals, outages, conflicts.

use super::{
    fake::{Fake, pod, refusal, service, silence, slice},
    *,
};

async fn shop(uid: &str, address: &str) -> (Fake, String) {
    let fake = Fake::new(uid);
    fake.put("services", service("web"));
    fake.put("endpointslices", slice("web", &[address]));
    let server = fake.serve().await;
    (fake, server)
}

fn lists(fake: &Fake) -> usize {
    fake.log().iter().filter(|request| request.is_list("services")).count()
}

async fn live_shop() -> (World, Fake) {
    live_shop_with(TIMINGS()).await
}

async fn live_shop_with(timings: SourceTimings) -> (World, Fake) {
    let (fake, server) = shop("u1", "10.1.0.1").await;
    let mut world = World::with(timings);
    world.register(registration("c1", at(&server), 1));
    world.until("live", |world| world.is_live("c1")).await;
    (world, fake)
}

#[tokio::test]
async fn a_member_comes_in_one_batch() {
    let (mut world, fake) = live_shop().await;
    let expect = [
        "member c1: registered",
        "member c1: Connecting",
        "member c1: Syncing",
        "member c1: 1 Service",
        "member c1: 1 EndpointSlice",
        "member c1: 0 Pod",
        "member c1: 0 Node",
        "member c1: synced",
        "member c1: Live",
    ];
    let said: Vec<_> = world.said.iter().filter(|line| !line.contains("SyncTimeout")).collect();
    assert_eq!(said, expect);
    assert_eq!(world.served("c1"), "web 10.1.0.1");

    fake.put("endpointslices", slice("web", &["10.1.0.1", "10.1.0.2"]));
    fake.put("services", service("new"));
    world.until("changed", |world| world.served("c1") == "new, web 10.1.0.1 10.1.0.2").await;
    fake.delete("services", "shop", "web");
    world.until("deleted", |world| world.served("c1") == "new").await;
    let traffic = world.meter.read().into_values().next().unwrap();
    assert_eq!((traffic.lists, traffic.last_contact.is_some()), (2, true), "{traffic:?}");
}

#[tokio::test]
async fn pods_are_read_where_they_are_wanted_and_nowhere_else() {
    let (mut world, fake) = live_shop().await;
    fake.put("pods", pod("shop", "a"));
    fake.put("pods", pod("other", "b"));
    let wants = |namespaces: &[&str]| Wanted {
        is_known: true,
        pod_namespaces: namespaces.iter().map(|own| Arc::from(*own)).collect(),
        ..Wanted::default()
    };
    let knows = |world: &World, namespace: &str, name: &str| {
        let own = world.store.member(&member("c1")).unwrap();
        own.pod_labels(&ObjectName::new(namespace, name)).is_some()
    };
    world.wanted.send_replace(wants(&["shop"]));
    world.until("one namespace", |world| knows(world, "shop", "a")).await;
    world.wanted.send_replace(wants(&["shop", "other"]));
    world.until("both", |w| knows(w, "shop", "a") && knows(w, "other", "b")).await;
    world.wanted.send_replace(wants(&["other"]));
    world.until("the other", |w| !knows(w, "shop", "a") && knows(w, "other", "b")).await;
    let asked = fake.log().into_iter().filter(|request| request.kind == "pods");
    assert!(asked.map(|request| request.namespace).all(|own| own.is_some()));
}

/// One Ingress that asks for labels of Pods must not cost the others the member.
#[tokio::test]
async fn fault_a07_pods_that_are_refused_are_done_without() {
    let (mut world, fake) = live_shop().await;
    fake.trick(|request| {
        (request.kind == "pods").then(|| refusal(403, "Forbidden", "not for you"))
    });
    let pod_namespaces = [Arc::from("shop")].into();
    let asks = Wanted { is_known: true, pod_namespaces, ..Wanted::default() };
    world.wanted.send_replace(asks);
    world.until("said", |world| world.is_stale("c1", "Forbidden")).await;
    fake.put("endpointslices", slice("web", &["10.1.0.2"]));
    world.until("read on", |world| world.served("c1") == "web 10.1.0.2").await;
    fake.behave();
    world.until("live", |world| world.is_live("c1")).await;

    let (fake, server) = shop("u2", "10.2.0.1").await;
    fake.trick(|request| {
        (request.kind == "pods").then(|| refusal(403, "Forbidden", "not for you"))
    });
    world.register(registration("c2", at(&server), 1));
    world.until("served", |world| world.served("c2") == "web 10.2.0.1").await;
}

#[tokio::test]
async fn a_member_is_not_synced_before_it_is_known_which_pods_are_wanted() {
    let (fake, server) = shop("u1", "10.1.0.1").await;
    let mut world = World::new();
    world.wanted.send_replace(Wanted::default());
    world.register(registration("c1", at(&server), 1));
    world.until("overdue", |world| world.is_stale("c1", "SyncTimeout")).await;
    assert_eq!(world.served("c1"), "");
    fake.put("pods", pod("shop", "a"));
    let pod_namespaces = [Arc::from("shop")].into();
    world.wanted.send_replace(Wanted { is_known: true, pod_namespaces, ..Wanted::default() });
    world.until("live", |world| world.is_live("c1")).await;
    assert!(world.said.contains(&"member c1: 1 Pod".to_owned()), "{:?}", world.said);
}

#[tokio::test]
async fn fault_a07_a_kind_that_is_refused_freezes_the_others() {
    for (code, reason, expect) in [
        (403, "Forbidden", "Forbidden"),
        (401, "Unauthorized", "Unauthorized"),
        (404, "NotFound", "KindUnavailable"),
    ] {
        let (mut world, fake) = live_shop().await;
        fake.trick(move |request| {
            (request.kind == "endpointslices").then(|| refusal(code, reason, "not for you"))
        });
        fake.cut(None);
        world.until("stale", |world| world.is_stale("c1", expect)).await;
        let Health::Stale { message, .. } = world.health("c1") else { unreachable!() };
        assert!(message.contains("endpointslices: "), "{message}");

        fake.put("services", service("late"));
        fake.put("endpointslices", slice("late", &["10.1.0.9"]));
        let frozen = |world: &World| assert_eq!(world.served("c1"), "web 10.1.0.1");
        world.throughout(Duration::from_secs(1), frozen).await;
        frozen(&world);

        fake.behave();
        world.until("live", |world| world.is_live("c1")).await;
        assert_eq!(world.served("c1"), "late 10.1.0.9, web 10.1.0.1");
    }
}

#[tokio::test]
async fn fault_a07_a_member_whose_watch_is_refused_is_not_opened_again_and_again() {
    let (mut world, fake) = live_shop().await;
    fake.trick(|request| {
        request.is_watch("endpointslices").then(|| refusal(403, "Forbidden", "list, not watch"))
    });
    fake.cut(None);
    world.until("stale", |world| world.is_stale("c1", "Forbidden")).await;
    let stays = |world: &World| assert!(world.is_stale("c1", "Forbidden"), "{:?}", world.said);
    world.throughout(Duration::from_secs(1), stays).await;
}

#[tokio::test]
async fn fault_a03_a_member_that_never_answers_is_overdue_and_joins_when_it_does() {
    let (fake, server) = shop("u1", "10.1.0.1").await;
    let (_, other) = shop("u2", "10.2.0.1").await;
    fake.trick(|_| Some(silence()));
    let mut world = World::new();
    world.register(registration("c1", at(&server), 1));
    world.register(registration("c2", at(&other), 2));
    // fault_a04: and nobody waits for it.
    world.until("the other", |world| world.is_live("c2")).await;
    world.until("overdue", |world| world.is_stale("c1", "Unreachable")).await;
    fake.behave();
    world.until("live", |world| world.is_live("c1")).await;
    assert_eq!(world.served("c1"), "web 10.1.0.1");
}

#[tokio::test]
async fn fault_a05_flaps_change_nothing_and_list_nothing() {
    let (mut world, fake) = live_shop().await;
    let lists =
        |fake: &Fake| fake.log().iter().filter(|request| request.is_list("services")).count();
    assert_eq!(lists(&fake), 1);
    let live = |world: &World| assert!(world.is_live("c1"), "{:?}", world.said);
    for _ in 0..4 {
        fake.trick(|_| Some(refusal(503, "ServiceUnavailable", "down")));
        fake.cut(None);
        world.throughout(TIMINGS().probe_lost, live).await;
        fake.behave();
        world.throughout(TIMINGS().probe_lost, live).await;
    }
    fake.put("services", service("after"));
    world.until("resumed", |world| world.served("c1").contains("after")).await;
    live(&world);
    assert_eq!(lists(&fake), 1);
}

#[tokio::test]
async fn fault_a01_an_outage_is_reported_and_keeps_everything() {
    let (mut world, fake) = live_shop().await;
    fake.trick(|_| Some(silence()));
    fake.cut(None);
    let kept = |world: &World| assert_eq!(world.served("c1"), "web 10.1.0.1");
    world.until_and("stale", |world| world.is_stale("c1", "Unreachable"), kept).await;
    fake.put("endpointslices", slice("web", &["10.1.0.2"]));
    fake.behave();
    world.until("resumed", |world| world.served("c1") == "web 10.1.0.2").await;
    world.until("live", |world| world.is_live("c1")).await;
    assert_eq!(lists(&fake), 1);
}

#[tokio::test]
async fn fault_a14_an_outage_ends_with_the_next_probe_whatever_the_back_off() {
    let long = Duration::from_secs(300);
    let timings = SourceTimings { backoff_min: long, backoff_max: long, ..TIMINGS() };
    let (mut world, fake) = live_shop_with(timings).await;
    fake.trick(|_| Some(silence()));
    fake.cut(None);
    world.until("stale", |world| world.is_stale("c1", "Unreachable")).await;
    fake.put("endpointslices", slice("web", &["10.1.0.2"]));
    fake.behave();
    world.until("resumed", |world| world.served("c1") == "web 10.1.0.2").await;
}

#[tokio::test]
async fn a_kind_that_fails_for_long_makes_the_member_stale_and_the_others_go_on() {
    let (mut world, fake) = live_shop().await;
    fake.trick(|request| {
        (request.kind == "services").then(|| refusal(500, "InternalError", "broken"))
    });
    fake.cut(None);
    world.until("stale", |world| world.is_stale("c1", "Unreachable")).await;
    let Health::Stale { message, .. } = world.health("c1") else { unreachable!() };
    assert_eq!(message, "services: answered 500: broken");
    fake.put("endpointslices", slice("web", &["10.1.0.2"]));
    world.until("followed", |world| world.served("c1") == "web 10.1.0.2").await;
    fake.behave();
    world.until("live", |world| world.is_live("c1")).await;
}

#[tokio::test]
async fn a_paused_member_is_left_alone_and_kept() {
    let (mut world, fake) = live_shop().await;
    world.edit("c1", |own| own.paused = true);
    world.until("paused", |world| world.is_stale("c1", "Paused")).await;
    let asked = fake.log().len();
    fake.put("services", service("late"));
    let kept = |world: &World| assert_eq!(world.served("c1"), "web 10.1.0.1");
    world.throughout(TIMINGS().probe * 2, kept).await;
    assert_eq!(fake.log().len(), asked);
    world.edit("c1", |own| own.paused = false);
    world.until("live", |world| world.is_live("c1")).await;
    assert_eq!(world.served("c1"), "late, web 10.1.0.1");
}

#[tokio::test]
async fn fault_a15_of_two_members_that_are_one_cluster_the_older_is_served() {
    for order in [["old", "new"], ["new", "old"]] {
        let (_, server) = shop("u1", "10.1.0.1").await;
        let mut world = World::new();
        for id in order {
            let created = if id == "old" { 1 } else { 2 };
            world.register(registration(id, at(&server), created));
            world.until(id, |w| w.is_live(id) || w.is_stale(id, "Conflicted")).await;
        }
        // At no time is the cluster served by nobody.
        let served = |w: &World| assert!(!(w.served("old") + &w.served("new")).is_empty());
        let settled = |w: &World| {
            w.is_live("old") && w.is_stale("new", "Conflicted") && w.served("new").is_empty()
        };
        world.until_and("settled", settled, served).await;
        // Nobody need wait for what it has.
        let is_known = |w: &World| w.store.member(&member("new")).unwrap().is_synced();
        world.until("known", is_known).await;
        assert_eq!(world.served("old"), "web 10.1.0.1");
        let Health::Stale { message, .. } = world.health("new") else { unreachable!() };
        assert!(message.contains("member old"), "{message}");
    }
}

#[tokio::test]
async fn fault_a15_the_other_takes_over_when_the_older_is_another_cluster_or_gone() {
    let (_, server) = shop("u1", "10.1.0.1").await;
    let mut world = World::new();
    world.register(registration("old", at(&server), 1));
    world.until("old", |world| world.is_live("old")).await;
    world.register(registration("new", at(&server), 2));
    world.until("new", |world| world.is_stale("new", "Conflicted")).await;
    world.members.remove(&member("old"));
    world.registrations.send_replace(Arc::new(world.members.clone()));
    world.until("new", |world| world.is_live("new")).await;
    assert!(world.said.contains(&"member old: unregistered".to_owned()));
}

#[tokio::test]
async fn fault_a15_a_cluster_may_be_given_another_id_and_a08_the_old_one_loses_nothing() {
    let (_, server) = shop("u1", "10.1.0.1").await;
    let mut world = World::new();
    world.register(registration("old", at(&server), 1));
    world.until("old", |world| world.is_live("old")).await;
    world.register(registration("new", at(&server), 2));
    world.until("new", |world| world.is_stale("new", "Conflicted")).await;
    let gone = Err(AccessError::Undeclared("gone".into()));
    world.register(Registration { access: gone, ..registration("old", at(&server), 1) });
    let kept = |world: &World| assert_eq!(world.served("old"), "web 10.1.0.1");
    world.until_and("new", |world| world.is_live("new"), kept).await;
    assert_eq!(world.served("new"), "web 10.1.0.1");
    assert!(world.is_stale("old", "CredentialsMissing"));
}
