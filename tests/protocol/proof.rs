//! Who may connect, and what it may see: faults.md S1, S2, S15 and D8, byte by byte.

use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use convoy::{
    identity::{Material, spiffe_id},
    key::GatewayId,
    snapshot::Kind::{Cluster, Listener, Secret},
    xds::{Access, Bearer, Refused, Tokens},
};
use http::{HeaderMap, HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, date_time_ymd};
use rustls::{
    ClientConfig,
    pki_types::{PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Status,
    codegen::Service,
    transport::{Channel, Endpoint},
};

use crate::{
    cert::{Authority, Leaf, uris_of},
    client::{Bench, Delta, Sotw, node, until, within},
};

const NAME: &str = "convoy.test";

/// What of gateway B nobody but B may ever receive.
const CANARY: &str = "canary-of-b";

fn envoy_of(authority: &Authority, gateway: &str) -> Leaf {
    authority.leaf_of(&[&spiffe_id(&GatewayId::mse(gateway))])
}

fn material(authority: &Authority, trusted: &[&Authority]) -> Arc<Material> {
    let leaf = authority.leaf(&[NAME]);
    Arc::new(Material {
        chain: vec![leaf.der.into()],
        key: Arc::new(PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap()),
        authorities: trusted.iter().map(|own| own.der()).collect(),
    })
}

fn tls(authority: &Authority, tokens: Option<Tokens>) -> Access {
    let (_, materials) = watch::channel(Some(material(authority, &[authority])));
    Access::Tls { materials, tokens }
}

async fn connect(bench: &Bench, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(bench.address).await.unwrap();
    let mut config = (*config).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(NAME).unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// Whether the server ends the connection without a word of HTTP. With TLS 1.3 a client learns only
/// when it reads that its certificate was refused.
async fn is_refused(connected: io::Result<impl AsyncRead + Unpin>) -> bool {
    let Ok(mut stream) = connected else { return true };
    let mut buffer = [0; 1];
    match within(stream.read(&mut buffer)).await {
        Ok(n) => n == 0,
        Err(_) => true,
    }
}

/// A connection whose plaintext is kept.
struct Recorded<T>(T, Arc<Mutex<Vec<u8>>>);

impl<T: AsyncRead + Unpin> AsyncRead for Recorded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        self.1.lock().unwrap().extend_from_slice(&buf.filled()[before..]);
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Recorded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Hands out the one connection that there is.
struct Once<T>(Option<T>);

impl<T> Service<Uri> for Once<T> {
    type Response = TokioIo<T>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<T>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().map(TokioIo::new).ok_or(io::ErrorKind::NotConnected.into()))
    }
}

type Record = Arc<Mutex<Vec<u8>>>;

async fn channel(bench: &Bench, config: Arc<ClientConfig>) -> (Channel, Record) {
    let record = Record::default();
    let stream = Recorded(connect(bench, config).await.unwrap(), record.clone());
    let endpoint = Endpoint::from_static("http://convoy.test");
    let channel = within(endpoint.connect_with_connector(Once(Some(stream)))).await.unwrap();
    (channel, record)
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    headers.insert("authorization", value);
    headers
}

/// What a delta stream of this node comes to.
async fn outcome(
    bench: &Bench,
    config: Arc<ClientConfig>,
    headers: HeaderMap,
    cluster: &str,
) -> Result<String, Status> {
    let (channel, _) = channel(bench, config).await;
    let mut envoy = Delta::open_on(channel, headers, node(cluster)).await?;
    envoy.subscribe(Cluster, &[]).await;
    Ok(crate::client::said(&envoy.next().await?.expect("an answer or a status")))
}

fn expired(uri: &str) -> CertificateParams {
    let mut params = uris_of(&[uri]);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    params
}

#[tokio::test]
async fn fault_s01_connections_that_prove_nothing_are_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let mut bench = Bench::start_with(tls(&authority, None)).await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let edge = spiffe_id(&GatewayId::mse("edge"));
    let known = |leaf: &Leaf| authority.trust_as(leaf);
    let mut old_tls =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
    old_tls.enable_sni = true;
    let cases = [
        ("no certificate", authority.trust()),
        ("a certificate of another authority", known(&envoy_of(&stranger, "edge"))),
        ("an expired certificate", known(&authority.sign(expired(&edge)))),
        ("TLS 1.2", Arc::new(old_tls)),
    ];
    for (n, (what, config)) in cases.into_iter().enumerate() {
        assert!(is_refused(connect(&bench, config).await).await, "{what}");
        let counted = || bench.registry.counters().refused[&Refused::Handshake];
        until(|| counted() == n as u64 + 1).await;
    }
    let mut plain = TcpStream::connect(bench.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut said = Vec::new();
    // Whether it says so with an alert or a reset: there is no HTTP.
    let _ = within(plain.read_to_end(&mut said)).await;
    assert!(said.len() < 16, "{said:?}");
    // And it serves whoever has the proof.
    let good = known(&envoy_of(&authority, "edge"));
    assert_eq!(outcome(&bench, good, HeaderMap::new(), "edge").await.unwrap(), "+a");
}

