use super::*;

fn options() -> BootstrapOptions {
    BootstrapOptions {
        gateway: "web".into(),
        node_id: "web-1".into(),
        xds: "convoy.convoy-system:18000".parse().unwrap(),
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
        let parsed: Option<XdsAddress> = text.parse().ok();
        let parsed = parsed.as_ref().map(|at| (at.host.as_str(), at.port.get()));
        assert_eq!(parsed, expected, "{text}");
    }
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
