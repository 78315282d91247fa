use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1 as core};
use kube::{core::DynamicObject, runtime::watcher::Event};
use serde_json::{Value, json};

use super::{
    fixture::{kubeconfig, pki},
    seen::{SecretWatch, Seen},
    *,
};
use crate::key::ObjectName;

/// A Secret in `convoy-system`, or in the namespace before a slash.
fn secret(name: &str, created: i64, metadata: Value, data: &[(&str, &str)]) -> core::Secret {
    let (namespace, name) = name.split_once('/').unwrap_or(("convoy-system", name));
    let mut manifest = json!({"metadata": metadata});
    manifest["metadata"]["namespace"] = namespace.into();
    manifest["metadata"]["name"] = name.into();
    let mut secret: core::Secret = serde_json::from_value(manifest).unwrap();
    let created = k8s_openapi::jiff::Timestamp::from_second(created).unwrap();
    secret.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created));
    let data = data.iter().map(|(key, text)| {
        let content = ByteString(text.as_bytes().to_vec());
        ((*key).to_owned(), content)
    });
    secret.data = Some(data.collect());
    secret
}

fn ours(annotations: Value) -> Value {
    json!({"labels": {MEMBER_LABEL: "true"}, "annotations": annotations})
}

fn argo(annotations: Value) -> Value {
    json!({"labels": {"argocd.argoproj.io/secret-type": "cluster"}, "annotations": annotations})
}

fn cluster(name: &str, created: &str, spec: Value) -> DynamicObject {
    let metadata = json!({"name": name, "creationTimestamp": created});
    let manifest = json!({"metadata": metadata, "spec": spec});
    serde_json::from_value(manifest).unwrap()
}

fn declare(secrets: Vec<core::Secret>, clusters: Vec<DynamicObject>) -> Declarations {
    declarations(DEFAULT_NAMESPACES.map(str::to_owned).into(), secrets, clusters)
}

/// One line a member.
fn line(registration: &Registration) -> String {
    let Registration {
        id,
        revision: _,
        locality,
        network,
        access,
        allowed_endpoints,
        allowed_namespaces,
        paused,
        cluster_uid,
        declared_by,
        created: _,
    } = registration;
    let access = match access {
        Ok(Access::Fleet) => "fleet".to_owned(),
        Ok(Access::Remote(credentials)) => credentials.server().to_string(),
        Err(error) => format!("{}: {error}", error.reason()),
    };
    let place = format!("{}/{}", locality.region, locality.zone);
    let ranges =
        allowed_endpoints.as_ref().map_or(String::new(), |r| format!(" {} ranges", r.len()));
    let namespaces = allowed_namespaces.iter().flat_map(|own| own.iter());
    let namespaces = namespaces.map(|own| format!(" in {own}")).collect::<String>();
    let paused = if *paused { " paused" } else { "" };
    let uid = cluster_uid.iter().map(|uid| format!(" cluster {uid}")).collect::<String>();
    format!("{id} by {declared_by}: {place} {network:?}{ranges}{namespaces}{paused}{uid}: {access}")
}

fn lines(members: &BTreeMap<MemberId, Registration>) -> Vec<String> {
    members.values().map(line).collect()
}

fn check(declared: &Declarations, members: &[&str], findings: &[&str]) {
    let (registrations, diags) = registrations(declared);
    assert_eq!(lines(&registrations), members);
    assert_eq!(diags.iter().map(ToString::to_string).collect::<Vec<_>>(), findings);
}

fn config(cluster: u8) -> String {
    kubeconfig(&format!("https://10.{cluster}.0.1"), "t")
}

fn argo_config() -> String {
    json!({"bearerToken": "t", "tlsClientConfig": {"insecure": false, "caData": pki().ca}})
        .to_string()
}

