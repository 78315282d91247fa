//! `default-backend`: the Service that gets the traffic when the routed one has no endpoint
//! (semantics.md 3.6). `name` or `namespace/name`, first port.

use crate::{
    diag::Diag,
    ingress::{annotation::Annotations, annotation::value, backend},
    key::{BackendKey, ObjectName, PortRef},
    model::{Subset, Target},
    settings::GatewayDefaults,
};

/// Reads it.
pub(super) fn parse(
    annotations: &Annotations<'_>,
    defaults: &GatewayDefaults,
    diags: &mut Vec<Diag>,
) -> Option<Target> {
    let own = &annotations.root.object.name.namespace;
    let parse = |text| service(text, own, defaults);
    let service = annotations.read("default-backend", parse, diags)?;
    Some(Target::of(BackendKey { service, port: PortRef::First }, Subset::default()))
}

fn service(text: &str, own: &str, defaults: &GatewayDefaults) -> Result<ObjectName, String> {
    let (namespace, name) = text.split_once('/').unwrap_or((own, text));
    let service = ObjectName::new(namespace, name);
    if !backend::is_named(&service) {
        return Err(format!("{} is not the name of a Service", value::quote(text)));
    }
    backend::check(&service, own, defaults)?;
    Ok(service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::with;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let defaults = GatewayDefaults::default();
        let (target, diags) = with(&[("default-backend", text)], |annotations, diags| {
            parse(annotations, &defaults, diags)
        });
        let shown = match target {
            Some(target) => target.backend().to_string(),
            None => diags.join("\n"),
        };
        assert_eq!(shown, expect);
    }

    #[test]
    fn services_of_its_own_namespace() {
        check("fallback", "ns/fallback:*");
        check("ns/fallback", "ns/fallback:*");
        let refused = |problem: &str| {
            format!("default-backend: InvalidAnnotation: {problem}; the annotation is ignored")
        };
        check(
            "other/fallback",
            &refused("Service other/fallback is in another namespace, which nothing grants"),
        );
        check("a/b/c", &refused("\"a/b/c\" is not the name of a Service"));
        check("/", &refused("\"/\" is not the name of a Service"));
        check("Fallback", &refused("\"Fallback\" is not the name of a Service"));
    }
}
