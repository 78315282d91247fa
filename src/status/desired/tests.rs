use std::sync::Arc;

use super::*;
use crate::{
    admin::{MemberReport, MemberState},
    diag::{Diag, Field, Reason},
    gateway::{Instance, Size},
    key::{ObjectKind, ObjectRef},
};

fn member(id: &str) -> MemberId {
    MemberId::new(id).unwrap()
}

fn declared(members: &[&str]) -> Declared {
    Declared {
        uid: "u1".into(),
        generation: 3,
        problem: None,
        members: members.iter().map(|id| member(id)).collect(),
        listens: true,
        addresses: Vec::new(),
        instance: None,
        envoy_account: None,
    }
}

fn live() -> MemberReport {
    MemberReport { state: MemberState::Live, synced: true, ..MemberReport::default() }
}

fn failing(reason: &'static str, message: &str) -> MemberReport {
    let trouble = Trouble { reason, message: message.into() };
    MemberReport { state: MemberState::Stale(trouble), ..live() }
}

/// A gateway `gw` and members that are all read.
fn report(own: Declared, members: &[(&str, MemberReport)]) -> Report {
    Report {
        published: true,
        declared: Arc::new(BTreeMap::from([(GatewayId::mse("gw"), own)])),
        members: Arc::new(members.iter().map(|(id, row)| (member(id), row.clone())).collect()),
        ..Report::default()
    }
}

struct Case {
    report: Report,
    acknowledged: bool,
    overdue: bool,
    listening: bool,
    addresses: Vec<Address>,
    provisions: Provisions,
}

impl Case {
    fn of(report: Report) -> Case {
        Case {
            report,
            acknowledged: true,
            overdue: false,
            listening: false,
            addresses: Vec::new(),
            provisions: Provisions::new(),
        }
    }

    fn status(&self) -> GatewayStatus {
        let only = |is: bool| is.then(|| GatewayId::mse("gw")).into_iter().collect();
        let facts = Facts {
            report: &self.report,
            acknowledged: &only(self.acknowledged),
            overdue: &only(self.overdue),
            listening: &only(self.listening),
            addresses: &self.addresses,
            provisions: &self.provisions,
        };
        GatewayStatus::clone(&gateways(&facts)[&GatewayId::mse("gw")])
    }
}

#[test]
fn row_001_phases_follow_envoys_and_caches() {
    let check = |edit: &dyn Fn(&mut Case), phase: Phase, message: &str| {
        let live = [("c1", live()), ("c2", live())];
        let mut case = Case::of(report(declared(&["c1", "c2"]), &live));
        edit(&mut case);
        let status = case.status();
        assert_eq!((status.phase, &*status.message), (phase, message));
    };
    let edit_own = |case: &mut Case, edit: fn(&mut Declared)| {
        Arc::make_mut(&mut case.report.declared).values_mut().for_each(edit);
    };
    let nobody = "no Envoy of this gateway has acknowledged its configuration yet";
    let deaf = "spec.ingress.local.ingressClass is unset and no IngressClass is bound";
    check(&|_| {}, Phase::Listening, "");
    check(&|case| case.acknowledged = false, Phase::Pending, nobody);
    let overdue = |case: &mut Case| (case.acknowledged, case.overdue) = (false, true);
    check(&overdue, Phase::Failed, nobody);
    // Row 6: nothing to listen to.
    check(&|case| edit_own(case, |own| own.listens = false), Phase::Running, deaf);
    let fleet = |case: &mut Case| case.report.unsynced = vec![Scope::Fleet];
    check(&fleet, Phase::Running, "waiting for fleet to be read");
    let mine = |case: &mut Case| case.report.unsynced = vec![Scope::Member(member("c2"))];
    check(&mine, Phase::Running, "waiting for member c2 to be read");
    let again = |case: &mut Case| {
        case.listening = true;
        case.report.unsynced = vec![Scope::Member(member("c2"))];
    };
    check(&again, Phase::Listening, "");
    let other = |case: &mut Case| case.report.unsynced = vec![Scope::Member(member("c9"))];
    check(&other, Phase::Listening, "");
    let given_up = |case: &mut Case| {
        case.report.unsynced = vec![Scope::Member(member("c2"))];
        let row = failing("SyncTimeout", "30 s");
        Arc::make_mut(&mut case.report.members).insert(member("c2"), row);
    };
    check(&given_up, Phase::Listening, "");
    // Row 14: invalid, whatever else is true.
    let invalid = |case: &mut Case| {
        edit_own(case, |own| own.problem = Some("spec.name: the name is empty".into()));
    };
    check(&invalid, Phase::Failed, "spec.name: the name is empty");
}