#[test]
fn kubeconfig_secrets_name_members_by_key_or_annotation() {
    let (one, two) = (config(1), config(2));
    let place = json!({REGION: "hongkong", ZONE: "b", NETWORK: "overlay"});
    let own = json!({MEMBER_ID: "c3", CLUSTER_UID: "u3"});
    let istio = json!({"labels": {"istio/multiCluster": "true"}});
    check(
        &declare(
            vec![
                secret("by-key", 1, ours(place), &[("c1", &one), ("c2", &two)]),
                secret("by-annotation", 1, ours(own), &[("kubeconfig", &one)]),
                secret("of-istio", 1, istio, &[("c4", &one)]),
                secret("no-label", 1, json!({}), &[("c5", &one)]),
            ],
            vec![],
        ),
        &[
            "c1 by Secret convoy-system/by-key: hongkong/b Overlay: https://10.1.0.1/",
            "c2 by Secret convoy-system/by-key: hongkong/b Overlay: https://10.2.0.1/",
            "c3 by Secret convoy-system/by-annotation: / Underlay cluster u3: https://10.1.0.1/",
            "c4 by Secret convoy-system/of-istio: / Underlay: https://10.1.0.1/",
        ],
        &[],
    );
}

#[test]
fn broken_secrets_are_findings_on_them_and_nobody_else_is_harmed() {
    let one = config(1);
    let with_exec = config(2).replace("token: t", "exec: {command: sh}");
    check(
        &declare(
            vec![
                secret("a", 1, ours(json!({})), &[("c1", &one), ("c 2", &one), ("c3", &with_exec)]),
                secret("b", 1, ours(json!({MEMBER_ID: "c4"})), &[("x", &one), ("y", &one)]),
                secret("c", 1, ours(json!({MEMBER_ID: "c5"})), &[]),
                secret("d", 1, ours(json!({})), &[]),
                secret("e", 1, ours(json!({NETWORK: "vpn"})), &[("c6", &one)]),
            ],
            vec![],
        ),
        &[
            "c1 by Secret convoy-system/a: / Underlay: https://10.1.0.1/",
            "c3 by Secret convoy-system/a: / Underlay: InvalidKubeconfig: key `c3`: \
             users[0].user.exec: would run a program; give a token or a client certificate",
            "c4 by Secret convoy-system/b: / Underlay: CredentialsMissing: it has several keys, \
             and `convoy.dev/member-id` names one member",
            "c5 by Secret convoy-system/c: / Underlay: CredentialsMissing: it has no key",
            "c6 by Secret convoy-system/e: / Underlay: https://10.1.0.1/",
        ],
        &[
            "error: Secret convoy-system/a: data: InvalidField: `c 2` cannot be the id of a member",
            "error: Secret convoy-system/d: data: CredentialsMissing: \
             it is labelled as declaring members and has no key",
            "error: Secret convoy-system/e: metadata.annotations[convoy.dev/network]: \
             InvalidAnnotation: `vpn` is neither underlay nor overlay; ignored",
            "error: Secret convoy-system/a: data[c3]: InvalidKubeconfig: key `c3`: \
             users[0].user.exec: would run a program; give a token or a client certificate",
            "error: Secret convoy-system/b: data: CredentialsMissing: it has several keys, \
             and `convoy.dev/member-id` names one member",
            "error: Secret convoy-system/c: data: CredentialsMissing: it has no key",
        ],
    );
}

