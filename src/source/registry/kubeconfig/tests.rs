use super::*;
use crate::source::registry::{
    fixture::{Pki, kubeconfig, pki},
    intake::MAX_BYTES,
};

const SERVER: &str = "https://10.1.0.1:6443";

fn good() -> String {
    kubeconfig(SERVER, "t0ken")
}

/// The legal kubeconfig with one text replaced.
fn with(old: &str, new: &str) -> String {
    let good = good();
    assert!(good.contains(old), "{old}");
    good.replace(old, new)
}

fn with_certificate(chain: &str, key: &str) -> String {
    with("token: t0ken", &format!("client-certificate-data: {chain}\n    client-key-data: {key}"))
}

fn refusal(document: &[u8]) -> String {
    match sanitise(document) {
        Ok(credentials) => panic!("accepted: {credentials:?}"),
        Err(refusal) => refusal.to_string(),
    }
}

/// A field added beside `server` is refused with this message.
const CLUSTER_FIELDS: [(&str, &str); 6] = [
    (
        "certificate-authority: /etc/passwd",
        "certificate-authority: names a file; give certificate-authority-data",
    ),
    ("insecure-skip-tls-verify: true", "insecure-skip-tls-verify: the server must be verified"),
    ("insecure-skip-tls-verify: 'true'", "insecure-skip-tls-verify: the server must be verified"),
    ("proxy-url: http://10.0.0.1:3128", "proxy-url: proxies are not used"),
    ("proxy-url: socks5://10.0.0.1", "proxy-url: proxies are not used"),
    ("api-version: v1", "api-version: is not known here"),
];

/// A field added beside `token` is refused with this message.
const USER_FIELDS: [(&str, &str); 13] = [
    (
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh}",
        "exec: would run a program; give a token or a client certificate",
    ),
    ("exec: {}", "exec: would run a program; give a token or a client certificate"),
    (
        "auth-provider: {name: gcp, config: {cmd-path: /bin/sh}}",
        "auth-provider: would run a plugin; give a token or a client certificate",
    ),
    ("tokenFile: /var/run/secrets/token", "tokenFile: names a file; give token"),
    (
        "client-certificate: /etc/passwd",
        "client-certificate: names a file; give client-certificate-data",
    ),
    ("client-key: ../../key", "client-key: names a file; give client-key-data"),
    ("username: admin", "username: passwords are not used; give a token or a client certificate"),
    ("password: hunter2", "password: passwords are not used; give a token or a client certificate"),
    ("as: system:admin", "as: nobody is impersonated"),
    ("as-uid: '0'", "as-uid: nobody is impersonated"),
    ("as-groups: ['system:masters']", "as-groups: nobody is impersonated"),
    ("as-user-extra: {a: [b]}", "as-user-extra: nobody is impersonated"),
    ("token-file: /x", "token-file: is not known here"),
];

#[test]
fn fault_s05_hostile_fields_are_refused_by_name() {
    for (field, expect) in CLUSTER_FIELDS {
        let text = with("  cluster:\n    server", &format!("  cluster:\n    {field}\n    server"));
        assert_eq!(refusal(text.as_bytes()), format!("clusters[0].cluster.{expect}"), "{field}");
    }
    for (field, expect) in USER_FIELDS {
        let text = with("    token:", &format!("    {field}\n    token:"));
        assert_eq!(refusal(text.as_bytes()), format!("users[0].user.{expect}"), "{field}");
    }
}

/// It would suffice that nothing of an unused entry is kept; but whoever sends one is mistaken.
#[test]
fn fault_s05_hostile_entries_are_refused_where_no_context_uses_them() {
    let unused = "- name: unused\n  user:\n    exec: {command: /bin/sh}\n";
    let text = with("contexts:\n", &format!("{unused}contexts:\n"));
    let expect = "users[1].user.exec: would run a program; give a token or a client certificate";
    assert_eq!(refusal(text.as_bytes()), expect);
}

