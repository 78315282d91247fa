//! Lists and watches that are not what they seem.

use axum::response::Response;

use super::{
    fake::{Fake, Request, raw, refusal, service},
    *,
};

/// More than two pages.
const SERVICES: usize = 1_100;

fn count(world: &World) -> usize {
    world.store.member(&member("c1")).map_or(0, |own| own.service_count())
}

async fn full() -> (World, Fake) {
    let fake = Fake::new("u1");
    for idx in 0..SERVICES {
        fake.put("services", service(&format!("s{idx}")));
    }
    let server = fake.serve().await;
    let mut world = World::new();
    world.register(registration("c1", at(&server), 1));
    world.until("live", |world| world.is_live("c1")).await;
    assert_eq!(count(&world), SERVICES);
    (world, fake)
}

/// The watch ends as told, the trick is played on what follows as long as it lasts, and a Service
/// that is created meanwhile arrives in the end. At no time is any Service missing.
async fn check(
    name: &str,
    end: Option<&str>,
    mut trick: impl FnMut(&Fake, &Request) -> Option<Response> + Send + 'static,
) {
    let (mut world, fake) = full().await;
    fake.trick({
        let fake = fake.clone();
        move |request| trick(&fake, request)
    });
    fake.put("services", service("new"));
    fake.cut(end);
    let whole = |world: &World| assert!(count(world) >= SERVICES, "{name}: {}", count(world));
    world.until_and(name, |world| count(world) == SERVICES + 1 && world.is_live("c1"), whole).await;
    // Not only because the events before the end brought it.
    world.throughout(Duration::from_millis(500), whole).await;
    fake.delete("services", "shop", "new");
    world.until_and(name, |world| count(world) == SERVICES, whole).await;
}

fn gone() -> Response {
    refusal(410, "Expired", "too old resource version")
}

#[tokio::test]
async fn fault_a12_410_in_a_watch_means_a_new_list() {
    let status = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
    check("in the stream", Some(status), |_, _| None).await;
    let bare = r#"{"kind":"Status","apiVersion":"v1","code":410,"reason":"Gone"}"#;
    check("a bare one", Some(bare), |_, _| None).await;
}

#[tokio::test]
async fn fault_a12_410_when_a_watch_begins_means_a_new_list() {
    let mut left = 4;
    check("at the start", None, move |_, request| {
        let is_hit = request.is_watch("services") && left > 0;
        left -= usize::from(is_hit);
        is_hit.then(gone)
    })
    .await;
}

#[tokio::test]
async fn fault_a12_410_between_pages_begins_again_and_in_the_end_asks_for_one_page() {
    let mut is_first_watch = true;
    check("between pages", None, move |_, request| {
        // For ever: only a list in one page comes through.
        let is_lost = request.is_list("services") && request.token().is_some();
        let is_first = request.is_watch("services") && std::mem::take(&mut is_first_watch);
        (is_lost || is_first).then(gone)
    })
    .await;
}

#[tokio::test]
async fn fault_a11_a_list_that_is_cut_off_does_not_count() {
    let mut is_first_watch = true;
    let mut part = 0;
    check("cut off", None, move |fake, request| {
        if request.is_watch("services") && std::mem::take(&mut is_first_watch) {
            return Some(gone());
        }
        if !request.is_list("services") || part == 6 {
            return None;
        }
        part += 1;
        let mut text = fake.page_text(request);
        text.truncate(text.len() * part / 7);
        Some(raw(200, text))
    })
    .await;
}

#[tokio::test]
async fn fault_a11_a_list_without_one_of_its_pages_does_not_count() {
    let mut is_first_watch = true;
    let mut left = 3;
    check("a page less", None, move |fake, request| {
        if request.is_watch("services") && std::mem::take(&mut is_first_watch) {
            return Some(gone());
        }
        if request.token() == Some("500") && left > 0 {
            left -= 1;
            let mut page: serde_json::Value =
                serde_json::from_str(&fake.page_text(request)).unwrap();
            page["metadata"].as_object_mut().unwrap().remove("continue");
            return Some(raw(200, page.to_string()));
        }
        None
    })
    .await;
}

#[tokio::test]
async fn fault_b09_a_list_of_a_replica_that_lags_does_not_count() {
    let mut is_first_watch = true;
    let mut left = 2;
    check("older", None, move |fake, request| {
        if request.is_watch("services") && std::mem::take(&mut is_first_watch) {
            return Some(gone());
        }
        let is_hit = request.is_list("services") && left > 0;
        left -= usize::from(is_hit);
        is_hit.then(|| fake.list_of_the_past(request, 5))
    })
    .await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_means_a_new_list() {
    check("garbage", Some("{"), |_, _| None).await;
    check("nameless", Some(r#"{"type":"DELETED","object":{}}"#), |_, _| None).await;
    check("unheard of", Some(r#"{"type":"NEW","object":{}}"#), |_, _| None).await;
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_its_own_problem() {
    let (mut world, fake) = full().await;
    let mut broken = service("s0");
    broken["spec"]["ports"] = "none".into();
    fake.put("services", broken.clone());
    broken["metadata"]["name"] = "never-legal".into();
    fake.put("services", broken);
    fake.put("services", service("new"));
    world.until("followed", |world| count(world) == SERVICES + 1).await;
    let findings = |world: &World| world.store.reports().flat_map(|(_, own)| own).count();
    assert_eq!(findings(&world), 2);
    fake.delete("services", "shop", "s0");
    fake.delete("services", "shop", "never-legal");
    world.until("deleted", |world| count(world) == SERVICES && findings(world) == 0).await;
}