#[test]
fn clusters_of_argo_cd_are_members() {
    let config = argo_config();
    let exec = json!({"execProviderConfig": {"command": "argocd-k8s-auth"}}).to_string();
    let insecure = json!({"bearerToken": "t", "tlsClientConfig": {"insecure": true}}).to_string();
    let data = |name, server, config| [("name", name), ("server", server), ("config", config)];
    let remote = "https://10.1.0.1:6443";
    let id = |id: &str| argo(json!({"cluster_id": id, "cluster_name": "ack", ZONE: "b"}));
    check(
        &declare(
            vec![
                secret("argocd/a", 1, id("c1"), &data("ack", remote, &config)),
                secret("argocd/b", 1, argo(json!({})), &data("idc", remote, &config)),
                secret("argocd/c", 1, id("c3"), &data("eks", remote, &exec)),
                secret("argocd/d", 1, id("c4"), &data("dev", remote, &insecure)),
                secret(
                    "argocd/e",
                    1,
                    id("c5"),
                    &data("in", "https://kubernetes.default.svc", "{}"),
                ),
                secret("argocd/f", 1, id("c6"), &[]),
                secret("argocd/g", 1, argo(json!({})), &data("a b", remote, &config)),
                secret("argocd/h", 1, id("c8"), &data("h", remote, "{")),
            ],
            vec![],
        ),
        &[
            "c1 by Secret argocd/a: /b Underlay: https://10.1.0.1:6443/",
            "c3 by Secret argocd/c: /b Underlay: InvalidKubeconfig: config.execProviderConfig: \
             would run a program; give bearerToken or a client certificate",
            "c4 by Secret argocd/d: /b Underlay: InvalidKubeconfig: \
             config.tlsClientConfig.insecure: the server must be verified",
            "c5 by Secret argocd/e: /b Underlay: fleet",
            "c6 by Secret argocd/f: /b Underlay: InvalidKubeconfig: \
             config.tlsClientConfig.caData: is missing",
            "c8 by Secret argocd/h: /b Underlay: InvalidKubeconfig: config: is not JSON",
            "idc by Secret argocd/b: / Underlay: https://10.1.0.1:6443/",
        ],
        &[
            "error: Secret argocd/g: data.name: InvalidField: `a b` cannot be the id of a member",
            "error: Secret argocd/c: data: InvalidKubeconfig: config.execProviderConfig: \
             would run a program; give bearerToken or a client certificate",
            "error: Secret argocd/d: data: InvalidKubeconfig: \
             config.tlsClientConfig.insecure: the server must be verified",
            "error: Secret argocd/f: data: InvalidKubeconfig: \
             config.tlsClientConfig.caData: is missing",
            "error: Secret argocd/h: data: InvalidKubeconfig: config: is not JSON",
        ],
    );
}

#[test]
fn member_clusters_refer_to_secrets() {
    const NOON: &str = "2026-01-01T12:00:00Z";
    let (one, two) = (config(1), config(2));
    let argo_data = [("name", "x"), ("server", "https://10.3.0.1"), ("config", &*argo_config())];
    let to = |namespace: &str, name: &str| json!({"namespace": namespace, "name": name});
    let spec = |id: &str, secret_ref: Value| json!({"id": id, "secretRef": secret_ref});
    let keyed = json!({"namespace": "convoy-system", "name": "two", "key": "b"});
    let full = json!({
        "id": "c1", "secretRef": to("convoy-system", "one"), "region": "hk", "zone": "b",
        "network": "overlay", "allowedEndpointCIDRs": ["10.0.0.0/8", "x"], "paused": true,
    });
    check(
        &declare(
            vec![
                secret("one", 1, json!({}), &[("value", &one)]),
                secret("two", 1, ours(json!({})), &[("a", &one), ("b", &two)]),
                secret("argocd/three", 1, argo(json!({"cluster_id": "c3"})), &argo_data),
            ],
            vec![
                cluster("m1", NOON, full),
                cluster("m2", NOON, spec("c2", keyed)),
                cluster("m3", NOON, spec("c3", to("argocd", "three"))),
                cluster("m4", NOON, json!({"id": "fleet"})),
                cluster("m5", NOON, spec("c5", to("convoy-system", "none"))),
                cluster("m6", NOON, spec("c6", to("kube-system", "x"))),
                cluster("m7", NOON, spec("c7", to("convoy-system", "two"))),
            ],
        ),
        &[
            "c1 by MemberCluster m1: hk/b Overlay 1 ranges paused: https://10.1.0.1/",
            "c2 by MemberCluster m2: / Underlay: https://10.2.0.1/",
            "c3 by MemberCluster m3: / Underlay: https://10.3.0.1/",
            "c5 by MemberCluster m5: / Underlay: CredentialsMissing: \
             there is no Secret convoy-system/none",
            "c6 by MemberCluster m6: / Underlay: CredentialsMissing: \
             Secret kube-system/x is not in a namespace that is read: argocd, convoy-system",
            "c7 by MemberCluster m7: / Underlay: CredentialsMissing: \
             Secret convoy-system/two: it has no key `kubeconfig`",
            "fleet by MemberCluster m4: / Underlay: fleet",
        ],
        &[
            "error: MemberCluster m1: spec.allowedEndpointCIDRs[1]: InvalidField: \
             `x` is not a range of addresses",
            "error: MemberCluster m5: spec.secretRef: CredentialsMissing: \
             there is no Secret convoy-system/none",
            "error: MemberCluster m6: spec.secretRef: CredentialsMissing: \
             Secret kube-system/x is not in a namespace that is read: argocd, convoy-system",
            "error: MemberCluster m7: spec.secretRef: CredentialsMissing: \
             Secret convoy-system/two: it has no key `kubeconfig`",
        ],
    );
}

