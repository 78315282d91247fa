//! The binary as a user meets it: exit codes, what is printed where, and what is never printed.

// Tests state their assumptions by failing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const ZONE_DR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/zone-dr");
const LOCAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/local");
const HYBRID: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hybrid");

fn convoy(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_convoy")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Exit code and stderr.
#[track_caller]
fn check(args: &[&str], code: i32, stderr: &str) {
    let output = convoy(args);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(code), stderr), "{args:?}");
}

/// A fleet directory with these files.
fn fleet(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn examples_translate_without_a_finding() {
    check(&["translate", ZONE_DR], 0, "");
    check(&["translate", LOCAL, "--allow-loopback-endpoints"], 0, "");
    check(&["translate", HYBRID], 0, "");
}

#[test]
fn resources_are_printed_in_order_and_alike_each_time() {
    let args = ["translate", ZONE_DR, "-o", "json", "--gateway", "ackone-gateway-hongkong"];
    let first = convoy(&args);
    assert_eq!(first.stdout, convoy(&args).stdout);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&first.stdout).unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| (row["type"].as_str().unwrap(), row["name"].as_str().unwrap()))
        .collect();
    let at = |kind| names.iter().position(|(of, _)| *of == kind).unwrap();
    assert!(at("cds") < at("eds") && at("eds") < at("lds") && at("lds") < at("rds"), "{names:?}");
    let clusters: Vec<_> = names.iter().filter(|(kind, _)| *kind == "cds").collect();
    assert!(clusters.is_sorted() && clusters.contains(&&("cds", "gateway-demo/service1:80")));
}

#[test]
fn a_finding_names_object_and_field_and_an_error_fails() {
    let gateway = fs::read_to_string(format!("{ZONE_DR}/fleet/gateway.yaml")).unwrap();
    let ingress = fs::read_to_string(format!("{ZONE_DR}/fleet/active-active.yaml")).unwrap();
    let bad = ingress.replace("example.com", "not_a_host");
    let dir = fleet(&[("fleet/gateway.yaml", &gateway), ("fleet/web.yaml", &bad)]);
    let output = convoy(&["translate", dir.path().to_str().unwrap()]);
    let stderr = text(&output.stderr);
    let expect = "error: Ingress gateway-demo/web-demo: spec.rules[0].host: InvalidHost: ";
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.lines().any(|line| line.starts_with(expect)), "{stderr}");
}

