//! Which Ingresses a gateway serves: by binding of their class, else by its class rule.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    key::{GatewayId, ObjectKind, ObjectName},
    model::{ClassRule, Gateway},
    store::{ClassParameters, Ingress, IngressClass},
};

/// `spec.controller` of the IngressClasses that are ours, and the group and kind of the gateways
/// that each is bound to.
const CONTROLLERS: [(&str, &str, ObjectKind); 2] = [
    ("mse.alibabacloud.com/ingress", "mse.alibabacloud.com", ObjectKind::MseIngressConfig),
    ("ingress.k8s.alibabacloud/alb", "alibabacloud.com", ObjectKind::AlbConfig),
];
/// The annotation that older manifests name the class with; it beats the field.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// What all IngressClasses together say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// Name of each bound class, and the gateway that it is bound to.
    bound: BTreeMap<Arc<str>, GatewayId>,
    /// The class of Ingresses without one, if exactly one class of ours says so.
    default: Option<Arc<str>>,
}

impl Classes {
    /// Reads all IngressClasses of the fleet, in any order.
    pub fn new<'a>(classes: impl IntoIterator<Item = &'a IngressClass>) -> Classes {
        let mut bound = BTreeMap::new();
        let mut defaults = Vec::new();
        for class in classes {
            let own = |(controller, ..): &&(&str, &str, _)| *class.controller == **controller;
            let Some((_, group, kind)) = CONTROLLERS.iter().find(own) else { continue };
            let name = &class.name.name;
            let parameters = class.parameters.as_ref();
            if let Some(gateway) = parameters.and_then(|it| gateway(it, group, *kind)) {
                bound.insert(name.clone(), gateway);
            }
            if class.is_default {
                defaults.push(name.clone());
            }
        }
        // Two defaults contradict each other: neither is applied (semantics.md 6).
        let default = if defaults.len() == 1 { defaults.pop() } else { None };
        Classes { bound, default }
    }

    /// Whether some class is bound to the gateway.
    pub fn is_bound_to(&self, gateway: &GatewayId) -> bool {
        self.bound.values().any(|owner| owner == gateway)
    }
}

/// Whether the gateway serves the Ingress.
pub fn attaches(gateway: &Gateway, ingress: &Ingress, classes: &Classes) -> bool {
    if gateway.watch_namespace.as_ref().is_some_and(|only| *only != ingress.name.namespace) {
        return false;
    }
    let class = class_of(ingress).or(classes.default.as_deref());
    match class.and_then(|class| classes.bound.get(class)) {
        Some(owner) => *owner == gateway.id,
        None => admits(&gateway.class_rule, class),
    }
}

/// The class that the Ingress names.
fn class_of(ingress: &Ingress) -> Option<&str> {
    let annotated = ingress.annotations.get(CLASS_ANNOTATION).filter(|class| !class.is_empty());
    annotated.or(ingress.class.as_ref()).map(|class| &**class).filter(|class| !class.is_empty())
}

fn admits(rule: &ClassRule, class: Option<&str>) -> bool {
    match rule {
        ClassRule::None => false,
        ClassRule::Every => true,
        ClassRule::NginxOrNone => class.is_none_or(|class| class == "nginx"),
        ClassRule::Exactly(wanted) => class == Some(&**wanted),
    }
}

fn gateway(parameters: &ClassParameters, group: &str, kind: ObjectKind) -> Option<GatewayId> {
    let is_gateway = &*parameters.api_group == group && &*parameters.kind == kind.as_str();
    is_gateway.then(|| GatewayId { kind, name: ObjectName::cluster_scoped(&parameters.name) })
}

#[cfg(test)]
mod tests;
