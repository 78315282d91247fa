//! What the charts make, and what they refuse.

use std::{env, fs, path::Path};

use serde_json::{Value, json};

use crate::program::{
    CHART, CRDS, NAMESPACE, VALUES, container, convoy, helm, objects, of_kind, pods, rendered, run,
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
    check(&["--set=gateways[0].replicas=2"], "missing property 'name'");
    check(&["--set=gateways[0].name=Web"], "at '/gateways/0/name'");
    check(&["--set=gateways[0].name=a,gateways[1].name=a"], "gateways has a twice");
    // Neither may let everybody in.
    check(&["--set-json=networkPolicy.xdsFrom=[]"], "at '/networkPolicy/xdsFrom'");
    check(&["--set-json=networkPolicy.xdsFrom=[{}]"], "at '/networkPolicy/xdsFrom/0'");
    check(&["--set=networkPolicy.xdsFrom=null"], "missing property 'xdsFrom'");
    check(&["--set=networkPolicy=null"], "missing property 'networkPolicy'");
    let secrets = "--set=rbac.secretNamespaces={shop}";
    check(&[secrets], "whose Secrets could not be read");
    let name = format!("--set=fullnameOverride={0},gateways[0].name={0}", "a".repeat(32));
    check(&[name.as_str()], "longer than the name of a Service may be");
}

/// The pod security standard `restricted`, and a root file system that is read-only.
pub(crate) fn fault_s21_every_pod_is_restricted() {
    for values in VALUES {
        for pod in pods(&rendered(values)) {
            check_restricted(pod);
        }
    }
}

fn check_restricted(pod: &Value) {
    let spec = &pod["spec"];
    let (name, container) = match container(pod, "convoy") {
        Some(container) => ("convoy", container),
        None => ("envoy", container(pod, "envoy").unwrap()),
    };
    let security = &spec["securityContext"];
    assert_eq!(security["runAsNonRoot"], true, "{pod}");
    assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}), "{pod}");
    assert_ne!(security["runAsUser"], json!(0), "{pod}");
    let expect = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "privileged": false,
        "readOnlyRootFilesystem": true,
    });
    assert_eq!(container["securityContext"], expect, "{pod}");
    assert!(container["resources"]["limits"]["memory"].is_string(), "{pod}");
    // Only Convoy asks an API for anything.
    assert_eq!(spec["automountServiceAccountToken"], json!(name == "convoy"), "{pod}");
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(spec[host], Value::Null, "{pod}");
    }
    let is_safe =
        |volume: &Value| volume.get("configMap").is_some() || volume.get("emptyDir").is_some();
    assert!(spec["volumes"].as_array().into_iter().flatten().all(is_safe), "{pod}");
}

/// The command line is parsed up to `--help`.
pub(crate) fn flags_are_those_of_serve() {
    for values in VALUES {
        let objects = rendered(values);
        let found = pods(&objects).into_iter().find_map(|pod| container(pod, "convoy"));
        let args = texts(&found.unwrap()["args"]);
        assert_eq!(args[0], "serve");
        convoy(&[&args[..], &["--help"][..]].concat()).unwrap();
    }
    convoy(&["serve", "--typo", "--help"]).unwrap_err();
}

/// The real Envoy, which then judges the bootstrap too.
pub(crate) fn envoy_understands_its_arguments() {
    let envoy = env::var("ENVOY_BIN").unwrap_or_else(|_| "envoy".to_owned());
    for values in [Some("gateway"), Some("everything")] {
        let objects = rendered(values);
        let configs = of_kind(&objects, "ConfigMap");
        let pods = pods(&objects);
        let envoys = pods.into_iter().filter_map(|pod| container(pod, "envoy"));
        for (config, container) in configs.into_iter().zip(envoys) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("envoy.yaml");
            fs::write(&file, config["data"]["envoy.yaml"].as_str().unwrap()).unwrap();
            let file = file.to_str().unwrap();
            let args = texts(&container["args"]).into_iter();
            let args = args.map(|arg| if arg == "/etc/envoy/envoy.yaml" { file } else { arg });
            let args: Vec<&str> = args.chain(["--mode", "validate"]).collect();
            assert!(args.contains(&file), "{args:?}");
            run(Path::new(&envoy), &args).unwrap();
        }
    }
}

pub(crate) fn strangers_do_not_reach_xds() {
    for values in VALUES {
        let objects = rendered(values);
        let policies = of_kind(&objects, "NetworkPolicy");
        if values == Some("bare") {
            assert!(policies.is_empty());
            continue;
        }
        let [policy] = policies[..] else { panic!("{values:?}: {policies:?}") };
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        let is_closed = |rule: &Value| rule["from"].as_array().is_some_and(|from| !from.is_empty());
        assert!(policy["spec"]["ingress"].as_array().unwrap().iter().all(is_closed), "{policy}");
        let pods = pods(&objects);
        let convoy = pods.iter().find(|pod| container(pod, "convoy").is_some()).unwrap();
        let selected = policy["spec"]["podSelector"]["matchLabels"].as_object().unwrap();
        let labels = &convoy["metadata"]["labels"];
        assert!(selected.iter().all(|(key, value)| labels[key] == *value), "{policy}");
    }
    // Those that are let in by default are the chart's own Envoys.
    let objects = rendered(Some("gateway"));
    let key = "gateway.networking.k8s.io/gateway-name";
    let from = json!([{"podSelector": {"matchExpressions": [{"key": key, "operator": "Exists"}]}}]);
    let policies = of_kind(&objects, "NetworkPolicy");
    assert_eq!(policies[0]["spec"]["ingress"][0]["from"], from);
    let pods = pods(&objects);
    let envoy = pods.iter().find(|pod| container(pod, "envoy").is_some()).unwrap();
    assert_eq!(envoy["metadata"]["labels"][key], "web");
}

pub(crate) fn notes_warn_of_plaintext() {
    let check = |values: Option<&str>, expect: &str| {
        let values = values_flag(values);
        let args = ["install", "convoy", CHART, "--dry-run=client", "--namespace", NAMESPACE];
        let args: Vec<&str> = args.into_iter().chain(values.as_deref()).collect();
        let said = helm(&args).unwrap();
        assert!(said.contains("IS PLAINTEXT AND UNAUTHENTICATED"), "{said}");
        assert!(said.contains(expect), "{said}");
    };
    check(None, "convoy member add --id ID");
    check(None, "convoy bootstrap --gateway GATEWAY --xds convoy.convoy-system.svc:18000");
    check(Some("gateway"), "rollout status deployment/convoy-web");
    check(Some("bare"), "AND NO NETWORKPOLICY PROTECTS IT");
}

/// Deleting a definition deletes every object of its kind.
pub(crate) fn definitions_stay_behind() {
    let check = |args: &[&str], expect: Value| {
        let text = helm(&[&["template", "convoy-crds", CRDS][..], args].concat()).unwrap();
        let definitions = objects(&text);
        assert_eq!(definitions.len(), 2, "{text}");
        for definition in definitions {
            assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], expect);
        }
    };
    check(&[], "keep".into());
    check(&["--set=keep=false"], Value::Null);
}
