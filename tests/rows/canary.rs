//! Rows 58 to 85, 88, 89 and 92 to 97: canaries by header, cookie, query and weight.

use convoy::diag::Reason;

use crate::{
    bed::{
        Bed,
        client::{Request, get},
        guide::{CANARY, WEB_DEMO},
        ingress::{Ingress, canary, ingress},
        workload::workload,
    },
    rows::{BOTH, rows},
};

rows! { BOTH;
    row_058_guide_canary,
    row_059_header_missing_or_wrong,
    row_060_header_name_ignores_case,
    row_061_header_value_is_no_regex,
    row_062_header_always,
    row_063_header_never_bypasses_weight,
    row_064_header_maybe_falls_to_weight,
    row_065_header_pattern_is_a_search,
    row_066_invalid_header_pattern,
    row_067_header_value_beats_pattern,
    row_068_cookie_always,
    row_069_cookie_must_match_whole,
    row_070_cookie_never_bypasses_weight,
    row_071_cookie_value,
    row_072_query_value,
    row_073_header_and_query,
    row_074_header_then_cookie_then_weight,
    row_075_header_switches_weight_off,
    row_076_weight_20,
    row_077_two_weights,
    row_078_weight_0_and_100,
    row_079_weight_total_1000,
    row_080_weights_beyond_the_total,
    row_081_canary_without_main,
    row_082_main_after_canary,
    row_083_main_deleted,
    row_084_canary_of_another_path_type,
    row_085_exact_and_prefix_canaries,
    row_088_canary_without_endpoints,
    row_089_canary_and_main_without_endpoints,
    row_092_two_header_values,
    row_093_identical_conditions,
    row_094_canary_in_another_namespace,
    row_095_canary_on_a_wildcard_host,
    row_096_canary_false,
    row_097_header_beside_weights,
}

/// Five standard deviations of any coin in 2,000 throws.
const RANDOM: f64 = 5.6;

/// `/svc1` served by `main`, and canaries that name their Service after themselves.
async fn start(bed: &mut Bed, canaries: &[(&'static str, &[(&str, &str)])]) {
    bed.ingress(&main());
    bed.deploy_each(&["main"]);
    for (age, (name, settings)) in (1..).zip(canaries) {
        bed.deploy_each(&[name]);
        bed.ingress(&canary(name, settings).created(age).exact("/svc1", name));
    }
    bed.start_guide().await;
}

fn main() -> Ingress {
    ingress("main").exact("/svc1", "main")
}

fn svc1() -> Request {
    get("/svc1")
}

fn with(name: &str, value: &str) -> Request {
    svc1().header(name, value)
}

async fn start_guide_canary(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 1)]);
    bed.deploy(workload("c1", "service1-canary-1", 1).env("cluster-demo-1-canary"));
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.fleet.apply("canary", CANARY);
    bed.start_guide().await;
}

async fn row_058_guide_canary(bed: &mut Bed) {
    start_guide_canary(bed).await;
    bed.all(100, &with("canary-dest", "cluster1"), "cluster-demo-1-canary").await;
}

async fn row_059_header_missing_or_wrong(bed: &mut Bed) {
    start_guide_canary(bed).await;
    bed.check(&[
        (svc1(), "cluster-demo-1"),
        (with("canary-dest", "cluster2"), "cluster-demo-1"),
        (with("canary-dest", ""), "cluster-demo-1"),
        (with("canary-dest", "cluster1"), "cluster-demo-1-canary"),
    ])
    .await;
}

async fn row_060_header_name_ignores_case(bed: &mut Bed) {
    start_guide_canary(bed).await;
    bed.check(&[
        (with("Canary-Dest", "cluster1"), "cluster-demo-1-canary"),
        (with("canary-dest", "CLUSTER1"), "cluster-demo-1"),
    ])
    .await;
}

async fn row_061_header_value_is_no_regex(bed: &mut Bed) {
    start(bed, &[("a", &[("by-header", "x-c"), ("by-header-value", "a.c")])]).await;
    bed.check(&[
        (with("x-c", "a.c"), "a"),
        (with("x-c", "abc"), "main"),
        (with("x-c", "xa.cx"), "main"),
    ])
    .await;
}

async fn row_062_header_always(bed: &mut Bed) {
    start(bed, &[("a", &[("by-header", "x-c")])]).await;
    bed.check(&[(with("x-c", "always"), "a"), (svc1(), "main")]).await;
}

