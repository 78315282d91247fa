use super::*;
use crate::{
    api::{Common, IngressLocal, IngressSection, Instance, Monitor, Tracing},
    gateway::knobs::OTLP_ENDPOINT,
    key::ObjectName,
};

fn gateway(annotations: &[(&str, &str)], spec: MseIngressConfigSpec) -> store::Gateway {
    store::Gateway {
        name: ObjectName::cluster_scoped("gw"),
        uid: "".into(),
        generation: 0,
        annotations: annotations.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        spec,
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
        let ports =
            gateway.map(|own| (own.http_port.public, own.https_port.public, own.ready_port));
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
            let (http, https) = (own.http_port, own.https_port);
            let Port { public, bound } = http;
            format!("{public}>{bound} {}>{} {}", https.public, https.bound, own.ready_port)
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
