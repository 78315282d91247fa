//! Row 193: what takes long is not cut.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    bed::{
        Bed,
        client::{Request, get},
        ingress::ingress,
        workload::workload,
    },
    rows::{BOTH, rows},
};

rows! { BOTH; row_193_slow_and_silent_exchanges_survive }

/// The row's silence.
const SILENCE: Duration = Duration::from_secs(60);

async fn row_193_slow_and_silent_exchanges_survive(bed: &mut Bed) {
    bed.deploy_each(&["web"]);
    bed.deploy(workload("c1", "calls", 1).port("grpc", 80));
    bed.ingress(&ingress("web").prefix("/web", "web").prefix("/calls", "calls"));
    bed.start_guide().await;
    bed.check(&[(get("/web"), "web")]).await;
    let slow = get("/web?sleep_ms=30000").patience(SILENCE);
    tokio::join!(
        answers(bed, slow.clone().delivery("a slow GET")),
        answers(bed, slow.post("a slow POST")),
        streams_through_silence(bed),
        upgraded_connection_idles(bed),
    );
    let once = ["a slow GET", "a slow POST"].map(|id| (id.to_owned(), 1));
    assert_eq!(bed.deliveries(), once.into());
}

async fn answers(bed: &Bed, request: Request) {
    let reply = bed.http().send(&request).await.unwrap();
    assert_eq!(reply.echo().unwrap().env, "web");
}

/// A message, a minute of silence, a message, the status.
async fn streams_through_silence(bed: &Bed) {
    let path = format!("/calls?sleep_ms={}", SILENCE.as_millis());
    let (data, trailers) = bed.http().call(&get(&path)).await.unwrap();
    assert_eq!(data.as_ref(), [0; 10], "two empty messages");
    assert_eq!(trailers["grpc-status"], "0");
}

async fn upgraded_connection_idles(bed: &Bed) {
    let request = get("/web").header("connection", "upgrade").header("upgrade", "websocket");
    let connection = bed.http().connect().await.unwrap();
    let mut socket = connection.upgrade(&request).await.unwrap();
    // The silence is what the row is about.
    tokio::time::sleep(SILENCE).await;
    let mut answer = [0; 5];
    socket.write_all(b"hello").await.unwrap();
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}
