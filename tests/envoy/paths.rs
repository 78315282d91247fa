//! Rows 98 to 106, 115 and 116: which rule of a host serves a path, and who owns a rule.

use convoy::diag::Reason;

use crate::{
    bed::{
        Bed,
        client::get,
        ingress::{Ingress, ingress},
        load::Plan,
    },
    rows::{BOTH, rows},
};

rows! { BOTH;
    row_098_exact,
    row_099_exact_with_trailing_slash,
    row_100_prefix_with_and_without_slash,
    row_101_prefix_by_whole_segments,
    row_102_longest_prefix,
    row_103_exact_before_prefix,
    row_104_query_is_no_path,
    row_105_prefix_before_regex_before_slash,
    row_106_implementation_specific,
    row_115_older_rule_wins,
    row_116_equal_age_is_by_name,
}

/// One Ingress with a Service for each letter.
async fn start(bed: &mut Bed, rules: Ingress) {
    bed.deploy_each(&["a", "b", "c"]);
    bed.ingress(&rules);
    bed.start_guide().await;
}

async fn row_098_exact(bed: &mut Bed) {
    start(bed, ingress("web").exact("/foo", "a")).await;
    bed.check(&[
        (get("/foo"), "a"),
        (get("/foo/"), "404"),
        (get("/foo/x"), "404"),
        (get("/Foo"), "404"),
    ])
    .await;
}

async fn row_099_exact_with_trailing_slash(bed: &mut Bed) {
    start(bed, ingress("web").exact("/foo/", "a")).await;
    bed.check(&[(get("/foo/"), "a"), (get("/foo"), "404")]).await;
}

async fn row_100_prefix_with_and_without_slash(bed: &mut Bed) {
    start(bed, ingress("web").prefix("/foo", "a").host("slash.com").prefix("/foo/", "b")).await;
    for (host, service) in [("example.com", "a"), ("slash.com", "b")] {
        bed.check(&[
            (get("/foo").host(host), service),
            (get("/foo/").host(host), service),
            (get("/foo/x").host(host), service),
            (get("/foobar").host(host), "404"),
        ])
        .await;
    }
}

async fn row_101_prefix_by_whole_segments(bed: &mut Bed) {
    start(bed, ingress("web").prefix("/aaa/bb", "a")).await;
    bed.check(&[(get("/aaa/bbb"), "404"), (get("/aaa/bb"), "a")]).await;
}

async fn row_102_longest_prefix(bed: &mut Bed) {
    start(bed, ingress("web").prefix("/", "a").prefix("/aaa", "b").prefix("/aaa/bbb", "c")).await;
    bed.check(&[(get("/aaa/bbb"), "c"), (get("/aaa/ccc"), "b"), (get("/ccc"), "a")]).await;
}

async fn row_103_exact_before_prefix(bed: &mut Bed) {
    start(bed, ingress("web").prefix("/foo", "b").exact("/foo", "a")).await;
    bed.check(&[(get("/foo"), "a"), (get("/foo/"), "b")]).await;
}

async fn row_104_query_is_no_path(bed: &mut Bed) {
    start(bed, ingress("web").exact("/foo", "a")).await;
    bed.check(&[(get("/foo?x=1"), "a")]).await;
}

async fn row_105_prefix_before_regex_before_slash(bed: &mut Bed) {
    let regex = ingress("regex").annotate("nginx.ingress.kubernetes.io/use-regex", "true");
    bed.ingress(&regex.prefix("/re/[0-9]+", "b").prefix("/svc/.*", "b"));
    start(bed, ingress("web").prefix("/", "a").prefix("/svc", "c")).await;
    bed.check(&[(get("/re/12"), "b"), (get("/re/x"), "a"), (get("/svc/x"), "c")]).await;
}

async fn row_106_implementation_specific(bed: &mut Bed) {
    start(bed, ingress("web").path("ImplementationSpecific", "/foo", "a")).await;
    bed.check(&[(get("/foo"), "a"), (get("/foo/x"), "a"), (get("/foobar"), "404")]).await;
}

async fn row_115_older_rule_wins(bed: &mut Bed) {
    // Names and ages disagree, so that age must decide.
    let older = ingress("z").created(1).exact("/foo", "a");
    bed.ingress(&older);
    start(bed, ingress("a").created(2).exact("/foo", "b")).await;
    bed.check(&[(get("/foo"), "a")]).await;
    bed.reports("Ingress gateway-demo/a", Reason::RuleConflict).await;
    let load = bed.load(&Plan {
        name: "load",
        request: get("/foo"),
        gets_per_second: 200,
        posts_per_second: 0,
    });
    load.sends(20).await;
    bed.fleet.delete(&older.file());
    bed.check(&[(get("/foo"), "b")]).await;
    let report = load.stop().await;
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
}

async fn row_116_equal_age_is_by_name(bed: &mut Bed) {
    bed.ingress(&ingress("b").exact("/foo", "b"));
    bed.ingress(&ingress("c").exact("/foo", "c"));
    start(bed, ingress("a").exact("/foo", "a")).await;
    bed.check(&[(get("/foo"), "a")]).await;
    bed.restart_convoy().await;
    bed.reports("Ingress gateway-demo/b", Reason::RuleConflict).await;
    bed.check(&[(get("/foo"), "a")]).await;
}
