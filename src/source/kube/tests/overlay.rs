//! Members that are reached through their nodes.

use serde_json::{Value, json};

use super::{
    fake::{Fake, refusal, service, slice},
    *,
};

fn node(name: &str, address: &str, heartbeat: u32) -> Value {
    json!({
        "metadata": {"name": name},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [
                {"type": "Ready", "status": "True", "lastHeartbeatTime": heartbeat.to_string()},
            ],
        },
    })
}

async fn cluster() -> (Fake, String) {
    let fake = Fake::new("u1");
    fake.put("services", service("web"));
    fake.put("endpointslices", slice("web", &["10.1.0.1"]));
    fake.put("nodes", node("n1", "10.9.0.1", 0));
    let server = fake.serve().await;
    (fake, server)
}

async fn live(network: Network) -> (World, Fake) {
    let (fake, server) = cluster().await;
    let mut world = World::new();
    world.register(Registration { network, ..registration("c1", at(&server), 1) });
    world.until("live", |world| world.is_live("c1")).await;
    (world, fake)
}

/// How it is reached, and its nodes.
fn shown(world: &World) -> String {
    let own = world.store.member(&member("c1")).unwrap();
    let nodes = own.nodes().keys().map(|name| format!(" {}", name.name));
    format!("{:?}{}", own.declared().network, nodes.collect::<String>())
}

fn asks_for_nodes(fake: &Fake) -> bool {
    fake.log().iter().any(|request| request.kind == "nodes")
}

#[tokio::test]
async fn nodes_are_read_of_members_that_are_reached_through_them() {
    let (world, fake) = live(Network::Underlay).await;
    assert_eq!((shown(&world).as_str(), asks_for_nodes(&fake)), ("Underlay", false));
    let (mut world, fake) = live(Network::Overlay).await;
    assert_eq!(shown(&world), "Overlay n1");
    fake.put("nodes", node("n2", "10.9.0.2", 0));
    world.until("came", |world| shown(world) == "Overlay n1 n2").await;
    fake.delete("nodes", "", "n1");
    world.until("went", |world| shown(world) == "Overlay n2").await;
}

#[tokio::test]
async fn a_heartbeat_of_a_node_is_no_change() {
    let (mut world, fake) = live(Network::Overlay).await;
    for heartbeat in 1..20 {
        fake.put("nodes", node("n1", "10.9.0.1", heartbeat));
    }
    fake.put("nodes", node("n2", "10.9.0.2", 0));
    // The one change comes after twenty heartbeats, of which there is nothing.
    let batch = timeout(PATIENCE, world.changes.recv()).await.unwrap().unwrap();
    assert_eq!(batch.len(), 1, "{batch:?}");
    assert!(matches!(&batch[0], Change::Upsert(_, object) if &*object.name().name == "n2"));
}

#[tokio::test]
async fn a_network_that_changes_takes_nothing_away_before_its_nodes_are_known() {
    let (mut world, fake) = live(Network::Underlay).await;
    fake.trick(|request| {
        (request.kind == "nodes").then(|| refusal(403, "Forbidden", "not for you"))
    });
    let kept = |world: &World| assert_eq!(world.served("c1"), "web 10.1.0.1");
    world.edit("c1", |own| own.network = Network::Overlay);
    world.until_and("said", |world| world.is_stale("c1", "Forbidden"), kept).await;
    assert_eq!(shown(&world), "Underlay");
    // The others go on.
    fake.put("services", service("more"));
    world.until("followed", |world| world.served("c1").contains("more")).await;
    assert_eq!(shown(&world), "Underlay");
    fake.behave();
    world.until("overlay", |world| shown(world) == "Overlay n1").await;
    world.until("live", |world| world.is_live("c1")).await;
    // At no time is a member that is underlay without its Pods, or overlay without its nodes.
    let whole = |world: &World| {
        assert!(["Overlay n1", "Underlay n1", "Underlay"].contains(&&*shown(world)))
    };
    world.edit("c1", |own| own.network = Network::Underlay);
    world.until_and("underlay", |world| shown(world) == "Underlay", whole).await;
}

#[tokio::test]
async fn nodes_that_cannot_be_read_any_more_are_kept_and_the_others_go_on() {
    let (mut world, fake) = live(Network::Overlay).await;
    fake.trick(|request| {
        (request.kind == "nodes").then(|| refusal(403, "Forbidden", "not for you"))
    });
    fake.cut(None);
    let kept = |world: &World| assert_eq!(shown(world), "Overlay n1");
    world.until_and("stale", |world| world.is_stale("c1", "Forbidden"), kept).await;
    let Health::Stale { message, .. } = world.health("c1") else { unreachable!() };
    assert!(message.starts_with("nodes: "), "{message}");
    fake.put("endpointslices", slice("web", &["10.1.0.2"]));
    world.until_and("read on", |world| world.served("c1") == "web 10.1.0.2", kept).await;
    fake.behave();
    world.until_and("live", |world| world.is_live("c1"), kept).await;
}

/// Nobody knows what leads to it, so that what Envoys have of it stays (faults.md A3).
#[tokio::test]
async fn a_member_whose_nodes_were_never_read_is_not_known() {
    let (fake, server) = cluster().await;
    fake.trick(|request| {
        (request.kind == "nodes").then(|| refusal(403, "Forbidden", "not for you"))
    });
    let mut world = World::new();
    let network = Network::Overlay;
    world.register(Registration { network, ..registration("c1", at(&server), 1) });
    world.until("stale", |world| world.is_stale("c1", "Forbidden")).await;
    assert!(!world.store.member(&member("c1")).unwrap().is_synced());
    fake.behave();
    world.until("live", |world| world.is_live("c1")).await;
}
