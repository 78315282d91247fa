//! xDS over mutual TLS between a real Envoy and Convoy: faults.md S1 and D8.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

use convoy::{
    bootstrap::{BootstrapOptions, XdsTls, render, secret_files},
    identity::{Material, spiffe_id},
    key::GatewayId,
    serve::{self, Source, XdsSecurity},
    settings::{GatewayDefaults, Mechanisms, Timings},
    snapshot::Publisher,
    xds::{Access, AdsServer, Bearer, EnvoyRegistry, Listener, Refused, Tokens, XdsListen},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    bed::{
        Bed,
        cert::{Authority, Leaf},
        client::get,
        convoy::bootstrap_options,
        guide::{GATEWAY, GATEWAY_NAME, WEB_DEMO},
        ingress::ingress,
        load::Plan,
        netns::CONTROL_PLANE,
        poll::{SETTLE, eventually},
    },
    rows::{BOTH, figure, rows},
};

rows! { BOTH;
    fault_d08_certificates_rotate_under_load,
    fault_s01_a_token_opens_its_gateway,
}

const NAME: &str = "convoy.test";

/// A directory of files that is replaced as the kubelet does it: one symbolic link is swapped.
struct Mounted {
    dir: PathBuf,
    version: usize,
}

impl Mounted {
    fn new(dir: PathBuf, files: &[(&str, &str)]) -> Mounted {
        fs::create_dir_all(&dir).unwrap();
        for (name, _) in files {
            symlink(format!("..data/{name}"), dir.join(name)).unwrap();
        }
        let mut mounted = Mounted { dir, version: 0 };
        mounted.put(files);
        mounted
    }

    fn put(&mut self, files: &[(&str, &str)]) {
        self.version += 1;
        let version = format!("..{}", self.version);
        fs::create_dir(self.dir.join(&version)).unwrap();
        for (name, content) in files {
            fs::write(self.dir.join(&version).join(name), content).unwrap();
        }
        symlink(version, self.dir.join("..data_tmp")).unwrap();
        fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data")).unwrap();
    }

    fn put_pair(&mut self, leaf: &Leaf, trusted: &str) {
        self.put(&pair(leaf, trusted));
    }
}

fn pair<'a>(leaf: &'a Leaf, trusted: &'a str) -> [(&'a str, &'a str); 3] {
    [("tls.crt", &leaf.chain), ("tls.key", &leaf.key), ("ca.crt", trusted)]
}

fn envoy_of(authority: &Authority) -> Leaf {
    authority.leaf_of(&[&spiffe_id(&GatewayId::mse(GATEWAY_NAME))])
}

/// The bootstrap, with its secret files in `dir`.
fn bootstrap(bed: &Bed, dir: &Path, certificates: PathBuf, token: Option<PathBuf>) -> String {
    let config_dir = dir.join("config");
    let tls = XdsTls { certificates, config_dir, server_name: NAME.to_owned(), token };
    fs::create_dir_all(&tls.config_dir).unwrap();
    for (name, text) in secret_files(&tls) {
        fs::write(tls.config_dir.join(name), text).unwrap();
    }
    let options = bootstrap_options(GATEWAY_NAME, "first", bed.variant);
    render(&BootstrapOptions { tls: Some(tls), ..options })
}

/// The certificates of both ends.
struct Ends {
    convoy: Mounted,
    envoy: Mounted,
    changes: usize,
}

impl Ends {
    /// A change reaches the Envoy.
    async fn follows(&mut self, bed: &Bed) {
        self.changes += 1;
        let (name, path) = (format!("x{}", self.changes), format!("/x{}", self.changes));
        bed.ingress(&ingress(&name).exact(&path, "a"));
        bed.check(&[(get(&path), "a")]).await;
    }

