//! Rows 167, 168 and 179 to 182, and what else an `AlbConfig` and the annotations of its Ingresses
//! ask for.

use convoy::diag::Reason;
use http::Method;
use serde_json::{Value, json};

use crate::{
    bed::{
        Bed,
        client::{Client, Reply, Request, get},
        ingress::{Ingress, ingress},
        netns::GATEWAY,
        poll::{SETTLE, eventually},
        workload::workload,
    },
    rows::{
        BOTH,
        balance::{C1, C2},
        figure, rows,
    },
};

rows! { BOTH;
    row_167_listener_on_its_port_only,
    row_168_listener_that_the_gateway_lacks,
    row_179_order_before_path,
    row_180_fixed_response,
    row_181_ssl_redirect,
    row_182_header_canary_to_one_member,
    an_alb_has_access_lists,
    an_alb_compresses,
    an_alb_may_refuse_http2,
    an_alb_gives_slow_backends_up,
    an_alb_limits_rates,
    an_alb_answers_other_origins,
    an_alb_has_rules_with_conditions,
    an_alb_rewrites_and_redirects,
    an_alb_keeps_sessions,
    an_alb_checks_health,
    one_gateway_of_each_kind,
}

const ALB: &str = "one-alb-demo";

/// A gateway with these listeners for members `c1` and `c2`, and its class.
fn apply_alb(bed: &Bed, listeners: Value) {
    let members = json!({"alb.ingress.kubernetes.io/remote-clusters": "c1,c2"});
    bed.fleet.object(
        "alb",
        &json!({
            "apiVersion": "alibabacloud.com/v1",
            "kind": "AlbConfig",
            "metadata": {"name": ALB, "annotations": members},
            "spec": {"config": {"name": ALB}, "listeners": listeners},
        }),
    );
    bed.fleet.object(
        "alb-class",
        &json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "alb"},
            "spec": {
                "controller": "ingress.k8s.alibabacloud/alb",
                "parameters": {"apiGroup": "alibabacloud.com", "kind": "AlbConfig", "name": ALB},
            },
        }),
    );
}

fn http(port: u16) -> Value {
    json!({"port": port, "protocol": "HTTP"})
}

/// An Ingress of the ALB with annotations of its own prefix.
fn of_alb(name: &str, annotations: &[(&str, &str)]) -> Ingress {
    annotations.iter().fold(ingress(name).class("alb"), |ingress, (key, value)| {
        ingress.annotate(&format!("alb.ingress.kubernetes.io/{key}"), value)
    })
}

/// Services `a` and `b`, the gateway with these listeners, and these Ingresses.
async fn start(bed: &mut Bed, listeners: Value, ingresses: &[Ingress]) {
    bed.deploy_each(&["a", "b"]);
    apply_alb(bed, listeners);
    ingresses.iter().for_each(|ingress| bed.ingress(ingress));
    start_alb(bed).await;
}

async fn start_alb(bed: &mut Bed) {
    bed.start_convoy().await;
    bed.start_envoy(&format!("AlbConfig/{ALB}")).await;
}

fn on(port: u16) -> Client {
    Client::plain((GATEWAY, port).into())
}

