//! The access log: one line of JSON a request, with the member that answered and the Ingress.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::{
    bed::{
        Bed,
        client::get,
        guide::{CLUSTER_ONE, GATEWAY, WEB_DEMO},
        ingress::{canary, ingress},
        poll::eventually,
    },
    rows::{BOTH, rows},
};

rows! { BOTH;
    lines_name_the_member_that_failed_over,
    lines_name_the_ingress_of_each_share,
    there_is_a_line_whatever_is_missing,
}

/// The guide's gateway with the vendor's switch, as in its documentation.
fn logging() -> String {
    GATEWAY.replace("spec:\n  common", "spec:\n  monitor:\n    logging:\n      sls: {}\n  common")
}

/// The lines of requests whose path ends in `?mark`, once there are `n`.
async fn lines(bed: &Bed, mark: &str, n: usize) -> Vec<Value> {
    let is_marked = |line: &Value| line["path"].as_str().is_some_and(|p| p.ends_with(mark));
    eventually(Duration::from_secs(5), "the requests are in the log", || async {
        let lines: Vec<_> = bed.envoy().lines().into_iter().filter(is_marked).collect();
        if lines.len() == n { Ok(lines) } else { Err(format!("{} of {n}", lines.len())) }
    })
    .await
}

/// The values that a field has in these lines.
fn values(lines: &[Value], field: &str) -> BTreeSet<String> {
    lines.iter().map(|line| line[field].as_str().unwrap_or("null").to_owned()).collect()
}

fn attempts(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["attempt"].as_u64().unwrap()).collect()
}

async fn lines_name_the_member_that_failed_over(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 2), ("c2", 2)]);
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.fleet.apply("cluster-one", CLUSTER_ONE);
    bed.start_guide().await;
    bed.check(&[(get("/service1"), "cluster-demo-1")]).await;
    let http = bed.http();
    http.hit(5, &get("/service1?off")).await;
    bed.fleet.apply("gateway", &logging());
    eventually(Duration::from_secs(5), "the log is on", || async {
        http.hit(1, &get("/service1?on")).await;
        let is_on = !bed.envoy().lines().is_empty();
        if is_on { Ok(()) } else { Err("no line".to_owned()) }
    })
    .await;

    let both = http.hit(40, &get("/svc1?both")).await.envs();
    let seen = values(&lines(bed, "?both", 40).await, "member");
    assert_eq!(seen, ["c1", "c2"].map(str::to_owned).into(), "{both:?}");
    http.hit(10, &get("/service1?first")).await;
    let first = lines(bed, "?first", 10).await;
    assert_eq!((values(&first, "member"), attempts(&first)), (["c1".into()].into(), vec![1; 10]));
    for (field, expect) in [
        ("ingress", "gateway-demo/web-demo-cluster-one"),
        ("method", "GET"),
        ("authority", "example.com"),
        ("protocol", "HTTP/1.1"),
        ("response_flags", "-"),
        ("response_details", "via_upstream"),
        ("client", "10.0.0.1"),
    ] {
        assert_eq!(values(&first, field), [expect.to_owned()].into(), "{field}");
    }
    let cluster = &first[0]["upstream_cluster"];
    assert!(cluster.as_str().unwrap().starts_with("gateway-demo/service1:80"), "{cluster}");
    assert!(first[0]["upstream_host"].as_str().unwrap().starts_with("10.1."), "{}", first[0]);
    assert!(first[0]["status"] == 200 && first[0]["duration_ms"].is_u64(), "{}", first[0]);
    assert_eq!(first[0]["request_id"].as_str().unwrap().len(), 36);

    bed.kill("c1");
    for path in ["/service1", "/svc1"] {
        let mark = format!("?dead{}", path.replace('/', ""));
        let replies = http.hit(20, &get(&format!("{path}{mark}"))).await;
        assert!(replies.envs().only("cluster-demo-2"), "{:?}", replies.envs());
        let lines = lines(bed, &mark, 20).await;
        assert_eq!(values(&lines, "member"), ["c2".to_owned()].into(), "{path}");
        if path == "/service1" {
            // The first one finds out; later ones may know it from ejections.
            assert!(attempts(&lines).iter().any(|attempt| *attempt >= 2), "{lines:?}");
        }
    }
    assert!(lines(bed, "?off", 0).await.is_empty(), "off unless asked for");
}

async fn lines_name_the_ingress_of_each_share(bed: &mut Bed) {
    bed.deploy_each(&["main", "share", "header"]);
    bed.ingress(&ingress("main").exact("/a", "main"));
    bed.ingress(&canary("share", &[("weight", "50")]).exact("/a", "share"));
    bed.ingress(&canary("header", &[("by-header", "x-new")]).exact("/a", "header"));
    bed.fleet.apply("gateway", &logging());
    bed.start().await;
    bed.settle(40, &get("/a"), |replies| replies.envs().0.len() == 2).await;
    let http = bed.http();
    http.hit(60, &get("/a?split")).await;
    http.hit(5, &get("/a?header").header("x-new", "always")).await;
    let split = lines(bed, "?split", 60).await;
    for line in &split {
        let cluster = line["upstream_cluster"].as_str().unwrap();
        let service = cluster.split(':').next().unwrap();
        assert_eq!(line["ingress"], service, "each Ingress is called as its Service: {line}");
    }
    assert_eq!(values(&split, "ingress").len(), 2, "{split:?}");
    let header = lines(bed, "?header", 5).await;
    assert_eq!(values(&header, "ingress").len(), 1);
    assert!(header[0]["ingress"].as_str().unwrap().ends_with("/header"), "{}", header[0]);
}

async fn there_is_a_line_whatever_is_missing(bed: &mut Bed) {
    bed.deploy_each(&["main"]);
    bed.ingress(&ingress("main").exact("/a", "main").exact("/gone", "nowhere"));
    bed.fleet.apply("gateway", &logging());
    bed.start().await;
    bed.check(&[(get("/a"), "main"), (get("/gone"), "503")]).await;
    let http = bed.http();
    http.hit(1, &get("/nothing?404")).await;
    http.hit(1, &get("/gone?503")).await;
    let long = "x".repeat(9_000);
    http.hit(1, &get("/a?200").header("user-agent", &long)).await;
    http.hit(1, &get(&format!("/a?{long}"))).await;
    for (mark, status, member) in
        [("?404", 404, "null"), ("?503", 503, "null"), ("?200", 200, "c1")]
    {
        let line = &lines(bed, mark, 1).await[0];
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["member"].as_str().unwrap_or("null"), member, "{line}");
    }
    let cut = eventually(Duration::from_secs(5), "the long path is in the log", || async {
        let mut lines = bed.envoy().lines().into_iter();
        lines.find(|line| line["path"].as_str().unwrap().ends_with("xxx")).ok_or("no".to_owned())
    })
    .await;
    assert_eq!(cut["path"].as_str().unwrap().len(), 2048);
    let agents = bed.envoy().lines();
    let agents = agents.iter().filter_map(|line| line["user_agent"].as_str()).map(str::len);
    assert_eq!(agents.max(), Some(512));
}
