//! No secret leaves the process but to the Envoy that it is for (faults.md S6).
//!
//! A Convoy that logs all it can is given keys that are looked for afterwards: through normal work, a
//! key that belongs to no certificate, one that is no key, and an Envoy that refuses a certificate.
//! Everything that it says is searched for every way in which bytes are written down.

// Tests state their assumptions by failing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use convoy::{
    admin::proto::{
        ListDiagnosticsRequest, ListEnvoysRequest, ListGatewaysRequest, ListMembersRequest,
        ListResourcesRequest, inspection_client::InspectionClient,
    },
    snapshot::Kind,
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::rpc,
};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use self::spelled::{canaries, scan};

#[path = "bed/spelled.rs"]
mod spelled;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_scanner_finds_what_is_planted() {
    let pem = KeyPair::generate().unwrap().serialize_pem();
    let [binary, text] = canaries("key", &pem);
    let (bytes, body) = (&binary.bytes, String::from_utf8(text.bytes.clone()).unwrap());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let debug = bytes::Bytes::from(bytes.clone());
    for planted in [
        pem.clone(),
        body.clone(),
        format!("{pem:?}"),
        json!(pem).to_string(),
        STANDARD.encode(&pem),
        format!("x{}", STANDARD.encode(format!("ab{pem}"))),
        format!("{:?}", pem.as_bytes()),
        hex.clone(),
        hex.to_uppercase(),
        format!("{bytes:?}"),
        json!(bytes).to_string(),
        format!("{debug:?}"),
    ] {
        let said = [("a log", format!("before {planted} after"))];
        let own = canaries("key", &pem);
        assert!(!scan(&own, &said).is_empty(), "not found in {planted}");
        let other = canaries("other", &KeyPair::generate().unwrap().serialize_pem());
        assert!(scan(&other, &said).is_empty(), "found in what is not its own: {planted}");
    }
}

/// `convoy serve`; killed when dropped.
struct Serve {
    process: Child,
    log: Arc<Mutex<String>>,
    xds: String,
    admin: String,
}

impl Serve {
    fn start(fleet: &Path) -> Serve {
        let mut process = Command::new(env!("CARGO_BIN_EXE_convoy"))
            .args([
                "serve",
                "--xds-listen=127.0.0.1:0",
                "--xds-plaintext",
                "--admin-listen=127.0.0.1:0",
            ])
            .args(["--log-level=trace", "--log-format=json", "--allow-loopback-endpoints"])
            .arg("--fleet-dir")
            .arg(fleet)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, out) = (Arc::<Mutex<String>>::default(), process.stderr.take().unwrap());
        let keep = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let mut log = keep.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut serve = Serve { process, log, xds: String::new(), admin: String::new() };
        let addresses = serve.eventually("it listens", |log| {
            log.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let field = |name| Some(line.get(name)?.as_str()?.to_owned());
                Some((field("xds")?, field("admin")?))
            })
        });
        (serve.xds, serve.admin) = addresses;
        serve
    }

    fn eventually<T>(&self, what: &str, look: impl Fn(&str) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let log = self.log.lock().unwrap().clone();
            if let Some(found) = look(&log) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "not in time: {what}\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

const GATEWAY: &str = "\
apiVersion: mse.alibabacloud.com/v1alpha1
kind: MseIngressConfig
metadata:
  name: edge
  annotations: {mse.alibabacloud.com/remote-clusters: c1}
spec:
  ingress: {local: {ingressClass: mse}}
";

/// An Ingress of this name, with the Secret of this name for the host of this name.
fn ingress(name: &str) -> Value {
    let host = format!("{name}.example");
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {
            "ingressClassName": "mse",
            "tls": [{"hosts": [host], "secretName": name}],
            "rules": [{"host": host, "http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 80}}},
            }]}}],
        },
    })
}

fn secret(name: &str, certificate: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": "demo"},
        "data": {"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key)},
    })
}