#[tokio::test]
async fn fault_s01_certificates_for_nobody_are_told_so() {
    let authority = Authority::new();
    let mut bench = Bench::start_with(tls(&authority, None)).await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let edge = spiffe_id(&GatewayId::mse("edge"));
    let cases = [
        ("no name", authority.leaf_of(&[]), "its names are: none"),
        ("a host's", authority.leaf(&["edge"]), "edge"),
        ("a mesh's", authority.leaf_of(&["spiffe://cluster.local/ns/a/sa/edge"]), "cluster.local"),
        ("two", authority.leaf_of(&[&edge, "spiffe://convoy/MseIngressConfig/b"]), "more than one"),
    ];
    for (what, leaf, part) in cases {
        let config = authority.trust_as(&leaf);
        let status = outcome(&bench, config, HeaderMap::new(), "edge").await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{what}");
        assert!(status.message().contains(part), "{what}: {status}");
    }
    assert_eq!(bench.registry.counters().refused[&Refused::Unauthenticated], 4);
    assert_eq!(bench.registry.counters().streams_opened, 0);
}

#[tokio::test]
async fn fault_s01_slow_handshakes_hold_up_nobody() {
    let authority = Authority::new();
    let mut bench = Bench::start_with(tls(&authority, None)).await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(bench.address).await.unwrap());
    }
    let start = std::time::Instant::now();
    let good = authority.trust_as(&envoy_of(&authority, "edge"));
    assert_eq!(outcome(&bench, good, HeaderMap::new(), "").await.unwrap(), "+a");
    assert!(start.elapsed() < Duration::from_secs(4), "it did not wait for their time limit");
    // Theirs comes all the same.
    for mut stream in silent {
        let ended = within(stream.read(&mut [0; 1])).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    assert_eq!(bench.registry.counters().refused[&Refused::Handshake], 100);
}

#[tokio::test]
async fn fault_s15_one_address_has_a_share_of_the_connections() {
    let bench = Bench::start().await;
    let mut open = Vec::new();
    let refused = || bench.registry.counters().refused[&Refused::TooMany];
    for _ in 0..128 {
        open.push(TcpStream::connect(bench.address).await.unwrap());
    }
    let extra = TcpStream::connect(bench.address).await;
    assert!(is_refused(extra).await);
    assert_eq!(refused(), 1);
    // What ends makes room.
    drop(open);
    bench.publish_other("edge", &[(Cluster, "a", 1)]);
    let mut envoy = loop {
        // The server learns of their end in its own time.
        if let Ok(envoy) = Delta::try_open(&bench, node("edge")).await {
            break envoy;
        }
    };
    envoy.subscribe(Cluster, &[]).await;
    assert_eq!(crate::client::said(&envoy.response().await), "+a");
}

#[tokio::test]
async fn fault_s01_without_material_nobody_is_served_in_the_clear() {
    let authority = Authority::new();
    let (sender, materials) = watch::channel(None);
    let mut bench = Bench::start_with(Access::Tls { materials, tokens: None }).await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let config = authority.trust_as(&envoy_of(&authority, "edge"));
    assert!(is_refused(connect(&bench, config.clone()).await).await);
    assert_eq!(bench.registry.counters().refused[&Refused::NoCertificate], 1);
    sender.send_replace(Some(material(&authority, &[&authority])));
    assert_eq!(outcome(&bench, config, HeaderMap::new(), "edge").await.unwrap(), "+a");
}

#[tokio::test]
async fn fault_s01_a_token_in_place_of_a_certificate() {
    let authority = Authority::new();
    let tokens: Tokens = Arc::new(|token| match token {
        "good" => Ok(Bearer {
            name: "ServiceAccount a/b".to_owned(),
            gateways: vec![GatewayId::mse("edge")],
            pod: None,
        }),
        "other-pod" => Ok(Bearer {
            name: "ServiceAccount a/b".to_owned(),
            gateways: vec![GatewayId::mse("edge")],
            pod: Some("envoy-7".to_owned()),
        }),
        _ => Err("the token has expired".to_owned()),
    });
    let mut bench = Bench::start_with(tls(&authority, Some(tokens))).await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let check = async |headers, cluster, expect: Result<&str, Code>| {
        let result = outcome(&bench, authority.trust(), headers, cluster).await;
        assert_eq!(result.as_deref().map_err(|status| status.code()), expect, "{cluster}");
    };
    check(bearer("good"), "edge", Ok("+a")).await;
    check(bearer("good"), "", Ok("+a")).await;
    check(bearer("good"), "b", Err(Code::PermissionDenied)).await;
    check(bearer("other-pod"), "edge", Err(Code::Unauthenticated)).await;
    check(bearer("old"), "edge", Err(Code::Unauthenticated)).await;
    check(HeaderMap::new(), "edge", Err(Code::Unauthenticated)).await;
    // A certificate still does.
    let own = authority.trust_as(&envoy_of(&authority, "edge"));
    assert_eq!(outcome(&bench, own, HeaderMap::new(), "edge").await.unwrap(), "+a");
}

