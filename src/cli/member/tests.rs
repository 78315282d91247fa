use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    http::{Method, Uri},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser as _;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::{list, remove::without, secret::name, *};
use crate::{key::MemberId, source::registry::fake_api};

#[derive(clap::Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// A kubeconfig that Convoy would refuse, as people have them: its user runs a program.
fn write_kubeconfig(dir: &Path, ca: &str) -> PathBuf {
    let ca = STANDARD.encode(ca);
    let text = format!(
        "clusters: [{{name: a, cluster: {{server: 'https://10.1.0.1:6443', \
         certificate-authority-data: {ca}}}}}]
users: [{{name: a, user: {{exec: {{command: does-not-exist}}}}}}]
contexts: [{{name: east, context: {{cluster: a, user: a}}}}]
"
    );
    let path = dir.join("kubeconfig");
    fs::write(&path, text).unwrap();
    path
}

fn ca() -> String {
    let key = KeyPair::generate().unwrap();
    CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()
}

async fn add(kubeconfig: &Path, flags: &[&str]) -> Result<String> {
    let file = kubeconfig.to_str().unwrap();
    let all = ["member", "add", "--kubeconfig", file, "--context", "east", "--dry-run"];
    let command = Cli::try_parse_from(all.iter().chain(flags)).unwrap().command;
    let mut out = Vec::new();
    run(Args { command }, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}

const EXPECT: &str = "\
# In cluster c1:
Namespace convoy-system
ServiceAccount convoy-system/convoy-member
ClusterRole convoy-member
ClusterRoleBinding convoy-member
Role convoy-system/convoy-member
RoleBinding convoy-system/convoy-member
# In the fleet:
Secret convoy-system/convoy-member-c1
";

/// What was printed, one line an object, and the last object.
fn summary(printed: &str) -> (String, Value) {
    let mut lines = String::new();
    let mut last = Value::Null;
    for part in printed.split("---\n") {
        let (yaml, comments): (Vec<_>, Vec<_>) =
            part.lines().partition(|line| !line.starts_with('#'));
        let object: Value = serde_saphyr::from_str(&yaml.join("\n")).unwrap_or_default();
        if let Some(kind) = object["kind"].as_str() {
            let metadata = &object["metadata"];
            let namespace = metadata["namespace"].as_str().map(|own| format!("{own}/"));
            let name = metadata["name"].as_str().unwrap();
            lines += &format!("{kind} {}{name}\n", namespace.unwrap_or_default());
            last = object;
        }
        lines.extend(comments.iter().map(|comment| format!("{comment}\n")));
    }
    (lines, last)
}

#[tokio::test]
async fn a_dry_run_prints_everything_and_needs_no_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), &ca());
    let place = ["--id", "c1", "--region", "hk", "--zone", "b", "--network", "overlay"];
    let printed = add(&kubeconfig, &place).await.unwrap();
    let (lines, secret) = summary(&printed);
    assert_eq!(lines, EXPECT, "{printed}");
    assert!(printed.contains("- nodes\n"), "{printed}");

    // What is declared is what the registry reads.
    let secret = serde_json::from_value(secret).unwrap();
    let declared = declarations(BTreeSet::new(), vec![secret], vec![]);
    let mut out = Vec::new();
    list::print(&declared, &mut out).unwrap();
    let expect = "\
MEMBER  REGION  ZONE  NETWORK  API                     DECLARED BY
c1      hk      b     overlay  https://10.1.0.1:6443/  Secret convoy-system/convoy-member-c1
";
    assert_eq!(String::from_utf8(out).unwrap(), expect);
}

#[tokio::test]
async fn what_the_registry_would_refuse_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), &ca());
    let check = async |kubeconfig: &Path, flags: &[&str], expect: &str| {
        let error = add(kubeconfig, flags).await.unwrap_err();
        assert_eq!(format!("{error:#}"), expect);
    };
    let refuse =
        "Convoy would refuse the kubeconfig: clusters[0].cluster.server: must be an https URL";
    check(&kubeconfig, &["--id", "c1", "--server", "http://10.0.0.1"], refuse).await;
    let text = fs::read_to_string(&kubeconfig).unwrap();
    let without_ca = text.split(", certificate-authority-data").next().unwrap().to_owned()
        + "}}]\n"
        + text.split_once('\n').unwrap().1;
    fs::write(&kubeconfig, without_ca).unwrap();
    let no_ca = "the kubeconfig of the cluster has no CA, and Convoy trusts no other";
    check(&kubeconfig, &["--id", "c1"], no_ca).await;
}