#[test]
fn what_a_member_may_offer_is_declared_in_every_form() {
    let one = config(1);
    let limits = json!({
        MEMBER_ID: "c1", ALLOWED_ENDPOINTS: "10.0.0.0/8, fd00::/8, x", ALLOWED_NAMESPACES: "shop,pay",
    });
    let nothing = json!({MEMBER_ID: "c2", ALLOWED_NAMESPACES: "A"});
    let spec =
        json!({"id": "c3", "allowedNamespaces": ["shop"], "allowedEndpointCIDRs": ["11.0.0.0/8"]});
    check(
        &declare(
            vec![
                secret("one", 1, ours(limits), &[("a", &one)]),
                secret("two", 1, ours(nothing), &[("a", &one)]),
            ],
            vec![cluster("m3", "2026-01-01T12:00:00Z", spec)],
        ),
        &[
            "c1 by Secret convoy-system/one: / Underlay 2 ranges in pay in shop: https://10.1.0.1/",
            // Nothing at all: what is illegal must not be no limit.
            "c2 by Secret convoy-system/two: / Underlay: https://10.1.0.1/",
            "c3 by MemberCluster m3: / Underlay 1 ranges in shop: fleet",
        ],
        &[
            "error: Secret convoy-system/one: metadata.annotations[convoy.dev/allowed-endpoint-cidrs]: \
             InvalidField: `x` is not a range of addresses",
            "error: Secret convoy-system/two: metadata.annotations[convoy.dev/allowed-namespaces]: \
             InvalidField: `A` is not a namespace",
        ],
    );
}

#[test]
fn fault_a17_ranges_of_two_members_that_overlap_are_said_on_the_younger() {
    let member = |name: &str, hour: u8, ranges: &[&str]| {
        let spec = json!({"id": format!("c-{name}"), "allowedEndpointCIDRs": ranges});
        cluster(name, &format!("2026-01-01T{hour:02}:00:00Z"), spec)
    };
    let said = |clusters: Vec<DynamicObject>| -> Vec<String> {
        registrations(&declare(vec![], clusters)).1.iter().map(ToString::to_string).collect()
    };
    let apart =
        vec![member("a", 1, &["10.0.0.0/9"]), member("b", 2, &["10.128.0.0/9", "fd00::/8"])];
    assert_eq!(said(apart), [""; 0]);
    let young_is_wider = vec![
        member("a", 2, &["10.0.0.0/8"]),
        member("b", 1, &["10.1.0.0/16", "10.2.0.0/16"]),
        member("c", 3, &["10.2.3.0/24"]),
    ];
    let range = "spec.allowedEndpointCIDRs: AddressConflict:";
    assert_eq!(
        said(young_is_wider),
        [
            format!(
                "warning: MemberCluster a: {range} 10.0.0.0/8 of member c-a overlaps 10.1.0.0/16 of member c-b"
            ),
            format!(
                "warning: MemberCluster c: {range} 10.2.3.0/24 of member c-c overlaps 10.0.0.0/8 of member c-a"
            ),
            format!(
                "warning: MemberCluster c: {range} 10.2.3.0/24 of member c-c overlaps 10.2.0.0/16 of member c-b"
            ),
        ]
    );
}