async fn row_167_listener_on_its_port_only(bed: &mut Bed) {
    let web = of_alb("web", &[("listen-ports", r#"[{"HTTP":8001}]"#)]).exact("/svc1", "a");
    start(bed, json!([http(8001)]), &[web]).await;
    bed.check_over(&on(8001), &[(get("/svc1"), "a")]).await;
    let refusal = bed.http().send(&get("/svc1")).await.unwrap_err();
    assert!(refusal.starts_with("connect: "), "{refusal}");
}

async fn row_168_listener_that_the_gateway_lacks(bed: &mut Bed) {
    let web = of_alb("web", &[("listen-ports", r#"[{"HTTP":8001}]"#)]).exact("/svc1", "a");
    start(bed, json!([http(8001)]), &[web, of_alb("other", &[]).exact("/other", "b")]).await;
    bed.check_over(&on(8001), &[(get("/svc1"), "a"), (get("/other"), "404")]).await;
    bed.reports("Ingress gateway-demo/other", Reason::ListenerNotFound).await;
}

async fn row_179_order_before_path(bed: &mut Bed) {
    let late = of_alb("late", &[("order", "10")]).exact("/svc1", "a");
    let early = of_alb("early", &[("order", "1")]).prefix("/", "b");
    start(bed, json!([http(80)]), &[late, early]).await;
    bed.check(&[(get("/svc1"), "b")]).await;
    bed.ingress(&of_alb("early", &[("order", "11")]).prefix("/", "b"));
    bed.check(&[(get("/svc1"), "a"), (get("/else"), "b")]).await;
}

async fn row_180_fixed_response(bed: &mut Bed) {
    let tea = r#"[{"type":"FixedResponse","FixedResponseConfig":
        {"contentType":"application/json","httpCode":"418","content":"{\"tea\":\"100%\"}"}}]"#;
    let web = of_alb("web", &[("actions.tea", tea)]).port_name("use-annotation");
    start(bed, json!([http(80)]), &[web.exact("/tea", "tea")]).await;
    bed.check(&[(get("/tea"), "418")]).await;
    let reply = bed.http().send(&get("/tea")).await.unwrap();
    assert_eq!(reply.body, r#"{"tea":"100%"}"#);
    assert_eq!(reply.header("content-type"), "application/json");
}

async fn row_181_ssl_redirect(bed: &mut Bed) {
    let ports = r#"[{"HTTP":80},{"HTTP":8001}]"#;
    let secure = |name| of_alb(name, &[("ssl-redirect", "true"), ("listen-ports", ports)]);
    let any = secure("any").any_host().prefix("/", "a");
    let exact = secure("exact").exact("/svc1", "a");
    start(bed, json!([http(80), http(8001)]), &[any, exact]).await;
    let asked = |host: &str| get("/svc1?a=b").host(host);
    bed.check(&[(asked("example.com"), "308")]).await;
    for (port, host, expect) in [
        (80, "example.com", "https://example.com/svc1?a=b"),
        (80, "example.com:80", "https://example.com/svc1?a=b"),
        (8001, "example.com:8001", "https://example.com/svc1?a=b"),
        (8001, "other.org:8001", "https://other.org:443/svc1?a=b"),
    ] {
        let reply = on(port).send(&asked(host)).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.header("location")), (308, expect), "{host}");
    }
}

async fn row_182_header_canary_to_one_member(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 1), ("c2", 1)]);
    bed.deploy(workload("c2", "only", 1).env("only"));
    let canary = |name| {
        let by = [("canary", "true"), ("canary-by-header", "to"), ("canary-by-header-value", "c2")];
        of_alb(name, &by)
    };
    let ingresses = [
        of_alb("main", &[]).exact("/svc1", "service1"),
        canary("canary").exact("/svc1", "only"),
        canary("orphan").exact("/orphan", "only"),
    ];
    start(bed, json!([http(80)]), &ingresses).await;
    bed.check(&[
        (get("/svc1").header("to", "c2"), "only"),
        (get("/orphan").header("to", "c2"), "404"),
    ])
    .await;
    bed.shares(100, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], 1.0).await;
    bed.reports("Ingress gateway-demo/orphan", Reason::CanaryWithoutMain).await;
}

async fn an_alb_has_access_lists(bed: &mut Bed) {
    let list = |port: u16, kind: &str, range: &str| {
        let acl = json!({"aclType": kind, "aclEntries": [range]});
        json!({"port": port, "protocol": "HTTP", "aclConfig": acl})
    };
    let listeners = json!([
        http(80),
        list(8001, "White", "10.0.0.0/8"),
        list(8002, "White", "192.0.2.0/24"),
        list(8003, "Black", "10.0.0.0/8"),
        list(8004, "Black", "192.0.2.0/24"),
    ]);
    let ports = r#"[{"HTTP":80},{"HTTP":8001},{"HTTP":8002},{"HTTP":8003},{"HTTP":8004}]"#;
    start(bed, listeners, &[of_alb("web", &[("listen-ports", ports)]).exact("/a", "a")]).await;
    // What a client says of itself is not believed.
    let asked = get("/a").header("x-forwarded-for", "192.0.2.1");
    for (port, expect) in [(80, "a"), (8001, "a"), (8002, "403"), (8003, "403"), (8004, "a")] {
        bed.check_over(&on(port), &[(asked.clone(), expect)]).await;
    }
}

