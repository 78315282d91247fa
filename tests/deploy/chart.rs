//! What the charts make, and what they refuse.

use std::collections::BTreeMap;

use convoy::{
    gateway::{Instance, Size},
    infra::{self, Certificates, Managed, ServiceType},
    key::GatewayId,
    model::{ListenerKey, Port},
    settings::READY_PORT,
};
use serde_json::{Value, json};

use crate::program::{
    CHART, CRDS, NAMESPACE, VALUES, container, convoy, helm, objects, of_kind, pod, rendered,
    texts, values_flag,
};

pub(crate) fn lint_finds_nothing() {
    let check = |args: &[&str]| {
        let args = [&["lint", "--strict", "--quiet"][..], args].concat();
        assert_eq!(helm(&args).as_deref().map(str::trim), Ok(""), "{args:?}");
    };
    check(&[CRDS]);
    for values in VALUES {
        let values = values_flag(values);
        let args: Vec<&str> = [CHART].into_iter().chain(values.as_deref()).collect();
        check(&args);
    }
}

pub(crate) fn what_is_unknown_or_unsafe_is_refused() {
    let check = |args: &[&str], expect: &str| {
        let refused = helm(&[&["template", "convoy", CHART][..], args].concat());
        let said = refused.expect_err("these values are refused");
        assert!(said.contains(expect), "{args:?}: {said}");
    };
    check(&["--set=typo=1"], "additional properties 'typo' not allowed");
    check(&["--set=image.typo=1"], "additional properties 'typo' not allowed");
    check(&["--set=replicas=0"], "at '/replicas'");
    check(&["--set=runAsUser=0"], "at '/runAsUser'");
    check(&["--set=xds.port=80"], "at '/xds/port'");
    check(&["--set=fleetNetwork=both"], "at '/fleetNetwork'");
    check(&["--set=extraArgs={serve}"], "at '/extraArgs/0'");
    check(&["--set=log.level=a'b"], "at '/log/level'");
    check(&["--set=image.digest=sha256:0"], "at '/image/digest'");
    check(&["--set=gateways[0].name=web"], "additional properties 'gateways' not allowed");
    check(&["--set=gatewayDefaults.httpPort=0"], "at '/gatewayDefaults/httpPort'");
    check(&["--set=manageGateways.serviceType=ExternalName"], "at '/manageGateways/serviceType'");
    check(&["--set=manageGateways.drainSeconds=0"], "at '/manageGateways/drainSeconds'");
    check(&["--set=manageGateways.image=null"], "missing property 'image'");
    check(&["--set=xds.names={*}"], "at '/xds/names/0'");
    check(&["--set=xds=null"], "missing property 'xds'");
    let brought = "--set=xds.certificateSecret=a";
    let plaintext = "--set=xds.plaintextForDevelopment=true";
    check(&[brought, plaintext], "at '/xds/plaintextForDevelopment'");
    check(&[brought, "--set=xds.names={a}"], "at '/xds/names'");
    check(&[plaintext, "--set=xds.tokens=true"], "at '/xds/tokens'");
    // None of these may let everybody in.
    check(&["--set-json=networkPolicy.xdsFrom=[]"], "at '/networkPolicy/xdsFrom'");
    check(&["--set-json=networkPolicy.xdsFrom=[{}]"], "at '/networkPolicy/xdsFrom/0'");
    check(&["--set=networkPolicy.xdsFrom=null"], "missing property 'xdsFrom'");
    check(&["--set=networkPolicy=null"], "missing property 'networkPolicy'");
    let secrets = "--set=rbac.secretNamespaces={shop}";
    check(&[secrets], "whose Secrets could not be read");
}

/// The pod security standard `restricted`, and a root file system that is read-only.
pub(crate) fn fault_s21_every_pod_is_restricted() {
    for values in VALUES {
        let objects = rendered(values);
        let pod = pod(&objects);
        let spec = &pod["spec"];
        let security = &spec["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{pod}");
        assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}), "{pod}");
        assert_ne!(security["runAsUser"], json!(0), "{pod}");
        let container = container(pod);
        let expect = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
        });
        assert_eq!(container["securityContext"], expect, "{pod}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{pod}");
        for host in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(spec[host], Value::Null, "{pod}");
        }
        let is_safe = |volume: &Value| volume.get("secret").is_some();
        assert!(spec["volumes"].as_array().into_iter().flatten().all(is_safe), "{pod}");
    }
}