#[test]
fn fault_s17_where_an_api_is_is_known_where_it_is_a_number() {
    let check = |server: &str, expect: Option<&str>| {
        let own = cluster("m", "2026-01-01T12:00:00Z", json!({"id": "c1"}));
        let (_, own) = registrations(&declare(vec![], vec![own])).0.pop_first().unwrap();
        let access = Ok(Access::Remote(Credentials::of_test(server)));
        let registration = Registration { access, ..own };
        let found = registration.registered().api_server.map(|own| own.to_string());
        assert_eq!(found.as_deref(), expect);
    };
    check("https://192.0.2.1", Some("192.0.2.1:443"));
    check("https://192.0.2.1:6443/path", Some("192.0.2.1:6443"));
    check("https://[fd00::1]:6443", Some("[fd00::1]:6443"));
    check("https://api.example:6443", None);
}

#[test]
fn fault_a15_the_oldest_declaration_wins_in_any_order() {
    let (one, two) = (config(1), config(2));
    let with = |a: i64, b: i64| {
        declare(
            vec![
                secret("a", a, ours(json!({})), &[("c1", &one)]),
                secret("b", b, ours(json!({})), &[("c1", &two)]),
            ],
            vec![cluster("m", "1970-01-01T00:00:05Z", json!({"id": "c1"}))],
        )
    };
    let ignored = |object: &str, winner: &str| {
        format!(
            "error: {object}: Conflicted: member `c1` is declared by {winner}, which is older; ignored"
        )
    };
    let (a, b, m) = ("Secret convoy-system/a", "Secret convoy-system/b", "MemberCluster m");
    for (created, winner, losers) in [
        ((1, 2), format!("c1 by {a}: / Underlay: https://10.1.0.1/"), [(b, a), (m, a)]),
        ((2, 1), format!("c1 by {b}: / Underlay: https://10.2.0.1/"), [(a, b), (m, b)]),
        ((8, 9), format!("c1 by {m}: / Underlay: fleet"), [(a, m), (b, m)]),
        // Of the same age: by kind and name, so that every replica agrees.
        ((5, 5), format!("c1 by {a}: / Underlay: https://10.1.0.1/"), [(b, a), (m, a)]),
    ] {
        let findings = losers.map(|(loser, winner)| ignored(loser, winner));
        let findings = findings.each_ref().map(String::as_str);
        check(&with(created.0, created.1), &[&winner], &findings);
    }
}

#[test]
fn fault_s06_content_of_secrets_is_not_printed() {
    let config = kubeconfig("https://10.1.0.1", "c4nary");
    let declared = declare(vec![secret("a", 1, ours(json!({})), &[("c1", &config)])], vec![]);
    let (registrations, _) = registrations(&declared);
    for printed in [format!("{declared:?}"), format!("{registrations:?}")] {
        assert!(printed.contains("redacted") && !printed.contains("c4nary"), "{printed}");
    }
}

const LABELLED: &str = "convoy.dev/member=true";

/// What one watch in `convoy-system` and the one of `MemberCluster`s have seen.
struct Watched {
    seen: Seen,
    labelled: SecretWatch,
}

impl Watched {
    fn new() -> Watched {
        let labelled = SecretWatch::Labelled("convoy-system".to_owned(), LABELLED);
        let namespaces = ["convoy-system".to_owned()].into();
        Watched { seen: Seen::new(namespaces, &[labelled.clone()].into()), labelled }
    }

    fn secrets(&mut self, events: impl IntoIterator<Item = Event<core::Secret>>) {
        events.into_iter().for_each(|event| self.seen.secret(&self.labelled, event));
    }

    fn clusters(&mut self, events: impl IntoIterator<Item = Event<DynamicObject>>) {
        events.into_iter().for_each(|event| self.seen.cluster(event));
    }

    fn lines(&mut self) -> Option<Vec<String>> {
        self.seen.registrations().map(|(members, _)| lines(&members))
    }
}