#[test]
fn fault_s05_servers_that_are_no_api_server_are_refused() {
    let cases = [
        ("http://10.1.0.1:6443", "must be an https URL"),
        ("10.1.0.1:6443", "must be an https URL"),
        ("file:///etc/passwd", "is not a URL"),
        ("unix:///var/run/docker.sock", "is not a URL"),
        ("HTTPS+UNIX://x", "must be an https URL"),
        ("https://", "is not a URL"),
        ("https://user:pass@10.1.0.1", "must have no user, query or fragment"),
        ("https://10.1.0.1@evil.example", "must have no user, query or fragment"),
        ("https://10.1.0.1/?next=x", "must have no user, query or fragment"),
        ("'https://10.1.0.1/#x'", "must have no user, query or fragment"),
        ("https://10.1.0.1:0", "has no legal port"),
        ("https://10.1.0.1:99999", "has no legal port"),
        ("'https://10.1.0.1:'", "has no legal port"),
        ("https://169.254.169.254", "has an address that no API server has"),
        ("https://0.0.0.0", "has an address that no API server has"),
        ("https://255.255.255.255", "has an address that no API server has"),
        ("https://224.0.0.1", "has an address that no API server has"),
        ("https://[fe80::1]:6443", "has an address that no API server has"),
        ("https://[::ffff:169.254.169.254]", "has an address that no API server has"),
        ("https://[::]", "has an address that no API server has"),
        // What some resolvers take for 169.254.169.254.
        ("https://2852039166", "has no legal host"),
        ("https://-x.example", "has no legal host"),
        ("[https://10.1.0.1]", "must be a text"),
        ("''", "is missing"),
    ];
    for (server, expect) in cases {
        let text = with(SERVER, server);
        let expect = format!("clusters[0].cluster.server: {expect}");
        assert_eq!(refusal(text.as_bytes()), expect, "{server}");
    }
}

#[test]
fn fault_s05_documents_that_are_ambiguous_are_refused() {
    let second = "- name: second\n  context: {cluster: member, user: convoy}\n";
    let cases = [
        (
            with("current-context: only\n", second),
            "current-context: is missing, and there are several contexts",
        ),
        (
            with("current-context: only", "current-context: other"),
            "current-context: names an entry that does not exist",
        ),
        (
            with("    user: convoy\n", "    user: other\n"),
            "contexts[0].context.user: names an entry that does not exist",
        ),
        (with("    cluster: member\n", ""), "contexts[0].context.cluster: is missing"),
        (
            with("contexts:\n", "contexts:\n- name: only\n  context: {cluster: x, user: y}\n"),
            "contexts[1].name: is the name of two entries",
        ),
        (
            with("clusters:\n", "clusters:\n- name: member\n  cluster: {server: https://a}\n"),
            "clusters[1].name: is the name of two entries",
        ),
        (with("- name: convoy\n", "- "), "users[0].name: is missing"),
        (
            with("    token: t0ken", "    token: t0ken\n    token: other"),
            "line 12: is not legal YAML",
        ),
        (format!("{}---\n{}", good(), good()), "line 19: is not legal YAML"),
        (with("kind: Config", "kind: Secret"), "kind: must be `Config`"),
        (with("apiVersion: v1", "apiVersion: v2"), "apiVersion: must be `v1`"),
        (with("kind: Config", "kind: Config\nplugins: []\nhooks: [x]"), "hooks: is not known here"),
        ("apiVersion: v1\nkind: Config\n".to_owned(), "contexts: is empty"),
        ("clusters: {}\nusers: x".to_owned(), "clusters: must be a list"),
        ("[]".to_owned(), "must be a mapping"),
        (String::new(), "must be a mapping"),
        ("a: [".to_owned(), "line 1: is not legal YAML"),
    ];
    for (text, expect) in &cases {
        assert_eq!(refusal(text.as_bytes()), *expect, "{text}");
    }
}

#[test]
fn fault_s05_documents_that_would_explode_are_refused() {
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, idx| {
        let last = idx - 1;
        text + &format!("a{idx}: &a{idx} [*a{last}, *a{last}, *a{last}]\n")
    });
    let nested = "[".repeat(50_000);
    for text in [bomb, nested] {
        let refusal = refusal(text.as_bytes());
        assert!(refusal.ends_with("is not legal YAML"), "{refusal}");
    }
    let long = vec![b' '; MAX_BYTES + 1];
    assert_eq!(refusal(&long), format!("has {} bytes, more than {MAX_BYTES}", long.len()));
    assert_eq!(refusal(&[0xff, 0xfe]), "is not UTF-8");
}

