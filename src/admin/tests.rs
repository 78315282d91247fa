use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::watch;

use super::{
    proto::{ListGatewaysRequest, ListResourcesRequest, inspection_client::InspectionClient},
    *,
};
use crate::{
    diag::{Diag, DiagSet, Field, Reason},
    identity,
    key::{GatewayId, MemberId, ObjectKind, ObjectName, ObjectRef, Scope},
    snapshot::{GatewayView, Kind, Publisher, Resource},
    source::kube::{SourceMeter, Traffic},
};
use std::{collections::BTreeMap, sync::Arc};

struct TwoEnvoys;

impl Envoys for TwoEnvoys {
    fn connected(&self) -> Vec<proto::Envoy> {
        let envoy = |node: &str, gateway: &str, withheld| proto::Envoy {
            node_id: node.into(),
            gateway: gateway.into(),
            waiting: withheld > 0,
            types: vec![proto::TypeStatus { withheld, ..Default::default() }],
            ..Default::default()
        };
        vec![envoy("a", "hongkong", 3), envoy("b", "typo", 0)]
    }

    fn propagation(&self) -> BTreeMap<Kind, Histogram> {
        BTreeMap::new()
    }

    fn totals(&self) -> BTreeMap<Kind, StreamTotals> {
        BTreeMap::from([(Kind::Route, StreamTotals { responses: 7, refusals: 2 })])
    }

    fn refused(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([("handshake", 3)])
    }
}

fn member(id: &str) -> MemberId {
    MemberId::new(id).unwrap()
}

/// One gateway with two members, of which the second is not read yet; one finding.
fn report() -> Report {
    let ingress = ObjectRef::fleet(ObjectKind::Ingress, ObjectName::new("demo", "web"));
    let at = Field::of(&ingress).key("spec");
    let row = |state, synced| MemberReport {
        state,
        synced,
        services: 2,
        endpoints: 10,
        nodes: 3,
        ..MemberReport::default()
    };
    let (mut c1, c2) = (row(MemberState::Live, true), row(MemberState::Syncing, false));
    c1.shared_addresses.insert(member("c2"), 7);
    Report {
        published: true,
        was_ready: false,
        unsynced: vec![Scope::Member(member("c2"))],
        fleet: FleetReport::default(),
        gateways: Arc::new(BTreeMap::from([(
            GatewayId::mse("hongkong"),
            vec![member("c1"), member("c2")],
        )])),
        declared: Arc::default(),
        certificates: Arc::default(),
        attachments: Default::default(),
        members: Arc::new(BTreeMap::from([(member("c1"), c1), (member("c2"), c2)])),
        diags: DiagSet::from_iter([Diag::warning(
            &at,
            Reason::ServiceNotFound,
            "no member has it",
        )]),
        engine: EngineCounters { ticks: 3, rows_recomputed: 40, bytes_encoded: 500 },
    }
}

fn state(report: Report) -> State {
    let publisher = Publisher::default();
    let cluster = Resource::new(Kind::Cluster, "demo/web:80".into(), b"cluster", Vec::new());
    let view = GatewayView::default()
        .commit([(Kind::Cluster, cluster.name.clone(), Some(cluster))])
        .expect("a change");
    publisher.publish(&GatewayId::mse("hongkong"), Arc::new(view));
    State {
        publisher: Arc::new(publisher),
        report: watch::Sender::new(report).subscribe(),
        envoys: Arc::new(TwoEnvoys),
        tick_seconds: tick_histogram(),
        traffic: SourceMeter::default(),
        status: Arc::default(),
        infra: Arc::default(),
        identity: None,
    }
}

/// Serves `state` on a loopback port for as long as the test runs.
async fn serve_state(state: State) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, state, std::future::pending()));
    address
}

/// Code and body of a GET over HTTP/1.1.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    use http_body_util::BodyExt;
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    let client = Client::builder(TokioExecutor::new()).build_http::<String>();
    let answer = client.get(format!("http://{address}{path}").parse().unwrap()).await.unwrap();
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

async fn inspection(address: SocketAddr) -> InspectionClient<tonic::transport::Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    InspectionClient::new(endpoint.timeout(Duration::from_secs(5)).connect().await.unwrap())
}