/// An Envoy that is given a certificate and refuses it.
async fn refuse_a_certificate(serve: &Serve) {
    let address = format!("http://{}", serve.xds);
    let mut client = AggregatedDiscoveryServiceClient::connect(address).await.unwrap();
    let (requests, stream) = tokio::sync::mpsc::channel(4);
    let type_url = Kind::Secret.type_url().to_owned();
    let node = Node { id: "canary".into(), cluster: "edge".into(), ..Node::default() };
    let first = DeltaDiscoveryRequest {
        node: Some(node),
        type_url: type_url.clone(),
        resource_names_subscribe: vec!["demo/good".into()],
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(first).await.unwrap();
    let stream = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.unwrap();
    let response = stream.into_inner().message().await.unwrap().unwrap();
    assert_eq!(response.resources.len(), 1, "the key does leave for its Envoy");
    let error = rpc::Status { code: 3, message: "I will not have it".into(), details: vec![] };
    let refusal = DeltaDiscoveryRequest {
        type_url,
        response_nonce: response.nonce,
        error_detail: Some(error),
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(refusal).await.unwrap();
    serve.eventually("the refusal is logged", |log| {
        log.contains("I will not have it").then_some(())
    });
}

/// All that the admin address answers.
async fn answers(serve: &Serve) -> Vec<(&'static str, String)> {
    let mut said = vec![
        ("/metrics", get(&serve.admin, "/metrics")),
        ("/readyz", get(&serve.admin, "/readyz")),
    ];
    let channel = Endpoint::try_from(format!("http://{}", serve.admin)).unwrap();
    let mut client = InspectionClient::new(channel.connect().await.unwrap());
    let gateways = client.list_gateways(ListGatewaysRequest {}).await.unwrap();
    said.push(("ListGateways", format!("{gateways:?}")));
    let members = client.list_members(ListMembersRequest {}).await.unwrap();
    said.push(("ListMembers", format!("{members:?}")));
    let envoys = client.list_envoys(ListEnvoysRequest {}).await.unwrap();
    said.push(("ListEnvoys", format!("{envoys:?}")));
    let findings = client.list_diagnostics(ListDiagnosticsRequest {}).await.unwrap();
    said.push(("ListDiagnostics", format!("{findings:?}")));
    let all = ListResourcesRequest { gateway: "edge".into(), include_content: true };
    let resources = format!("{:?}", client.list_resources(all).await.unwrap());
    assert!(resources.contains("demo/good"), "{resources}");
    said.push(("ListResources", resources));
    let status = Command::new(env!("CARGO_BIN_EXE_convoy"))
        .args(["status", "--admin", &serve.admin])
        .output()
        .unwrap();
    said.push(("convoy status", format!("{status:?}")));
    said
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: convoy\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_s06_no_key_is_said_at_trace_level() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["good.example".to_owned()]).unwrap();
    let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
    let foreign = KeyPair::generate().unwrap().serialize_pem();
    let broken = KeyPair::generate().unwrap().serialize_pem();
    let all: Vec<_> =
        [("the key", &key), ("the foreign key", &foreign), ("the broken key", &broken)]
            .into_iter()
            .flat_map(|(name, pem)| canaries(name, pem))
            .collect();

    let dir = tempfile::tempdir().unwrap();
    let fleet = dir.path().join("fleet");
    fs::create_dir_all(&fleet).unwrap();
    fs::create_dir_all(dir.path().join("members/c1")).unwrap();
    let put = |name: &str, object: &Value| {
        fs::write(fleet.join(format!("{name}.yaml")), object.to_string()).unwrap();
    };
    fs::write(fleet.join("gateway.yaml"), GATEWAY).unwrap();
    // Cut in the middle: a PEM that does not end, and so no key.
    let broken = &broken[..broken.len() - 20];
    for (name, key) in [("good", key.as_str()), ("foreign", &foreign), ("broken", broken)] {
        put(&format!("{name}-ingress"), &ingress(name));
        put(&format!("{name}-secret"), &secret(name, &certificate, key));
    }
    // The file is no object, and what it is quotes the key.
    fs::write(fleet.join("torn.yaml"), format!("kind: Secret\ndata: {{tls.key: [{key}\n")).unwrap();

    let serve = Serve::start(dir.path());
    for finding in ["InvalidSecret", "Unreadable"] {
        serve.eventually(finding, |log| log.contains(finding).then_some(()));
    }
    refuse_a_certificate(&serve).await;
    let mut said = answers(&serve).await;
    said.push(("the log", serve.log.lock().unwrap().clone()));
    assert!(
        said.iter().any(|(_, text)| text.contains("\"level\":\"TRACE\"")),
        "it logs all it can"
    );
    assert_eq!(scan(&all, &said), [""; 0]);
}