async fn an_alb_compresses(bed: &mut Bed) {
    let listeners = json!([http(80), {"port": 8001, "protocol": "HTTP", "gzipEnabled": false}]);
    let ports = r#"[{"HTTP":80},{"HTTP":8001}]"#;
    start(bed, listeners, &[of_alb("web", &[("listen-ports", ports)]).exact("/a", "a")]).await;
    bed.check(&[(get("/a"), "a")]).await;
    let long = get("/a").header("x-long", &"x".repeat(4000));
    let accepting = |request: &Request| request.clone().header("accept-encoding", "gzip");
    for (port, request, expect) in [
        (80, accepting(&long), "gzip"),
        (80, accepting(&get("/a")), ""),
        (80, long.clone(), ""),
        (8001, accepting(&long), ""),
    ] {
        let reply = on(port).send(&request).await.unwrap();
        assert_eq!(reply.header("content-encoding"), expect, "{port}");
    }
}

async fn an_alb_may_refuse_http2(bed: &mut Bed) {
    let listeners = json!([http(80), {"port": 8001, "protocol": "HTTP", "http2Enabled": false}]);
    let ports = r#"[{"HTTP":80},{"HTTP":8001}]"#;
    start(bed, listeners, &[of_alb("web", &[("listen-ports", ports)]).exact("/a", "a")]).await;
    bed.check(&[(get("/a"), "a")]).await;
    bed.check_over(&on(8001), &[(get("/a"), "a")]).await;
    on(80).call(&get("/a")).await.unwrap();
    on(8001).call(&get("/a")).await.unwrap_err();
}

async fn an_alb_gives_slow_backends_up(bed: &mut Bed) {
    let listeners = json!([http(80), {"port": 8001, "protocol": "HTTP", "requestTimeout": 1}]);
    let ports = r#"[{"HTTP":80},{"HTTP":8001}]"#;
    start(bed, listeners, &[of_alb("web", &[("listen-ports", ports)]).exact("/a", "a")]).await;
    let slow = get("/a?sleep_ms=2000").patience(std::time::Duration::from_secs(10));
    bed.check(&[(slow.clone(), "a")]).await;
    for (request, attempts) in [(slow.clone(), 4), (slow.post("once"), 1)] {
        let began = std::time::Instant::now();
        let reply = on(8001).send(&request).await.unwrap();
        let waited = began.elapsed().as_secs_f64();
        figure(&format!("{} given up after {waited:.2} s", request.method));
        assert_eq!(reply.status, 504);
        assert!((waited - f64::from(attempts)).abs() < 0.7, "{waited}");
    }
}

