//! Rows 107 to 114: which host serves a request, and what serves it otherwise.

use crate::{
    bed::{
        Bed,
        client::{Request, get},
        ingress::{Ingress, ingress},
    },
    rows::{BOTH, rows},
};

rows! { BOTH;
    row_107_case_and_port_of_the_host,
    row_108_wildcard_is_one_label,
    row_109_exact_before_wildcard_before_any,
    row_110_no_fall_through_between_hosts,
    row_111_longest_suffix,
    row_112_default_backend_only,
    row_113_default_backend_beside_rules,
    row_114_nothing_matches,
}

/// Ingresses, and a Service for each letter.
async fn start(bed: &mut Bed, ingresses: &[Ingress]) {
    bed.deploy_each(&["a", "b", "c"]);
    ingresses.iter().for_each(|ingress| bed.ingress(ingress));
    bed.start_guide().await;
}

fn at(host: &str) -> Request {
    get("/").host(host)
}

async fn row_107_case_and_port_of_the_host(bed: &mut Bed) {
    let hosts = ingress("web").prefix("/", "a").host("*.foo.com").prefix("/", "b");
    start(bed, &[hosts]).await;
    for (host, service) in [
        ("example.com", "a"),
        ("EXAMPLE.com", "a"),
        ("example.com:80", "a"),
        ("BAR.FOO.com:80", "b"),
    ] {
        bed.check(&[(at(host), service)]).await;
        let echo = bed.http().send(&at(host)).await.unwrap().echo().unwrap();
        assert_eq!(echo.host, host, "the backend sees the host as it was sent");
    }
}

async fn row_108_wildcard_is_one_label(bed: &mut Bed) {
    start(bed, &[ingress("web").host("*.foo.com").prefix("/", "a")]).await;
    bed.check(&[(at("bar.foo.com"), "a"), (at("baz.bar.foo.com"), "404"), (at("foo.com"), "404")])
        .await;
}

async fn row_109_exact_before_wildcard_before_any(bed: &mut Bed) {
    let web =
        ingress("web").host("bar.foo.com").prefix("/", "a").host("*.foo.com").prefix("/", "b");
    start(bed, &[web.any_host().prefix("/", "c")]).await;
    bed.check(&[(at("bar.foo.com"), "a"), (at("x.foo.com"), "b"), (at("other.org"), "c")]).await;
}

async fn row_110_no_fall_through_between_hosts(bed: &mut Bed) {
    let web =
        ingress("web").host("bar.foo.com").exact("/a", "a").host("*.foo.com").exact("/b", "b");
    start(bed, &[web.any_host().exact("/c", "c")]).await;
    bed.check(&[
        (get("/b").host("bar.foo.com"), "404"),
        (get("/c").host("bar.foo.com"), "404"),
        (get("/c").host("x.foo.com"), "404"),
        (get("/b").host("x.foo.com"), "b"),
    ])
    .await;
}

async fn row_111_longest_suffix(bed: &mut Bed) {
    let web = ingress("web").host("*.b.com").prefix("/", "b").host("*.a.b.com").prefix("/", "a");
    start(bed, &[web]).await;
    bed.check(&[(at("x.a.b.com"), "a"), (at("x.b.com"), "b")]).await;
}

async fn row_112_default_backend_only(bed: &mut Bed) {
    start(bed, &[ingress("web").default_backend("a")]).await;
    bed.check(&[(at("example.com"), "a"), (get("/any/path").host("other.org"), "a")]).await;
}

async fn row_113_default_backend_beside_rules(bed: &mut Bed) {
    let web = ingress("web").exact("/b", "b").default_backend("a");
    start(bed, &[web, ingress("other").host("other.org").exact("/c", "c")]).await;
    bed.check(&[
        (get("/b"), "b"),
        (get("/unmatched"), "a"),
        (get("/c").host("other.org"), "c"),
        (get("/unmatched").host("other.org"), "404"),
    ])
    .await;
}

async fn row_114_nothing_matches(bed: &mut Bed) {
    start(bed, &[ingress("web").exact("/a", "a")]).await;
    bed.check(&[(get("/b"), "404"), (get("/a").host("other.org"), "404"), (get("/a"), "a")]).await;
}
