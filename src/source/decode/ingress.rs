//! Ingress.

use std::{num::NonZeroU16, sync::Arc};

use k8s_openapi::api::networking::v1 as k8s;
use serde_json::Value;

use crate::{
    key::{ObjectName, PortRef},
    source::decode::{Findings, Refusal, Trimmed, cut, names, typed},
    store::{Ingress, IngressBackend, IngressPath, IngressRule, IngressTls, Object, PathType},
};

/// Prefixes of semantics.md 3.0, and the annotation that names the class.
const ANNOTATIONS: [&str; 6] = [
    "mse.ingress.kubernetes.io/",
    "nginx.ingress.kubernetes.io/",
    "higress.ingress.kubernetes.io/",
    "higress.io/",
    "alb.ingress.kubernetes.io/",
    "kubernetes.io/ingress.class",
];

pub(super) fn ingress(name: ObjectName, manifest: Value, findings: &mut Findings) -> Trimmed {
    let k8s::Ingress { metadata, spec, status: _ } = typed(manifest)?;
    let spec = spec.unwrap_or_default();
    let default_backend =
        spec.default_backend.map(|own| backend(own, "spec.defaultBackend", findings));
    let rules = spec.rules.into_iter().flatten().enumerate();
    let rules = rules.map(|(idx, own)| rule(own, &format!("spec.rules[{idx}]"), findings));
    let ingress = Ingress {
        name,
        uid: metadata.uid.unwrap_or_default().into(),
        created: metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
        class: spec.ingress_class_name.map(Arc::from),
        default_backend,
        rules: rules.collect::<Result<_, _>>()?,
        tls: tls(spec.tls, findings),
        annotations: findings.annotations(metadata.annotations, &ANNOTATIONS),
    };
    Ok(Some(Object::Ingress(ingress.into())))
}

fn rule(own: k8s::IngressRule, at: &str, findings: &mut Findings) -> Result<IngressRule, Refusal> {
    let paths = own.http.into_iter().flat_map(|http| http.paths).enumerate();
    let paths = paths.map(|(idx, own)| {
        let at = format!("{at}.http.paths[{idx}]");
        Ok(IngressPath {
            path: own.path.map(Arc::from),
            path_type: path_type(&own.path_type, &at)?,
            backend: backend(own.backend, &format!("{at}.backend"), findings),
        })
    });
    Ok(IngressRule { paths: paths.collect::<Result<_, _>>()?, host: own.host.map(Arc::from) })
}

fn path_type(own: &str, at: &str) -> Result<PathType, Refusal> {
    match own {
        "Exact" => Ok(PathType::Exact),
        "Prefix" => Ok(PathType::Prefix),
        "ImplementationSpecific" => Ok(PathType::ImplementationSpecific),
        "" => Ok(PathType::Unset),
        other => {
            let other = cut(other);
            let message = format!("`{other}` is none of Exact, Prefix, ImplementationSpecific");
            Err(Refusal { path: format!("{at}.pathType"), message })
        }
    }
}

/// Names of resources are formed from names of Services and ports, so only legal ones pass.
fn backend(own: k8s::IngressBackend, at: &str, findings: &mut Findings) -> IngressBackend {
    let Some(service) = own.service else { return IngressBackend::Unsupported };
    if !names::is_subdomain(&service.name) {
        let message = format!("`{}` is not a legal name of a Service", cut(&service.name));
        findings.invalid(&format!("{at}.service.name"), message);
        return IngressBackend::Unsupported;
    }
    let port = service.port.and_then(|own| port(own, &format!("{at}.service.port"), findings));
    IngressBackend::Service { name: service.name.into(), port }
}

fn port(own: k8s::ServiceBackendPort, at: &str, findings: &mut Findings) -> Option<PortRef> {
    match (own.number, own.name) {
        // Where nothing is set, a manifest may say 0 or an empty name.
        (Some(0) | None, name) => {
            let name = name.filter(|name| !name.is_empty())?;
            if !names::is_port_name(&name) {
                let message = format!("`{}` is not a legal name of a port", cut(&name));
                findings.invalid(&format!("{at}.name"), message);
                return None;
            }
            Some(PortRef::Name(name.into()))
        }
        (Some(number), _) => {
            let legal = u16::try_from(number).ok().and_then(NonZeroU16::new);
            if legal.is_none() {
                findings.invalid(&format!("{at}.number"), format!("{number} is not a port"));
            }
            legal.map(PortRef::Number)
        }
    }
}

fn tls(own: Option<Vec<k8s::IngressTLS>>, findings: &mut Findings) -> Vec<IngressTls> {
    let entries = own.into_iter().flatten().enumerate();
    let entry = |(idx, own): (usize, k8s::IngressTLS)| {
        let mut secret = own.secret_name.filter(|name| !name.is_empty());
        if let Some(name) = secret.take_if(|name| !names::is_subdomain(name)) {
            let message = format!("`{}` is not a legal name of a Secret", cut(&name));
            findings.invalid(&format!("spec.tls[{idx}].secretName"), message);
        }
        IngressTls {
            hosts: own.hosts.into_iter().flatten().map(Arc::from).collect(),
            secret: secret.map(Arc::from),
        }
    };
    entries.map(entry).collect()
}
