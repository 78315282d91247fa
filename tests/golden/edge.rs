//! What our listener makes of hostile requests: a real Envoy that runs it, spoken to in bytes.
//!
//! A new Envoy that changes one of these verdicts must fail here (faults.md M26–M28, S12–S14).

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use convoy::{
    model::{ListenerKey, TlsHosts},
    resources::{listener, print},
    settings::Mechanisms,
};
use serde_json::{Value, json};

use crate::{envoy, fixture};

/// Envoy starts within a tenth of a second; the rest is for a loaded machine.
const START: Duration = Duration::from_secs(20);

/// Response headers that tell what a backend would have seen.
const SEEN: [&str; 9] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-original-url",
    "x-rewrite-url",
    "x-envoy-retry-on",
    "x-envoy-max-retries",
    "x-envoy-internal",
    "x-envoy-external-address",
];

/// Our plaintext listener in front of `/admin` (403) and everything else (200).
struct Gateway {
    process: Child,
    address: SocketAddr,
    _files: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    fn start() -> Gateway {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("a free port");
        let mut gateway = fixture::gateway();
        gateway.http_port = address.port();
        let mechanisms = Mechanisms { retries: false, ..Mechanisms::ALL };
        let listener =
            listener::build(ListenerKey::Http, &gateway, &TlsHosts::default(), &mechanisms);
        let mut listener = print::json(&listener.unwrap()).unwrap();
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        manager.as_object_mut().unwrap().remove("rds");
        manager["route_config"] = routes();
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("envoy.json");
        let config = json!({ "static_resources": { "listeners": [listener] } });
        std::fs::write(&path, config.to_string()).unwrap();
        let mut process = Command::new(envoy::binary())
            .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"])
            .arg("--config-path")
            .arg(&path)
            .stderr(Stdio::inherit())
            .spawn()
            .expect("run Envoy (set ENVOY_BIN)");
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "Envoy ended");
            assert!(Instant::now() < deadline, "Envoy does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Gateway { process, address, _files: files }
    }

    /// Everything that comes back until the connection closes, or nothing more comes.
    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut chunk) {
            answer.extend_from_slice(&chunk[..n]);
        }
        String::from_utf8(answer).unwrap()
    }

    /// The status codes of all answers on one connection.
    fn statuses(&self, request: &str) -> Vec<u16> {
        let answer = self.send(request);
        let lines = answer.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 "));
        lines.map(|line| line[..3].parse().unwrap()).collect()
    }
}

fn routes() -> Value {
    let answer = |status: u16| json!({ "status": status });
    let seen = SEEN.map(|name| {
        json!({ "header": { "key": format!("seen-{name}"), "value": format!("%REQ({name})%") } })
    });
    json!({
        "virtual_hosts": [{
            "name": "*",
            "domains": ["*"],
            "routes": [
                { "match": { "path_separated_prefix": "/admin" }, "direct_response": answer(403) },
                { "match": { "prefix": "/" }, "direct_response": answer(200) },
            ],
        }],
        "response_headers_to_add": seen,
    })
}

#[test]
fn fault_s12_paths_that_try_to_pass_a_rule() {
    let gateway = Gateway::start();
    let cases = [
        ("/admin", 403),
        ("/%61dmin", 403),
        ("//admin", 403),
        ("/x/../admin", 403),
        ("/x/%2e%2e/admin", 403),
        ("/./admin", 403),
        (r"/\admin", 403),
        ("/x/..;/admin", 403),
        ("/x%2fadmin", 307),
        ("/x%5cadmin", 307),
        ("/%00admin", 400),
        ("/admin#x", 400),
        // Documented: these reach the backend as they are.
        ("/ADMIN", 200),
        ("/admin;x", 200),
        ("/%2561dmin", 200),
    ];
    for (path, expected) in cases {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.com\r\nConnection: close\r\n\r\n");
        assert_eq!(gateway.statuses(&request), [expected], "{path}");
    }
}

#[test]
fn fault_s13_requests_that_hide_another() {
    let gateway = Gateway::start();
    let post = |headers: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: a.com\r\n{headers}\r\n\r\n{body}")
    };
    let cases = [
        ("content length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), vec![400]),
        ("two content lengths", post("Content-Length: 5\r\nContent-Length: 6", "hello"), vec![400]),
        ("unknown encoding", post("Transfer-Encoding: xchunked", ""), vec![501]),
        ("two encodings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"), vec![501]),
        ("space before the colon", "GET / HTTP/1.1\r\nHost : a.com\r\n\r\n".into(), vec![400]),
        ("no host", "GET / HTTP/1.1\r\n\r\n".into(), vec![400]),
        ("HTTP/1.0", "GET / HTTP/1.0\r\nHost: a.com\r\n\r\n".into(), vec![426]),
        ("a header with an underscore", "GET / HTTP/1.1\r\nHost: a.com\r\nx_a: 1\r\n\r\n".into(), vec![400]),
        (
            "a request in the body of another",
            "GET / HTTP/1.1\r\nHost: a.com\r\nContent-Length: 37\r\n\r\nGET /admin HTTP/1.1\r\nHost: a.com\r\n\r\n\r\n".into(),
            vec![200],
        ),
        // Accepted; watched, so that a change of it is seen.
        ("bare line feeds", "GET / HTTP/1.1\nHost: a.com\n\n".into(), vec![200]),
        ("a folded header", "GET / HTTP/1.1\r\nHost: a.com\r\nx: a\r\n b\r\n\r\n".into(), vec![200]),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a.com\r\nHost: b.com\r\n\r\n".into(), vec![200]),
    ];
    for (case, request, expected) in cases {
        assert_eq!(gateway.statuses(&request), expected, "{case}");
    }
}

#[test]
fn fault_s14_headers_that_clients_must_not_set() {
    let gateway = Gateway::start();
    // The peer is loopback, which Envoy takes for internal unless it is told otherwise.
    let forged = [
        "x-forwarded-host: evil",
        "x-forwarded-proto: https",
        "x-original-url: /admin",
        "x-rewrite-url: /admin",
        "x-envoy-retry-on: 5xx",
        "x-envoy-max-retries: 99",
        "x-envoy-internal: true",
        "x-envoy-external-address: 10.0.0.1",
    ];
    let headers = forged.join("\r\n");
    let answer = gateway.send(&format!("GET / HTTP/1.1\r\nHost: a.com\r\n{headers}\r\n\r\n"));
    let seen: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("seen-")).collect();
    let seen: Vec<_> =
        seen.into_iter().filter(|line| !line.starts_with("x-forwarded-for")).collect();
    assert_eq!(
        seen,
        ["x-forwarded-proto: http", "x-envoy-external-address: 127.0.0.1"],
        "{answer}"
    );
}