#[test]
fn each_id_has_a_secret_of_its_own() {
    let check = |id: &str, expect: &str| assert_eq!(name(&MemberId::new(id).unwrap()), expect);
    check("c1", "convoy-member-c1");
    check("c-1", "convoy-member-c-1");
    // None of these can be part of the name of a Secret, or they would share one.
    let odd = ["C1", "c_1", "c.1", "c1-"].map(|id| name(&MemberId::new(id).unwrap()));
    let all: BTreeSet<_> = odd.iter().collect();
    assert_eq!(all.len(), odd.len());
    for name in odd {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    }
}

#[test]
fn a_member_is_taken_out_of_a_list() {
    let check = |members: &str, expect: Option<&str>| {
        let id = MemberId::new("c1").unwrap();
        assert_eq!(without(members, &id).as_deref(), expect, "{members}");
    };
    check("c1,c2", Some("c2"));
    check(" c2 , c1 ,, c3,c1", Some("c2,c3"));
    check("c1", Some(""));
    check("c10,c2", None);
    check("", None);
}

/// A kubeconfig for an API server of a test.
fn write_plain(dir: &Path, name: &str, address: SocketAddr) -> PathBuf {
    let ca = STANDARD.encode(ca());
    let text = format!(
        "clusters: [{{name: a, cluster: {{server: 'http://{address}', \
         certificate-authority-data: {ca}}}}}]
users: [{{name: a, user: {{}}}}]
contexts: [{{name: a, context: {{cluster: a, user: a}}}}]
current-context: a
"
    );
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

/// What the API servers of a test say.
#[derive(Clone, Default)]
struct Answers {
    /// `remote-clusters` of the only gateway.
    gateways: &'static str,
    /// What any Secret is; none if it is null.
    secret: Value,
    /// Nothing can be written in a namespace before one is written.
    lacks_namespace: bool,
}

/// Runs a subcommand against API servers that grant everything. What they were asked to write,
/// method and path; and what was printed.
async fn writes(command: &[&str], answers: &Answers) -> (Vec<String>, Result<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (record, answers) = (asked.clone(), answers.clone());
    let api =
        fake_api::serve(move |method, uri, body| answer(&answers, &record, method, uri, body));
    let api = api.await;
    let dir = tempfile::tempdir().unwrap();
    let (member, fleet) =
        (write_plain(dir.path(), "member", api), write_plain(dir.path(), "fleet", api));
    let mut args = vec!["member"];
    args.extend(command);
    args.extend(["--fleet-kubeconfig", fleet.to_str().unwrap()]);
    if command.first() == Some(&"add") {
        args.extend(["--kubeconfig", member.to_str().unwrap()]);
    }
    let command = Cli::try_parse_from(args).unwrap().command;
    let mut out = Vec::new();
    let result = run(Args { command }, &mut out).await;
    let asked = asked.lock().unwrap();
    for (text, body) in asked.iter().filter(|(text, _)| text.contains("/secrets/")) {
        assert!(!body.contains("t0ken"), "a token in plain text in {text}");
    }
    let printed = result.map(|_| String::from_utf8(out).unwrap());
    (asked.iter().map(|(text, _)| text.clone()).collect(), printed)
}

fn answer(
    answers: &Answers,
    asked: &Mutex<Vec<(String, String)>>,
    method: &Method,
    uri: &Uri,
    body: &[u8],
) -> Response {
    let path = uri.path();
    let is_rehearsal = uri.query().is_some_and(|query| query.contains("dryRun=All"));
    let mut asked = asked.lock().unwrap();
    let has_namespace = asked.iter().any(|(text, _)| text.ends_with("/convoy-system"));
    if method != Method::GET {
        let rehearsal = if is_rehearsal { " (rehearsal)" } else { "" };
        let text = format!("{method} {path}{rehearsal}");
        asked.push((text, String::from_utf8_lossy(body).into_owned()));
    }
    if path.ends_with("/token") {
        let status = json!({"token": "t0ken", "expirationTimestamp": "2027-01-01T00:00:00Z"});
        return fake_api::ok(&json!({"metadata": {}, "spec": {"audiences": []}, "status": status}));
    }
    let prefixes = [
        ("/mseingressconfigs", "mse.alibabacloud.com"),
        ("/albconfigs", "alb.ingress.kubernetes.io"),
    ];
    if let Some((_, prefix)) = prefixes.iter().find(|(plural, _)| path.ends_with(plural)) {
        let annotations = json!({format!("{prefix}/remote-clusters"): answers.gateways});
        let item = json!({"metadata": {"name": "edge", "annotations": annotations}});
        return fake_api::ok(&json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {}, "items": [item],
        }));
    }
    if path.ends_with("/kube-system") {
        return fake_api::ok(&json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "kube-system", "uid": "this"},
        }));
    }
    match serde_json::from_slice(body) {
        Ok(_) if is_rehearsal && answers.lacks_namespace && !has_namespace => fake_api::not_found(),
        Ok(object) if method == Method::PATCH => fake_api::ok(&object),
        Ok(_) | Err(_) if answers.secret.is_null() => fake_api::not_found(),
        Ok(_) | Err(_) => fake_api::ok(&answers.secret),
    }
}

