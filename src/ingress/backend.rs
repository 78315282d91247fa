//! Where an Ingress leads, checked: kind, name, port, and whether it may be named at all.

use crate::{
    diag::{Diag, Field, Reason},
    ingress::dns,
    key::{BackendKey, ObjectName, PortRef},
    settings::GatewayDefaults,
    store::IngressBackend,
};

/// Its Services run the cluster itself: the vendor refuses to expose them (semantics.md 1.2).
const SYSTEM_NAMESPACE: &str = "kube-system";

/// The backend of a rule of the Ingress that `at` is in, in its own namespace.
///
/// # Errors
/// Says why it is refused.
pub(super) fn parse(
    backend: &IngressBackend,
    at: &Field,
    defaults: &GatewayDefaults,
) -> Result<BackendKey, Diag> {
    let (name, port) = match backend {
        IngressBackend::Service { name, port } => (name, port),
        IngressBackend::Unsupported => {
            let message = "only backends of kind Service are served";
            return Err(Diag::error(at, Reason::UnsupportedBackend, message));
        }
    };
    let at = at.key("service");
    let service = ObjectName { namespace: at.object.name.namespace.clone(), name: name.clone() };
    if let Err(problem) = check(&service, &service.namespace, defaults) {
        return Err(Diag::error(&at.key("name"), Reason::InvalidField, problem));
    }
    match port {
        Some(port) if is_legal(port) => Ok(BackendKey { service, port: port.clone() }),
        Some(port) => {
            let message = format!("{:?} is not the name of a port", port.to_string());
            Err(Diag::error(&at.key("port"), Reason::InvalidField, message))
        }
        None => Err(Diag::error(&at.key("port"), Reason::InvalidField, "the port is missing")),
    }
}

/// Whether an object in namespace `from` may send traffic to the Service: the one place that
/// decides about references across namespaces (faults.md S7). Nothing grants one today, and the
/// answer does not depend on whether the Service exists.
///
/// # Errors
/// Says why not.
pub(super) fn check(
    service: &ObjectName,
    from: &str,
    defaults: &GatewayDefaults,
) -> Result<(), String> {
    if !is_named(service) {
        return Err(format!("{:?} is not the name of a Service", service.to_string()));
    }
    if &*service.namespace != from {
        return Err(format!("Service {service} is in another namespace, which nothing grants"));
    }
    if &*service.namespace == SYSTEM_NAMESPACE && !defaults.allow_kube_system {
        return Err(format!("Services of {SYSTEM_NAMESPACE} are not served"));
    }
    Ok(())
}

/// Whether this can be the name of a Service; of bounded length, and unambiguous in ours.
pub(super) fn is_named(service: &ObjectName) -> bool {
    dns::is_label(&service.name) && dns::is_label(&service.namespace)
}

fn is_legal(port: &PortRef) -> bool {
    match port {
        PortRef::Number(_) => true,
        PortRef::Name(name) => dns::is_label(name),
        // An Ingress cannot write it.
        PortRef::First => false,
    }
}