/// Everything that gateway B has says so.
fn publish_both(bench: &mut Bench) {
    bench.publish(&[(Cluster, "own", Some(1)), (Listener, "own", Some(1))]);
    let secret = format!("{CANARY}-key");
    bench.publish_other(
        "b",
        &[(Cluster, CANARY, 1), (Listener, CANARY, 1), (Secret, secret.as_str(), 1)],
    );
}

fn has_canary(record: &Record) -> bool {
    record.lock().unwrap().windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

#[tokio::test]
async fn fault_s02_nothing_of_another_gateway_is_received() {
    let authority = Authority::new();
    let mut bench = Bench::start_with(tls(&authority, None)).await;
    publish_both(&mut bench);
    let own = authority.trust_as(&envoy_of(&authority, "edge"));
    for claim in ["b", "MseIngressConfig/b"] {
        let (channel, record) = channel(&bench, own.clone()).await;
        let mut delta =
            Delta::open_on(channel.clone(), HeaderMap::new(), node(claim)).await.unwrap();
        delta.subscribe(Secret, &[&format!("{CANARY}-key")]).await;
        assert_eq!(delta.next().await.unwrap_err().code(), Code::PermissionDenied);
        let mut sotw = Sotw::open_on(channel, HeaderMap::new(), node(claim)).await.unwrap();
        sotw.subscribe(Cluster, &[]).await;
        assert_eq!(sotw.next().await.unwrap_err().code(), Code::PermissionDenied);
        assert!(!has_canary(&record), "{claim}");
    }
    assert_eq!(bench.registry.counters().refused[&Refused::Forbidden], 4);
}

#[tokio::test]
async fn fault_s02_asking_for_the_names_of_another_gateway_gives_nothing() {
    let authority = Authority::new();
    let mut bench = Bench::start_with(tls(&authority, None)).await;
    publish_both(&mut bench);
    let own = authority.trust_as(&envoy_of(&authority, "edge"));
    for claim in ["", "edge", "MseIngressConfig/edge"] {
        let (channel, record) = channel(&bench, own.clone()).await;
        let mut delta =
            Delta::open_on(channel.clone(), HeaderMap::new(), node(claim)).await.unwrap();
        delta.subscribe(Cluster, &["*", CANARY]).await;
        let first = delta.response().await;
        let names: Vec<_> = first.resources.iter().map(|own| own.name.as_str()).collect();
        assert_eq!(names, ["own"], "{claim}");
        delta.answer(&first, None).await;
        let mut sotw = Sotw::open_on(channel, HeaderMap::new(), node(claim)).await.unwrap();
        sotw.subscribe(Cluster, &[]).await;
        assert_eq!(crate::client::clusters(&sotw.response().await), ["own"], "{claim}");
        // The answer to a name that it asked for may repeat the name, and nothing more of it.
        let bytes = record.lock().unwrap().clone();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&format!("{CANARY}@")) && !text.contains("-key"), "{claim}");
    }
    // What the scan looks for is there for its owner.
    let theirs = authority.trust_as(&envoy_of(&authority, "b"));
    let (channel, record) = channel(&bench, theirs).await;
    let mut delta = Delta::open_on(channel, HeaderMap::new(), node("b")).await.unwrap();
    delta.subscribe(Cluster, &[]).await;
    delta.response().await;
    assert!(has_canary(&record));
}

#[tokio::test]
async fn fault_d08_new_connections_use_new_certificates_and_old_streams_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let (sender, materials) = watch::channel(Some(material(&old, &[&old])));
    let mut bench = Bench::start_with(Access::Tls { materials, tokens: None }).await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let old_envoy = old.trust_as(&envoy_of(&old, "edge"));
    let (channel, _) = channel(&bench, old_envoy.clone()).await;
    let mut stream = Delta::open_on(channel, HeaderMap::new(), node("edge")).await.unwrap();
    stream.subscribe(Cluster, &[]).await;
    let response = stream.response().await;
    stream.answer(&response, None).await;

    // Both are trusted.
    let next = material(&old, &[&old, &new]);
    sender.send_replace(Some(next.clone()));
    let connected = connect(&bench, old_envoy.clone()).await.unwrap();
    let served = connected.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_eq!(served, next.chain[0]);
    let crossed = old.trust_as(&envoy_of(&new, "edge"));
    assert_eq!(outcome(&bench, crossed, HeaderMap::new(), "edge").await.unwrap(), "+a");

    // Only the new one is.
    sender.send_replace(Some(material(&new, &[&new])));
    let strict = new.trust_as(&envoy_of(&old, "edge"));
    assert!(is_refused(connect(&bench, strict).await).await);
    let new_envoy = new.trust_as(&envoy_of(&new, "edge"));
    assert_eq!(outcome(&bench, new_envoy, HeaderMap::new(), "edge").await.unwrap(), "+a");

    bench.publish(&[(Cluster, "b", Some(1))]);
    assert_eq!(crate::client::said(&stream.response().await), "+b");
}
