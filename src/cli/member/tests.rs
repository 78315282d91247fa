use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::http::Method;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser as _;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

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

/// Runs a subcommand against API servers that grant everything, and says what they were asked to
/// write: method and path.
async fn writes(command: &[&str], gateways: &'static str, secret: Value) -> (Vec<String>, String) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = asked.clone();
    let api = fake_api::serve(move |method, uri, body| {
        if method != Method::GET {
            let text = format!("{method} {}", uri.path());
            record.lock().unwrap().push((text, String::from_utf8_lossy(body).into_owned()));
        }
        if uri.path().ends_with("/token") {
            let status = json!({"token": "t0ken", "expirationTimestamp": "2027-01-01T00:00:00Z"});
            return fake_api::ok(
                &json!({"metadata": {}, "spec": {"audiences": []}, "status": status}),
            );
        }
        if uri.path().ends_with("/mseingressconfigs") {
            let annotations = json!({"mse.alibabacloud.com/remote-clusters": gateways});
            let item = json!({"metadata": {"name": "edge", "annotations": annotations}});
            return fake_api::ok(&json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                "metadata": {}, "items": [item],
            }));
        }
        match serde_json::from_slice(body) {
            Ok(object) if method == Method::PATCH => fake_api::ok(&object),
            Ok(_) | Err(_) => fake_api::ok(&secret),
        }
    })
    .await;
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
    run(Args { command }, &mut out).await.unwrap();
    let asked = asked.lock().unwrap();
    for (text, body) in asked.iter().filter(|(text, _)| text.contains("/secrets/")) {
        assert!(!body.contains("t0ken"), "a token in plain text in {text}");
    }
    (asked.iter().map(|(text, _)| text.clone()).collect(), String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn add_writes_the_account_before_the_declaration() {
    let command = ["add", "--id", "c1", "--server", "https://10.1.0.1:6443"];
    let (asked, out) = writes(&command, "", Value::Null).await;
    assert_eq!(
        asked,
        [
            "PATCH /api/v1/namespaces/convoy-system",
            "PATCH /api/v1/namespaces/convoy-system/serviceaccounts/convoy-member",
            "PATCH /apis/rbac.authorization.k8s.io/v1/clusterroles/convoy-member",
            "PATCH /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/convoy-member",
            "PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/convoy-system/roles/convoy-member",
            "PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/convoy-system/rolebindings/convoy-member",
            "POST /api/v1/namespaces/convoy-system/serviceaccounts/convoy-member/token",
            "PATCH /api/v1/namespaces/convoy-system/secrets/convoy-member-c1",
        ]
    );
    assert!(out.contains("good until 2027-01-01T00:00:00Z"), "{out}");
    assert!(!out.contains("t0ken"), "{out}");
}

#[tokio::test]
async fn remove_takes_no_endpoint_away_unless_asked_to() {
    let labels = json!({"app.kubernetes.io/managed-by": "convoy"});
    let metadata = json!({"name": "convoy-member-c1", "namespace": "convoy-system", "uid": "1",
                          "labels": labels});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
    const DELETE: &str = "DELETE /api/v1/namespaces/convoy-system/secrets/convoy-member-c1";
    const EDIT: &str = "PATCH /apis/mse.alibabacloud.com/v1alpha1/mseingressconfigs/edge";

    let (asked, out) = writes(&["remove", "--id", "c1"], "c1,c2", secret.clone()).await;
    assert_eq!(asked, [DELETE]);
    assert!(out.contains("MseIngressConfig edge names c1 still"), "{out}");

    let command = ["remove", "--id", "c1", "--from-gateways"];
    let (asked, out) = writes(&command, "c1,c2", secret).await;
    assert_eq!(asked, [EDIT, DELETE]);
    assert!(out.contains("MseIngressConfig edge names c1 no longer"), "{out}");
}