const ADDED: [&str; 8] = [
    "PATCH /api/v1/namespaces/convoy-system",
    "PATCH /api/v1/namespaces/convoy-system/serviceaccounts/convoy-member",
    "PATCH /apis/rbac.authorization.k8s.io/v1/clusterroles/convoy-member",
    "PATCH /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/convoy-member",
    "PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/convoy-system/roles/convoy-member",
    "PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/convoy-system/rolebindings/convoy-member",
    "POST /api/v1/namespaces/convoy-system/serviceaccounts/convoy-member/token",
    SECRET,
];
const SECRET: &str = "PATCH /api/v1/namespaces/convoy-system/secrets/convoy-member-c1";
const REHEARSAL: &str =
    "PATCH /api/v1/namespaces/convoy-system/secrets/convoy-member-c1 (rehearsal)";
const ADD: [&str; 5] = ["add", "--id", "c1", "--server", "https://10.1.0.1:6443"];

#[tokio::test]
async fn add_writes_the_account_before_the_declaration_and_rehearses_it_before_both() {
    let (asked, out) = writes(&ADD, &Answers::default()).await;
    assert_eq!(asked[0], REHEARSAL);
    assert_eq!(asked[1..], ADDED);
    let out = out.unwrap();
    assert!(out.contains("good until 2027-01-01T00:00:00Z"), "{out}");
    assert!(!out.contains("t0ken"), "{out}");
}

#[tokio::test]
async fn add_makes_the_namespace_in_the_fleet_if_there_is_none() {
    let answers = Answers { lacks_namespace: true, ..Answers::default() };
    let (asked, out) = writes(&ADD, &answers).await;
    let namespace = "PATCH /api/v1/namespaces/convoy-system";
    assert_eq!(asked[..3], [REHEARSAL, namespace, REHEARSAL]);
    assert_eq!(asked[3..], ADDED);
    out.unwrap();
}

#[tokio::test]
async fn fault_a09_add_does_not_put_one_cluster_in_the_place_of_another() {
    let annotations = json!({"convoy.dev/cluster-uid": "another"});
    let metadata = json!({"name": "convoy-member-c1", "annotations": annotations});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
    let (asked, out) = writes(&ADD, &Answers { secret, ..Answers::default() }).await;
    assert_eq!(asked, [""; 0]);
    let error = out.unwrap_err();
    assert!(format!("{error:#}").contains("convoy member remove --id c1"), "{error:#}");
}

#[tokio::test]
async fn remove_takes_no_endpoint_away_unless_asked_to() {
    let labels = json!({"app.kubernetes.io/managed-by": "convoy"});
    let metadata = json!({"name": "convoy-member-c1", "namespace": "convoy-system", "uid": "1",
                          "labels": labels});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
    const DELETE: &str = "DELETE /api/v1/namespaces/convoy-system/secrets/convoy-member-c1";
    const EDITS: [&str; 2] = [
        "PATCH /apis/mse.alibabacloud.com/v1alpha1/mseingressconfigs/edge",
        "PATCH /apis/alibabacloud.com/v1/albconfigs/edge",
    ];

    let answers = Answers { gateways: "c1,c2", secret, ..Answers::default() };
    let (asked, out) = writes(&["remove", "--id", "c1"], &answers).await;
    assert_eq!(asked, [DELETE]);
    let out = out.unwrap();
    for kind in ["MseIngressConfig", "AlbConfig"] {
        assert!(out.contains(&format!("{kind} edge names c1 still")), "{out}");
    }

    let command = ["remove", "--id", "c1", "--from-gateways"];
    let (asked, out) = writes(&command, &answers).await;
    assert_eq!(asked, [&EDITS[..], &[DELETE]].concat());
    let out = out.unwrap();
    for kind in ["MseIngressConfig", "AlbConfig"] {
        assert!(out.contains(&format!("{kind} edge names c1 no longer")), "{out}");
    }
}