    /// Envoy has other files from now on.
    async fn renew(&mut self, bed: &Bed, leaf: &Leaf, trusted: &str) {
        let before = updates(bed).await;
        self.envoy.put_pair(leaf, trusted);
        eventually(SETTLE, "Envoy takes its files up", || async {
            if updates(bed).await > before { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }

    /// Both ends use what they have from now on: on the stream that there is, and on a new one.
    async fn are_in_use(&mut self, bed: &mut Bed) {
        assert_eq!(bed.convoy().handle().envoys().counters().streams_opened, 1, "it survived");
        self.follows(bed).await;
        bed.restart_convoy().await;
        self.follows(bed).await;
    }
}

/// How often Envoy has taken up other files.
async fn updates(bed: &Bed) -> u64 {
    let name = r"cluster\.convoy\.client_ssl_socket_factory\.ssl_context_update_by_sds";
    bed.envoy().stat(name).await
}

async fn fault_d08_certificates_rotate_under_load(bed: &mut Bed) {
    let (old, new) = (Authority::new(), Authority::new());
    let dir = tempfile::TempDir::with_prefix("convoy-tls-").unwrap();
    let at = |name: &str| dir.path().join(name);
    let (old_pem, new_pem) = (old.pem(), new.pem());
    let both = format!("{old_pem}{new_pem}");
    let mut ends = Ends {
        convoy: Mounted::new(at("convoy"), &pair(&old.leaf(&[NAME]), &old_pem)),
        envoy: Mounted::new(at("envoy"), &pair(&envoy_of(&old), &old_pem)),
        changes: 0,
    };
    bed.security = XdsSecurity::Files(at("convoy"));
    bed.deploy_service1(&[("c1", 2), ("c2", 1)]);
    bed.deploy_each(&["a"]);
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.fleet.apply("gateway", GATEWAY);
    bed.start_convoy().await;
    let bootstrap = bootstrap(bed, dir.path(), at("envoy"), None);
    bed.start_envoy_from(&bootstrap).await;
    let plan =
        Plan { name: "load", request: get("/svc1"), gets_per_second: 200, posts_per_second: 0 };
    let load = bed.load(&plan);
    let start = Instant::now();
    ends.follows(bed).await;

    // Leaves.
    let leaf = envoy_of(&old);
    ends.convoy.put_pair(&old.leaf(&[NAME]), &old_pem);
    ends.renew(bed, &leaf, &old_pem).await;
    ends.are_in_use(bed).await;

    // The authority: both are trusted, then the new one signs, then only it is trusted.
    ends.convoy.put_pair(&old.leaf(&[NAME]), &both);
    ends.renew(bed, &leaf, &both).await;
    ends.are_in_use(bed).await;
    let leaf = envoy_of(&new);
    ends.convoy.put_pair(&new.leaf(&[NAME]), &both);
    ends.renew(bed, &leaf, &both).await;
    ends.are_in_use(bed).await;
    ends.convoy.put_pair(&new.leaf(&[NAME]), &new_pem);
    ends.renew(bed, &leaf, &new_pem).await;
    ends.are_in_use(bed).await;

    // Half of a rotation: nothing of it is used, on either end.
    let good = new.leaf(&[NAME]);
    let half = &good.chain[..good.chain.len() / 2];
    ends.convoy.put(&[("tls.crt", half), ("tls.key", &good.key), ("ca.crt", &new_pem)]);
    let other = envoy_of(&new);
    let crossed = [("tls.crt", &*other.chain), ("tls.key", &*leaf.key), ("ca.crt", &*new_pem)];
    ends.envoy.put(&crossed);
    eventually(SETTLE, "Envoy refuses the half", || async {
        let refused = bed.envoy().stat(r"sds\.credential\.update_rejected").await
            + bed.envoy().stat(r".*key_rotation_failed").await;
        if refused > 0 { Ok(()) } else { Err("none refused".to_owned()) }
    })
    .await;
    eventually(SETTLE, "Convoy refuses the half", || async {
        let report = bed.convoy().handle().certificates().unwrap();
        let refused = report.trouble.as_ref().is_some_and(|why| why.contains("tls.crt"));
        if refused { Ok(()) } else { Err(format!("{report:?}")) }
    })
    .await;
    ends.follows(bed).await;
    ends.convoy.put_pair(&good, &new_pem);
    ends.renew(bed, &other, &new_pem).await;
    ends.are_in_use(bed).await;

    let report = load.stop().await;
    figure(&format!("{} in {:?}", report.figures(), start.elapsed()));
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
}

/// An ADS server of what the fleet's directory says, which takes one token.
struct TokenServer {
    envoys: Arc<EnvoyRegistry>,
    task: JoinHandle<()>,
}

impl TokenServer {
    async fn start(bed: &Bed, authority: &Authority, accepted: Arc<Mutex<&'static str>>) -> Self {
        let Source::Directory(fleet) = bed.fleet.source() else { panic!("these rows have one") };
        let (publisher, envoys) = <(Arc<Publisher>, Arc<EnvoyRegistry>)>::default();
        let views = serve::translate(&fleet, &GatewayDefaults::default()).unwrap().views;
        views.into_iter().for_each(|(id, view)| publisher.publish(&id, view));
        let leaf = authority.leaf(&[NAME]);
        let material = Material {
            chain: vec![leaf.der.into()],
            key: Arc::new(PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap()),
            authorities: vec![authority.der()],
        };
        let tokens: Tokens = Arc::new(move |token| match token == *accepted.lock().unwrap() {
            true => Ok(Bearer {
                name: "ServiceAccount a/b".to_owned(),
                gateways: vec![GatewayId::mse(GATEWAY_NAME)],
                pod: Some("first".to_owned()),
            }),
            false => Err("another token".to_owned()),
        });
        let (_, materials) = watch::channel(Some(Arc::new(material)));
        let access = Access::Tls { materials, tokens: Some(tokens) };
        let ads = AdsServer::new(publisher, envoys.clone(), &Mechanisms::ALL, &Timings::PRODUCTION);
        let listener = Listener::bind(&XdsListen::Tcp(CONTROL_PLANE)).await.unwrap();
        let serve = async { ads.serve(listener, access, std::future::pending()).await.unwrap() };
        TokenServer { envoys, task: tokio::spawn(serve) }
    }

    async fn has_an_envoy(&self) {
        eventually(SETTLE, "the Envoy is connected", || async {
            let envoys = self.envoys.envoys();
            let gateway = format!("MseIngressConfig/{GATEWAY_NAME}");
            if envoys.iter().any(|own| own.gateway == gateway) {
                Ok(())
            } else {
                Err(format!("{:?}", self.envoys.counters().refused))
            }
        })
        .await;
    }
}

async fn fault_s01_a_token_opens_its_gateway(bed: &mut Bed) {
    let authority = Authority::new();
    let dir = tempfile::TempDir::with_prefix("convoy-tls-").unwrap();
    let trusted = authority.pem();
    let certificates = dir.path().join("certificates");
    let _certificates = Mounted::new(certificates.clone(), &[("ca.crt", &trusted)]);
    let mut token = Mounted::new(dir.path().join("token"), &[("token", "first-token")]);
    bed.deploy_service1(&[("c1", 1)]);
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.fleet.apply("gateway", GATEWAY);
    let accepted = Arc::new(Mutex::new("first-token"));
    let server = TokenServer::start(bed, &authority, accepted.clone()).await;
    let bootstrap = bootstrap(bed, dir.path(), certificates, Some(token.dir.join("token")));
    bed.start_envoy_from(&bootstrap).await;
    server.has_an_envoy().await;
    bed.check(&[(get("/svc1"), "cluster-demo-1")]).await;

    // The kubelet renews the token; the next stream has the new one.
    token.put(&[("token", "second-token")]);
    *accepted.lock().unwrap() = "second-token";
    server.task.abort();
    // Its end frees the port.
    assert!(server.task.await.is_err());
    let again = TokenServer::start(bed, &authority, accepted.clone()).await;
    again.has_an_envoy().await;
    figure(&format!(
        "refused first: {}",
        again.envoys.counters().refused[&Refused::Unauthenticated]
    ));
}