async fn row_063_header_never_bypasses_weight(bed: &mut Bed) {
    start(bed, &[("a", &[("by-header", "x-c")]), ("b", &[("weight", "100")])]).await;
    bed.check(&[(with("x-c", "never"), "main"), (svc1(), "b")]).await;
}

async fn row_064_header_maybe_falls_to_weight(bed: &mut Bed) {
    start(bed, &[("a", &[("by-header", "x-c")]), ("b", &[("weight", "100")])]).await;
    bed.check(&[(with("x-c", "maybe"), "b"), (with("x-c", "always"), "a")]).await;
}

async fn row_065_header_pattern_is_a_search(bed: &mut Bed) {
    start(bed, &[("a", &[("by-header", "x-c"), ("by-header-pattern", "test.com")])]).await;
    bed.check(&[
        (with("x-c", "test.com"), "a"),
        (with("x-c", "test.com.abc"), "a"),
        (with("x-c", "x-testxcom"), "a"),
        (with("x-c", "test"), "main"),
    ])
    .await;
}

async fn row_066_invalid_header_pattern(bed: &mut Bed) {
    bed.ingress(&ingress("fine").exact("/fine", "main"));
    start(bed, &[("a", &[("by-header", "x-c"), ("by-header-pattern", "(")])]).await;
    bed.check(&[(with("x-c", "("), "main"), (svc1(), "main"), (get("/fine"), "main")]).await;
    bed.reports("Ingress gateway-demo/a", Reason::InvalidAnnotation).await;
}

async fn row_067_header_value_beats_pattern(bed: &mut Bed) {
    let both = [("by-header", "x-c"), ("by-header-value", "v"), ("by-header-pattern", "p")];
    start(bed, &[("a", &both)]).await;
    bed.check(&[(with("x-c", "v"), "a"), (with("x-c", "p"), "main")]).await;
}

async fn row_068_cookie_always(bed: &mut Bed) {
    start(bed, &[("a", &[("by-cookie", "u")])]).await;
    bed.check(&[
        (svc1().cookie("a=1; u=always; b=2"), "a"),
        (svc1().cookie("u=always"), "a"),
        (svc1(), "main"),
    ])
    .await;
}

async fn row_069_cookie_must_match_whole(bed: &mut Bed) {
    start(bed, &[("a", &[("by-cookie", "u")])]).await;
    bed.check(&[
        (svc1().cookie("xu=always"), "main"),
        (svc1().cookie("u=alwaysx"), "main"),
        (svc1().cookie("u=xalways"), "main"),
        (svc1().cookie("u=always"), "a"),
    ])
    .await;
}

async fn row_070_cookie_never_bypasses_weight(bed: &mut Bed) {
    start(bed, &[("a", &[("by-cookie", "u")]), ("b", &[("weight", "100")])]).await;
    bed.check(&[(svc1().cookie("u=never"), "main"), (svc1().cookie("u=maybe"), "b")]).await;
}

async fn row_071_cookie_value(bed: &mut Bed) {
    start(bed, &[("a", &[("by-cookie", "u"), ("by-cookie-value", "beta")])]).await;
    bed.check(&[(svc1().cookie("u=beta"), "a"), (svc1().cookie("u=always"), "main")]).await;
}

async fn row_072_query_value(bed: &mut Bed) {
    start(bed, &[("a", &[("by-query", "v"), ("by-query-value", "2")])]).await;
    bed.check(&[(get("/svc1?v=2"), "a"), (get("/svc1?v=3"), "main"), (svc1(), "main")]).await;
}

async fn row_073_header_and_query(bed: &mut Bed) {
    let both = [
        ("by-header", "x-c"),
        ("by-header-value", "1"),
        ("by-query", "v"),
        ("by-query-value", "2"),
    ];
    start(bed, &[("a", &both)]).await;
    bed.check(&[
        (get("/svc1?v=2").header("x-c", "1"), "a"),
        (get("/svc1?v=2"), "main"),
        (with("x-c", "1"), "main"),
        (svc1(), "main"),
    ])
    .await;
}

async fn row_074_header_then_cookie_then_weight(bed: &mut Bed) {
    // The weight is the oldest: kind decides before age.
    start(
        bed,
        &[
            ("c", &[("weight", "100")]),
            ("b", &[("by-cookie", "u")]),
            ("a", &[("by-header", "x-c")]),
        ],
    )
    .await;
    bed.check(&[
        (with("x-c", "always").cookie("u=always"), "a"),
        (svc1().cookie("u=always"), "b"),
        (svc1(), "c"),
    ])
    .await;
}

