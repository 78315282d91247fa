//! A client that says exactly what it sends and what it got.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{
    http1::{self, SendRequest},
    http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use super::cert::server_name;

/// The table's `curl -m5`.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection is worth opening for so many requests.
const REQUESTS_PER_LANE: usize = 50;

/// More connections than this wait for each other on two cores.
const MOST_LANES: usize = 8;

/// A request to the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) patience: Duration,
}

/// `curl -H host:example.com $G<path>`.
pub(crate) fn get(path: &str) -> Request {
    Request {
        method: Method::GET,
        path: path.to_owned(),
        host: "example.com".to_owned(),
        headers: Vec::new(),
        patience: PATIENCE,
    }
}

impl Request {
    pub(crate) fn host(mut self, host: &str) -> Request {
        self.host = host.to_owned();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn cookie(self, value: &str) -> Request {
        self.header("cookie", value)
    }

    /// The same as a POST whose deliveries the backends record under `id`.
    pub(crate) fn post(mut self, id: &str) -> Request {
        self.method = Method::POST;
        self.delivery(id)
    }

    /// Has the backends record each delivery under `id`.
    pub(crate) fn delivery(self, id: &str) -> Request {
        self.header(convoy::cli::echo::DELIVERY_HEADER, id)
    }

    pub(crate) fn patience(mut self, patience: Duration) -> Request {
        self.patience = patience;
        self
    }

    fn build(&self) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(self.path.as_str())
            .header("host", self.host.as_str());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::default()).unwrap()
    }
}

/// Whom a client talks to, and over what.
#[derive(Clone)]
pub(crate) struct Client {
    to: SocketAddr,
    tls: Option<(Arc<ClientConfig>, String)>,
}

impl Client {
    pub(crate) fn plain(to: SocketAddr) -> Client {
        Client { to, tls: None }
    }

    /// Asks for `server`'s certificate and checks it; an address sends no server name.
    pub(crate) fn tls(to: SocketAddr, trust: Arc<ClientConfig>, server: &str) -> Client {
        Client { to, tls: Some((trust, server.to_owned())) }
    }

    /// A connection that stays open between requests.
    pub(crate) async fn connect(&self) -> Result<Connection, String> {
        let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect(self.to));
        let stream = connecting.await.map_err(|_| "connect: timeout")?;
        let stream = stream.map_err(|e| format!("connect: {e}"))?;
        stream.set_nodelay(true).map_err(|e| format!("connect: {e}"))?;
        let Some((config, server)) = &self.tls else {
            let sender = handshake(TokioIo::new(stream)).await?;
            return Ok(Connection { sender, certificate: Vec::new() });
        };
        let tls = TlsConnector::from(config.clone()).connect(server_name(server), stream);
        let tls = tls.await.map_err(|e| format!("handshake: {e}"))?;
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default();
        let sender = handshake(TokioIo::new(tls)).await?;
        Ok(Connection { sender, certificate })
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(&self, request: &Request) -> Result<Reply, String> {
        self.connect().await?.send(request).await
    }

    /// Calls a gRPC method and returns the data that streamed back, and its trailers.
    pub(crate) async fn call(&self, request: &Request) -> Result<(Bytes, HeaderMap), String> {
        let stream = TcpStream::connect(self.to).await.map_err(|e| format!("connect: {e}"))?;
        let http2 = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = http2.await.map_err(|e| format!("handshake: {e}"))?;
        // Ends with the connection; the sender hears of it.
        tokio::spawn(connection);
        let call = http::Request::post(format!("http://{}{}", request.host, request.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::<Bytes>::default())
            .unwrap();
        let response = sender.send_request(call).await.map_err(|e| format!("send: {e}"))?;
        let body = response.into_body().collect().await.map_err(|e| format!("body: {e}"))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok((body.to_bytes(), trailers))
    }

    /// `n` requests on a few connections, opened again whenever one is lost.
    pub(crate) async fn hit(&self, n: usize, request: &Request) -> Replies {
        let lanes = n.div_ceil(REQUESTS_PER_LANE).min(MOST_LANES);
        let mut under_way = JoinSet::new();
        for lane in 0..lanes {
            let (client, request) = (self.clone(), request.clone());
            let share = (n + lane) / lanes;
            under_way.spawn(async move { client.lane(share, &request).await });
        }
        Replies(under_way.join_all().await.into_iter().flatten().collect())
    }

    async fn lane(&self, n: usize, request: &Request) -> Vec<Result<Reply, String>> {
        let mut connection = None;
        let mut replies = Vec::with_capacity(n);
        for _ in 0..n {
            replies.push(self.hit_once(&mut connection, request).await);
        }
        replies
    }

    async fn hit_once(
        &self,
        kept: &mut Option<Connection>,
        request: &Request,
    ) -> Result<Reply, String> {
        let mut connection = match kept.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let reply = connection.send(request).await?;
        *kept = Some(connection);
        Ok(reply)
    }
}

async fn handshake<I>(io: I) -> Result<SendRequest<Full<Bytes>>, String>
where
    I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|e| format!("handshake: {e}"))?;
    // Ends with the connection; the sender hears of it.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// An open HTTP/1.1 connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// What the server presented; empty without TLS.
    pub(crate) certificate: Vec<u8>,
}

