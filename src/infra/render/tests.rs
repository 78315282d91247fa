use std::{fs, path::Path, time::Duration};

use super::*;
use crate::{gateway::Size, model::Transport};

fn managed(size: Size, replicas: Option<u32>) -> Managed {
    let instance = Instance {
        size,
        replicas,
        ports: [
            (ListenerKey::HTTP, Port::unprivileged(80, &[])),
            (ListenerKey::HTTPS, Port::unprivileged(443, &[])),
        ]
        .into(),
        ready_port: 19003,
    };
    Managed { id: GatewayId::mse("ackone-gateway-hongkong"), uid: "u1".into(), instance }
}

fn options() -> Options {
    Options {
        namespace: "convoy-system".into(),
        image: "envoyproxy/envoy:distroless-v1.40.0".into(),
        drain_image: "registry.example/convoy:0.1.0".into(),
        xds: "convoy.convoy-system.svc:18000".parse().unwrap(),
        certificates: Certificates::Issued,
        drain: Duration::from_secs(30),
        service_type: ServiceType::LoadBalancer,
    }
}

fn certificate(text: &str) -> Issued {
    let part = |name: &str| format!("{name} {text}");
    Issued { certificate: part("crt"), key: part("key"), authorities: part("ca") }
}

fn rendered(managed: &Managed, options: &Options, certificate: Option<&Issued>) -> Vec<Value> {
    render(managed, options, certificate).into_iter().map(|own| own.document).collect()
}

/// The object of a kind.
fn one(kind: Kind, managed: &Managed, options: &Options) -> Value {
    object(kind, managed, options, Some(&certificate("1")), managed.instance.replicas).unwrap()
}

/// `UPDATE_INFRA=1 cargo test objects_of_a_gateway` writes the table anew.
#[test]
fn objects_of_a_gateway() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/infra/render/golden.yaml");
    let own = managed(Size::C2G4, None);
    let mut text = String::new();
    for mut document in rendered(&own, &options(), Some(&certificate("1"))) {
        // The bootstrap has tables of its own, and hashes say nothing to a reader.
        document["metadata"]["annotations"][APPLIED] = json!("HASH");
        if let Some(hash) =
            document.pointer_mut("/spec/template/metadata/annotations/convoy.dev~1config")
        {
            *hash = json!("HASH");
        }
        if document["kind"] == "ConfigMap" {
            let files = document["data"].as_object_mut().unwrap();
            files.values_mut().for_each(|own| *own = json!("TEXT"));
        }
        text += &format!("---\n{}", serde_saphyr::to_string(&document).unwrap());
    }
    if std::env::var_os("UPDATE_INFRA").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text);
}

#[test]
fn a_size_decides_cores_memory_and_heap() {
    for (size, expect) in [
        (Size::C2G4, "2 cores, 4Gi of memory, asks 250m and 512Mi, heap 2147483648"),
        (Size::C4G8, "4 cores, 8Gi of memory, asks 500m and 1Gi, heap 4294967296"),
        (Size::C8G16, "8 cores, 16Gi of memory, asks 1 and 2Gi, heap 8589934592"),
        (Size::C16G32, "16 cores, 32Gi of memory, asks 2 and 4Gi, heap 17179869184"),
    ] {
        let own = managed(size, None);
        let deployment = one(Kind::Deployment, &own, &options());
        let envoy = &deployment["spec"]["template"]["spec"]["containers"][0];
        let args = envoy["args"].as_array().unwrap();
        let flag = |name: &str| {
            let at = args.iter().position(|own| own == name).unwrap();
            args[at + 1].as_str().unwrap()
        };
        let resources = &envoy["resources"];
        let text = |own: &Value| own.as_str().unwrap().to_owned();
        let config = one(Kind::ConfigMap, &own, &options());
        let bootstrap = config["data"]["envoy.yaml"].as_str().unwrap();
        let (_, heap) = bootstrap.split_once("max_heap_size_bytes: ").unwrap();
        let found = format!(
            "{} cores, {} of memory, asks {} and {}, heap {}",
            flag("--concurrency"),
            text(&resources["limits"]["memory"]),
            text(&resources["requests"]["cpu"]),
            text(&resources["requests"]["memory"]),
            heap.lines().next().unwrap(),
        );
        assert_eq!(found, expect);
        assert!(resources["limits"].get("cpu").is_none());
    }
}

#[test]
fn replicas_are_those_of_the_gateway_or_three_or_nobodys() {
    let replicas = |own: Option<u32>| {
        let all = rendered(&managed(Size::C2G4, own), &options(), None);
        all.iter().find(|own| own["kind"] == "Deployment").unwrap()["spec"]["replicas"].clone()
    };
    assert_eq!(replicas(Some(0)), 0);
    assert_eq!(replicas(Some(7)), 7);
    assert_eq!(replicas(None), 3);
    let left = one(Kind::Deployment, &managed(Size::C2G4, None), &options());
    assert!(left["spec"].get("replicas").is_none());
}