#[track_caller]
fn check_members(own: &[&str], members: &[(&str, MemberReport)], expect: &str) {
    let status = Case::of(report(declared(own), members)).status();
    assert_eq!(serde_json::to_string(&status.remote_clusters).unwrap(), expect);
    // A member never fails the gateway (semantics.md 10, A2).
    assert_eq!(status.phase, Phase::Listening);
}

#[test]
fn row_002_healthy_members_have_nothing_but_their_id() {
    let both = [("c1", live()), ("c2", live())];
    check_members(&["c1", "c2"], &both, r#"[{"clusterId":"c1"},{"clusterId":"c2"}]"#);
    check_members(&["c2", "c1"], &both, r#"[{"clusterId":"c2"},{"clusterId":"c1"}]"#);
    check_members(&[], &both, "[]");
}

#[test]
fn row_003_a_failing_member_says_why() {
    check_members(
        &["c1", "cX"],
        &[("c1", live())],
        concat!(
            r#"[{"clusterId":"c1"},{"clusterId":"cX","status":"Failed","#,
            r#""message":"ClusterNotFound: no cluster `cX` is registered"}]"#
        ),
    );
    check_members(
        &["c1", "c2"],
        &[("c1", failing("Unreachable", "connect to 192.0.2.1:6443: refused")), ("c2", live())],
        concat!(
            r#"[{"clusterId":"c1","status":"Failed","#,
            r#""message":"Unreachable: connect to 192.0.2.1:6443: refused"},{"clusterId":"c2"}]"#
        ),
    );
}

#[test]
fn conditions_say_the_same_in_the_words_of_kubernetes() {
    let check = |case: Case, expect: &str| {
        let conditions = case.status().conditions;
        let words = conditions.iter().map(|own| {
            assert_eq!(own.observed_generation, 3);
            format!("{}={}/{}", own.r#type, own.status, own.reason)
        });
        assert_eq!(words.collect::<Vec<_>>().join(" "), expect);
    };
    check(
        Case::of(report(declared(&["c1"]), &[("c1", live())])),
        "Accepted=True/Accepted Programmed=True/Programmed Synced=True/Synced Degraded=False/AllMembersRead",
    );
    // It was given up once, and is tried again.
    let tried = MemberReport { state: MemberState::Syncing, ..MemberReport::default() };
    check(
        Case::of(report(declared(&["c1", "c2"]), &[("c1", live()), ("c2", tried)])),
        "Accepted=True/Accepted Programmed=True/Programmed Synced=False/Syncing Degraded=False/Syncing",
    );
    let own = Declared { problem: Some("bad".into()), ..declared(&["c1"]) };
    let troubled = report(own, &[("c1", failing("Unauthorized", "401"))]);
    let troubled = Report { unsynced: vec![Scope::Fleet], ..troubled };
    check(
        Case { acknowledged: false, ..Case::of(troubled) },
        "Accepted=False/Invalid Programmed=False/Pending Synced=False/Syncing Degraded=True/Unauthorized",
    );
}

#[test]
fn row_012_addresses_come_from_the_annotation_or_the_flags() {
    let address = |text: &str| text.parse::<Address>().unwrap();
    let check = |acknowledged: bool, annotation: &[&str], flags: &[&str], expect: &str| {
        let addresses = annotation.iter().map(|text| address(text)).collect();
        let case = Case {
            acknowledged,
            addresses: flags.iter().map(|text| address(text)).collect(),
            ..Case::of(report(Declared { addresses, ..declared(&[]) }, &[]))
        };
        let status = case.status();
        assert_eq!(serde_json::to_string(&status.load_balancer).unwrap(), expect);
        let statuses = BTreeMap::from([(GatewayId::mse("gw"), Arc::new(status))]);
        let attachment = |gateway: &str| Attachment {
            uid: "i1".into(),
            gateways: BTreeSet::from([GatewayId::mse(gateway)]),
        };
        let ingress = load_balancer(&attachment("gw"), &statuses);
        assert_eq!(serde_json::to_string(&ingress).unwrap(), expect);
        assert_eq!(load_balancer(&attachment("other"), &statuses), LoadBalancer::default());
    };
    check(true, &[], &["192.0.2.7"], r#"{"ingress":[{"ip":"192.0.2.7"}]}"#);
    check(
        true,
        &["lb.example.com"],
        &["192.0.2.7"],
        r#"{"ingress":[{"hostname":"lb.example.com"}]}"#,
    );
    check(true, &[], &[], "{}");
    // Not before somebody answers there.
    check(false, &["lb.example.com"], &["192.0.2.7"], "{}");
}

#[test]
fn a_status_is_read_back_as_it_was_written() {
    let troubled = [("c1", failing("Unreachable", "refused"))];
    let status = Case::of(report(declared(&["c1", "c2"]), &troubled)).status();
    let written = serde_json::to_value(&status).unwrap();
    assert_eq!(serde_json::from_value::<GatewayStatus>(written).unwrap(), status);
}

#[test]
fn messages_are_cut_between_characters() {
    let text = cut("ä".repeat(MAX_MESSAGE));
    assert_eq!(text.len(), MAX_MESSAGE);
    assert_eq!(cut("short".into()), "short");
}

#[test]
fn managed_envoys_have_a_condition_and_addresses_of_their_own() {
    let finding = || {
        let at =
            Field::of(&ObjectRef::fleet(ObjectKind::MseIngressConfig, GatewayId::mse("gw").name));
        Diag::error(&at, Reason::ObjectNotOurs, "Service a/b: not ours")
    };
    let own: Address = "192.0.2.9".parse().unwrap();
    let provision = |is_settled: bool, findings: Vec<Diag>| Provision {
        addresses: vec![own.clone()],
        is_settled,
        findings,
    };
    let check = |provision: Provision, annotation: Option<&str>, expect: &str| {
        let addresses = annotation.map(|text| text.parse().unwrap()).into_iter().collect();
        let case = Case {
            addresses: vec!["192.0.2.7".parse().unwrap()],
            provisions: [(GatewayId::mse("gw"), provision)].into(),
            ..Case::of(report(Declared { addresses, ..declared(&[]) }, &[]))
        };
        let status = case.status();
        let condition = status.conditions.iter().find(|own| own.r#type == "Provisioned").unwrap();
        let points = status.load_balancer.ingress.iter().filter_map(|own| own.ip.as_deref());
        let points = points.collect::<Vec<_>>().join(",");
        let Condition { status, reason, message, .. } = condition;
        assert_eq!(format!("{status} {reason} {message:?} {points}"), expect);
    };
    check(provision(true, vec![]), None, r#"True Provisioned "" 192.0.2.9"#);
    check(provision(true, vec![]), Some("192.0.2.1"), r#"True Provisioned "" 192.0.2.1"#);
    check(provision(false, vec![]), None, r#"False Pending "" 192.0.2.9"#);
    let foreign = r#"False ObjectNotOurs "Service a/b: not ours" 192.0.2.9"#;
    check(provision(false, vec![finding()]), None, foreign);
    // Until it has one, the others are as good as before.
    check(
        Provision { is_settled: true, ..Provision::default() },
        None,
        r#"True Provisioned "" 192.0.2.7"#,
    );
}

/// A gateway of the other kind, with what its columns are made of.
#[test]
fn an_alb_config_says_what_the_vendors_columns_show() {
    let id = GatewayId::alb("gw");
    let listener = |transport, port| ListenerKey { transport, port: Some(port) };
    let (http, https) = (listener(Transport::Plaintext, 8001), listener(Transport::Tls, 443));
    let instance = Instance {
        size: Size::DEFAULT,
        replicas: None,
        ports: [(http, Port::direct(8001)), (https, Port::unprivileged(443, &[]))].into(),
        ready_port: 19003,
    };
    let address: Address = "192.0.2.7".parse().unwrap();
    let own = Declared { instance: Some(instance), addresses: vec![address], ..declared(&[]) };
    let secrets = BTreeSet::from(["demo/a".into(), "demo/b".into()]);
    let certificates = Certificates::from([(https, secrets)]);
    let report = Report {
        declared: Arc::new([(id.clone(), own)].into()),
        certificates: Arc::new([(id.clone(), Arc::new(certificates))].into()),
        published: true,
        ..Report::default()
    };
    let none = BTreeSet::new();
    let facts = Facts {
        report: &report,
        acknowledged: &[id.clone()].into(),
        overdue: &none,
        listening: &none,
        addresses: &[],
        provisions: &Provisions::new(),
    };
    let status = GatewayStatus::clone(&gateways(&facts)[&id]);
    let written = serde_json::to_value(&status).unwrap();
    let expect = serde_json::json!({
        "id": "AlbConfig/gw",
        "dnsname": "192.0.2.7",
        "listeners": [
            {"portAndProtocol": "443/HTTPS",
             "certificates": [{"certificateId": "demo/a"}, {"certificateId": "demo/b"}]},
            {"portAndProtocol": "8001/HTTP"},
        ],
        "ingress": [{"ip": "192.0.2.7"}],
    });
    assert_eq!(written["loadBalancer"], expect);
    assert_eq!(written["phase"], "Listening");
    // It has said so already.
    assert!(written.get("gatewayId").is_none());
    assert_eq!(serde_json::from_value::<GatewayStatus>(written).unwrap(), status);
    // Who is nowhere yet has no name either.
    let facts = Facts { acknowledged: &none, ..facts };
    let status = &gateways(&facts)[&id];
    assert_eq!((&*status.load_balancer.dnsname, status.phase), ("", Phase::Pending));
    assert_eq!(status.load_balancer.listeners.len(), 2);
}