#[test]
fn nothing_is_concluded_before_everything_was_listed() {
    let mut watched = Watched::new();
    watched.secrets([Event::Init, Event::InitDone]);
    assert_eq!(watched.lines(), None);
    // The CRD is not installed.
    watched.seen.absent(None);
    assert_eq!(watched.lines(), Some(vec![]));
    // It is now, and refers to a Secret that must be looked for first.
    let spec = json!({"id": "c1", "secretRef": {"namespace": "convoy-system", "name": "one"}});
    watched.clusters([Event::Init, Event::InitApply(cluster("m", "2026-01-01T00:00:00Z", spec))]);
    assert_eq!(watched.lines(), Some(vec![]));
    watched.clusters([Event::InitDone]);
    let named = SecretWatch::Named(ObjectName::new("convoy-system", "one"));
    assert_eq!(watched.seen.follow_references(), (vec![named.clone()], vec![]));
    assert_eq!(watched.lines(), None);
    watched.seen.secret(&named, Event::Init);
    let found = secret("one", 1, json!({}), &[("kubeconfig", &config(1))]);
    watched.seen.secret(&named, Event::InitApply(found));
    watched.seen.secret(&named, Event::InitDone);
    let expect = "c1 by MemberCluster m: / Underlay: https://10.1.0.1/".to_owned();
    assert_eq!(watched.lines(), Some(vec![expect]));
    assert_eq!(watched.seen.follow_references(), (vec![], vec![]));
    // Nobody refers to it any more, and somebody to what cannot be.
    let spec = json!({"id": "c2", "secretRef": {"namespace": "convoy-system", "name": "a,b"}});
    let impossible = cluster("n", "2026-01-01T00:00:00Z", spec);
    watched.clusters([Event::Init, Event::InitApply(impossible), Event::InitDone]);
    assert_eq!(watched.seen.follow_references(), (vec![], vec![named]));
    let lines = watched.lines().unwrap();
    assert!(lines[1].contains("there is no Secret convoy-system/a,b"), "{lines:?}");
}

#[test]
fn fault_a08_a_deleted_secret_removes_no_member() {
    let one = secret("a", 1, ours(json!({ZONE: "b"})), &[("c1", &config(1))]);
    let mut watched = Watched::new();
    watched.seen.absent(None);
    watched.secrets([Event::Init, Event::InitApply(one.clone()), Event::InitDone]);
    let present = "c1 by Secret convoy-system/a: /b Underlay: https://10.1.0.1/".to_owned();
    assert_eq!(watched.lines(), Some(vec![present.clone()]));
    // Deleted while watched, or while out of sight: the same.
    let gone = "c1 by Secret convoy-system/a: /b Underlay: CredentialsMissing: \
                Secret convoy-system/a declares it no longer";
    for deleted in [vec![Event::Delete(one.clone())], vec![Event::Init, Event::InitDone]] {
        watched.secrets(deleted);
        assert_eq!(watched.lines(), Some(vec![gone.to_owned()]));
        watched.secrets([Event::Apply(one.clone())]);
        assert_eq!(watched.lines(), Some(vec![present.clone()]));
    }
}

#[test]
fn a_member_cluster_of_another_shape_stops_nobody_else() {
    let mut watched = Watched::new();
    watched.secrets([Event::Init, Event::InitDone]);
    let created = "2026-01-01T00:00:00Z";
    watched.clusters([
        Event::Init,
        Event::InitApply(cluster("bad", created, json!({"id": 7}))),
        Event::InitApply(cluster("good", created, json!({"id": "fleet"}))),
        Event::InitDone,
    ]);
    let (members, diags) = watched.seen.registrations().unwrap();
    assert_eq!(lines(&members), ["fleet by MemberCluster good: / Underlay: fleet"]);
    let expect = "error: MemberCluster bad: spec.id: InvalidField: \
                  invalid type: integer `7`, expected a string";
    assert_eq!(diags.iter().map(ToString::to_string).collect::<Vec<_>>(), [expect]);
}