/// The command line is parsed up to `--help`.
pub(crate) fn flags_are_those_of_serve() {
    for values in VALUES {
        let objects = rendered(values);
        let args = texts(&container(pod(&objects))["args"]);
        assert_eq!(args[0], "serve");
        convoy(&[&args[..], &["--help"][..]].concat()).unwrap();
    }
    convoy(&["serve", "--typo", "--help"]).unwrap_err();
}

/// In the clear only where somebody said so, loudly.
pub(crate) fn fault_s01_xds_is_mutual_tls_unless_for_development() {
    let check = |values: Option<&str>, expect: &str, volumes: Value| {
        let objects = rendered(values);
        let pod = pod(&objects);
        let args = texts(&container(pod)["args"]);
        let security = ["--xds-plaintext", "--xds-cert-dir=", "--xds-name="];
        let found = args.into_iter().filter(|arg| security.iter().any(|it| arg.starts_with(it)));
        assert_eq!(found.collect::<Vec<_>>(), [expect], "{values:?}");
        assert_eq!(pod["spec"]["volumes"], volumes, "{values:?}");
    };
    let own = "--xds-name=convoy.convoy-system.svc";
    check(None, own, Value::Null);
    check(Some("bare"), own, Value::Null);
    check(Some("narrow"), own, Value::Null);
    check(Some("everything"), &format!("{own},xds.example.com"), Value::Null);
    let secret = json!({"secretName": "xds-certificate", "defaultMode": 0o440});
    let volumes = json!([{"name": "xds", "secret": secret}]);
    check(Some("brought"), "--xds-cert-dir=/etc/convoy-xds", volumes);
    check(Some("development"), "--xds-plaintext", Value::Null);
}

pub(crate) fn strangers_do_not_reach_convoy() {
    for values in VALUES {
        let objects = rendered(values);
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        let policies = of_kind(&objects, "NetworkPolicy").into_iter();
        let Some(policy) = policies.into_iter().find(|policy| name(policy) == "convoy") else {
            assert_eq!(values, Some("bare"));
            continue;
        };
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        let is_closed = |rule: &Value| rule["from"].as_array().is_some_and(|from| !from.is_empty());
        assert!(policy["spec"]["ingress"].as_array().unwrap().iter().all(is_closed), "{policy}");
        let selected = policy["spec"]["podSelector"]["matchLabels"].as_object().unwrap();
        let labels = &pod(&objects)["metadata"]["labels"];
        assert!(selected.iter().all(|(key, value)| labels[key] == *value), "{policy}");
    }
}

/// What Convoy makes for a gateway.
fn made() -> Vec<Value> {
    let instance = Instance {
        size: Size::DEFAULT,
        replicas: None,
        ports: [
            (ListenerKey::HTTP, Port::unprivileged(80, &[])),
            (ListenerKey::HTTPS, Port::unprivileged(443, &[])),
        ]
        .into(),
        ready_port: READY_PORT,
    };
    let managed = Managed { id: GatewayId::mse("web"), uid: "uid".into(), instance };
    let options = infra::Options {
        namespace: NAMESPACE.to_owned(),
        image: infra::DEFAULT_IMAGE.to_owned(),
        drain_image: "convoy".to_owned(),
        xds: "convoy:18000".parse().unwrap(),
        certificates: Certificates::Brought,
        drain: infra::DEFAULT_DRAIN,
        service_type: ServiceType::LoadBalancer,
    };
    infra::render(&managed, &options, None).into_iter().map(|it| it.document).collect()
}