#[test]
fn only_a_new_bootstrap_restarts_envoys() {
    let own = managed(Size::C2G4, Some(3));
    let template = |managed: &Managed, options: &Options| {
        one(Kind::Deployment, managed, options)["spec"]["template"].clone()
    };
    let before = template(&own, &options());
    let scaled = managed(Size::C2G4, Some(5));
    assert_eq!(template(&scaled, &options()), before);
    let balancer = Options { service_type: ServiceType::ClusterIp, ..options() };
    assert_eq!(template(&own, &balancer), before);
    let elsewhere = Options { xds: "other:18000".parse().unwrap(), ..options() };
    assert_ne!(template(&own, &elsewhere), before);
}

#[test]
fn a_new_certificate_changes_the_secret_only() {
    let own = managed(Size::C2G4, None);
    let (first, second) = (certificate("1"), certificate("2"));
    let (first, second) =
        (rendered(&own, &options(), Some(&first)), rendered(&own, &options(), Some(&second)));
    let changed = first.iter().zip(&second).filter(|(before, after)| before != after);
    assert_eq!(
        changed.map(|(own, _)| own["kind"].as_str().unwrap()).collect::<Vec<_>>(),
        ["Secret"]
    );
    // Whoever may read metadata learns nothing of a key, not even that it is another one.
    assert_eq!(first[1]["metadata"], second[1]["metadata"]);
}

#[test]
fn a_secret_is_made_of_our_certificates_only() {
    let own = managed(Size::C2G4, None);
    for (certificates, has_secret, is_mounted) in [
        (Certificates::Issued, true, true),
        (Certificates::Brought, false, true),
        (Certificates::None, false, false),
    ] {
        let options = Options { certificates, ..options() };
        let all = rendered(&own, &options, Some(&certificate("1")));
        let found = all.iter().any(|own| own["kind"] == "Secret");
        let deployment = one(Kind::Deployment, &own, &options).to_string();
        assert_eq!((found, deployment.contains("/etc/envoy-xds")), (has_secret, is_mounted));
    }
    // Without one the rest is made already.
    assert_eq!(render(&own, &options(), None).len(), Kind::ALL.len() - 1);
}

#[test]
fn every_kind_of_service_keeps_the_ports() {
    for (service_type, policy) in [
        (ServiceType::ClusterIp, Value::Null),
        (ServiceType::NodePort, json!("Local")),
        (ServiceType::LoadBalancer, json!("Local")),
    ] {
        let options = Options { service_type, ..options() };
        let spec = one(Kind::Service, &managed(Size::C2G4, None), &options)["spec"].clone();
        assert_eq!(spec["type"], service_type.to_string());
        assert_eq!(spec["externalTrafficPolicy"], policy);
        let ports = spec["ports"].as_array().unwrap().iter();
        let ports: Vec<_> = ports.map(|own| (own["port"].as_u64(), &own["targetPort"])).collect();
        assert_eq!(ports, [(Some(80), &json!("http")), (Some(443), &json!("https"))]);
        assert_eq!(service_type.to_string().parse(), Ok(service_type));
    }
    assert!("loadbalancer".parse::<ServiceType>().is_err());
}

/// As `objects_of_a_gateway`, where the other kind differs.
#[test]
fn objects_of_an_alb_config_have_a_port_for_each_listener() {
    let listener = |transport, port| ListenerKey { transport, port: Some(port) };
    let ports = [80, 8001, 443];
    let port = |port| Port::unprivileged(port, &ports);
    let base = managed(Size::C2G4, Some(1));
    let instance = Instance {
        ports: [
            (listener(Transport::Plaintext, 80), port(80)),
            (listener(Transport::Plaintext, 8001), port(8001)),
            (listener(Transport::Tls, 443), port(443)),
        ]
        .into(),
        ..base.instance
    };
    let own = Managed { id: GatewayId::alb("one"), instance, ..base };
    for document in rendered(&own, &options(), Some(&certificate("1"))) {
        let metadata = &document["metadata"];
        assert_eq!(metadata["name"], "alb-one");
        let owner = &metadata["ownerReferences"][0];
        assert_eq!(
            (&owner["apiVersion"], &owner["kind"]),
            (&json!("alibabacloud.com/v1"), &json!("AlbConfig"))
        );
        assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "AlbConfig.one");
    }
    let service = one(Kind::Service, &own, &options());
    let text = |port: &Value| format!("{}>{}", port["port"], port["targetPort"].as_str().unwrap());
    let all: Vec<_> = service["spec"]["ports"].as_array().unwrap().iter().map(text).collect();
    assert_eq!(all, ["80>http-80", "8001>http-8001", "443>https-443"]);
    let deployment = one(Kind::Deployment, &own, &options());
    let envoy = &deployment["spec"]["template"]["spec"]["containers"][0];
    let text =
        |port: &Value| format!("{}={}", port["name"].as_str().unwrap(), port["containerPort"]);
    let all: Vec<_> = envoy["ports"].as_array().unwrap().iter().map(text).collect();
    assert_eq!(
        all,
        ["http-80=8080", "http-8001=8001", "https-443=8443", "metrics=19001", "ready=19003"]
    );
    let config = one(Kind::ConfigMap, &own, &options());
    let bootstrap = config["data"]["envoy.yaml"].as_str().unwrap();
    assert!(bootstrap.contains("AlbConfig/one"), "{bootstrap}");
}
