use super::*;

fn options() -> BootstrapOptions {
    BootstrapOptions {
        gateway: "web".into(),
        node_id: "web-1".into(),
        xds: "convoy.convoy-system:18000".parse().unwrap(),
        tls: None,
        variant: Variant::Delta,
        admin: AdminAddress::Unix("/run/envoy/admin.sock".into()),
        metrics: None,
        max_heap_bytes: DEFAULT_MAX_HEAP_BYTES,
        max_connections: DEFAULT_MAX_CONNECTIONS,
    }
}

/// Renders and reads back, so that a test speaks of values and not of text.
fn read(options: &BootstrapOptions) -> Value {
    serde_saphyr::from_str(&render(options)).expect("the bootstrap is YAML")
}

#[test]
fn every_option_is_filled_in() {
    let read = read(&options());
    assert_eq!(read["node"], json!({ "id": "web-1", "cluster": "web" }));
    assert_eq!(read["dynamic_resources"]["ads_config"]["api_type"], "DELTA_GRPC");
    assert_eq!(read["admin"]["address"], json!({ "pipe": { "path": "/run/envoy/admin.sock" } }));
    let xds = &read["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        [0]["endpoint"]["address"]["socket_address"];
    assert_eq!(*xds, json!({ "address": "convoy.convoy-system", "port_value": 18000 }));
    assert!(!render(&options()).contains("${"));
}

#[test]
fn metrics_are_served_where_they_are_asked_for() {
    assert_eq!(read(&options())["static_resources"]["listeners"], Value::Null);
    let names = |read: &Value, what: &str| {
        let all = read["static_resources"][what].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["name"].to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&read(&options()), "clusters"), r#""convoy""#);
    let at = Some(([0, 0, 0, 0], METRICS_PORT).into());
    let read = read(&BootstrapOptions { metrics: at, ..options() });
    assert_eq!(names(&read, "clusters"), r#""admin" "convoy""#);
    let listener = &read["static_resources"]["listeners"][0];
    let expected = json!({ "socket_address": { "address": "0.0.0.0", "port_value": 19001 } });
    assert_eq!(listener["address"], expected);
    let admin = &read["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0];
    let address = &admin["lb_endpoints"][0]["endpoint"]["address"];
    assert_eq!(*address, read["admin"]["address"]);
    assert!(!render(&options()).contains("${"));
}

#[test]
fn variants_differ_in_one_word() {
    let sotw = BootstrapOptions { variant: Variant::Sotw, ..options() };
    let expected = render(&options()).replace("DELTA_GRPC", "GRPC");
    assert_eq!(render(&sotw), expected);
}

#[test]
fn a_value_never_becomes_structure() {
    let hostile = "a\"\n# ${gateway}\nadmin: {}";
    let read = read(&BootstrapOptions { node_id: hostile.into(), ..options() });
    assert_eq!(read["node"]["id"], hostile);
    assert_eq!(read["node"]["cluster"], "web");
}

#[test]
fn a_silent_control_plane_never_makes_an_envoy_ready() {
    let read = read(&options());
    for config in ["cds_config", "lds_config"] {
        assert_eq!(read["dynamic_resources"][config]["initial_fetch_timeout"], "0s");
    }
}

#[test]
fn xds_addresses() {
    let cases = [
        ("convoy:18000", Some(("convoy", 18000))),
        ("10.0.0.1:1", Some(("10.0.0.1", 1))),
        ("[::1]:18000", Some(("::1", 18000))),
        ("::1:18000", None),
        ("convoy", None),
        ("convoy:0", None),
        (":18000", None),
        ("convoy:http", None),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|(host, port): (&str, u16)| XdsAddress::Host {
            host: host.to_owned(),
            port: port.try_into().unwrap(),
        });
        assert_eq!(text.parse().ok(), expected, "{text}");
    }
}

#[test]
fn xds_on_a_unix_socket_needs_no_name() {
    let at: XdsAddress = "unix:/run/xds.sock".parse().unwrap();
    assert_eq!(at, XdsAddress::Unix("/run/xds.sock".into()));
    assert!("unix:".parse::<XdsAddress>().is_err());
    let read = read(&BootstrapOptions { xds: at, ..options() });
    let cluster = convoy(&read);
    assert_eq!(cluster["type"], "STATIC");
    let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(address["address"], json!({ "pipe": { "path": "/run/xds.sock" } }));
}

/// The cluster of Convoy.
fn convoy(bootstrap: &Value) -> &Value {
    let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap();
    clusters.iter().find(|cluster| cluster["name"] == "convoy").unwrap()
}

fn tls(token: Option<&str>) -> XdsTls {
    XdsTls {
        certificates: "/etc/envoy-xds".into(),
        config_dir: "/etc/envoy".into(),
        server_name: "convoy.convoy-system.svc".into(),
        token: token.map(Into::into),
    }
}

#[test]
fn fault_s01_both_sides_prove_who_they_are() {
    let read = read(&BootstrapOptions { tls: Some(tls(None)), ..options() });
    let socket = &convoy(&read)["transport_socket"]["typed_config"];
    assert_eq!(socket["sni"], "convoy.convoy-system.svc");
    let context = &socket["common_tls_context"];
    assert_eq!(context["tls_params"]["tls_minimum_protocol_version"], "TLSv1_3");
    let path = |secret: &Value| secret["sds_config"]["path_config_source"]["path"].clone();
    let credential = &context["tls_certificate_sds_secret_configs"][0];
    assert_eq!(path(credential), "/etc/envoy/credential.json");
    let authorities = &context["validation_context_sds_secret_config"];
    assert_eq!(path(authorities), "/etc/envoy/authorities.json");
    assert!(!render(&BootstrapOptions { tls: Some(tls(None)), ..options() }).contains("injector"));
    assert_eq!(convoy(&self::read(&options())).get("transport_socket"), None);
}

#[test]
fn a_token_stands_in_for_the_certificate() {
    let token = Some(tls(Some("/var/run/secrets/convoy/token")));
    let read = read(&BootstrapOptions { tls: token, ..options() });
    let convoy = convoy(&read);
    let context = &convoy["transport_socket"]["typed_config"]["common_tls_context"];
    assert_eq!(context.get("tls_certificate_sds_secret_configs"), None);
    assert!(context["validation_context_sds_secret_config"].is_object());
    let filters = convoy["typed_extension_protocol_options"]
        ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["http_filters"]
        .as_array()
        .unwrap();
    let names: Vec<_> = filters.iter().map(|filter| filter["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["envoy.filters.http.credential_injector", "envoy.filters.http.upstream_codec"]
    );
}

#[test]
fn secrets_are_files_that_name_files() {
    let check = |tls: &XdsTls, expect: [(&str, &str); 2]| {
        for ((name, text), (file, part)) in secret_files(tls).into_iter().zip(expect) {
            let read: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(name, file);
            let name = file.strip_suffix(".json").unwrap();
            assert_eq!(read["resources"][0]["name"], name);
            assert!(text.contains(part), "{text}");
        }
    };
    let authorities = "\"exact\": \"convoy.convoy-system.svc\"";
    check(
        &tls(None),
        [("credential.json", "/etc/envoy-xds/tls.key"), ("authorities.json", authorities)],
    );
    check(
        &tls(Some("/run/token")),
        [("credential.json", "\"filename\": \"/run/token\""), ("authorities.json", authorities)],
    );
    let address = XdsTls { server_name: "10.0.0.1".into(), ..tls(None) };
    assert_eq!(address.sni(), None);
    check(&address, [("credential.json", "tls.crt"), ("authorities.json", "IP_ADDRESS")]);
}

#[test]
fn admin_addresses() {
    let unix = |path: &str| Some(AdminAddress::Unix(path.into()));
    let cases = [
        ("/run/a.sock", unix("/run/a.sock")),
        ("unix:/run/a.sock", unix("/run/a.sock")),
        ("127.0.0.1:9901", Some(AdminAddress::Tcp(([127, 0, 0, 1], 9901).into()))),
        ("localhost:9901", None),
        ("a.sock", None),
        ("9901", None),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse().ok(), expected, "{text}");
    }
}
