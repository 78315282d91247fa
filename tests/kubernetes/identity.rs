//! Who may connect, on a real API server: Convoy's own authority (row D8) and tokens (row S1).
//!
//! Two Convoys run in this process, so that certificates age in seconds, and clients of a few lines
//! connect to them as Envoys do.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use convoy::{
    identity::authority::{self, ROTATE},
    key::ObjectName,
    rbac::AUTHORITY,
    serve::{self, Kubernetes, Source, XdsOptions, XdsSecurity},
    settings::{GatewayDefaults, IdentityTimings, Mechanisms, Timings},
    xds::XdsListen,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use self::client::Client;
use crate::{
    bed::{
        client::{Client as Http, get},
        guide,
        netns::CONTROL_PLANE,
        poll::{SETTLE, eventually},
    },
    clusters::cluster,
    harness::scenario,
    replica::write_kubeconfig,
    rows::figure,
    scene::{Scene, convoy},
};

mod client;

scenario! { "identity", &[];
    fault_d08_replicas_that_start_together_make_one_authority,
    fault_d08_the_secret_survives_its_deletion,
    fault_d08_a_rotation_locks_nobody_out,
    fault_s01_tokens_prove_who_an_envoy_is,
    fault_s01_tokens_are_good_while_the_api_server_is_dead,
}

/// A leaf and the overlap last 5 s, the authority a minute. Keys are fetched when they are needed.
fn timings() -> IdentityTimings {
    let IdentityTimings { keys, .. } = IdentityTimings::PRODUCTION;
    IdentityTimings { keys, ..IdentityTimings::PRODUCTION.faster(6 * 24 * 60 * 60) }
}

const NAMESPACE: &str = "convoy-system";

/// What Envoys call Convoy.
const NAME: &str = "convoy.convoy-system.svc";

/// A Pod of the fleet that is an Envoy, and the account that it has.
const POD: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: envoy}
---
apiVersion: v1
kind: Pod
metadata: {name: envoy-1}
spec:
  serviceAccountName: envoy
  containers: [{name: envoy, image: envoy}]
---
apiVersion: v1
kind: Pod
metadata: {name: envoy-2}
spec:
  serviceAccountName: envoy
  containers: [{name: envoy, image: envoy}]
";

/// Two Convoys with certificates of their own authority.
struct Pair([serve::Handle; 2]);

impl Pair {
    /// Both at the same time.
    async fn start(scene: &Scene) -> Pair {
        let (first, second) = tokio::join!(start(scene, 0), start(scene, 1));
        let pair = Pair([first, second]);
        for handle in &pair.0 {
            eventually(SETTLE, "it is ready", || async {
                let reply = Http::plain(handle.admin_address).send(&get("/readyz")).await?;
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                if reply.status.is_success() { Ok(()) } else { Err(text) }
            })
            .await;
        }
        pair
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [0, 1].map(|idx| match &self.0[idx].xds_address {
            XdsListen::Tcp(address) => *address,
            XdsListen::Unix(path) => panic!("not asked for: {}", path.display()),
        })
    }

    async fn stop(self) {
        for handle in self.0 {
            handle.shutdown().await.unwrap();
        }
    }

    /// Waits until both say that the rotation is so far.
    async fn reach(&self, phase: &str) {
        for handle in &self.0 {
            let limit = SETTLE + timings().overlap * 2 + timings().leaf;
            eventually(limit, &format!("the rotation is {phase}"), || async {
                let reply = Http::plain(handle.admin_address).send(&get("/metrics")).await?;
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                let line = format!("convoy_authority_phase{{phase=\"{phase}\"}} 1");
                let own = || text.lines().filter(|line| line.contains("authority_phase"));
                if own().any(|own| own == line) { Ok(()) } else { Err(own().collect()) }
            })
            .await;
        }
    }
}

