use super::*;
use crate::{
    api::{
        Common, IngressLocal, IngressSection, Instance, Monitor, MseIngressConfigSpec, Sampling,
        Tracing,
    },
    gateway::knobs::{HTTP_PORT, HTTPS_PORT, OTLP_ENDPOINT},
};

const REMOTE_CLUSTERS: &str = "mse.alibabacloud.com/remote-clusters";

fn gateway(annotations: &[(&str, &str)], spec: MseIngressConfigSpec) -> store::Gateway {
    store::Gateway {
        name: ObjectName::cluster_scoped("gw"),
        uid: "".into(),
        generation: 0,
        annotations: annotations.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        spec: GatewaySpec::Mse(spec),
    }
}

fn run(object: &store::Gateway) -> (Option<Gateway>, Vec<String>) {
    let (gateway, diags) = parse(object, &GatewayDefaults::default());
    (gateway, diags.iter().map(|diag| diag.to_string()).collect())
}

fn local(class: Option<&str>, namespace: Option<&str>) -> MseIngressConfigSpec {
    let local = IngressLocal {
        ingress_class: class.map(Into::into),
        watch_namespace: namespace.map(Into::into),
    };
    let ingress = Some(IngressSection { local: Some(local) });
    MseIngressConfigSpec { ingress, ..MseIngressConfigSpec::default() }
}

#[test]
fn members_are_trimmed_and_keep_their_order() {
    for (text, expect) in [
        ("c1,c2", "c1 c2"),
        (" c2 , c1 ,", "c2 c1"),
        ("c1,,c2,c1", "c1 c2"),
        ("", ""),
        ("c1,c/2", "c1"),
        ("${cluster1},c2", "c2"),
    ] {
        let object = gateway(&[(REMOTE_CLUSTERS, text)], MseIngressConfigSpec::default());
        let (gateway, diags) = run(&object);
        let members: Vec<_> =
            gateway.unwrap().members.iter().map(|member| member.to_string()).collect();
        assert_eq!(members.join(" "), expect, "{text}");
        assert_eq!(diags.len(), usize::from(text.contains(['/', '$'])), "{text}: {diags:?}");
    }
    let (gateway, _) = run(&gateway(&[], MseIngressConfigSpec::default()));
    assert!(gateway.unwrap().members.is_empty(), "no annotation, no member");
}

#[test]
fn ports_come_from_the_defaults_unless_annotated() {
    for (annotations, expect) in [
        (&[][..], Some((80, 443, 19003))),
        (&[(HTTP_PORT, "8080"), (HTTPS_PORT, " 8443")], Some((8080, 8443, 19003))),
        (&[(HTTP_PORT, "0"), (HTTPS_PORT, "65536")], Some((80, 443, 19003))),
        (&[(READY_PORT, "9000")], Some((80, 443, 9000))),
        (&[(HTTP_PORT, "443")], None),
        (&[(READY_PORT, "80")], None),
        (&[(READY_PORT, "443")], None),
    ] {
        let (gateway, diags) = run(&gateway(annotations, MseIngressConfigSpec::default()));
        let port = |own: &Gateway, key| own.listeners[&key].port.public;
        let ports = gateway.map(|own| {
            (port(&own, ListenerKey::HTTP), port(&own, ListenerKey::HTTPS), own.ready_port)
        });
        assert_eq!(ports, expect, "{annotations:?}: {diags:?}");
    }
    let (_, diags) = run(&gateway(&[(HTTP_PORT, "x")], MseIngressConfigSpec::default()));
    let expect = "error: MseIngressConfig gw: metadata.annotations[convoy.dev/http-port]: \
                  InvalidAnnotation: \"x\" is not a port; 80 is used";
    assert_eq!(diags, [expect]);
}

#[test]
fn ports_below_1024_are_bound_where_no_privilege_is_needed() {
    let defaults = GatewayDefaults { unprivileged_ports: true, ..GatewayDefaults::default() };
    for (annotations, expect) in [
        (&[][..], Some("80>8080 443>8443 19003")),
        (&[(HTTP_PORT, "1023"), (HTTPS_PORT, "1024")], Some("1023>9023 1024>1024 19003")),
        (&[(READY_PORT, "81")], Some("80>8080 443>8443 8081")),
        // Both would be bound to 8080.
        (&[(HTTPS_PORT, "8080")], None),
    ] {
        let (gateway, diags) =
            parse(&gateway(annotations, MseIngressConfigSpec::default()), &defaults);
        let ports = gateway.map(|own| {
            let ports = own.listeners.values().map(|own| own.port);
            let ports: String =
                ports.map(|Port { public, bound }| format!("{public}>{bound} ")).collect();
            format!("{ports}{}", own.ready_port)
        });
        assert_eq!(ports.as_deref(), expect, "{annotations:?}: {diags:?}");
    }
}

