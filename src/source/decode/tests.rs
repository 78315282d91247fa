use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    key::MemberId,
    store::{Network, ServiceKind, TrafficPolicy},
};

fn member() -> Scope {
    Scope::Member(MemberId::new("c1").unwrap())
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// The outcome in few words: the object's debug text, or what was said instead.
#[track_caller]
fn outcome(scope: &Scope, manifest: &str) -> String {
    match decode(scope, yaml(manifest), 0) {
        Decoded::Object { object, diags, .. } => {
            let mut said = format!("{} {}", object.kind(), object.name());
            diags.iter().for_each(|diag| said += &format!("\n{diag}"));
            said
        }
        Decoded::Refused(diag) => format!("refused: {diag}"),
        Decoded::Nameless(message) => format!("nameless: {message}"),
        Decoded::Ignored(note) => format!("ignored: {}", note.unwrap_or_default()),
    }
}

#[track_caller]
fn object(scope: &Scope, manifest: &str) -> Object {
    let decoded = decode(scope, yaml(manifest), 0);
    let Decoded::Object { object, diags, .. } = decoded else { panic!("{decoded:?}") };
    assert_eq!(diags, []);
    object
}

#[test]
fn envelopes() {
    for (manifest, expect) in [
        ("hello", "nameless: not a mapping"),
        ("a: 1", "nameless: `kind` is missing"),
        ("kind: Ingress", "nameless: `apiVersion` is missing"),
        ("{kind: Secret, apiVersion: v1}", "nameless: `metadata.name` of the Secret is missing"),
        (
            "{kind: Secret, apiVersion: v1, metadata: {name: a/b}}",
            "nameless: `a/b` is not a legal name for kind Secret",
        ),
        (
            "{kind: Secret, apiVersion: v1, metadata: {name: a, namespace: B}}",
            "nameless: `B` is not a legal namespace, for Secret a",
        ),
        ("{kind: Namespace, apiVersion: v1, metadata: {name: web}}", "ignored: "),
        (
            "{kind: Ingres, apiVersion: networking.k8s.io/v1}",
            "ignored: objects of kind `Ingres` are not read",
        ),
        (
            "{kind: Ingress, apiVersion: extensions/v1beta1}",
            "ignored: Ingress is read as `networking.k8s.io/v1`, not as `extensions/v1beta1`",
        ),
        (
            "{kind: Service, apiVersion: v1, metadata: {name: a}}",
            "ignored: objects of kind Service are read in members, not in the fleet",
        ),
        ("{kind: file, apiVersion: v1}", "ignored: objects of kind `file` are not read"),
        (
            "{kind: Ingress, apiVersion: networking.k8s.io/v1, metadata: {name: a}}",
            "Ingress default/a",
        ),
        (
            "{kind: IngressClass, apiVersion: networking.k8s.io/v1, metadata: {name: a, namespace: b}}",
            "IngressClass a",
        ),
    ] {
        assert_eq!(outcome(&Scope::Fleet, manifest), expect, "{manifest}");
    }
    let ingress = "{kind: Ingress, apiVersion: networking.k8s.io/v1, metadata: {name: a}}";
    let note = "ignored: objects of kind Ingress are read in the fleet, not in members";
    assert_eq!(outcome(&member(), ingress), note);
    let secret = "{kind: Secret, apiVersion: v1, metadata: {name: a}}";
    assert_eq!(outcome(&member(), secret), "ignored: ");
}

#[test]
fn lists_of_every_kind() {
    let kinds = |text: &str| -> Vec<String> {
        let kind = |v: &Value| format!("{} {}", text_of(v, "apiVersion"), text_of(v, "kind"));
        manifests(yaml(text)).iter().map(kind).collect()
    };
    fn text_of(value: &Value, key: &str) -> String {
        text(value, key).unwrap_or("-").to_owned()
    }
    assert_eq!(kinds("{kind: Service, apiVersion: v1}"), ["v1 Service"]);
    assert_eq!(
        kinds("{kind: List, apiVersion: v1, items: [{kind: Pod, apiVersion: v1}, {kind: A}]}"),
        ["v1 Pod", "- A"]
    );
    assert_eq!(
        kinds("{kind: IngressList, apiVersion: networking.k8s.io/v1, items: [{}, {}]}"),
        ["networking.k8s.io/v1 Ingress", "networking.k8s.io/v1 Ingress"]
    );
    assert_eq!(
        kinds("{kind: List, items: [{kind: PodList, apiVersion: v1, items: [{}]}]}"),
        ["v1 Pod"]
    );
    assert!(kinds("{kind: List, apiVersion: v1}").is_empty());
    assert_eq!(kinds("{kind: List, apiVersion: v1, items: 1}"), ["v1 List"]);
}

#[test]
fn gateway_of_the_guide() {
    let Object::Gateway(gateway) = object(
        &Scope::Fleet,
        "
apiVersion: mse.alibabacloud.com/v1alpha1
kind: MseIngressConfig
metadata:
  name: ackone-gateway
  annotations:
    mse.alibabacloud.com/remote-clusters: c1,c2
    kubectl.kubernetes.io/last-applied-configuration: '{}'
spec:
  common:
    instance: {replicas: 3, spec: 2c4g}
    network: {vSwitches: [vsw-1]}
  ingress:
    local: {ingressClass: mse}
  name: mse-ingress
",
    ) else {
        panic!("not a gateway")
    };
    assert_eq!(gateway.name, ObjectName::cluster_scoped("ackone-gateway"));
    let annotations: Vec<_> = gateway.annotations.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(annotations, [("mse.alibabacloud.com/remote-clusters", "c1,c2")]);
    let crate::store::GatewaySpec::Mse(spec) = &gateway.spec else { panic!("{gateway:?}") };
    assert_eq!(spec.name.as_deref(), Some("mse-ingress"));
    let class = spec.ingress.as_ref().and_then(|own| own.local.as_ref());
    assert_eq!(class.and_then(|own| own.ingress_class.as_deref()), Some("mse"));
}

#[test]
fn ingress_in_full() {
    let Object::Ingress(ingress) = object(
        &Scope::Fleet,
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: demo
  creationTimestamp: 2026-01-01T00:00:00Z
  annotations:
    mse.ingress.kubernetes.io/canary: 'true'
    other: dropped
spec:
  ingressClassName: mse
  defaultBackend: {resource: {kind: Bucket, name: b}}
  tls: [{hosts: [a.com], secretName: cert}, {}]
  rules:
  - host: a.com
    http:
      paths:
      - {path: /a, pathType: Prefix, backend: {service: {name: svc, port: {number: 80}}}}
      - {backend: {service: {name: svc, port: {name: http}}}}
  - {}
",
    ) else {
        panic!("not an Ingress")
    };
    use crate::store::{IngressBackend, IngressPath, PathType};
    assert_eq!(ingress.created, 1_767_225_600);
    assert_eq!(ingress.class.as_deref(), Some("mse"));
    assert_eq!(
        ingress.annotations.keys().map(|k| &**k).collect::<Vec<_>>(),
        ["mse.ingress.kubernetes.io/canary"]
    );
    assert_eq!(ingress.default_backend, Some(IngressBackend::Unsupported));
    assert_eq!(ingress.tls[0].secret.as_deref(), Some("cert"));
    assert_eq!((ingress.tls[1].hosts.len(), &ingress.tls[1].secret), (0, &None));
    let port = |port| IngressBackend::Service { name: "svc".into(), port: Some(port) };
    use crate::key::PortRef;
    assert_eq!(
        ingress.rules[0].paths,
        [
            IngressPath {
                path: Some("/a".into()),
                path_type: PathType::Prefix,
                backend: port(PortRef::Number(80.try_into().unwrap())),
            },
            IngressPath {
                path: None,
                path_type: PathType::Unset,
                backend: port(PortRef::Name("http".into())),
            },
        ]
    );
    assert_eq!((ingress.rules[1].host.as_ref(), ingress.rules[1].paths.len()), (None, 0));
}

/// What the API server would refuse: a legal rest is served, a wrong type is not.
#[test]
fn fault_f16_hostile_ingresses() {
    let check = |spec: &str, expect: &str| {
        let manifest = format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: a}}, spec: {spec}}}"
        );
        assert_eq!(outcome(&Scope::Fleet, &manifest), expect, "{spec}");
    };
    check(
        "{rules: [{http: {paths: [{path: 1}]}}]}",
        "refused: error: Ingress default/a: spec.rules[0].http.paths[0].path: InvalidField: \
         invalid type: integer `1`, expected a string",
    );
    check(
        "{rules: [{http: {paths: [{pathType: Regex}]}}]}",
        "refused: error: Ingress default/a: spec.rules[0].http.paths[0].pathType: InvalidField: \
         `Regex` is none of Exact, Prefix, ImplementationSpecific",
    );
    check(
        "{defaultBackend: {service: {name: 'a:80@x', port: {number: 80}}}}",
        "Ingress default/a\nerror: Ingress default/a: spec.defaultBackend.service.name: \
         InvalidField: `a:80@x` is not a legal name of a Service",
    );
    check(
        "{defaultBackend: {service: {name: a, port: {number: 65536}}}}",
        "Ingress default/a\nerror: Ingress default/a: spec.defaultBackend.service.port.number: \
         InvalidField: 65536 is not a port",
    );
    check(
        "{defaultBackend: {service: {name: a, port: {name: 'h ttp'}}}}",
        "Ingress default/a\nerror: Ingress default/a: spec.defaultBackend.service.port.name: \
         InvalidField: `h ttp` is not a legal name of a port",
    );
    check(
        "{tls: [{secretName: ../x}]}",
        "Ingress default/a\nerror: Ingress default/a: spec.tls[0].secretName: InvalidField: \
         `../x` is not a legal name of a Secret",
    );
}