async fn row_075_header_switches_weight_off(bed: &mut Bed) {
    let both = [("by-header", "x-c"), ("by-header-value", "1"), ("weight", "100")];
    start(bed, &[("a", &both)]).await;
    bed.check(&[(with("x-c", "1"), "a"), (with("x-c", "2"), "main"), (svc1(), "main")]).await;
}

async fn row_076_weight_20(bed: &mut Bed) {
    start(bed, &[("a", &[("weight", "20")])]).await;
    bed.shares(2000, &svc1(), &[("a", 20.0), ("main", 80.0)], 3.0).await;
}

async fn row_077_two_weights(bed: &mut Bed) {
    start(bed, &[("a", &[("weight", "30")]), ("b", &[("weight", "20")])]).await;
    bed.shares(2000, &svc1(), &[("a", 30.0), ("b", 20.0), ("main", 50.0)], RANDOM).await;
}

async fn row_078_weight_0_and_100(bed: &mut Bed) {
    bed.deploy_each(&["main", "a"]);
    for weight in ["0", "100"] {
        let path = format!("/weight-{weight}");
        bed.ingress(&ingress(&format!("main-{weight}")).exact(&path, "main"));
        bed.ingress(&canary(&format!("a-{weight}"), &[("weight", weight)]).exact(&path, "a"));
    }
    bed.start_guide().await;
    bed.all(100, &get("/weight-0"), "main").await;
    bed.all(100, &get("/weight-100"), "a").await;
}

async fn row_079_weight_total_1000(bed: &mut Bed) {
    start(bed, &[("a", &[("weight", "5"), ("weight-total", "1000")])]).await;
    bed.shares(10_000, &svc1(), &[("a", 0.5), ("main", 99.5)], 0.35).await;
}

async fn row_080_weights_beyond_the_total(bed: &mut Bed) {
    start(bed, &[("a", &[("weight", "80")]), ("b", &[("weight", "60")])]).await;
    let shares = [("a", 8000.0 / 140.0), ("b", 6000.0 / 140.0)];
    bed.shares(2000, &svc1(), &shares, RANDOM).await;
}

async fn row_081_canary_without_main(bed: &mut Bed) {
    bed.deploy_each(&["a"]);
    bed.ingress(&canary("a", &[("by-header", "x-c")]).exact("/svc1", "a"));
    bed.start_guide().await;
    bed.check(&[(with("x-c", "always"), "404"), (svc1(), "404")]).await;
    bed.reports("Ingress gateway-demo/a", Reason::CanaryWithoutMain).await;
}

async fn row_082_main_after_canary(bed: &mut Bed) {
    bed.deploy_each(&["main", "a"]);
    bed.ingress(&canary("a", &[("by-header", "x-c")]).exact("/svc1", "a"));
    bed.start_guide().await;
    bed.check(&[(with("x-c", "always"), "404")]).await;
    bed.ingress(&main());
    bed.check(&[(with("x-c", "always"), "a"), (svc1(), "main")]).await;
}

async fn row_083_main_deleted(bed: &mut Bed) {
    start(bed, &[("a", &[("by-header", "x-c")])]).await;
    bed.check(&[(with("x-c", "always"), "a")]).await;
    bed.fleet.delete(&main().file());
    bed.check(&[(with("x-c", "always"), "404"), (svc1(), "404")]).await;
}

async fn row_084_canary_of_another_path_type(bed: &mut Bed) {
    bed.deploy_each(&["main", "a"]);
    bed.ingress(&main());
    bed.ingress(&canary("a", &[("by-header", "x-c")]).prefix("/svc1", "a"));
    bed.start_guide().await;
    bed.check(&[
        (with("x-c", "always"), "main"),
        (get("/svc1/x").header("x-c", "always"), "404"),
        (svc1(), "main"),
    ])
    .await;
}

async fn row_085_exact_and_prefix_canaries(bed: &mut Bed) {
    bed.deploy_each(&["v1", "v2", "v3"]);
    bed.ingress(&ingress("main").exact("/foo", "v3").prefix("/foo", "v3"));
    let canaries = canary("canary", &[("by-header", "x-c")]).exact("/foo", "v2");
    bed.ingress(&canaries.prefix("/foo", "v1"));
    bed.start_guide().await;
    bed.check(&[
        (get("/foo").header("x-c", "always"), "v2"),
        (get("/foo/bar").header("x-c", "always"), "v1"),
        (get("/foo"), "v3"),
        (get("/foo/bar"), "v3"),
    ])
    .await;
}

