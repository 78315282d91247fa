//! `MseIngressConfig`, `AlbConfig` and IngressClass.

use k8s_openapi::{
    api::networking::v1::IngressClass as Manifest, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    key::ObjectName,
    source::decode::{Findings, Trimmed, typed},
    store::{ClassParameters, Gateway, GatewaySpec, IngressClass, Object},
};

const OWN_ANNOTATIONS: &str = "convoy.dev/";

const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

#[derive(Deserialize)]
struct GatewayManifest<S> {
    metadata: ObjectMeta,
    spec: Option<S>,
}

pub(super) fn mse(name: ObjectName, manifest: Value, findings: &mut Findings) -> Trimmed {
    gateway(name, manifest, "mse.alibabacloud.com/", GatewaySpec::Mse, findings)
}

pub(super) fn alb(name: ObjectName, manifest: Value, findings: &mut Findings) -> Trimmed {
    gateway(name, manifest, "alb.ingress.kubernetes.io/", GatewaySpec::Alb, findings)
}

fn gateway<S: DeserializeOwned + Default>(
    name: ObjectName,
    manifest: Value,
    vendor: &str,
    of_kind: fn(S) -> GatewaySpec,
    findings: &mut Findings,
) -> Trimmed {
    let GatewayManifest::<S> { metadata, spec } = typed(manifest)?;
    let annotations = findings.annotations(metadata.annotations, &[vendor, OWN_ANNOTATIONS]);
    let gateway = Gateway {
        name,
        uid: metadata.uid.unwrap_or_default().into(),
        generation: metadata.generation.unwrap_or_default(),
        annotations,
        spec: of_kind(spec.unwrap_or_default()),
    };
    Ok(Some(Object::Gateway(gateway.into())))
}

pub(super) fn class(name: ObjectName, manifest: Value) -> Trimmed {
    let manifest: Manifest = typed(manifest)?;
    let spec = manifest.spec.unwrap_or_default();
    let annotations = manifest.metadata.annotations.unwrap_or_default();
    let parameters = spec.parameters.map(|parameters| ClassParameters {
        api_group: parameters.api_group.unwrap_or_default().into(),
        kind: parameters.kind.into(),
        name: parameters.name.into(),
    });
    let class = IngressClass {
        name,
        controller: spec.controller.unwrap_or_default().into(),
        parameters,
        is_default: annotations.get(DEFAULT_CLASS).is_some_and(|value| value == "true"),
    };
    Ok(Some(Object::IngressClass(class.into())))
}
