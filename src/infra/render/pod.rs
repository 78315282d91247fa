//! The Pods of a managed gateway: Envoy, and beside it what drains it.
//!
//! Nothing here changes with a version of Convoy but the image of `drain`: every other change restarts
//! Envoys, and long-lived connections end with them. That image is simply what the operator says. To
//! keep the old one as long as nothing else changes would make it depend on history, and new Pods
//! would need an image that nobody lists any more.

use serde_json::{Value, json};

use crate::{
    gateway::Size,
    infra::{
        Certificates, Options,
        name::{labels, object_name, selector},
        render::{
            Managed,
            config::{ADMIN_SOCKET, BOOTSTRAP, CERTIFICATES_DIR, CONFIG_DIR, RUN_DIR, files},
            fingerprint,
        },
    },
    model::name,
    settings::{READY_HOST, READY_PATH},
};

/// When this changes, Envoys are replaced. The certificate is not in it: Envoy loads a new one itself.
const CONFIG: &str = "convoy.dev/config";

/// Nobody's, as images without a shell have it. Both containers have the same, so that one may use
/// the socket of the other.
const USER: u32 = 65532;

/// From the end of the drain to the hard end of the Pod: Envoy exits within a second.
const STOP_MARGIN: u64 = 10;

/// Owner and group may read: `0440`.
const SECRET_MODE: u32 = 0o440;

/// Between two looks at readiness, in seconds.
const READY_PERIOD: u64 = 2;

/// What is asked for of the size that a gateway has: small clusters can start it, and it may use all
/// of its size where there is room. An idle Envoy takes a tenth of the smallest of these.
const REQUESTED_SHARE: u32 = 8;

pub(super) fn template(managed: &Managed, options: &Options) -> Value {
    let files = json!(files(managed, options));
    json!({
        "metadata": {
            "labels": labels(&managed.id),
            "annotations": {
                CONFIG: fingerprint(&[&files]),
                // Which container logs and shells go to.
                "kubectl.kubernetes.io/default-container": "envoy",
            },
        },
        "spec": {
            "serviceAccountName": object_name(&managed.id),
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": options.drain.as_secs() + STOP_MARGIN,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [envoy(managed, options), drain(options)],
            "volumes": volumes(managed, options),
            "topologySpreadConstraints": spread(managed),
        },
    })
}

fn envoy(managed: &Managed, options: &Options) -> Value {
    let instance = &managed.instance;
    let port =
        |name: &str, port: u16| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    let listeners = instance.ports.iter();
    let listeners = listeners.map(|(key, own)| port(&name::listener(*key), own.bound));
    let ports: Vec<_> = listeners
        .chain([
            port("metrics", crate::bootstrap::METRICS_PORT),
            port("ready", instance.ready_port),
        ])
        .collect();
    let mut mounts = vec![
        json!({"name": "config", "mountPath": CONFIG_DIR, "readOnly": true}),
        json!({"name": "run", "mountPath": RUN_DIR}),
    ];
    if has_certificates(options) {
        mounts
            .push(json!({"name": "certificates", "mountPath": CERTIFICATES_DIR, "readOnly": true}));
    }
    json!({
        "name": "envoy",
        "image": options.image,
        "args": [
            // It needs shared memory that outlives the process.
            "--disable-hot-restart",
            "--config-path", format!("{CONFIG_DIR}/{BOOTSTRAP}"),
            "--service-node", "$(POD_NAME)",
            // Of a container without a limit Envoy would count the cores of the node.
            "--concurrency", instance.size.cores().to_string(),
            // Listeners stay open until the end: a balancer may send new connections for a while.
            "--drain-time-s", options.drain.as_secs().to_string(),
            // Every answer tells its connection to end, so one that is used at all while Envoy drains
            // is not cut. Told by and by, those that are seldom used would be.
            "--drain-strategy", "immediate",
        ],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {
            "apiVersion": "v1", "fieldPath": "metadata.name",
        }}}],
        "ports": ports,
        // True only while listeners and routes are served (faults.md D1). There is no liveness probe:
        // an Envoy that waits for Convoy is not mended by a restart.
        "readinessProbe": {
            "httpGet": {
                "path": READY_PATH,
                "port": "ready",
                "httpHeaders": [{"name": "Host", "value": READY_HOST}],
            },
            "periodSeconds": READY_PERIOD,
            // Longer than the drain, in which Envoy answers 503: an endpoint that is terminating and
            // not ready gets nothing, also from a node that has no other.
            "failureThreshold": options.drain.as_secs() / READY_PERIOD + 3,
        },
        // It goes on serving while `drain` asks it to send connections away.
        "lifecycle": {"preStop": {"sleep": {"seconds": options.drain.as_secs()}}},
        "resources": resources(instance.size),
        "securityContext": confined(),
        "volumeMounts": mounts,
    })
}

fn drain(options: &Options) -> Value {
    json!({
        "name": "drain",
        "image": options.drain_image,
        "args": ["drain", "--admin", format!("unix:{ADMIN_SOCKET}")],
        // It waits for one signal.
        "resources": {
            "requests": {"cpu": "1m", "memory": "16Mi"},
            "limits": {"memory": "32Mi"},
        },
        "securityContext": confined(),
        "volumeMounts": [{"name": "run", "mountPath": RUN_DIR}],
    })
}

/// Memory is limited to the size; cores are not, because a limit would hold Envoy back in a burst on
/// a node that has nothing else to do.
fn resources(size: Size) -> Value {
    let mebi = |own: u32| match own % 1024 {
        0 => format!("{}Gi", own / 1024),
        _ => format!("{own}Mi"),
    };
    let milli = |own: u32| match own % 1000 {
        0 => format!("{}", own / 1000),
        _ => format!("{own}m"),
    };
    let memory = size.memory_gib() * 1024;
    json!({
        "requests": {
            "cpu": milli(size.cores() * 1000 / REQUESTED_SHARE),
            "memory": mebi(memory / REQUESTED_SHARE),
        },
        "limits": {"memory": mebi(memory)},
    })
}

fn confined() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

fn volumes(managed: &Managed, options: &Options) -> Vec<Value> {
    let name = object_name(&managed.id);
    let mut volumes = vec![
        json!({"name": "config", "configMap": {"name": name}}),
        json!({"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
    ];
    if has_certificates(options) {
        volumes.push(json!({
            "name": "certificates",
            "secret": {"secretName": name, "defaultMode": SECRET_MODE},
        }));
    }
    volumes
}

fn has_certificates(options: &Options) -> bool {
    match options.certificates {
        Certificates::Issued | Certificates::Brought => true,
        Certificates::None => false,
    }
}

/// Over zones, which are the vendor's vSwitches, then over nodes. A zone that is lost must not keep
/// the others from being filled, so it is asked for and not demanded.
fn spread(managed: &Managed) -> Vec<Value> {
    let constraint = |key: &str| {
        json!({
            "topologyKey": key,
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(&managed.id)},
            // Old Pods of a rollout do not count.
            "matchLabelKeys": ["pod-template-hash"],
        })
    };
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(constraint).into()
}