async fn row_088_canary_without_endpoints(bed: &mut Bed) {
    start(bed, &[("a", &[("by-header", "x-c")])]).await;
    bed.check(&[(with("x-c", "always"), "a")]).await;
    bed.scale("c1", "a", 0);
    bed.check(&[(with("x-c", "always"), "main"), (svc1(), "main")]).await;
}

async fn row_089_canary_and_main_without_endpoints(bed: &mut Bed) {
    bed.deploy_each(&["main", "a", "fallback"]);
    bed.ingress(&main().annotate("mse.ingress.kubernetes.io/default-backend", "fallback"));
    bed.ingress(&canary("a", &[("by-header", "x-c")]).exact("/svc1", "a"));
    bed.start_guide().await;
    bed.scale("c1", "a", 0);
    bed.check(&[(with("x-c", "always"), "main")]).await;
    bed.scale("c1", "main", 0);
    bed.check(&[(with("x-c", "always"), "fallback"), (svc1(), "fallback")]).await;
}

async fn row_092_two_header_values(bed: &mut Bed) {
    bed.deploy_each(&["main", "a", "b"]);
    for (path, a, b) in [("/first", 1, 2), ("/second", 2, 1)] {
        let name = path.trim_start_matches('/');
        bed.ingress(&ingress(&format!("main-{name}")).exact(path, "main"));
        for (service, created) in [("a", a), ("b", b)] {
            let settings = [("by-header", "x-c"), ("by-header-value", service)];
            let canary = canary(&format!("{service}-{name}"), &settings).created(created);
            bed.ingress(&canary.exact(path, service));
        }
    }
    bed.start_guide().await;
    for path in ["/first", "/second"] {
        bed.check(&[
            (get(path).header("x-c", "a"), "a"),
            (get(path).header("x-c", "b"), "b"),
            (get(path), "main"),
        ])
        .await;
    }
}

async fn row_093_identical_conditions(bed: &mut Bed) {
    // Names and ages disagree, so that age must decide.
    start(bed, &[("z", &[("by-header", "x-c")]), ("a", &[("by-header", "x-c")])]).await;
    bed.check(&[(with("x-c", "always"), "z")]).await;
    bed.reports("Ingress gateway-demo/a", Reason::RuleConflict).await;
}

async fn row_094_canary_in_another_namespace(bed: &mut Bed) {
    bed.deploy_each(&["main", "a"]);
    bed.deploy(workload("c1", "a", 1).namespace("other").env("a of other"));
    bed.ingress(&main());
    let foreign = canary("a", &[("by-header", "x-c")]).namespace("other");
    bed.ingress(&foreign.exact("/svc1", "a"));
    bed.start_guide().await;
    bed.check(&[(with("x-c", "always"), "a of other"), (svc1(), "main")]).await;
}

async fn row_095_canary_on_a_wildcard_host(bed: &mut Bed) {
    bed.deploy_each(&["main", "a"]);
    bed.ingress(&ingress("main").host("b.a.com").exact("/svc1", "main"));
    let wild = canary("a", &[("by-header", "x-c")]).host("*.a.com").exact("/svc1", "a");
    bed.ingress(&wild);
    bed.start_guide().await;
    bed.check(&[(with("x-c", "always").host("b.a.com"), "main")]).await;
    bed.check(&[(with("x-c", "always").host("c.a.com"), "404")]).await;
}

async fn row_096_canary_false(bed: &mut Bed) {
    bed.deploy_each(&["main", "a"]);
    bed.ingress(&main());
    let annotated = ingress("a")
        .annotate("nginx.ingress.kubernetes.io/canary", "false")
        .annotate("nginx.ingress.kubernetes.io/canary-weight", "50");
    bed.ingress(&annotated.created(1).exact("/svc1", "a"));
    bed.start_guide().await;
    bed.all(100, &svc1(), "main").await;
    bed.reports("Ingress gateway-demo/a", Reason::RuleConflict).await;
}

async fn row_097_header_beside_weights(bed: &mut Bed) {
    start(bed, &[("b", &[("weight", "50")]), ("a", &[("by-header", "x-c")])]).await;
    bed.all(100, &with("x-c", "always"), "a").await;
    bed.shares(2000, &svc1(), &[("b", 50.0), ("main", 50.0)], RANDOM).await;
}