#[test]
fn fault_f3_annotations_that_are_too_long() {
    let key = "mse.ingress.kubernetes.io/whitelist-source-range";
    let manifest = |len: usize| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": { "name": "a", "annotations": { key: "1".repeat(len), "x": "y".repeat(1 << 20) } },
        })
    };
    for (len, kept, said) in [
        (MAX_ANNOTATION_BYTES, MAX_ANNOTATION_BYTES, None),
        (MAX_ANNOTATION_BYTES + 1, 0, Some("4097 bytes are more than 4096; ignored")),
    ] {
        let decoded = decode(&Scope::Fleet, manifest(len), 0);
        let Decoded::Object { object: Object::Ingress(ingress), diags, .. } = decoded else {
            panic!("{decoded:?}")
        };
        assert_eq!(ingress.annotations.len(), 1);
        assert_eq!(ingress.annotations[key].len(), kept);
        assert_eq!(diags.first().map(|diag| diag.message.as_str()), said);
    }
}

#[test]
fn services() {
    let service = |spec: &str| {
        let manifest =
            format!("{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {spec}}}");
        let Object::Service(service) = object(&member(), &manifest) else { panic!("{manifest}") };
        (*service).clone()
    };
    let ports = service(
        "{ports: [{port: 53, protocol: UDP}, {port: 80, targetPort: web}, \
         {port: 81, name: b, protocol: TCP, appProtocol: grpc}]}",
    )
    .ports;
    let ports: Vec<_> =
        ports.iter().map(|p| (p.number, &*p.name, p.app_protocol.as_deref())).collect();
    assert_eq!(ports, [(80, "", None), (81, "b", Some("grpc"))]);
    let kind = |text: &str| service(&format!("{{type: {text}}}")).kind;
    assert_eq!(kind("ExternalName"), ServiceKind::ExternalName);
    assert_eq!(kind("NodePort"), ServiceKind::NodePort);
    assert_eq!(kind("LoadBalancer"), ServiceKind::LoadBalancer);
    assert_eq!(
        (kind("ClusterIP"), kind("Other")),
        (ServiceKind::ClusterIp, ServiceKind::ClusterIp)
    );
    for (spec, prefers_ipv6) in [
        ("{}", false),
        ("{ipFamilies: [IPv4, IPv6]}", false),
        ("{ipFamilies: [IPv6, IPv4]}", true),
        ("{clusterIP: 'fd00::1'}", true),
        ("{clusterIP: None}", false),
    ] {
        assert_eq!(service(spec).prefers_ipv6, prefers_ipv6, "{spec}");
    }
    let bad = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 0}]}}";
    assert_eq!(
        outcome(&member(), bad),
        "Service default/a\nerror: Service default/a of member c1: spec.ports[0].port: \
         InvalidField: 0 is not a port"
    );
}