async fn start(scene: &Scene, number: u8) -> serve::Handle {
    let kubeconfig = scene.world.dir().join(format!("identity-{number}.kubeconfig"));
    write_kubeconfig(&scene.world, &kubeconfig);
    let address = |port| SocketAddr::new(CONTROL_PLANE.ip(), port + 10 * u16::from(number));
    let security = XdsSecurity::Authority(authority::Options {
        secret: ObjectName::new(NAMESPACE, AUTHORITY),
        names: vec![NAME.to_owned()],
    });
    serve::start(serve::Options {
        source: Source::Kubernetes(Kubernetes {
            api_server: None,
            client: cluster::client(&kubeconfig).await,
            namespaces: [NAMESPACE.to_owned()].into(),
            status: None,
            infra: None,
        }),
        xds: XdsOptions { listen: XdsListen::Tcp(address(18100)), security, tokens: true },
        admin_listen: address(18101),
        defaults: GatewayDefaults::default(),
        mechanisms: Mechanisms::ALL,
        timings: Timings { identity: timings(), ..Timings::PRODUCTION },
    })
    .await
    .unwrap()
}

/// The Secret of the authority, if it is there.
fn secret(scene: &Scene) -> Option<Value> {
    let words =
        format!("get secrets -n {NAMESPACE} -o json --field-selector metadata.name={AUTHORITY}");
    let list: Value = serde_json::from_str(&scene.world.fleet.kubectl(&words)).unwrap();
    list["items"].get(0).cloned()
}