impl Connection {
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(crate) async fn send(&mut self, request: &Request) -> Result<Reply, String> {
        let exchange = async {
            self.sender.ready().await.map_err(|e| e.to_string())?;
            let response = self
                .sender
                .send_request(request.build())
                .await
                .map_err(|e| format!("send: {e}"))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|e| format!("body: {e}"))?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(request.patience, exchange).await.unwrap_or(Err("timeout".to_owned()))
    }

    /// Sends an upgrade and returns the raw connection behind the 101.
    pub(crate) async fn upgrade(
        mut self,
        request: &Request,
    ) -> Result<TokioIo<hyper::upgrade::Upgraded>, String> {
        let response =
            self.sender.send_request(request.build()).await.map_err(|e| format!("send: {e}"))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(response.status().to_string());
        }
        hyper::upgrade::on(response).await.map(TokioIo::new).map_err(|e| format!("upgrade: {e}"))
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What an echo pod says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Echo {
    pub(crate) env: String,
    pub(crate) pod: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Reply {
    pub(crate) fn echo(&self) -> Result<Echo, String> {
        serde_json::from_slice(&self.body)
            .map_err(|e| format!("{}: {e}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What a number of requests came back with.
#[derive(Debug)]
pub(crate) struct Replies(Vec<Result<Reply, String>>);

impl Replies {
    /// Answers by environment; a failure counts under its code or reason.
    pub(crate) fn envs(&self) -> Split {
        self.split(|echo| echo.env)
    }

    /// Answers by pod.
    pub(crate) fn pods(&self) -> Split {
        self.split(|echo| echo.pod)
    }

    /// Answers by status code.
    pub(crate) fn codes(&self) -> Split {
        let code = |reply: &Result<Reply, String>| match reply {
            Ok(reply) => reply.status.as_u16().to_string(),
            Err(reason) => reason.clone(),
        };
        self.0.iter().map(code).collect()
    }

    fn split(&self, by: impl Fn(Echo) -> String) -> Split {
        let key = |reply: &Result<Reply, String>| match reply {
            Ok(reply) if reply.status.is_success() => reply.echo().map_or_else(|e| e, &by),
            Ok(reply) => reply.status.as_u16().to_string(),
            Err(reason) => reason.clone(),
        };
        self.0.iter().map(key).collect()
    }
}

/// How answers divide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split(pub(crate) BTreeMap<String, usize>);

impl FromIterator<String> for Split {
    fn from_iter<I: IntoIterator<Item = String>>(keys: I) -> Split {
        let mut counts = BTreeMap::new();
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
        Split(counts)
    }
}

impl Split {
    /// All answers came from `key`.
    pub(crate) fn only(&self, key: &str) -> bool {
        self.0.len() == 1 && self.0.contains_key(key)
    }

    /// Nobody else answered, and each had its share within `tolerance`; both in percent.
    pub(crate) fn shares(&self, expected: &[(&str, f64)], tolerance: f64) -> bool {
        let known = self.0.keys().all(|key| expected.iter().any(|(name, _)| name == key));
        known && expected.iter().all(|(name, share)| (self.share(name) - share).abs() <= tolerance)
    }

    /// Percent of the answers that came from `key`.
    pub(crate) fn share(&self, key: &str) -> f64 {
        let total: usize = self.0.values().sum();
        let ours = self.0.get(key).copied().unwrap_or_default();
        100.0 * ours as f64 / total.max(1) as f64
    }
}