async fn an_alb_limits_rates(bed: &mut Bed) {
    let all = of_alb("all", &[("traffic-limit-qps", "10")]).exact("/all", "a");
    let each = of_alb("each", &[("traffic-limit-ip-qps", "5")]).exact("/each", "a");
    let free = of_alb("free", &[]).exact("/free", "a");
    start(bed, json!([http(80)]), &[all, each, free]).await;
    bed.check(&[(get("/free"), "a")]).await;
    for (path, rate) in [("/all", 10), ("/each", 5)] {
        let began = std::time::Instant::now();
        let codes = bed.http().hit(100, &get(path)).await.codes();
        let most = rate as f64 * (1.0 + began.elapsed().as_secs_f64()) + 1.0;
        let served = codes.0.get("200").copied().unwrap_or_default();
        figure(&format!("{path}: {served} of 100 at once were served"));
        assert!(served >= rate && served as f64 <= most, "{codes:?}");
        assert!(codes.0.contains_key("503") && codes.0.len() == 2, "{codes:?}");
    }
    let told =
        |reply: Reply| (reply.status.as_u16(), reply.header("x-local-rate-limit").to_owned());
    assert_eq!(told(bed.http().send(&get("/free")).await.unwrap()), (200, String::new()));
    eventually(SETTLE, "a refusal says why", || async {
        match told(bed.http().send(&get("/each")).await?) {
            (503, said) if said == "true" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    bed.reports("Ingress gateway-demo/all", Reason::LimitPerEnvoy).await;
}

async fn an_alb_answers_other_origins(bed: &mut Bed) {
    // With a limit beside it: both filters of one route.
    let annotations = [
        ("enable-cors", "true"),
        ("cors-allow-origin", "https://a.com,https://*.b.com"),
        ("traffic-limit-qps", "1000"),
    ];
    let ingresses = [
        of_alb("cors", &annotations).exact("/cors", "a"),
        of_alb("without", &[]).exact("/without", "a"),
    ];
    start(bed, json!([http(80)]), &ingresses).await;
    bed.check(&[(get("/cors"), "a"), (get("/without"), "a")]).await;
    for (path, origin, expect) in [
        ("/cors", "https://a.com", "https://a.com"),
        ("/cors", "https://x.b.com", "https://x.b.com"),
        ("/cors", "https://b.com", ""),
        ("/cors", "https://a.com.evil.org", ""),
        ("/without", "https://a.com", ""),
    ] {
        let asked = get(path).header("origin", origin);
        let reply = bed.http().send(&asked).await.unwrap();
        let allowed = reply.header("access-control-allow-origin");
        assert_eq!((reply.status.as_u16(), allowed), (200, expect), "{origin}");
        let preflight = Request { method: Method::OPTIONS, ..asked }
            .header("access-control-request-method", "PUT");
        let reply = bed.http().send(&preflight).await.unwrap();
        assert_eq!(reply.header("access-control-allow-origin"), expect, "{origin}");
        assert_eq!(reply.body.is_empty(), !expect.is_empty(), "the gateway answers by itself");
    }
}

async fn an_alb_has_rules_with_conditions(bed: &mut Bed) {
    let chosen = r#"[
        {"type":"Header","headerConfig":{"key":"x-gray","values":["1","2"]}},
        {"type":"Cookie","cookieConfig":{"values":[{"key":"a","value":"1"},{"key":"b","value":"2"}]}},
        {"type":"QueryString","queryStringConfig":{"values":[{"key":"q","value":"1"}]}},
        {"type":"Method","methodConfig":{"values":["GET"]}},
        {"type":"SourceIp","sourceIpConfig":{"values":["10.0.0.0/12","192.0.2.1"]}},
        {"type":"Path","pathConfig":{"values":["/more/*"]}},
        {"type":"Host","hostConfig":{"values":["more.example.com"]}}]"#;
    let elsewhere =
        r#"[{"type":"SourceIp","sourceIpConfig":{"values":["192.0.2.0/24","10.16.0.0/12"]}}]"#;
    let ingresses = [
        of_alb("main", &[]).exact("/svc", "a"),
        of_alb("chosen", &[("conditions.b", chosen)]).exact("/svc", "b"),
        of_alb("elsewhere", &[("order", "1"), ("conditions.b", elsewhere)]).exact("/svc", "b"),
    ];
    start(bed, json!([http(80)]), &ingresses).await;
    let all = |path: &str| get(path).header("x-gray", "2").cookie("x=y; b=2");
    let post = Request { method: Method::POST, ..all("/svc?q=1") };
    bed.check(&[
        (all("/svc?q=1"), "b"),
        (all("/svc?q=2"), "a"),
        (post, "a"),
        (get("/svc?q=1").header("x-gray", "2"), "a"),
        (get("/svc?q=1").header("x-gray", "3").cookie("a=1"), "a"),
        (all("/svc?q=1").header("x-envoy-external-address", "192.0.2.1"), "b"),
        (get("/svc").header("x-envoy-external-address", "192.0.2.1"), "a"),
        (all("/more/x?q=1"), "b"),
        (all("/svc?q=1").host("more.example.com"), "b"),
        (get("/svc").host("more.example.com"), "404"),
    ])
    .await;
}

async fn an_alb_rewrites_and_redirects(bed: &mut Bed) {
    let away = r#"[{"type":"Redirect","RedirectConfig":{"host":"b.com","path":"/v2${path}",
        "protocol":"HTTPS","port":"8443","query":"${query}","httpCode":"307"}}]"#;
    let split = r#"[
        {"type":"InsertHeader","InsertHeaderConfig":{"key":"x-added","value":"100%"}},
        {"type":"RemoveHeader","RemoveHeaderConfig":{"key":"x-removed"}},
        {"type":"ForwardGroup","forwardConfig":{"serverGroups":[
            {"serviceName":"a","servicePort":80,"weight":80},
            {"serviceName":"b","servicePort":80,"weight":20}]}}]"#;
    let acts = of_alb("acts", &[("actions.away", away), ("actions.split", split)]);
    let ingresses = [
        of_alb("rewrite", &[("rewrite-target", "/new/${2}")]).prefix("/old(/|$)(.*)", "a"),
        acts.port_name("use-annotation").prefix("/away", "away").exact("/split", "split"),
    ];
    start(bed, json!([http(80)]), &ingresses).await;
    bed.check(&[(get("/old/x/y?q=1"), "a"), (get("/away"), "307")]).await;
    let echo = bed.http().send(&get("/OLD/x/y?q=1")).await.unwrap().echo().unwrap();
    assert_eq!(echo.path, "/new/x/y?q=1");
    let reply = bed.http().send(&get("/away/x?q=1")).await.unwrap();
    assert_eq!(reply.header("location"), "https://b.com:8443/v2/away/x?q=1");
    bed.shares(500, &get("/split"), &[("a", 80.0), ("b", 20.0)], 6.0).await;
    let echo = bed.http().send(&get("/split").header("x-removed", "1")).await.unwrap();
    let echo = echo.echo().unwrap();
    assert_eq!(echo.headers.get("x-added").map(String::as_str), Some("100%"));
    assert_eq!(echo.headers.get("x-removed"), None);
}

