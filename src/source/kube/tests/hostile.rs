//! A member that has more than one may have.

use super::{
    fake::{Fake, service, slice},
    *,
};

async fn live() -> (World, Fake, Fake) {
    let hostile = Fake::new("u1");
    hostile.put("services", service("web"));
    hostile.put("endpointslices", slice("web", &["10.1.0.1"]));
    let honest = Fake::new("u2");
    honest.put("services", service("web"));
    honest.put("endpointslices", slice("web", &["10.2.0.1"]));
    let mut world = World::new();
    world.register(registration("c1", at(&hostile.serve().await), 1));
    world.register(registration("c2", at(&honest.serve().await), 2));
    world.until("live", |world| world.is_live("c1") && world.is_live("c2")).await;
    (world, hostile, honest)
}

/// What is put is too much; the member is stale with what it had, the other goes on, and when
/// that is gone everything is as it should be.
async fn check(put: impl Fn(&Fake), undo: impl Fn(&Fake), message: &str) {
    let (mut world, hostile, honest) = live().await;
    put(&hostile);
    world.until("over", |world| world.is_stale("c1", "QuotaExceeded")).await;
    let Health::Stale { message: said, .. } = world.health("c1") else { unreachable!() };
    assert!(said.contains(message), "{said}");
    let held = world.store.member(&member("c1")).unwrap();
    assert!(held.service(&ObjectName::new("shop", "web")).is_some());
    // What came before it was too much is held.
    assert!(held.service_count() <= 10_000, "{}", held.service_count());
    honest.put("endpointslices", slice("web", &["10.2.0.2"]));
    world.until("the other", |world| world.served("c2") == "web 10.2.0.2").await;
    assert!(world.is_live("c2"));
    undo(&hostile);
    hostile.put("endpointslices", slice("web", &["10.1.0.2"]));
    world.until("recovered", |w| w.is_live("c1") && w.served("c1") == "web 10.1.0.2").await;
    let refused =
        world.meter.read().into_values().any(|own| own.failures.contains_key("QuotaExceeded"));
    assert!(refused);
}

#[tokio::test]
async fn fault_s18_a_member_with_too_many_services_is_stale_and_recovers() {
    let all = |each: &dyn Fn(&str)| (0..10_000).for_each(|idx| each(&format!("s{idx}")));
    check(
        |fake| all(&|name| fake.put("services", service(name))),
        |fake| all(&|name| fake.delete("services", "shop", name)),
        "services: more than 10000 objects",
    )
    .await;
}