#[test]
fn the_class_field_has_four_meanings() {
    for (class, expect) in [
        (None, ClassRule::None),
        (Some(""), ClassRule::Every),
        (Some("nginx"), ClassRule::NginxOrNone),
        (Some("mse"), ClassRule::Exactly("mse".into())),
    ] {
        let (gateway, _) = run(&gateway(&[], local(class, None)));
        assert_eq!(gateway.unwrap().class_rule, expect, "{class:?}");
    }
}

#[test]
fn one_namespace_or_all_are_watched() {
    for (namespace, expect) in [
        (None, Some(None)),
        (Some(""), Some(None)),
        (Some("a"), Some(Some("a".into()))),
        (Some("a,b"), None),
    ] {
        let (gateway, _) = run(&gateway(&[], local(None, namespace)));
        assert_eq!(gateway.map(|gateway| gateway.watch_namespace), expect, "{namespace:?}");
    }
}

fn instance(spec: Option<&str>, replicas: Option<i64>) -> MseIngressConfigSpec {
    let instance = Some(Instance { spec: spec.map(Into::into), replicas });
    MseIngressConfigSpec { common: Some(Common { instance }), ..MseIngressConfigSpec::default() }
}

fn tracing(x_trace: Option<&str>, open_telemetry: Option<&str>) -> MseIngressConfigSpec {
    let sampling = |rate: &str| Sampling { sample_rate: Some(rate.into()) };
    let tracing =
        Tracing { x_trace: x_trace.map(sampling), open_telemetry: open_telemetry.map(sampling) };
    let monitor = Some(Monitor { logging: None, tracing: Some(tracing) });
    MseIngressConfigSpec { monitor, ..MseIngressConfigSpec::default() }
}

