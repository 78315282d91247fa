//! Who reaches an admin interface: nobody, by whatever port, path or route.

use std::net::Ipv4Addr;

use convoy::{
    bootstrap::METRICS_PORT,
    settings::{READY_HOST, READY_PORT},
};

use super::{
    raw::{Answer, talk},
    start_envoy, verdicts,
};
use crate::{
    bed::{
        Bed, Variant, client::get, envoy::ADMIN, guide, ingress::ingress, netns::GATEWAY,
        workload::workload,
    },
    rows::rows,
};

rows! { &[Variant::Delta];
    fault_s16_no_port_and_no_route_leads_to_the_admin_interface,
}

/// What would be asked of it.
const ASKED: [&str; 16] = [
    "GET /stats/prometheus",
    "HEAD /stats/prometheus",
    "POST /stats/prometheus",
    "GET /stats/prometheus?x",
    "GET //stats/prometheus",
    "GET /stats//prometheus",
    "GET /stats/prometheus/",
    "GET /x/../stats/prometheus",
    "GET /stats%2fprometheus",
    "GET http://x/stats/prometheus",
    "GET /stats/prometheus/../../config_dump",
    "GET /stats",
    "GET /config_dump",
    "POST /quitquitquit",
    "POST /healthcheck/fail",
    "GET /",
];

/// What a backend could be, if a route led there.
const ASKED_OF_ROUTES: [&str; 5] = [
    "GET /stats/prometheus",
    "GET /ready",
    "GET /config_dump",
    "POST /quitquitquit",
    "POST /healthcheck/fail",
];

/// Endpoints that a member that means harm would name: on this machine, and the gateway's own.
const POISON: [(&str, Ipv4Addr, u16); 5] = [
    ("loopback", Ipv4Addr::LOCALHOST, ADMIN.port()),
    ("any", Ipv4Addr::UNSPECIFIED, ADMIN.port()),
    ("own", GATEWAY, ADMIN.port()),
    ("metrics", GATEWAY, METRICS_PORT),
    ("ready", GATEWAY, READY_PORT),
];

async fn fault_s16_no_port_and_no_route_leads_to_the_admin_interface(bed: &mut Bed) {
    for (service, address, port) in POISON {
        bed.deploy(workload("c1", service, 0).target(port));
        let (running, fleet) = bed.running("c1", service);
        running.also_at((address, port).into(), fleet);
        bed.ingress(&ingress(service).host(&format!("{service}.com")).prefix("/", service));
    }
    bed.fleet.apply("gateway", guide::GATEWAY);
    bed.start_convoy().await;
    start_envoy(bed, |_| {}).await;
    bed.settle(1, &get("/").host("loopback.com"), |replies| replies.codes().only("503")).await;
    let mut rows = vec![format!("{:20}{:44}answer", "where", "asked")];
    let mut ask = async |place: &str, port: u16, host: &str, all: &[&str]| {
        for asked in all {
            let text = format!("{asked} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let verdict = verdict(&talk(None, (GATEWAY, port).into(), text.as_bytes()).await);
            rows.push(format!("{place:20}{asked:44}{verdict}"));
        }
    };
    ask("metrics", METRICS_PORT, "x", &ASKED).await;
    ask("ready", READY_PORT, READY_HOST, &ASKED).await;
    for (service, ..) in POISON {
        ask(&format!("route to {service}"), 80, &format!("{service}.com"), &ASKED_OF_ROUTES).await;
    }
    verdicts("admin", &rows);
    // Nobody has stopped it or taken it out of service.
    assert!(bed.envoy().admin("/ready").await.contains("LIVE"));
}

/// The status, and of what an admin interface says, what it is.
fn verdict(answer: &Answer) -> String {
    let body = answer.body();
    let ours = ["connect error", "no healthy upstream", "RBAC: access denied"];
    let what = match body.as_str() {
        "" => "",
        body if body.contains("# TYPE envoy_") => " statistics",
        body if ours.iter().any(|text| body.contains(text)) => "",
        _ => " SOMETHING ELSE",
    };
    answer.statuses() + what
}
