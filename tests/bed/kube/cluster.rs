//! The control plane of one cluster.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{daemon::Daemon, programs::Programs, proxy::Proxy, services::names};
use crate::bed::{cert::Authority, poll::eventually};

/// Members of `system:masters` present it; nobody outside the bed does.
const ADMIN_TOKEN: &str = "bed-admin";

/// A cluster starts in four seconds; on a busy machine it must not fail a test.
const START: Duration = Duration::from_secs(90);

/// Of the proxy in front of an API server.
const PROXY_PORT: u16 = 8443;

/// Of what the cluster is made of; the others are for workloads that no test has.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,\
job-controller,endpointslice-controller,serviceaccount-controller,serviceaccount-token-controller,\
namespace-controller,garbage-collector-controller,root-ca-certificate-publisher-controller,\
disruption-controller";

/// Who did what to which object, not with what content.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// An etcd, a kube-apiserver and a kube-controller-manager.
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    pub(crate) number: u8,
    pub(crate) programs: Programs,
    pub(crate) etcd: Daemon,
    pub(crate) api: Daemon,
    manager: Option<Daemon>,
    authority: String,
    dir: PathBuf,
}

impl Cluster {
    /// Starts etcd and the API server; [`Cluster::ready`] waits for them.
    pub(crate) fn launch(
        name: &'static str,
        number: u8,
        programs: &Programs,
        authority: &Authority,
        dir: &Path,
    ) -> Cluster {
        fs::create_dir_all(dir).unwrap();
        let files = Files { dir, number };
        files.write(authority);
        let log = |of: &str| dir.join(format!("{of}.log"));
        let cluster = Cluster {
            name,
            number,
            programs: programs.clone(),
            etcd: Daemon::start(&programs.etcd, files.etcd(), log("etcd")),
            api: Daemon::start(&programs.api_server, files.api_server(), log("kube-apiserver")),
            manager: None,
            authority: authority.pem(),
            dir: dir.to_owned(),
        };
        fs::write(cluster.kubeconfig(), cluster.kubeconfig_of(own_address(number), ADMIN_TOKEN))
            .unwrap();
        fs::write(cluster.hosts(), names::OWN).unwrap();
        cluster
    }

    /// Waits until the API is ready, and starts the controllers if they do not run.
    pub(crate) async fn ready(&mut self) {
        let client = self.client().await;
        let api = &mut self.api;
        eventually(START, "the API server is ready", || {
            api.assert_running();
            let probe =
                client.request_text(http::Request::get("/readyz").body(Vec::new()).unwrap());
            async move { probe.await.map_err(|e| e.to_string()) }
        })
        .await;
        if self.manager.is_none() {
            let arguments = Files { dir: &self.dir, number: self.number }.controller_manager();
            let log = self.dir.join("kube-controller-manager.log");
            self.manager = Some(Daemon::start(&self.programs.controller_manager, arguments, log));
        }
    }

    /// Starts a killed API server, and the controllers with it: after an outage they would be
    /// silent for a minute and a half.
    pub(crate) async fn restart_api(&mut self) {
        self.api.restart();
        self.manager = None;
        self.ready().await;
    }

    /// The bed's own way in, as a member of `system:masters`.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Names and addresses of the cluster's Services, which pods have as `/etc/hosts`: it is mounted, so
    /// whoever changes it writes into the same file.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    /// Where pods reach the API server: the address of the Service `kubernetes`.
    pub(crate) fn service_address(&self) -> Ipv4Addr {
        service_address(self.number)
    }

    /// The URL at which others reach the API server.
    pub(crate) fn server(&self) -> String {
        url(public_address(self.number), self.number)
    }

    /// Another way to the API server, for those who are to lose it.
    pub(crate) async fn proxy(&self) -> Proxy {
        let address = (public_address(self.number), PROXY_PORT).into();
        Proxy::start(address, vec![(own_address(self.number), port(self.number)).into()]).await
    }

    /// A kubeconfig with a token, for those who reach the API server as others do.
    pub(crate) fn kubeconfig_with(&self, token: &str) -> String {
        self.kubeconfig_of(public_address(self.number), token)
    }