#[test]
fn what_leads_to_a_service_from_outside() {
    let check = |spec: &str, ingress: &str, expect: (Option<u16>, TrafficPolicy, &[&str])| {
        let manifest = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {spec}, status: \
             {{loadBalancer: {{ingress: {ingress}}}}}}}"
        );
        let Object::Service(service) = object(&member(), &manifest) else { panic!("{manifest}") };
        let balancers: Vec<_> = service.balancers.iter().map(ToString::to_string).collect();
        let node_port = service.ports[0].node_port.map(std::num::NonZero::get);
        assert_eq!((node_port, service.policy), (expect.0, expect.1), "{spec}");
        assert_eq!(balancers, expect.2, "{spec} {ingress}");
    };
    let (cluster, local) = (TrafficPolicy::Cluster, TrafficPolicy::Local);
    let ports = "ports: [{port: 80, nodePort: 30100}]";
    check(&format!("{{type: NodePort, {ports}}}"), "[]", (Some(30100), cluster, &[]));
    let policy = "externalTrafficPolicy: Local";
    check(&format!("{{type: NodePort, {policy}, {ports}}}"), "[]", (Some(30100), local, &[]));
    check("{type: ClusterIP, ports: [{port: 80}]}", "[{ip: 192.0.2.1}]", (None, cluster, &[]));
    let balancer = "{type: LoadBalancer, ports: [{port: 80, nodePort: 0}]}";
    let both = "[{ip: 192.0.2.2, ipMode: Proxy}, {ip: 'fd00::1'}, {ip: 192.0.2.1, ipMode: VIP}]";
    check(balancer, both, (None, cluster, &["192.0.2.1", "192.0.2.2"]));
    check(balancer, "[{hostname: lb.example}, {ip: x}]", (None, cluster, &[]));
    check(
        "{type: LoadBalancer, ipFamilies: [IPv6], ports: [{port: 80}]}",
        both,
        (None, cluster, &["fd00::1"]),
    );
}