#[test]
fn what_cannot_be_done_is_explained() {
    let output = convoy(&["translate", ZONE_DR, "--gateway", "typo"]);
    let expect = "convoy: no gateway `typo`, or several; there is \
                  MseIngressConfig/ackone-gateway-hongkong\n";
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), expect));
    let output = convoy(&["translate", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("convoy: read /nowhere"));
    // Port 1 is nobody's.
    let output = convoy(&["status", "--admin", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is `convoy serve` running there?"));
    assert_eq!(convoy(&["translate"]).status.code(), Some(2));
}

#[test]
fn fault_s01_nothing_is_served_in_the_clear_by_default() {
    let dir = fleet(&[]);
    let dir = dir.path().to_str().unwrap();
    let serve = ["serve", "--admin-listen=127.0.0.1:0", "--fleet-dir", dir];
    let output = convoy(&[&serve[..], &["--xds-listen=127.0.0.1:0"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nothing protects xDS"), "{}", text(&output.stderr));
}

#[test]
fn a_bootstrap_with_certificates_is_three_files() {
    let out = tempfile::TempDir::new().unwrap();
    let dir = out.path().to_str().unwrap();
    let start = ["bootstrap", "--gateway=web", "--xds=convoy.test:18000", "--xds-tls-dir=certs"];
    let alone = convoy(&start);
    assert_eq!(alone.status.code(), Some(2), "they cannot be printed as one");
    let output = convoy(&[&start[..], &["--out", dir, "--config-dir=/etc/envoy"]].concat());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""));
    let read = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
    assert!(read("envoy.yaml").contains("/etc/envoy/credential.json"));
    // Envoy may be started anywhere.
    let here = std::env::current_dir().unwrap();
    assert!(read("credential.json").contains(here.join("certs/tls.key").to_str().unwrap()));
    assert!(read("authorities.json").contains("convoy.test"));
}

#[test]
fn what_is_installed_is_printed_as_documents() {
    let kinds = |args: &[&str]| -> Vec<String> {
        let output = convoy(args);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{args:?}");
        let lines = text(&output.stdout).lines();
        lines.filter_map(|line| line.strip_prefix("kind: ")).map(str::to_owned).collect()
    };
    assert_eq!(kinds(&["crds"]), ["CustomResourceDefinition"; 3]);
    let own = ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"];
    let expect = [&own[..], &["Role", "RoleBinding"]].concat();
    assert_eq!(kinds(&["account"]), expect);
    let expect = [&own[..], &["Role", "RoleBinding", "Role", "RoleBinding"]].concat();
    assert_eq!(kinds(&["account", "--secret-namespace", "convoy-system,shop"]), expect);
}

/// A kubeconfig of nobody: port 1 of this machine.
fn write_dead_kubeconfig(dir: &Path) -> String {
    let cluster = "server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true";
    let config = format!(
        "clusters: [{{name: a, cluster: {{{cluster}}}}}]\nusers: [{{name: a, user: {{}}}}]\n\
         contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\ncurrent-context: a\n"
    );
    let path = dir.join("kubeconfig");
    fs::write(&path, config).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_fleet_that_does_not_answer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_dead_kubeconfig(dir.path());
    let check = |args: &[&str], expect: &str| {
        let output = convoy(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr.starts_with(expect) && stderr.contains("refused"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    };
    let list = ["member", "list", "--fleet-kubeconfig", &kubeconfig];
    check(&list, "convoy: list Secrets in argocd: ");
    let remove = ["member", "remove", "--id", "c1", "--fleet-kubeconfig", &kubeconfig];
    check(&remove, "convoy: get Secret convoy-member-c1: ");
    let nowhere = ["member", "list", "--fleet-kubeconfig", "/nowhere"];
    let expect = "convoy: read /nowhere: No such file or directory (os error 2)\n";
    assert_eq!(text(&convoy(&nowhere).stderr), expect);
}

#[test]
fn a_private_key_is_never_printed() {
    let certified = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
    let (cert, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let indent = |pem: &str| pem.trim().replace('\n', "\n    ");
    let secret = format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\n\
         metadata: {{name: cert, namespace: gateway-demo}}\n\
         stringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        indent(&cert),
        indent(&key)
    );
    let gateway = fs::read_to_string(format!("{ZONE_DR}/fleet/gateway.yaml")).unwrap();
    let ingress = fs::read_to_string(format!("{ZONE_DR}/fleet/active-active.yaml")).unwrap();
    let tls = ingress.replace("  rules:\n", "  tls: [{secretName: cert}]\n  rules:\n");
    let members = fs::read_to_string(format!("{ZONE_DR}/members/cluster-2/web-demo.yaml")).unwrap();
    let dir = fleet(&[
        ("fleet/gateway.yaml", &gateway),
        ("fleet/web.yaml", &tls),
        ("fleet/secret.yaml", &secret),
        ("members/cluster-1/web.yaml", &members.replace("10.2.", "10.1.")),
        ("members/cluster-2/web.yaml", &members),
    ]);
    for format in ["yaml", "json"] {
        let output = convoy(&["translate", dir.path().to_str().unwrap(), "-o", format]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(out.contains("sds") && out.contains("[redacted]"), "{out}{err}");
        let is_secret =
            |line: &&str| line.len() > 40 && (out.contains(*line) || err.contains(*line));
        assert_eq!(key.lines().find(is_secret), None);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let translate = Command::new(env!("CARGO_BIN_EXE_convoy"))
        .args(["translate", ZONE_DR])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut translate = translate.unwrap();
    drop(translate.stdout.take());
    let output = translate.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

/// `convoy serve` on free ports, killed when dropped.
struct Serve {
    child: Child,
    admin: String,
}

impl Serve {
    fn start(dir: &Path) -> Serve {
        let child = Command::new(env!("CARGO_BIN_EXE_convoy"))
            .args([
                "serve",
                "--xds-listen=127.0.0.1:0",
                "--xds-plaintext",
                "--admin-listen=127.0.0.1:0",
            ])
            .args(["--log-format=json", "--fleet-dir"])
            .arg(dir)
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let admin = log.lines().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            Some(line.get("admin")?.as_str()?.to_owned())
        });
        Serve { child, admin: admin.unwrap() }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn status_shows_what_a_running_convoy_knows() {
    let serve = Serve::start(Path::new(ZONE_DR));
    // The first publication may come after the ports are bound.
    let limit = Instant::now() + Duration::from_secs(10);
    let status = loop {
        assert!(Instant::now() < limit, "nothing was published");
        let output = convoy(&["status", "--admin", &serve.admin, "-o", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        if !status["gateways"].as_array().unwrap().is_empty() {
            break status;
        }
    };
    let gateway = &status["gateways"][0];
    assert_eq!(gateway["id"], "MseIngressConfig/ackone-gateway-hongkong");
    assert_eq!(gateway["members"], serde_json::json!(["cluster-1", "cluster-2"]));
    let members = status["members"].as_array().unwrap();
    let member =
        |idx: usize| (&members[idx]["id"], &members[idx]["state"], &members[idx]["endpoints"]);
    assert_eq!(member(0), (&"cluster-1".into(), &"live".into(), &10.into()));
    assert_eq!(member(1), (&"cluster-2".into(), &"live".into(), &1.into()));
    let table = convoy(&["status", "--admin", &serve.admin]);
    assert!(text(&table.stdout).starts_with("GATEWAY"), "{}", text(&table.stdout));
}
