//! `convoy echo`: the backend of the demo and of the tests.
//!
//! Owns a server that says who answered and what arrived. One process serves any number of pods of
//! one workload, each on its own address, so that killing the process kills them together. Must not
//! know about Convoy's other rooms. Cost: one task a connection, nothing shared but the record file.

use std::{
    convert::Infallible,
    fs::{File, OpenOptions},
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;

/// Every request that carries this header is recorded before it is answered.
pub const DELIVERY_HEADER: &str = "x-delivery-id";

/// An empty gRPC message: not compressed, length zero.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

type Body = BoxBody<Bytes, Infallible>;

/// Answers every request with who it is and what it received.
///
/// The query of a request asks for more: `sleep_ms=N` delays the answer, `status=N` sets its code,
/// and `cluster=ID` limits both to the pods of one cluster. A gRPC request gets one message,
/// `sleep_ms` of silence, one more message and its trailers; an upgrade gets its bytes back.
#[derive(Clone, Debug, clap::Args)]
pub struct Echo {
    /// What the answers call the environment.
    #[arg(long, env = "ENV_NAME")]
    pub env: String,
    /// Id of the cluster that the pods are said to be in.
    #[arg(long)]
    pub cluster: String,
    /// Name of the Service that the pods are said to be of.
    #[arg(long)]
    pub svc: String,
    /// A pod and the address to serve it on; may be repeated.
    #[arg(long = "pod", value_name = "NAME=ADDR:PORT", required = true)]
    pub pods: Vec<Pod>,
    /// File to which the id of every request with an `x-delivery-id` header is appended.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// One pod of the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name, as answers give it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

impl FromStr for Pod {
    type Err = String;

    fn from_str(text: &str) -> Result<Pod, String> {
        let (name, address) = text.split_once('=').ok_or("expected NAME=ADDR:PORT")?;
        let address = address.parse().map_err(|e| format!("`{address}`: {e}"))?;
        Ok(Pod { name: name.to_owned(), address })
    }
}

/// Serves until the process ends. Prints one line once every pod listens.
///
/// # Errors
/// An address cannot be bound, or the record file cannot be opened.
pub async fn run(echo: Echo) -> Result<()> {
    let record = echo.record.as_ref().map(open_record).transpose()?.map(Arc::new);
    let mut pods = JoinSet::new();
    for Pod { name, address } in &echo.pods {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
        let identity = Arc::new(Identity {
            env: echo.env.clone(),
            cluster: echo.cluster.clone(),
            pod: name.clone(),
            svc: echo.svc.clone(),
            record: record.clone(),
        });
        pods.spawn(accept(listener, identity));
    }
    writeln!(std::io::stdout(), "listening").context("report that the pods listen")?;
    pods.join_all().await;
    Ok(())
}

fn open_record(path: &PathBuf) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

/// Who answers.
struct Identity {
    env: String,
    cluster: String,
    pod: String,
    svc: String,
    record: Option<Arc<File>>,
}

async fn accept(listener: TcpListener, identity: Arc<Identity>) {
    loop {
        // A failed accept is the peer's or the descriptor table's trouble: the next may succeed.
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve(stream, identity.clone()));
    }
}

async fn serve(stream: TcpStream, identity: Arc<Identity>) {
    // Small answers must not wait for the acknowledgement of earlier ones; without it only slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let identity = identity.clone();
        async move { Ok::<_, Infallible>(answer(&identity, request).await) }
    });
    // HTTP/1.1 and HTTP/2 with prior knowledge; a broken connection concerns only its client.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

