//! Credentials that change, and the identity of the cluster behind them.

use super::{
    fake::{Fake, refusal, service, slice},
    *,
};

struct Rotation {
    world: World,
    fake: Fake,
    first: String,
}

async fn served() -> Rotation {
    let fake = Fake::new("u1");
    fake.put("services", service("web"));
    fake.put("endpointslices", slice("web", &["10.1.0.1"]));
    let first = fake.serve().await;
    let mut world = World::new();
    world.register(registration("c1", at(&first), 1));
    world.until("live", |world| world.is_live("c1")).await;
    Rotation { world, fake, first }
}

impl Rotation {
    /// Changes go on arriving over the old connection, and nothing else.
    async fn still_follows_the_old_one(&mut self) {
        for address in ["10.1.0.2", "10.1.0.1"] {
            self.fake.put("endpointslices", slice("web", &[address]));
            let expect = format!("web {address}");
            let own = |world: &World| assert!(world.served("c1").starts_with("web 10.1."));
            self.world.until_and("followed", |world| world.served("c1") == expect, own).await;
        }
    }
}

#[tokio::test]
async fn fault_a09_new_credentials_take_over_when_they_are_as_good() {
    let mut rotation = served().await;
    let second = rotation.fake.serve().await;
    rotation.fake.trick({
        let second = second.clone();
        // Nothing that was known goes meanwhile.
        move |request| {
            let is_late = request.address == second && request.is_watch("services");
            is_late.then(|| refusal(503, "ServiceUnavailable", "soon"))
        }
    });
    rotation.world.edit("c1", |own| own.access = at(&second));
    rotation.still_follows_the_old_one().await;
    rotation.fake.behave();
    let world = &mut rotation.world;
    let is_asked = |server: &str, fake: &Fake| {
        fake.log().iter().filter(|request| request.address == server).count()
    };
    world
        .until("again", |w| w.said.iter().filter(|line| line.ends_with("synced")).count() == 2)
        .await;
    // What its watch replays may come right after what it has listed.
    world.until("up to date", |world| world.served("c1") == "web 10.1.0.1").await;
    let before = is_asked(&rotation.first, &rotation.fake);
    rotation.fake.put("services", service("more"));
    world.until("followed", |world| world.served("c1") == "more, web 10.1.0.1").await;
    world.throughout(TIMINGS().probe * 2, |_| {}).await;
    assert_eq!(is_asked(&rotation.first, &rotation.fake), before);
    world.until("live", |world| world.is_live("c1")).await;
}

#[tokio::test]
async fn fault_a09_credentials_of_another_cluster_or_of_none_are_not_used() {
    let foreign = Fake::new("u2");
    foreign.put("services", service("web"));
    foreign.put("endpointslices", slice("web", &["10.2.0.1"]));
    let foreign = foreign.serve().await;
    let locked = Fake::new("u1");
    locked.trick(|_| Some(refusal(401, "Unauthorized", "who are you")));
    let locked = locked.serve().await;
    for (server, expect) in [
        (foreign.as_str(), "ClusterIdentityMismatch"),
        (locked.as_str(), "Unauthorized"),
        ("http://127.0.0.1:9", "Unreachable"),
    ] {
        let mut rotation = served().await;
        rotation.world.edit("c1", |own| own.access = at(server));
        rotation.world.until(expect, |world| world.is_stale("c1", expect)).await;
        rotation.still_follows_the_old_one().await;
        let back = rotation.first.clone();
        rotation.world.edit("c1", |own| own.access = at(&back));
        rotation.world.until("live", |world| world.is_live("c1")).await;
        assert_eq!(rotation.world.served("c1"), "web 10.1.0.1");
    }
}

#[tokio::test]
async fn fault_a08_without_credentials_the_old_ones_go_on() {
    for error in [
        AccessError::CredentialsMissing("gone".into()),
        AccessError::InvalidKubeconfig("garbage".into()),
    ] {
        let mut rotation = served().await;
        rotation.world.edit("c1", |own| own.access = Err(error.clone()));
        let reason = error.reason();
        rotation.world.until(reason, |world| world.is_stale("c1", reason)).await;
        rotation.still_follows_the_old_one().await;
        assert!(rotation.world.is_stale("c1", reason));
        let back = rotation.first.clone();
        rotation.world.edit("c1", |own| own.access = at(&back));
        rotation.world.until("live", |world| world.is_live("c1")).await;
    }
}

#[tokio::test]
async fn fault_a09_a_cluster_that_becomes_another_one_is_frozen() {
    let mut rotation = served().await;
    rotation.fake.become_cluster("u2");
    let world = &mut rotation.world;
    world.until("frozen", |world| world.is_stale("c1", "ClusterIdentityMismatch")).await;
    rotation.fake.put("endpointslices", slice("web", &["10.9.0.1"]));
    let frozen = |world: &World| assert_eq!(world.served("c1"), "web 10.1.0.1");
    world.throughout(Duration::from_secs(1), frozen).await;
    // Whoever means it says so.
    world.edit("c1", |own| own.cluster_uid = Some("u2".into()));
    world.until("live", |world| world.is_live("c1")).await;
    assert_eq!(world.served("c1"), "web 10.9.0.1");
}

#[tokio::test]
async fn fault_a09_a_declared_identity_is_asked_for_from_the_start() {
    let fake = Fake::new("u1");
    let server = fake.serve().await;
    let mut world = World::new();
    let declared =
        Registration { cluster_uid: Some("u2".into()), ..registration("c1", at(&server), 1) };
    world.register(declared);
    world.until("refused", |world| world.is_stale("c1", "ClusterIdentityMismatch")).await;
    world.throughout(Duration::from_millis(500), |world| assert!(!world.is_live("c1"))).await;
}
