//! `convoy drain`: sends the connections of an Envoy that stops elsewhere.
//!
//! Owns when Envoy is asked and how often. In a Pod it is a container beside Envoy: when both are told
//! to stop, Envoy still serves for the time that its `preStop` gives it, and this makes use of it.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

use crate::{bootstrap::AdminAddress, cli::serve::StopSignals};

/// What Envoy is asked, in this order. From the first on every answer ends its connection, whatever
/// `--drain-strategy` says; with the second listeners stay open for `--drain-time-s`, and it does not
/// exit by itself.
const REQUESTS: [&str; 2] = ["/healthcheck/fail", "/drain_listeners?graceful&skip_exit"];

/// An Envoy that answers at all answers at once.
const ANSWER: Duration = Duration::from_secs(1);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// An Envoy that has just begun makes its socket within a second. One that has not answered by now has
/// no connections, and its Pod should not wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Wait for SIGTERM, then have an Envoy send its connections elsewhere
///
/// Clients that keep connections are told to make new ones, with `connection: close` or GOAWAY, and new
/// connections are still taken. It runs beside an Envoy that goes on serving for a while when it is to
/// stop, and ends once the Envoy has been asked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The Envoy's own admin interface
    #[arg(long, env = "CONVOY_ADMIN", value_name = "ADDR|PATH")]
    admin: AdminAddress,
}

/// Ends successfully also if Envoy does not answer: a Pod that stops must not look as if it crashed.
pub(super) async fn run(args: &Args) -> Result<ExitCode> {
    let mut stop = StopSignals::new()?;
    eprintln!("convoy: waiting for SIGTERM");
    stop.received().await;
    for path in REQUESTS {
        if let Err(err) = persistently(&args.admin, path).await {
            eprintln!("convoy: POST {path}: {err:#}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn persistently(admin: &AdminAddress, path: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let outcome = timeout(ANSWER, post(admin, path)).await.context("no answer in time");
        match outcome.and_then(|answer| answer) {
            Err(_) if Instant::now() < deadline => sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}

async fn post(admin: &AdminAddress, path: &str) -> Result<()> {
    match admin {
        AdminAddress::Unix(socket) => {
            let stream = UnixStream::connect(socket).await;
            send(stream.with_context(|| format!("connect to {}", socket.display()))?, path).await
        }
        AdminAddress::Tcp(address) => {
            let stream = TcpStream::connect(address).await;
            send(stream.with_context(|| format!("connect to {address}"))?, path).await
        }
    }
}

async fn send<S>(stream: S, path: &str) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::post(path).header("host", "envoy").body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await;
    connection.abort();
    match answer?.status() {
        status if status.is_success() => Ok(()),
        status => bail!("the answer is {status}"),
    }
}
