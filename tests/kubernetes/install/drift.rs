//! What Convoy keeps of a gateway is what it should be, whoever changes it; it goes with the gateway.

use serde_json::Value;

use super::{NAMESPACE, PATIENCE, is_rolled_out, isolation::OTHER, kept, object};
use crate::{bed::poll::eventually, scene::Scene};

/// Everything that is kept of a gateway.
const KINDS: [&str; 6] =
    ["serviceaccount", "secret", "configmap", "deployment", "service", "poddisruptionbudget"];

fn get(scene: &Scene, kind: &str) -> Result<Value, String> {
    object(&scene.world.fleet, &format!("{kind} {}", kept(OTHER)))
}

fn kubectl(scene: &Scene, verb: &str, kind: &str, words: &str) {
    let what = format!("{verb} {kind} {} -n {NAMESPACE} {words}", kept(OTHER));
    scene.world.fleet.kubectl(&what);
}

/// Waits until a field is as it was.
async fn is_mended(scene: &Scene, kind: &str, pointer: &str, was: &Value) {
    eventually(PATIENCE, &format!("{pointer} of the {kind} is mended"), || async {
        let now = get(scene, kind)?;
        let is = now.pointer(pointer).cloned().unwrap_or_default();
        if is == *was { Ok(()) } else { Err(is.to_string()) }
    })
    .await;
}

/// Edited by hand, and deleted.
pub(super) async fn drift_of_a_gateway_is_mended(scene: &mut Scene) {
    for (kind, pointer, edit) in [
        ("deployment", "/spec/replicas", r#"{"spec":{"replicas":2}}"#),
        (
            "deployment",
            "/spec/template/spec/containers/0/image",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"envoy","image":"envoy:other"}]}}}}"#,
        ),
        (
            "service",
            "/spec/ports/0/targetPort",
            r#"{"spec":{"ports":[{"port":80,"targetPort":1}]}}"#,
        ),
        ("configmap", "/data/envoy.yaml", r#"{"data":{"envoy.yaml":"nothing"}}"#),
        ("poddisruptionbudget", "/spec/maxUnavailable", r#"{"spec":{"maxUnavailable":0}}"#),
    ] {
        let was = get(scene, kind).unwrap().pointer(pointer).cloned().unwrap();
        kubectl(scene, "patch", kind, &format!("-p {edit}"));
        is_mended(scene, kind, pointer, &was).await;
    }
    for kind in KINDS {
        let was = get(scene, kind).unwrap()["metadata"]["labels"].clone();
        kubectl(scene, "delete", kind, "");
        is_mended(scene, kind, "/metadata/labels", &was).await;
    }
    is_rolled_out(scene, &kept(OTHER)).await;
}

/// An annotation for the cloud, while Convoy writes the Service again.
pub(super) async fn others_may_have_fields_of_their_own(scene: &mut Scene) {
    let pointer = "/metadata/annotations/example.com~1own";
    kubectl(scene, "annotate", "service", "example.com/own=kept");
    let was = get(scene, "service").unwrap().pointer("/spec/ports").cloned().unwrap();
    kubectl(scene, "patch", "service", r#"-p {"spec":{"ports":[{"port":80,"targetPort":1}]}}"#);
    is_mended(scene, "service", "/spec/ports", &was).await;
    let now = get(scene, "service").unwrap();
    assert_eq!(now.pointer(pointer).and_then(Value::as_str), Some("kept"), "{now}");
}

pub(super) async fn gateways_take_their_objects_with_them(scene: &mut Scene) {
    scene.world.fleet.kubectl(&format!("delete mseingressconfig {OTHER}"));
    for kind in KINDS {
        eventually(PATIENCE, &format!("the {kind} is gone"), || async {
            match get(scene, kind) {
                Err(said) if said.contains("NotFound") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}