async fn an_alb_keeps_sessions(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 3), ("c2", 3)]);
    let web = of_alb("web", &[("sticky-session", "true"), ("cookie-timeout", "60")]);
    start(bed, json!([http(80)]), &[web.exact("/svc1", "service1")]).await;
    bed.settle(20, &get("/svc1"), |replies| replies.pods().0.len() > 1).await;
    let reply = bed.http().send(&get("/svc1")).await.unwrap();
    let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("SERVERID="), "{cookie}");
    let pod = reply.echo().unwrap().pod;
    let replies = bed.http().hit(50, &get("/svc1").cookie(&cookie)).await;
    assert!(replies.pods().only(&pod), "{:?}", replies.pods());
}

async fn an_alb_checks_health(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 3), ("c2", 1)]);
    // Pods of the first member fail their checks, and answer everything else.
    let checks = [
        ("healthcheck-enabled", "true"),
        ("healthcheck-path", "/health?status=500&cluster=c1"),
        ("healthcheck-method", "GET"),
        ("healthcheck-interval-seconds", "1"),
    ];
    start(bed, json!([http(80)]), &[of_alb("web", &checks).exact("/svc1", "service1")]).await;
    bed.all(100, &get("/svc1"), C2).await;
}

async fn one_gateway_of_each_kind(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 1), ("c2", 1)]);
    apply_alb(bed, json!([http(80)]));
    bed.ingress(&of_alb("alb", &[]).exact("/alb", "service1"));
    bed.ingress(&ingress("mse").exact("/mse", "service1"));
    bed.start_guide().await;
    let (_envoy, alb) = bed.start_second_envoy(&format!("AlbConfig/{ALB}"));
    eventually(SETTLE, "the second Envoy serves", || async {
        alb.send(&get("/alb")).await.map(|_| ())
    })
    .await;
    let halves = [(C1, 50.0), (C2, 50.0)];
    bed.shares(100, &get("/mse"), &halves, 1.0).await;
    bed.settle_over(&alb, 100, &get("/alb"), |replies| replies.envs().shares(&halves, 1.0)).await;
    bed.check(&[(get("/alb"), "404")]).await;
    bed.check_over(&alb, &[(get("/mse"), "404")]).await;
}
