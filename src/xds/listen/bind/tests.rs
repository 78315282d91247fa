use std::os::unix::fs::MetadataExt;

use tempfile::TempDir;

use super::*;

#[test]
fn addresses_are_written_as_they_are_read() {
    let check = |text: &str, expect: Option<XdsListen>| {
        let parsed = text.parse::<XdsListen>().ok();
        assert_eq!(parsed, expect, "{text}");
        assert!(parsed.is_none_or(|own| own.to_string() == text), "{text}");
    };
    check("127.0.0.1:18000", Some(XdsListen::Tcp(([127, 0, 0, 1], 18000).into())));
    check("unix:/run/xds.sock", Some(XdsListen::Unix("/run/xds.sock".into())));
    for text in ["unix:", "localhost:1", "18000", "/run/xds.sock", ""] {
        check(text, None);
    }
}

#[tokio::test]
async fn a_socket_file_is_for_its_owner_and_a_stale_one_is_replaced() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("xds.sock");
    let at = XdsListen::Unix(path.clone());
    let first = Listener::bind(&at).await.unwrap();
    assert_eq!(first.address().unwrap(), at);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let taken = Listener::bind(&at).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    // A process that was killed leaves its file.
    drop(first);
    assert!(path.exists());
    Listener::bind(&at).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("precious");
    fs::write(&path, "content").unwrap();
    let refused = Listener::bind(&XdsListen::Unix(path.clone())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(path).unwrap(), "content");
}