#[test]
fn the_access_log_is_on_where_the_section_is_present() {
    for (logging, expect) in [("{}", false), (r#"{"sls": {}}"#, true)] {
        let spec = format!(r#"{{"monitor": {{"logging": {logging}}}}}"#);
        let (gateway, diags) = run(&gateway(&[], serde_json::from_str(&spec).unwrap()));
        assert_eq!((gateway.unwrap().access_log, diags), (expect, Vec::new()), "{logging}");
    }
    let spec = r#"{"monitor": {"logging": {"sls": {"reuseProject": "p"}}}}"#;
    let (gateway, _) = run(&gateway(&[], serde_json::from_str(spec).unwrap()));
    assert!(gateway.unwrap().access_log);
}

#[test]
fn both_tracers_are_one_with_rates_of_their_own() {
    let to = (OTLP_ENDPOINT, "otel.example:4317");
    for (x_trace, open_telemetry, expect) in [
        (None, Some("100"), Some(1_000_000)),
        (None, Some("0.01"), Some(100)),
        (None, Some("0"), None),
        (Some("5"), None, Some(50_000)),
        (None, None, None),
    ] {
        let (gateway, diags) = run(&gateway(&[to], tracing(x_trace, open_telemetry)));
        let tracing = gateway.unwrap().tracing;
        let rate = tracing.map(|tracing| (tracing.collector.to_string(), tracing.per_million));
        assert_eq!(rate, expect.map(|rate| (to.1.to_owned(), rate)), "{open_telemetry:?}");
        assert!(diags.is_empty(), "{diags:?}");
    }
    for (spec, expect) in
        [(r#"{"openTelemetry": {}}"#, Some(1_000_000)), (r#"{"xTrace": {}}"#, None)]
    {
        let spec = format!(r#"{{"monitor": {{"tracing": {spec}}}}}"#);
        let (gateway, _) = run(&gateway(&[to], serde_json::from_str(&spec).unwrap()));
        assert_eq!(gateway.unwrap().tracing.map(|own| own.per_million), expect, "{spec}");
    }
}

#[test]
fn tracing_without_a_collector_says_what_to_set() {
    let (parsed, diags) = run(&gateway(&[], tracing(None, Some("100"))));
    assert_eq!(parsed.unwrap().tracing, None);
    let [diag] = &diags[..] else { panic!("{diags:?}") };
    for part in ["spec.monitor.tracing.openTelemetry: CollectorMissing", "convoy.dev/otlp-endpoint"]
    {
        assert!(diag.contains(part), "{diag}");
    }
    let named = [(OTLP_ENDPOINT, "http://otel:4317")];
    let (_, diags) = run(&gateway(&named, MseIngressConfigSpec::default()));
    assert!(diags[0].contains("is not HOST:PORT; none is used"), "{diags:?}");
}

#[test]
fn an_invalid_spec_is_no_gateway() {
    let named = |name: &str| MseIngressConfigSpec { name: Some(name.into()), ..Default::default() };
    for (spec, expect) in [
        (instance(Some("2c4g"), Some(3)), ""),
        (instance(None, Some(0)), ""),
        (instance(None, Some(30)), ""),
        (instance(None, Some(31)), "spec.common.instance.replicas"),
        (instance(None, Some(-1)), "spec.common.instance.replicas"),
        (instance(Some("3c6g"), None), "spec.common.instance.spec"),
        (tracing(Some("100"), None), ""),
        (tracing(None, Some("0")), ""),
        (tracing(Some("1"), Some("1")), "spec.monitor.tracing"),
        (tracing(Some("101"), None), "spec.monitor.tracing.xTrace.sampleRate"),
        (tracing(None, Some("-1")), "spec.monitor.tracing.openTelemetry.sampleRate"),
        (tracing(None, Some("NaN")), "spec.monitor.tracing.openTelemetry.sampleRate"),
        (named("mse-ingress"), ""),
        (named(""), "spec.name"),
    ] {
        let object = gateway(&[(OTLP_ENDPOINT, "otel:4317")], spec.clone());
        let (gateway, diags) = parse(&object, &GatewayDefaults::default());
        let fields: Vec<_> = diags.iter().map(|diag| diag.field.as_str()).collect();
        assert_eq!(fields.join(" "), expect, "{spec:?}");
        assert_eq!(gateway.is_some(), expect.is_empty(), "{spec:?}");
        assert!(diags.iter().all(|diag| diag.reason == Reason::InvalidGateway), "{diags:?}");
    }
}

#[test]
fn fault_s02_an_account_is_named_with_its_namespace() {
    for (text, expect, findings) in [
        ("envoys/web", Some("envoys/web"), 0),
        (" envoys/web ", Some("envoys/web"), 0),
        ("web", None, 1),
        ("/web", None, 1),
        ("envoys/", None, 1),
        ("a/b/c", None, 1),
        ("", None, 1),
    ] {
        let object = gateway(&[(ENVOY_ACCOUNT, text)], MseIngressConfigSpec::default());
        let account = envoy_account(&object.annotations).map(|own| own.to_string());
        assert_eq!(account.as_deref(), expect, "{text}");
        let (gateway, diags) = run(&object);
        assert!(gateway.is_some(), "{text}: the gateway is served");
        assert_eq!(diags.len(), findings, "{text}: {diags:?}");
    }
}

fn alb(spec: &str) -> store::Gateway {
    let spec = GatewaySpec::Alb(serde_json::from_str(spec).unwrap());
    store::Gateway { spec, ..gateway(&[], MseIngressConfigSpec::default()) }
}

#[test]
fn an_alb_has_the_listeners_that_it_declares() {
    let defaults = GatewayDefaults { unprivileged_ports: true, ..GatewayDefaults::default() };
    for (spec, expect) in [
        (
            r#"{"listeners": [{"port": 8001, "protocol": "HTTP"}]}"#,
            "http-8001>8001 idle 15 try 60 h2 gzip",
        ),
        (r#"{"listeners": [{}]}"#, "http-80>8080 idle 15 try 60 h2 gzip"),
        (
            r#"{"listeners": [{"port": 443, "protocol": "HTTPS", "idleTimeout": 60, "requestTimeout": 5,
                "http2Enabled": false, "gzipEnabled": false}]}"#,
            "https-443>8443 idle 60 try 5",
        ),
        // Both would be bound to 8080.
        (
            r#"{"listeners": [{"port": 8080}, {"port": 80}]}"#,
            "http-80>16080 idle 15 try 60 h2 gzip, http-8080>8080 idle 15 try 60 h2 gzip",
        ),
        (
            r#"{"listeners": [{"aclConfig": {"aclType": "White", "aclEntries": ["10.0.0.0/8"]}},
                {"port": 81, "aclConfig": {"aclType": "Black", "aclEntries": ["10.0.0.1", "fd00::/8"]}}]}"#,
            "http-80>8080 idle 15 try 60 h2 gzip only 1, http-81>8081 idle 15 try 60 h2 gzip except 2",
        ),
    ] {
        let (gateway, diags) = parse(&alb(spec), &defaults);
        let shown = gateway.map(|own| own.listeners.iter().map(shown).collect::<Vec<_>>());
        assert_eq!(shown.unwrap_or_default().join(", "), expect, "{spec}: {diags:?}");
        assert_eq!(diags, [], "{spec}");
    }
}

fn shown((key, own): (&ListenerKey, &Listener)) -> String {
    use crate::model::{Access, Edge, name};
    let Edge { idle_timeout, request_timeout, http2, gzip, access, .. } = &own.edge;
    let access = match access {
        Access::Open => String::new(),
        Access::Only(ranges) => format!(" only {}", ranges.len()),
        Access::Except(ranges) => format!(" except {}", ranges.len()),
    };
    format!(
        "{}>{} idle {} try {}{}{}{access}",
        name::listener(*key),
        own.port.bound,
        idle_timeout.as_secs(),
        request_timeout.unwrap_or_default().as_secs(),
        if *http2 { " h2" } else { "" },
        if *gzip { " gzip" } else { "" },
    )
}

#[test]
fn an_alb_that_cannot_be_served_as_it_asks_is_no_gateway() {
    for (listeners, expect) in [
        ("[]", "spec.listeners"),
        (r#"[{"port": 0}]"#, "spec.listeners[0].port"),
        (r#"[{"port": 65536}]"#, "spec.listeners[0].port"),
        (r#"[{}, {"port": 80}]"#, "spec.listeners[1].port"),
        (r#"[{"protocol": "TCP"}]"#, "spec.listeners[0].protocol"),
        (r#"[{"protocol": "HTTPS", "caEnabled": true}]"#, "spec.listeners[0].caEnabled"),
        (r#"[{"idleTimeout": 0}]"#, "spec.listeners[0].idleTimeout"),
        (r#"[{"requestTimeout": 86401}]"#, "spec.listeners[0].requestTimeout"),
        (
            r#"[{"aclConfig": {"aclType": "White", "aclIds": ["acl-1"], "aclEntries": ["10.0.0.0/8"]}}]"#,
            "spec.listeners[0].aclConfig.aclIds",
        ),
        (r#"[{"aclConfig": {"aclType": "White"}}]"#, "spec.listeners[0].aclConfig.aclEntries"),
        (
            r#"[{"aclConfig": {"aclType": "Black", "aclEntries": ["10.0.0.0/33", "10.0.0.0/8"]}}]"#,
            "spec.listeners[0].aclConfig.aclEntries",
        ),
        (
            r#"[{"aclConfig": {"aclEntries": ["10.0.0.0/8"]}}]"#,
            "spec.listeners[0].aclConfig.aclType",
        ),
    ] {
        let object = alb(&format!(r#"{{"listeners": {listeners}}}"#));
        let (gateway, diags) = parse(&object, &GatewayDefaults::default());
        let fields: Vec<_> = diags.iter().map(|diag| diag.field.as_str()).collect();
        assert_eq!(fields.join(" "), expect, "{listeners}: {diags:?}");
        assert_eq!(gateway, None, "{listeners}");
    }
}

#[test]
fn an_alb_says_what_has_no_effect() {
    let object = alb(r#"{"listeners": [{"port": 80}, {"port": 443, "protocol": "QUIC"},
            {"port": 444, "protocol": "HTTPS", "certificates": [{"CertificateId": "1", "IsDefault": true}]}]}"#);
    let (gateway, diags) = parse(&object, &GatewayDefaults::default());
    let listeners: Vec<_> = gateway.unwrap().listeners.into_keys().collect();
    assert_eq!(listeners.len(), 2, "{listeners:?}");
    let fields: Vec<_> = diags.iter().map(|diag| diag.field.as_str()).collect();
    assert_eq!(fields, ["spec.listeners[1].protocol", "spec.listeners[2].certificates"]);
    assert!(diags.iter().all(|diag| diag.reason == Reason::UnsupportedField), "{diags:?}");
}

#[test]
fn an_alb_says_in_annotations_how_many_envoys_it_has_and_how_large() {
    for (annotations, expect, findings) in [
        (&[][..], (Size::DEFAULT, None), 0),
        (&[("convoy.dev/replicas", " 2 "), ("convoy.dev/size", "2c4g")], (Size::C2G4, Some(2)), 0),
        (&[("convoy.dev/replicas", "0")], (Size::DEFAULT, Some(0)), 0),
        (&[("convoy.dev/replicas", "31"), ("convoy.dev/size", "2C4G")], (Size::DEFAULT, None), 2),
        (&[("convoy.dev/replicas", "-1")], (Size::DEFAULT, None), 1),
    ] {
        let object = gateway(annotations, MseIngressConfigSpec::default());
        let object =
            store::Gateway { annotations: object.annotations, ..alb("{\"listeners\": [{}]}") };
        let (parsed, diags) = run(&object);
        assert_eq!(diags.len(), findings, "{annotations:?}: {diags:?}");
        let instance = crate::gateway::Instance::new(&object, &parsed.unwrap());
        assert_eq!((instance.size, instance.replicas), expect, "{annotations:?}");
    }
}

/// A listener there would keep the Envoy from starting, or the other way round.
#[test]
fn a_managed_gateway_does_not_listen_where_its_envoys_have_their_metrics() {
    let object = alb(r#"{"listeners": [{"port": 19001}]}"#);
    for (unprivileged_ports, expect) in [(false, true), (true, false)] {
        let defaults = GatewayDefaults { unprivileged_ports, ..GatewayDefaults::default() };
        assert_eq!(parse(&object, &defaults).0.is_some(), expect, "{unprivileged_ports}");
    }
}
