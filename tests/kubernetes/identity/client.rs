//! A client that asks for the clusters of its gateway and waits for the first answer.

use std::{convert::Infallible, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::{config::core::v3::Node, service::discovery::v3::DiscoveryRequest};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_rustls::{TlsConnector, rustls};
use tokio_stream::wrappers::ReceiverStream;

use super::NAME;

const METHOD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// An answer is there at once, or there is none.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an Envoy knows and has.
#[derive(Clone)]
pub(super) struct Client {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, Arc<PrivateKeyDer<'static>>)>,
    token: Option<String>,
}

impl Client {
    /// With what `convoy certificate --out` wrote.
    pub(super) fn with_certificate(dir: &Path) -> Client {
        let all = |name: &str| {
            let pem = fs::read(dir.join(name)).unwrap();
            CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect::<Vec<_>>()
        };
        let key = PrivateKeyDer::from_pem_file(dir.join("tls.key")).unwrap();
        let identity = Some((all("tls.crt"), Arc::new(key)));
        Client { authorities: all("ca.crt"), identity, token: None }
    }

    pub(super) fn without_certificate(&self) -> Client {
        Client { identity: None, ..self.clone() }
    }

    pub(super) fn with_token(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Whether it is served as the Envoy of this name; else the status and its message, or what is
    /// wrong with the connection.
    pub(super) async fn ask(&self, address: SocketAddr, node: &str) -> Result<(), String> {
        timeout(PATIENCE, self.answered(address, node)).await.unwrap_or(Err("silence".into()))
    }

    async fn answered(&self, address: SocketAddr, node: &str) -> Result<(), String> {
        let said = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect(address).await.map_err(|e| said(&e))?;
        let name = ServerName::try_from(NAME).unwrap();
        let stream = TlsConnector::from(self.config()).connect(name, stream).await;
        let stream = TokioIo::new(stream.map_err(|e| said(&e))?);
        let connected = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
        let (mut requests, connection) = connected.map_err(|e| said(&e))?;
        tokio::spawn(connection);
        // As long as this is held, the request has not ended.
        let (frames, body) = mpsc::channel(1);
        frames.send(Ok::<_, Infallible>(Frame::data(first_message(node)))).await.unwrap();
        let request = Request::post(format!("https://{NAME}{METHOD}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers");
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let request = bearer.iter().fold(request, |own, value| own.header("authorization", value));
        let request = request.body(StreamBody::new(ReceiverStream::new(body))).unwrap();
        let response = requests.send_request(request).await.map_err(|e| said(&e))?;
        refusal(response.headers())?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| said(&e))?;
            frame.trailers_ref().map_or(Ok(()), refusal)?;
            if frame.is_data() {
                return Ok(());
            }
        }
        Err("the stream ended".to_owned())
    }

    fn config(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        self.authorities.iter().for_each(|der| roots.add(der.clone()).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                config.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

/// The first message of an Envoy that asks for all clusters, framed for gRPC.
fn first_message(node: &str) -> Bytes {
    let node = Node { id: node.to_owned(), ..Node::default() };
    let request =
        DiscoveryRequest { node: Some(node), type_url: CLUSTERS.into(), ..Default::default() };
    let message = request.encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(&message);
    frame.freeze()
}

/// The status, if it is there and an error, and its message.
fn refusal(headers: &HeaderMap) -> Result<(), String> {
    let text =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match text("grpc-status") {
        Some(code) if code != "0" => {
            let message = text("grpc-message").unwrap_or_default();
            Err(format!("{code} {}", message.replace("%20", " ")))
        }
        Some(_) | None => Ok(()),
    }
}