    fn kubeconfig_of(&self, address: Ipv4Addr, token: &str) -> String {
        let server = url(address, self.number);
        let authority = base64(&self.authority);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.name,
            "clusters": [{
                "name": self.name,
                "cluster": {"server": server, "certificate-authority-data": authority},
            }],
            "users": [{"name": self.name, "user": {"token": token}}],
            "contexts": [{
                "name": self.name,
                "context": {"cluster": self.name, "user": self.name},
            }],
        });
        config.to_string()
    }

    /// A client of the bed's own.
    pub(crate) async fn client(&self) -> Client {
        client(&self.kubeconfig()).await
    }

    /// What was asked of the API so far, one entry a request.
    pub(crate) fn audit_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.join("audit.log")).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// For the report of a failed test.
    pub(crate) fn autopsy(&self) -> String {
        let daemons = [&self.etcd, &self.api].into_iter().chain(&self.manager);
        daemons.map(Daemon::last_words).collect::<Vec<_>>().join("\n")
    }
}

/// A client for a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Where others reach the API server of a cluster.
pub(crate) fn public_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, number, 0, 1)
}

/// Where the bed reaches it.
fn own_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, number, 0, 2)
}

/// The first of the cluster's Services, which the API server claims for itself.
fn service_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, number, 240, 1)
}

fn url(address: Ipv4Addr, number: u8) -> String {
    format!("https://{address}:{}", port(number))
}

/// Of a cluster's API server; one for each, because a server listens on all addresses.
pub(crate) fn port(number: u8) -> u16 {
    6443 + u16::from(number)
}

/// The files of a cluster, and the arguments that name them.
struct Files<'a> {
    dir: &'a Path,
    number: u8,
}

impl Files<'_> {
    fn write(&self, authority: &Authority) {
        let service = service_address(self.number).to_string();
        let (public, own) =
            (public_address(self.number).to_string(), own_address(self.number).to_string());
        let names =
            [public.as_str(), &own, &service, "kubernetes", "kubernetes.default.svc", "localhost"];
        let serving = authority.leaf(&names);
        let accounts = KeyPair::generate().unwrap();
        for (file, text) in [
            ("ca.crt", authority.pem()),
            ("serving.crt", serving.chain),
            ("serving.key", serving.key),
            ("accounts.key", accounts.serialize_pem()),
            // A private key in this form would be refused here.
            ("accounts.pub", accounts.public_key_pem()),
            ("tokens.csv", format!("{ADMIN_TOKEN},bed,bed,system:masters\n")),
            ("audit.yaml", AUDIT_POLICY.to_owned()),
        ] {
            fs::write(self.dir.join(file), text).unwrap();
        }
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Of etcd, on a loopback address of the cluster's own.
    fn etcd_url(&self, port: u16) -> String {
        format!("http://127.0.{}.1:{port}", self.number)
    }

    fn etcd(&self) -> Vec<String> {
        let (clients, peers) = (self.etcd_url(2379), self.etcd_url(2380));
        vec![
            format!("--data-dir={}", self.file("etcd")),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            // Nothing outlives the test.
            "--unsafe-no-fsync".to_owned(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        vec![
            format!("--etcd-servers={}", self.etcd_url(2379)),
            format!("--advertise-address={}", public_address(self.number)),
            "--bind-address=0.0.0.0".to_owned(),
            format!("--secure-port={}", port(self.number)),
            format!("--tls-cert-file={}", self.file("serving.crt")),
            format!("--tls-private-key-file={}", self.file("serving.key")),
            format!("--service-cluster-ip-range=10.{}.240.0/20", self.number),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", self.file("accounts.key")),
            format!("--service-account-key-file={}", self.file("accounts.pub")),
            format!("--token-auth-file={}", self.file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            format!("--audit-log-path={}", self.file("audit.log")),
            format!("--audit-policy-file={}", self.file("audit.yaml")),
        ]
    }

    fn controller_manager(&self) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.file("kubeconfig")),
            format!("--service-account-private-key-file={}", self.file("accounts.key")),
            format!("--root-ca-file={}", self.file("ca.crt")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--use-service-account-credentials=false".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
            format!("--controllers={CONTROLLERS}"),
        ]
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