#[test]
fn fault_s05_credentials_that_are_incomplete_or_illegal_are_refused() {
    let Pki { ca, chain, key, other_key } = pki();
    let user = "users[0].user";
    let authority = "clusters[0].cluster.certificate-authority-data";
    let cases = [
        (with(ca, "''"), format!("{authority}: is missing")),
        (with(ca, "'%%%'"), format!("{authority}: is not base64")),
        (with(ca, "aGVsbG8="), format!("{authority}: holds no certificate")),
        (with(ca, key), format!("{authority}: holds something that is not a certificate")),
        (
            with("    server:", "    tls-server-name: 'a b'\n    server:"),
            "clusters[0].cluster.tls-server-name: is no legal name of a server".to_owned(),
        ),
        (
            with("    token: t0ken", "    extensions: []"),
            format!("{user}.token: is missing, and so is a client certificate"),
        ),
        (with("token: t0ken", "token: [a]"), format!("{user}.token: must be a text")),
        (
            with("token: t0ken", "token: \"a\\r\\nHost: evil\""),
            format!("{user}.token: is no bearer token"),
        ),
        (
            with("token: t0ken", &format!("token: t0ken\n    client-key-data: {key}")),
            format!("{user}.token: is given beside a client certificate; which is it?"),
        ),
        (with_certificate(chain, "''"), format!("{user}.client-key-data: is missing")),
        (with_certificate("''", key), format!("{user}.client-certificate-data: is missing")),
        (
            with_certificate(chain, other_key),
            format!("{user}.client-key-data: does not belong to the client certificate"),
        ),
        (
            with_certificate(chain, chain),
            format!("{user}.client-key-data: is no private key that can be used"),
        ),
    ];
    for (text, expect) in cases {
        let refusal = refusal(text.as_bytes());
        assert_eq!(refusal, expect, "{text}");
    }
}

#[tokio::test]
async fn fault_s05_a_client_of_accepted_credentials_needs_no_file_and_no_process() {
    let Pki { chain, key, .. } = pki();
    let harmless = "    tls-server-name: kubernetes\n    insecure-skip-tls-verify: false
    extensions: [{name: minikube, extension: {exec: /bin/sh}}]\n    server:";
    let second = "contexts:\n- name: second\n  context: {cluster: x, user: y}\n";
    let cases = [
        good(),
        with_certificate(chain, key),
        with("    server:", harmless),
        with("contexts:\n", second),
        with("current-context: only\n", ""),
        with(SERVER, "https://rancher.example/k8s/clusters/c-1"),
        with(SERVER, "https://[fd00::1]:6443"),
    ];
    for text in cases {
        let config =
            sanitise(text.as_bytes()).unwrap_or_else(|err| panic!("{err}")).client_config();
        let kube::Config { root_cert, root_cert_file, accept_invalid_certs, proxy_url, .. } =
            &config;
        assert!(root_cert.is_some() && root_cert_file.is_none(), "{text}");
        assert!(!accept_invalid_certs && proxy_url.is_none(), "{text}");
        let auth = &config.auth_info;
        let files = [&auth.token_file, &auth.client_certificate, &auth.client_key];
        assert_eq!(files, [&None; 3], "{text}");
        assert!(auth.exec.is_none() && auth.auth_provider.is_none(), "{text}");
        assert!(auth.impersonate.is_none() && auth.impersonate_groups.is_none(), "{text}");
        kube::Client::try_from(config).unwrap();
    }
}

#[test]
fn fault_s06_credentials_are_not_printed() {
    let Pki { chain, key, .. } = pki();
    for text in [kubeconfig(SERVER, "c4nary"), with_certificate(chain, key)] {
        let credentials = sanitise(text.as_bytes()).unwrap_or_else(|err| panic!("{err}"));
        let printed = format!("{credentials:?}");
        let kind = if text.contains("c4nary") { "token" } else { "client certificate" };
        assert_eq!(printed, format!("Credentials({SERVER}/, {kind}, redacted)"));
    }
}