#[tokio::test]
async fn health_and_readiness_say_what_is_missing() {
    let check = async |report: Report, expect: (u16, &str)| {
        let address = serve_state(state(report)).await;
        assert_eq!(get(address, "/healthz").await, (200, "ok\n".into()));
        assert_eq!(get(address, "/readyz").await, (expect.0, expect.1.into()));
    };
    let nothing = Report { published: false, unsynced: vec![Scope::Fleet], ..report() };
    let waits = "not ready, waiting for fleet to be read, the first publication\n";
    check(nothing, (503, waits)).await;
    check(report(), (503, "not ready, waiting for member c2 to be read\n")).await;
    check(Report { unsynced: vec![], ..report() }, (200, "ready\n")).await;
    let trouble = Trouble { reason: "KindUnavailable", message: "no CRD".into() };
    let stale = FleetReport { trouble: Some(trouble), trouble_since: None };
    let degraded = "degraded, fleet: KindUnavailable: no CRD\n";
    let never_read = Report { published: false, unsynced: vec![Scope::Fleet], ..report() };
    let never_read = Report { fleet: stale.clone(), ..never_read };
    check(never_read, (503, &format!("{waits}{degraded}"))).await;
    // Who was ready stays so, whoever is registered or lost later.
    let lost = Report { was_ready: true, fleet: stale, ..report() };
    check(lost, (200, &format!("ready\n{degraded}"))).await;
}

fn identified(report: identity::Report) -> State {
    let all_read = Report { unsynced: vec![], ..self::report() };
    State { identity: Some(watch::Sender::new(report).subscribe()), ..state(all_read) }
}

#[tokio::test]
async fn without_a_certificate_it_is_not_ready_and_says_why() {
    let check = async |server_end, trouble: Option<&str>, expect: (u16, &str)| {
        let trouble = trouble.map(str::to_owned);
        let report = identity::Report { server_end, trouble, ..identity::Report::default() };
        let address = serve_state(identified(report)).await;
        assert_eq!(get(address, "/readyz").await, (expect.0, expect.1.into()));
    };
    let waits = "not ready, waiting for a certificate for xDS\n";
    check(None, None, (503, waits)).await;
    let why = "degraded, certificates: Secret a/b: forbidden\n";
    check(None, Some("Secret a/b: forbidden"), (503, &format!("{waits}{why}"))).await;
    let end = Some(SystemTime::now());
    check(end, Some("Secret a/b: forbidden"), (200, &format!("ready\n{why}"))).await;
    check(end, None, (200, "ready\n")).await;
}