/// What the chart says of the Envoys that Convoy keeps, against what Convoy makes.
pub(crate) fn policies_and_monitors_are_those_of_the_envoys() {
    let made = made();
    let envoys = pod(&made);
    let containers = envoys["spec"]["containers"].as_array().unwrap().iter();
    let ports = containers.flat_map(|own| own["ports"].as_array().into_iter().flatten());
    let ports: BTreeMap<_, _> = ports.map(|port| (port["name"].as_str().unwrap(), port)).collect();
    let selects = |selector: &Value| {
        let wanted = selector["matchLabels"].as_object().unwrap();
        let labels = &envoys["metadata"]["labels"];
        assert!(wanted.iter().all(|(key, value)| labels[key] == *value), "{selector}");
    };
    let objects = rendered(Some("everything"));
    let policies = of_kind(&objects, "NetworkPolicy");
    let is_of_envoys = |policy: &&&Value| policy["metadata"]["name"] == "convoy-gateways";
    let policy = &policies.iter().find(is_of_envoys).unwrap()["spec"];
    selects(&policy["podSelector"]);
    let [traffic, metrics] = &policy["ingress"].as_array().unwrap()[..] else { panic!("{policy}") };
    let names = |rule: &Value| -> Vec<String> {
        let ports = rule["ports"].as_array().unwrap().iter();
        ports.map(|port| port["port"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names(traffic), &traffic["from"]),
        (vec!["http".into(), "https".into()], &Value::Null)
    );
    assert_eq!(names(metrics), ["metrics"]);
    assert!(metrics["from"].is_array(), "{metrics}");
    assert!(["http", "https", "metrics"].iter().all(|name| ports.contains_key(name)), "{ports:?}");

    let monitor = &of_kind(&objects, "PodMonitor")[0]["spec"];
    selects(&monitor["selector"]);
    assert_eq!(monitor["podMetricsEndpoints"][0]["port"], "metrics");

    // They reach xDS, as the chart's own values have it.
    let objects = rendered(None);
    let own = of_kind(&objects, "NetworkPolicy")[0];
    let key = "gateway.networking.k8s.io/gateway-name";
    let from = json!([{"podSelector": {"matchExpressions": [{"key": key, "operator": "Exists"}]}}]);
    assert_eq!(own["spec"]["ingress"][0]["from"], from, "{own}");
    assert!(envoys["metadata"]["labels"][key].is_string(), "{envoys}");
}

pub(crate) fn notes_print_what_comes_next() {
    let said = |values: Option<&str>| {
        let values = values_flag(values);
        let args = ["install", "convoy", CHART, "--dry-run=client", "--namespace", NAMESPACE];
        let args: Vec<&str> = args.into_iter().chain(values.as_deref()).collect();
        helm(&args).unwrap()
    };
    let check = |values: Option<&str>, expect: &str| {
        let said = said(values);
        assert!(said.contains(expect), "{values:?}: {said}");
    };
    check(None, "helm upgrade --install convoy-crds deploy/helm/convoy-crds");
    check(None, "convoy member add --id ID");
    check(None, "kubectl apply -f examples/zone-dr/fleet/gateway.yaml");
    let bootstrap = "convoy bootstrap --gateway GATEWAY --xds convoy.convoy-system.svc:18000";
    check(Some("brought"), &format!("{bootstrap} --xds-tls-dir certs --out .\n"));
    check(Some("bare"), "convoy certificate --gateway GATEWAY --out certs\n");
    check(Some("bare"), "No NetworkPolicy keeps strangers");
    let plaintext = "IS PLAINTEXT AND UNAUTHENTICATED";
    check(Some("development"), plaintext);
    assert!(!said(None).contains(plaintext));
}

/// Deleting a definition deletes every object of its kind.
pub(crate) fn definitions_stay_behind() {
    let check = |args: &[&str], expect: Value| {
        let text = helm(&[&["template", "convoy-crds", CRDS][..], args].concat()).unwrap();
        let definitions = objects(&text);
        assert_eq!(definitions.len(), 3, "{text}");
        for definition in definitions {
            assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], expect);
        }
    };
    check(&[], "keep".into());
    check(&["--set=keep=false"], Value::Null);
}