/// A certificate of the guide's gateway, as an operator issues it.
fn certificate(scene: &Scene, name: &str) -> Client {
    let dir = scene.world.dir().join(name);
    let kubeconfig = scene.world.fleet.kubeconfig();
    let words = ["certificate", "--gateway", guide::GATEWAY_NAME, "--out"];
    let words = [&words[..], &[text(&dir), "--kubeconfig", text(&kubeconfig)]].concat();
    convoy(&words);
    Client::with_certificate(&dir)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Both Convoys serve the client.
async fn connects(pair: &Pair, client: &Client) {
    for address in pair.addresses() {
        eventually(SETTLE, "the client is served", || client.ask(address, "envoy-1")).await;
    }
}

async fn fault_d08_replicas_that_start_together_make_one_authority(scene: &mut Scene) {
    let account = "convoy.dev/envoy-account: edge/envoy";
    let gateway = guide::GATEWAY.replace("annotations:", &format!("annotations:\n    {account}"));
    scene.world.fleet.apply(&gateway, "");
    assert_eq!(secret(scene), None);
    let pair = Pair::start(scene).await;
    let stored = secret(scene).unwrap();
    assert_eq!(stored["type"], "Opaque");
    // One of them made it, and the other one serves with the same.
    let client = certificate(scene, "first");
    connects(&pair, &client).await;
    // Nobody is served without a certificate.
    let refused = client.without_certificate().ask(pair.addresses()[0], "envoy-1").await;
    assert!(refused.as_ref().is_err_and(|why| why.starts_with("16 ")), "{refused:?}");
    pair.stop().await;
}

async fn fault_d08_the_secret_survives_its_deletion(scene: &mut Scene) {
    let pair = Pair::start(scene).await;
    let before = secret(scene).unwrap()["data"].clone();
    scene.world.fleet.kubectl(&format!("delete secret {AUTHORITY} -n {NAMESPACE}"));
    let after = eventually(SETTLE, "the Secret is back", || async {
        secret(scene).ok_or_else(|| "nothing".to_owned())
    })
    .await;
    for key in ["tls.crt", "tls.key"] {
        assert_eq!(after["data"][key], before[key], "{key}");
    }
    pair.stop().await;
}

async fn fault_d08_a_rotation_locks_nobody_out(scene: &mut Scene) {
    let pair = Pair::start(scene).await;
    pair.reach("settled").await;
    let before = certificate(scene, "before");
    connects(&pair, &before).await;
    let words = format!("annotate secret {AUTHORITY} -n {NAMESPACE} --overwrite {ROTATE}=now");
    scene.world.fleet.kubectl(&words);
    let start = Instant::now();

    pair.reach("spreading").await;
    connects(&pair, &before).await;
    // It knows the next authority, and is of the one before.
    let spread = certificate(scene, "spread");

    pair.reach("retiring").await;
    connects(&pair, &spread).await;
    // The Convoys have certificates that it has no reason to trust: its bundle is too old.
    let refused = before.ask(pair.addresses()[0], "envoy-1").await;
    assert!(refused.is_err(), "{refused:?}");
    let after = certificate(scene, "after");

    pair.reach("settled").await;
    connects(&pair, &after).await;
    let refused = spread.ask(pair.addresses()[0], "envoy-1").await;
    assert!(refused.is_err(), "{refused:?}");
    figure(&format!("a rotation took {:?}", start.elapsed()));
    pair.stop().await;
}

/// A token of the account for a Pod, or for none.
fn token(scene: &Scene, audience: &str, pod: Option<&str>) -> String {
    let bound = pod.map(|pod| format!(" --bound-object-kind Pod --bound-object-name {pod}"));
    let bound = bound.unwrap_or_default();
    let words = format!("create token envoy -n edge --audience {audience}{bound}");
    scene.world.fleet.kubectl(&words).trim().to_owned()
}

/// The token with another end, signed with the key of the fleet: the API server makes none so short.
fn ended(scene: &Scene, token: &str) -> String {
    let part = |idx: usize| -> Value {
        let part = token.split('.').nth(idx).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let pem = fs::read_to_string(scene.world.fleet.dir().join("accounts.key")).unwrap();
    let key = EncodingKey::from_ec_der(KeyPair::from_pem(&pem).unwrap().serialized_der());
    let kid = part(0)["kid"].as_str().unwrap().to_owned();
    let header = Header { kid: Some(kid), ..Header::new(Algorithm::ES256) };
    let mut claims = part(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    claims["exp"] = json!(now - 60);
    encode(&header, &claims, &key).unwrap()
}

async fn fault_s01_tokens_prove_who_an_envoy_is(scene: &mut Scene) {
    scene.world.fleet.kubectl("create namespace edge");
    scene.world.fleet.apply(POD, "-n edge");
    let pair = Pair::start(scene).await;
    let address = pair.addresses()[0];
    let trusting = certificate(scene, "trusting").without_certificate();
    let good = token(scene, "convoy", Some("envoy-1"));
    let client = trusting.with_token(&good);
    eventually(SETTLE, "the token is taken", || client.ask(address, "envoy-1")).await;
    let unbound = trusting.with_token(&token(scene, "convoy", None));
    unbound.ask(address, "envoy-9").await.unwrap();

    let check = async |token: &str, node: &str, expect: &str| {
        let refused = trusting.with_token(token).ask(address, node).await.unwrap_err();
        assert!(refused.starts_with("16 ") && refused.contains(expect), "{expect}: {refused}");
    };
    check(&token(scene, "other", Some("envoy-1")), "envoy-1", "audience").await;
    check(&ended(scene, &good), "envoy-1", "expired").await;
    check(&good, "envoy-2", "envoy-2").await;
    check("garbage", "envoy-1", "not a token").await;
    check(&good[..good.len() - 4], "envoy-1", "").await;
    // Of another account, which nobody has granted the gateway.
    let stranger = scene.world.fleet.kubectl("create token default -n edge --audience convoy");
    let refused = trusting.with_token(stranger.trim()).ask(address, "envoy-1").await;
    assert!(refused.as_ref().is_err_and(|why| why.starts_with("7 ")), "{refused:?}");
    pair.stop().await;
}

async fn fault_s01_tokens_are_good_while_the_api_server_is_dead(scene: &mut Scene) {
    let pair = Pair::start(scene).await;
    let token = token(scene, "convoy", Some("envoy-2"));
    let client = certificate(scene, "trusting").without_certificate().with_token(&token);
    for address in pair.addresses() {
        eventually(SETTLE, "the token is taken", || client.ask(address, "envoy-2")).await;
    }
    scene.world.fleet.api.kill();
    eventually(SETTLE, "Convoy notices", || async {
        let reply = Http::plain(pair.0[0].admin_address).send(&get("/metrics")).await?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let is_noticed = text.contains("convoy_certificates_failing 1");
        if is_noticed { Ok(()) } else { Err("all is well".to_owned()) }
    })
    .await;
    for address in pair.addresses() {
        client.ask(address, "envoy-2").await.unwrap();
    }
    let stranger = client.with_token("garbage").ask(pair.addresses()[0], "envoy-2").await;
    assert!(stranger.as_ref().is_err_and(|why| why.starts_with("16 ")), "{stranger:?}");
    scene.world.fleet.restart_api().await;
    pair.stop().await;
}