#[tokio::test]
async fn the_ends_of_certificates_and_the_phase_are_metrics() {
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let report = identity::Report {
        server_end: at(1_900_000_000),
        authority_end: at(2_000_000_000),
        phase: Some(identity::authority::Phase::Spreading),
        trouble: Some("no answer".into()),
    };
    let (_, text) = get(serve_state(identified(report)).await, "/metrics").await;
    let own = |line: &&str| line.contains("certificate") || line.contains("authority");
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).filter(own).collect();
    assert_eq!(
        samples,
        [
            "convoy_xds_certificate_end_timestamp_seconds 1900000000",
            "convoy_authority_end_timestamp_seconds 2000000000",
            "convoy_authority_phase{phase=\"settled\"} 0",
            "convoy_authority_phase{phase=\"spreading\"} 1",
            "convoy_authority_phase{phase=\"retiring\"} 0",
            "convoy_certificates_failing 1",
        ]
    );
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let address = serve_state(state(report())).await;
    for path in ["/", "/config_dump", "/quitquitquit", "/convoy.inspect.v2.Inspection/List"] {
        assert_eq!(get(address, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn metrics_are_named_and_ordered() {
    let mut report = report();
    let silence = Trouble { reason: "Unreachable", message: "no answer".into() };
    let members = Arc::make_mut(&mut report.members);
    members.get_mut(&member("c2")).unwrap().state = MemberState::Stale(silence);
    let traffic = |last_contact| Traffic {
        last_contact,
        lists: 3,
        watches: 5,
        failures: BTreeMap::from([("Unreachable", 2)]),
    };
    // The clock was set back.
    let later = SystemTime::now() + Duration::from_secs(3600);
    let traffic = SourceMeter::counted([
        (Scope::Fleet, traffic(Some(later))),
        (Scope::Member(member("c1")), traffic(Some(later))),
        (Scope::Member(member("c2")), traffic(None)),
        (Scope::Member(member("gone")), traffic(None)),
    ]);
    let address = serve_state(State { traffic, ..state(report) }).await;
    let (code, text) = get(address, "/metrics").await;
    let samples: Vec<_> =
        text.lines().filter(|l| !l.starts_with('#') && !l.contains("_bucket")).collect();
    let version = env!("CARGO_PKG_VERSION");
    let expect = format!(
        r#"convoy_build_info{{version="{version}"}} 1
convoy_fleet_synced 1
convoy_fleet_stale_seconds 0
convoy_gateways 1
convoy_members{{state="connecting"}} 0
convoy_members{{state="syncing"}} 0
convoy_members{{state="live"}} 1
convoy_members{{state="stale"}} 1
convoy_member_synced{{member="c1"}} 1
convoy_member_synced{{member="c2"}} 0
convoy_member_stale{{member="c2",reason="Unreachable"}} 1
convoy_member_services{{member="c1"}} 2
convoy_member_services{{member="c2"}} 2
convoy_member_endpoints{{member="c1"}} 10
convoy_member_endpoints{{member="c2"}} 10
convoy_member_nodes{{member="c1"}} 3
convoy_member_nodes{{member="c2"}} 3
convoy_member_shared_addresses{{member="c1",other="c2"}} 7
convoy_diagnostics{{severity="warning",reason="ServiceNotFound"}} 1
convoy_fleet_contact_age_seconds 0
convoy_fleet_lists_total 3
convoy_fleet_watches_total 5
convoy_fleet_read_failures_total{{reason="Unreachable"}} 2
convoy_member_contact_age_seconds{{member="c1"}} 0
convoy_member_lists_total{{member="c1"}} 3
convoy_member_lists_total{{member="c2"}} 3
convoy_member_watches_total{{member="c1"}} 5
convoy_member_watches_total{{member="c2"}} 5
convoy_member_read_failures_total{{member="c1",reason="Unreachable"}} 2
convoy_member_read_failures_total{{member="c2",reason="Unreachable"}} 2
convoy_xds_envoys{{gateway="MseIngressConfig/hongkong"}} 1
convoy_xds_envoys{{gateway="none"}} 1
convoy_xds_waiting_envoys{{gateway="MseIngressConfig/hongkong"}} 1
convoy_xds_waiting_envoys{{gateway="none"}} 0
convoy_xds_withheld{{gateway="MseIngressConfig/hongkong"}} 3
convoy_xds_withheld{{gateway="none"}} 0
convoy_xds_refused_total{{reason="handshake"}} 3
convoy_xds_responses_total{{type="rds"}} 7
convoy_xds_nacks_total{{type="rds"}} 2
convoy_rejected_objects_left_out 0
convoy_engine_ticks_total 3
convoy_engine_rows_recomputed_total 40
convoy_engine_encoded_bytes_total 500
convoy_status_holder 0
convoy_status_queue 0
convoy_status_writes_total 0
convoy_status_write_errors_total 0
convoy_status_dropped_events_total 0
convoy_infra_unsettled_gateways 0
convoy_infra_applied_total 0
convoy_infra_in_order_total 0
convoy_infra_errors_total 0
convoy_engine_tick_duration_seconds_sum 0.0
convoy_engine_tick_duration_seconds_count 0"#
    );
    assert_eq!((code, samples.join("\n")), (200, expect));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn gateways_are_listed_with_counts() {
    let address = serve_state(state(report())).await;
    let answer = inspection(address).await.list_gateways(ListGatewaysRequest {}).await.unwrap();
    let [gateway] = &answer.into_inner().gateways[..] else { panic!("one gateway") };
    assert_eq!(gateway.id, "MseIngressConfig/hongkong");
    assert_eq!((gateway.revision, gateway.envoys), (1, 1));
    assert_eq!(gateway.members, ["c1", "c2"]);
    let counts: Vec<_> = gateway.resources.iter().map(|(k, n)| format!("{k} {n}")).collect();
    assert_eq!(counts, ["cds 1", "eds 0", "lds 0", "rds 0", "sds 0"]);
}

#[tokio::test]
async fn resources_are_found_by_bare_name_or_id() {
    let address = serve_state(state(report())).await;
    let mut convoy = inspection(address).await;
    let mut ask = async |gateway: &str| {
        let gateway = gateway.to_owned();
        convoy.list_resources(ListResourcesRequest { gateway, include_content: false }).await
    };
    for gateway in ["hongkong", "MseIngressConfig/hongkong"] {
        let answer = ask(gateway).await.unwrap().into_inner();
        let names: Vec<_> = answer.resources.iter().map(|r| (&*r.r#type, &*r.name)).collect();
        assert_eq!(names, [("cds", "demo/web:80")], "{gateway}");
    }
    let unknown = ask("typo").await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let message = "no gateway `typo`, or several; there is MseIngressConfig/hongkong";
    assert_eq!(unknown.message(), message);
}