#[test]
fn nodes_and_row_178_which_of_them_count() {
    let check = |metadata: &str, status: &str, expect: &str| {
        let manifest = format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: n1{metadata}}}, status: {status}}}"
        );
        let Object::Node(node) = object(&member(), &manifest) else { panic!("{manifest}") };
        let said = format!("{:?} {:?} {}", node.v4, node.v6, node.is_eligible);
        assert_eq!(said, expect, "{manifest}");
        assert_eq!(node.name, ObjectName::cluster_scoped("n1"));
    };
    let ready =
        "conditions: [{type: DiskPressure, status: 'False'}, {type: Ready, status: 'True'}]";
    let both = "addresses: [{type: ExternalIP, address: 192.0.2.9}, {type: Hostname, address: n1}, \
                {type: InternalIP, address: 'fd00::1'}, {type: InternalIP, address: 10.9.0.1}, \
                {type: InternalIP, address: 10.9.0.2}]";
    let whole = format!("{{{ready}, {both}}}");
    check("", &whole, "Some(10.9.0.1) Some(fd00::1) true");
    check("", &format!("{{{ready}}}"), "None None true");
    check("", &format!("{{{both}}}"), "Some(10.9.0.1) Some(fd00::1) false");
    let unknown = whole.replace("'True'", "Unknown");
    check("", &unknown, "Some(10.9.0.1) Some(fd00::1) false");
    let excluded = ", labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}";
    check(excluded, &whole, "Some(10.9.0.1) Some(fd00::1) false");
    let deleted = ", deletionTimestamp: '2026-01-01T00:00:00Z'";
    check(deleted, &whole, "Some(10.9.0.1) Some(fd00::1) false");
    check("", "{}", "None None false");
}

#[test]
fn what_a_member_cluster_among_manifests_declares() {
    let manifest = |spec: &str| {
        format!(
            "{{apiVersion: convoy.dev/v1alpha1, kind: MemberCluster, metadata: {{name: hk}}, spec: {spec}}}"
        )
    };
    let spec = "{id: c1, zone: a, network: overlay, allowedEndpointCIDRs: [10.0.0.0/8, x], \
                allowedNamespaces: [shop, A/B]}";
    let Decoded::Object { object: Object::MemberCluster(own), diags, .. } =
        decode(&Scope::Fleet, yaml(&manifest(spec)), 0)
    else {
        panic!("{spec}")
    };
    let registered = &own.registered;
    assert_eq!((own.member.as_str(), registered.network), ("c1", Network::Overlay));
    assert_eq!(registered.locality.zone, "a");
    assert_eq!(registered.allowed_endpoints.as_ref().unwrap().len(), 1);
    let namespaces = registered.allowed_namespaces.as_ref().unwrap();
    assert_eq!(namespaces.iter().map(|own| &**own).collect::<Vec<_>>(), ["shop"]);
    let said: Vec<_> = diags.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "error: MemberCluster hk: spec.allowedEndpointCIDRs[1]: InvalidField: `x` is not a range \
             of addresses",
            "error: MemberCluster hk: spec.allowedNamespaces[1]: InvalidField: `A/B` is not a namespace",
        ]
    );
    let refused = outcome(&Scope::Fleet, &manifest("{id: 'a b'}"));
    assert!(refused.starts_with("refused: error: MemberCluster hk: spec.id: "), "{refused}");
}

