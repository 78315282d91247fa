//! What a program needs around it to ask an API server for something: a name server, and TLS with a
//! certificate that the kubeconfig vouches for. It answers nothing.

use std::{
    io::Read,
    net::{TcpListener, UdpSocket},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{ServerConfig, ServerConnection, Stream, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use serde_json::json;

/// Known to the name server and to no file.
const NAME: &str = "api.fleet.test";

/// How long a program may take to ask its first question.
const PATIENCE: Duration = Duration::from_secs(20);

/// An API server on loopback. Lives as long as the process.
pub(crate) struct Api {
    port: u16,
    authority: String,
    requests: mpsc::Receiver<String>,
}

impl Api {
    /// Needs port 53, which it has in a network namespace of its own.
    pub(crate) fn start() -> Api {
        let names = UdpSocket::bind("127.0.0.1:53").unwrap();
        thread::spawn(move || answer_names(&names));
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, requests) = mpsc::channel();
        thread::spawn(move || hear(&listener, &Arc::new(config), &heard));
        Api { port, authority: certificate.pem(), requests }
    }

    /// Which names it, and trusts it alone.
    pub(crate) fn kubeconfig(&self) -> String {
        let cluster = json!({
            "server": format!("https://{NAME}:{}", self.port),
            "certificate-authority-data": BASE64_STANDARD.encode(&self.authority),
        });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fleet",
            "contexts": [{"name": "fleet", "context": {"cluster": "fleet", "user": "convoy"}}],
            "clusters": [{"name": "fleet", "cluster": cluster}],
            "users": [{"name": "convoy", "user": {"token": "none"}}],
        });
        config.to_string()
    }

    /// Method and path of the first request.
    pub(crate) fn first_request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }
}

/// Reports the beginning of each request that comes over TLS.
fn hear(listener: &TcpListener, config: &Arc<ServerConfig>, heard: &mpsc::Sender<String>) {
    for socket in listener.incoming() {
        let mut socket = socket.unwrap();
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        let mut buffer = [0; 1024];
        let read = Stream::new(&mut connection, &mut socket).read(&mut buffer);
        let Ok(read) = read.inspect_err(|err| eprintln!("no request: {err}")) else { continue };
        let request = String::from_utf8_lossy(&buffer[..read]);
        let words: Vec<&str> = request.split([' ', '?']).take(2).collect();
        // The test may have heard enough.
        _ = heard.send(words.join(" "));
    }
}

/// Says of every name that it is this machine's, and has no address of the newer family (RFC 1035, 4).
fn answer_names(socket: &UdpSocket) {
    const TYPE_A: [u8; 2] = [0, 1];
    let mut buffer = [0; 512];
    loop {
        let (length, asker) = socket.recv_from(&mut buffer).unwrap();
        let query = &buffer[..length];
        // After the header of twelve bytes comes the name, part by part, to the empty one.
        let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
        let (question, _) = query[12..].split_at(name + 5);
        let is_address = question[name + 1..name + 3] == TYPE_A;
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
        answer.extend(question);
        if is_address {
            // The name of the question; A; IN; a minute; four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        }
        socket.send_to(&answer, asker).unwrap();
    }
}
