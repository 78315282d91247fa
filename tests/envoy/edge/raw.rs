//! What is written to a socket byte by byte, and HTTP/2 frames that no client would send.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// How long an answer may take to begin, on a busy machine too.
const FIRST_BYTE: Duration = Duration::from_secs(5);

/// After so long a silence nothing more is expected on a connection that stays open.
const SILENCE: Duration = Duration::from_millis(500);

/// What came back on a connection.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// The server ended it.
    is_closed: bool,
}

/// Everything that comes back on a connection of its own, from an address of ours if one is given.
pub(super) async fn talk(from: Option<IpAddr>, to: SocketAddr, bytes: &[u8]) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(from) = from {
        socket.bind((from, 0).into()).unwrap();
    }
    let mut stream = socket.connect(to).await.unwrap();
    // A server that refuses early may close before all is written; what it said is still there.
    let _ = stream.write_all(bytes).await;
    listen(&mut stream).await
}

async fn listen(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut patience = FIRST_BYTE;
    let mut chunk = [0; 4096];
    loop {
        match tokio::time::timeout(patience, stream.read(&mut chunk)).await {
            Ok(Ok(n @ 1..)) => bytes.extend_from_slice(&chunk[..n]),
            Ok(Ok(0) | Err(_)) => return Answer { bytes, is_closed: true },
            Err(_) => return Answer { bytes, is_closed: false },
        }
        patience = SILENCE;
    }
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The body of the first answer; empty if there is none.
    pub(super) fn body(&self) -> String {
        self.text().split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// The status codes of all answers in HTTP/1.1.
    pub(super) fn statuses(&self) -> String {
        let text = self.text();
        let codes = text.split("HTTP/1.1 ").skip(1).map(|rest| rest[..3].to_owned());
        self.or_end(codes.collect())
    }

    /// What a server made of a request in HTTP/2: a status, and how it ended the stream or the
    /// connection.
    pub(super) fn frames(&self) -> String {
        let mut said = Vec::new();
        let mut left = self.bytes.as_slice();
        while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = left {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            match (*kind, payload) {
                // `:status` is the first header, and these are in the static table.
                (HEADERS, [0x88, ..]) => said.push("200".to_owned()),
                (HEADERS, [0x8c, ..]) => said.push("400".to_owned()),
                (HEADERS, [0x8d, ..]) => said.push("404".to_owned()),
                (HEADERS, _) => said.push("another status".to_owned()),
                (RST_STREAM, _) => said.push("reset".to_owned()),
                (GOAWAY, _) => said.push("goaway".to_owned()),
                _ => {}
            }
            left = rest;
        }
        self.or_end(said)
    }

    fn or_end(&self, said: Vec<String>) -> String {
        match (said.is_empty(), self.is_closed) {
            (false, _) => said.join(" "),
            (true, true) => "closed".to_owned(),
            (true, false) => "silence".to_owned(),
        }
    }
}

/// What a client says first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A header as it is written, without any check. Names and values are shorter than 127 bytes.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// The headers of a request without a body.
pub(super) fn request(stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(headers))
}

/// The headers of a request with a body, and the body.
pub(super) fn request_with(stream: u32, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &block(headers));
    [head, frame(0, END_STREAM, stream, body)].concat()
}

/// `CANCEL`.
pub(super) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// Headers that do not end ...
pub(super) fn endless(stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM, stream, &block(headers))
}

/// ... and go on, also with this.
pub(super) fn continuation(stream: u32) -> Vec<u8> {
    let value = "a".repeat(100);
    frame(CONTINUATION, 0, stream, &literal("x", &value).repeat(100))
}