#[test]
fn row_022_and_023_ready_endpoints() {
    let slice = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-1, namespace: demo, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: http, port: 8080}, {port: 9090}, {name: dns, port: 53, protocol: UDP}, {name: all}]
endpoints:
- {addresses: [10.0.0.1, 10.0.0.9], targetRef: {kind: Pod, name: p1}}
- {addresses: [10.0.0.2], conditions: {ready: true}, targetRef: {kind: Node, name: node}}
- {addresses: [10.0.0.3], conditions: {ready: false, serving: true}}
- {addresses: [10.0.0.4], conditions: {ready: true, serving: true, terminating: true}}
- {addresses: [10.0.0.999], conditions: {ready: null}}
- {addresses: []}
";
    let Object::EndpointSlice(slice) = object(&member(), slice) else { panic!("not a slice") };
    assert_eq!(slice.service_name(), ObjectName::new("demo", "a"));
    let ports: Vec<_> = slice.ports.iter().map(|(name, number)| (&**name, *number)).collect();
    assert_eq!(ports, [("", 9090), ("http", 8080)]);
    let ready = |e: &crate::store::Endpoint| {
        let address = e.address.map(|address| address.to_string()).unwrap_or_default();
        (address, e.is_ready, e.pod.as_deref().unwrap_or_default().to_owned())
    };
    let expect = [
        ("10.0.0.1", true, "p1"),
        ("10.0.0.2", true, ""),
        ("10.0.0.3", false, ""),
        ("10.0.0.4", false, ""),
        ("", true, ""),
        ("", true, ""),
    ];
    let expect = expect.map(|(a, ready, pod)| (a.to_owned(), ready, pod.to_owned()));
    assert_eq!(slice.endpoints.iter().map(ready).collect::<Vec<_>>(), expect);
}

#[test]
fn slices_of_no_service_are_none_of_our_business() {
    let slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, \
                 addressType: FQDN, endpoints: []}";
    assert_eq!(outcome(&member(), slice), "ignored: ");
}

#[test]
fn row_057_a_pod_does_not_say_which_cluster_it_is_in() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: \
               {version: gray, topology.istio.io/cluster: lie}}, spec: {containers: 7}}";
    let Object::Pod(pod) = object(&member(), pod) else { panic!("not a Pod") };
    let labels: Vec<_> = pod.labels.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(labels, [("version", "gray")]);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z/.:]{0,8}".prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "spec",
        "rules",
        "http",
        "paths",
        "path",
        "pathType",
        "backend",
        "service",
        "port",
        "number",
        "ports",
        "endpoints",
        "addresses",
        "conditions",
        "items",
        "tls",
        "data",
        "stringData",
        "type",
        "kubernetes.io/service-name",
        "tls.crt",
        "mse.alibabacloud.com/x",
        "targetRef",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone(), inner, 0..6).prop_map(|map| {
                Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

proptest! {
    /// Whatever a manifest of ours holds, the worst that happens is a finding.
    #[test]
    fn fault_f16_no_manifest_panics(mut value in any_value(), kind in 0..7usize) {
        let kind = ObjectKind::ALL[kind];
        if let Value::Object(fields) = &mut value {
            fields.insert("kind".into(), kind.as_str().into());
            fields.insert("apiVersion".into(), home(kind).0.into());
            let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
            if let Value::Object(metadata) = metadata {
                metadata.insert("name".into(), "a".into());
            }
        }
        for scope in [Scope::Fleet, member()] {
            decode(&scope, value.clone(), 0);
        }
        manifests(value);
    }
}