async fn answer(identity: &Identity, request: Request<Incoming>) -> Response<Body> {
    record(identity, request.headers());
    let wish = Wish::of(request.uri(), &identity.cluster);
    if request.headers().contains_key(header::UPGRADE) {
        return upgrade(request);
    }
    if is_grpc(request.headers()) {
        return stream(wish.sleep);
    }
    let (head, body) = request.into_parts();
    // The body is read to its end so that the connection can be used again; its content is unused.
    let _ = body.collect().await;
    tokio::time::sleep(wish.sleep).await;
    let text = describe(identity, &head).to_string();
    let mut response = Response::new(Full::from(text).boxed());
    *response.status_mut() = wish.status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// Appends the delivery id; written before anything else so that it survives a SIGKILL.
fn record(identity: &Identity, headers: &HeaderMap) {
    let id = headers.get(DELIVERY_HEADER).and_then(|id| id.to_str().ok());
    if let (Some(mut file), Some(id)) = (identity.record.as_deref(), id) {
        // One write a line: appends of several processes do not mix.
        let _ = file.write_all(format!("{id}\n").as_bytes());
    }
}

fn describe(identity: &Identity, head: &http::request::Parts) -> serde_json::Value {
    let text = |name: &str| {
        let values: Vec<_> = head
            .headers
            .get_all(name)
            .iter()
            .map(|v| String::from_utf8_lossy(v.as_bytes()))
            .collect();
        values.join(",")
    };
    let headers: serde_json::Map<_, _> =
        head.headers.keys().map(|name| (name.to_string(), text(name.as_str()).into())).collect();
    let host = head.uri.authority().map_or_else(|| text("host"), ToString::to_string);
    serde_json::json!({
        "env": identity.env,
        "cluster": identity.cluster,
        "pod": identity.pod,
        "svc": identity.svc,
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
        "host": host,
        "headers": headers,
    })
}

/// What the query asks for.
struct Wish {
    sleep: Duration,
    status: StatusCode,
}

impl Wish {
    fn of(uri: &Uri, cluster: &str) -> Wish {
        let query = uri.query().unwrap_or_default();
        let value = |wanted: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == wanted).map(|(_, value)| value).next()
        };
        let concerns_us = value("cluster").is_none_or(|id| id == cluster);
        let number = |key| value(key).filter(|_| concerns_us).and_then(|n| n.parse::<u64>().ok());
        let status = number("status").and_then(|n| u16::try_from(n).ok());
        Wish {
            sleep: Duration::from_millis(number("sleep_ms").unwrap_or_default()),
            status: status.and_then(|n| StatusCode::from_u16(n).ok()).unwrap_or(StatusCode::OK),
        }
    }
}

/// Accepts any protocol and sends its bytes back.
fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(connection) = upgraded.await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(connection));
            // Ends when either side does.
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for name in [header::UPGRADE, header::CONNECTION] {
        if let Some(value) = request.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// A server stream: a message, silence, a message, trailers.
fn stream(silence: Duration) -> Response<Body> {
    let (frames, body) = mpsc::channel(1);
    tokio::spawn(async move {
        let message = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(EMPTY_MESSAGE)));
        let ok = HeaderMap::from_iter([(
            header::HeaderName::from_static("grpc-status"),
            header::HeaderValue::from_static("0"),
        )]);
        // A send fails when the client has gone: nobody is left to tell.
        let _ = frames.send(message()).await;
        tokio::time::sleep(silence).await;
        let _ = frames.send(message()).await;
        let _ = frames.send(Ok(Frame::trailers(ok))).await;
    });
    let mut response = Response::new(StreamBody::new(ReceiverStream::new(body)).boxed());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/grpc"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_a_name_and_an_address() {
        let pod = Pod { name: "p1".into(), address: "10.1.5.1:8080".parse().unwrap() };
        assert_eq!("p1=10.1.5.1:8080".parse(), Ok(pod));
        assert_eq!("10.1.5.1:8080".parse::<Pod>(), Err("expected NAME=ADDR:PORT".into()));
        assert!("p1=10.1.5.1".parse::<Pod>().is_err());
    }

    #[test]
    fn a_query_asks_for_delay_and_code_of_one_cluster() {
        let check = |query: &str, millis, status: u16| {
            let wish = Wish::of(&format!("/svc1?{query}").parse().unwrap(), "c1");
            assert_eq!((wish.sleep.as_millis(), wish.status.as_u16()), (millis, status), "{query}");
        };
        check("", 0, 200);
        check("status=500", 0, 500);
        check("sleep_ms=20&status=503", 20, 503);
        check("status=500&cluster=c1", 0, 500);
        check("status=500&sleep_ms=9&cluster=c2", 0, 200);
        check("status=99999&sleep_ms=x", 0, 200);
    }
}
