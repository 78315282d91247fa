//! `MseIngressConfig` → gateway.
//!
//! A spec that is invalid yields no gateway at all, so that what is served already stays
//! (semantics.md 9, row 14). An annotation that is invalid is ignored by itself.

use std::sync::Arc;

use crate::{
    api::{MseIngressConfigSpec, Sampling},
    diag::{Diag, Field, Reason},
    gateway::{
        Address, Size,
        knobs::{Annotations, HTTP_PORT, HTTPS_PORT, Knobs, READY_PORT},
    },
    key::{GatewayId, MemberId, ObjectKind, ObjectName, ObjectRef},
    model::{ClassRule, Gateway, MemberOrder, Port, Tracing},
    settings::GatewayDefaults,
    store,
};

/// Members of the gateway, in order.
const REMOTE_CLUSTERS: &str = "mse.alibabacloud.com/remote-clusters";
/// Where clients reach the gateway: addresses or names, with commas between.
const PUBLISH_ADDRESS: &str = "convoy.dev/publish-address";
/// The ServiceAccount that the gateway's Envoys run as, where they prove themselves with its tokens.
const ENVOY_ACCOUNT: &str = "convoy.dev/envoy-account";

/// The vendor's range of replicas; zero is allowed.
const REPLICAS: std::ops::RangeInclusive<i64> = 0..=30;

/// The gateway that an object declares; `None` if its spec is invalid.
pub fn parse(object: &store::Gateway, defaults: &GatewayDefaults) -> (Option<Gateway>, Vec<Diag>) {
    let root = Field::of(&ObjectRef::fleet(ObjectKind::MseIngressConfig, object.name.clone()));
    let mut diags = Vec::new();
    let members = members(&object.annotations, &root, &mut diags);
    addresses(&object.annotations, &root, &mut diags);
    account(&object.annotations, &root, &mut diags);
    let mut knobs = Knobs { annotations: &object.annotations, root: &root, diags: &mut diags };
    let place = match defaults.unprivileged_ports {
        true => Port::unprivileged,
        false => Port::direct,
    };
    let http_port = place(knobs.port(HTTP_PORT, defaults.http_port));
    let https_port = place(knobs.port(HTTPS_PORT, defaults.https_port));
    // Who asks there asks the Envoy itself.
    let ready_port = place(knobs.port(READY_PORT, defaults.ready_port)).bound;
    let edge = knobs.edge();
    let preference = knobs.preference(defaults);
    let tracing = tracing(&object.spec, &mut knobs, defaults);

    let mut problems = problems(&object.spec, &root.key("spec"));
    if let Some(port) = twice([http_port.bound, https_port.bound, ready_port]) {
        problems.push(invalid(&root, format!("two listeners would use port {port}")));
    }
    let is_valid = problems.is_empty();
    diags.append(&mut problems);

    let gateway = Gateway {
        id: GatewayId { kind: ObjectKind::MseIngressConfig, name: object.name.clone() },
        members,
        preference,
        listen_address: defaults.listen_address,
        http_port,
        https_port,
        ready_port,
        edge,
        access_log: has_access_log(&object.spec),
        tracing,
        class_rule: class_rule(&object.spec),
        watch_namespace: watch_namespace(&object.spec).map(Arc::from),
    };
    (is_valid.then_some(gateway), diags)
}

/// What is wrong with the gateway while some of its members are not registered. They contribute
/// nothing, and the others are served.
pub fn unregistered(gateway: &Gateway, is_registered: &dyn Fn(&MemberId) -> bool) -> Vec<Diag> {
    let root = Field::of(&ObjectRef::fleet(gateway.id.kind, gateway.id.name.clone()));
    let missing = gateway.members.iter().filter(|id| !is_registered(id));
    let finding = |id| {
        let message = format!("no cluster `{id}` is registered: it contributes no endpoint");
        Diag::error(&root.annotation(REMOTE_CLUSTERS), Reason::ClusterNotFound, message)
    };
    missing.map(finding).collect()
}

/// The members that the annotations name, in order.
pub fn remote_clusters(annotations: &Annotations) -> MemberOrder {
    members(annotations, &nowhere(), &mut Vec::new())
}

/// Where clients reach the gateway, if its annotations say so.
pub fn publish_addresses(annotations: &Annotations) -> Vec<Address> {
    addresses(annotations, &nowhere(), &mut Vec::new())
}

/// The ServiceAccount whose tokens open the gateway, if its annotations name one.
pub fn envoy_account(annotations: &Annotations) -> Option<ObjectName> {
    account(annotations, &nowhere(), &mut Vec::new())
}

/// For callers that leave the findings to [`parse`].
fn nowhere() -> Field {
    let name = ObjectName::cluster_scoped("");
    Field::of(&ObjectRef::fleet(ObjectKind::MseIngressConfig, name))
}

/// `192.0.2.7, lb.example.com`: trimmed, without empties, ordered.
fn addresses(annotations: &Annotations, root: &Field, diags: &mut Vec<Diag>) -> Vec<Address> {
    let text = annotations.get(PUBLISH_ADDRESS).map_or("", |text| text);
    let mut addresses = Vec::new();
    for text in text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(problem) => diags.push(Diag::error(
                &root.annotation(PUBLISH_ADDRESS),
                Reason::InvalidAnnotation,
                format!("{text:?} is {problem}"),
            )),
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses
}

/// `NAMESPACE/NAME`.
fn account(annotations: &Annotations, root: &Field, diags: &mut Vec<Diag>) -> Option<ObjectName> {
    let text = annotations.get(ENVOY_ACCOUNT)?.trim();
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Some(ObjectName::new(namespace, name))
        }
        Some(_) | None => {
            let message = format!("{text:?} is not NAMESPACE/NAME; no token opens this gateway");
            let at = root.annotation(ENVOY_ACCOUNT);
            diags.push(Diag::error(&at, Reason::InvalidAnnotation, message));
            None
        }
    }
}

/// `id1, id2`: trimmed, without empties and duplicates, in order.
fn members(annotations: &Annotations, root: &Field, diags: &mut Vec<Diag>) -> MemberOrder {
    let text = annotations.get(REMOTE_CLUSTERS).map_or("", |text| text);
    let mut members: Vec<MemberId> = Vec::new();
    for id in text.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        match MemberId::new(id) {
            Some(id) if members.contains(&id) => {}
            Some(id) => members.push(id),
            None => diags.push(Diag::error(
                &root.annotation(REMOTE_CLUSTERS),
                Reason::InvalidAnnotation,
                format!("{id:?} cannot be the id of a cluster"),
            )),
        }
    }
    members.into()
}

/// A port that is there more than once.
fn twice([http, https, ready]: [u16; 3]) -> Option<u16> {
    let is_twice = |port: &u16| *port == https || *port == ready;
    Some(http).filter(is_twice).or_else(|| Some(https).filter(|port| *port == ready))
}

/// Everything that makes a spec invalid (semantics.md 1.2, Failed).
fn problems(spec: &MseIngressConfigSpec, at: &Field) -> Vec<Diag> {
    let mut found = Vec::new();
    if spec.name.as_deref() == Some("") {
        found.push(invalid(&at.key("name"), "the name is empty".into()));
    }
    let instance_at = at.key("common").key("instance");
    if let Some(instance) = spec.common.as_ref().and_then(|common| common.instance.as_ref()) {
        if let Some(size) = instance.spec.as_deref()
            && Size::named(size).is_none()
        {
            let message = format!("{size:?} is none of {}", Size::ALL.map(Size::as_str).join(", "));
            found.push(invalid(&instance_at.key("spec"), message));
        }
        if let Some(replicas) = instance.replicas
            && !REPLICAS.contains(&replicas)
        {
            let message = format!("{replicas} is not from 0 to {}", REPLICAS.end());
            found.push(invalid(&instance_at.key("replicas"), message));
        }
    }
    let tracing_at = at.key("monitor").key("tracing");
    if let Some(tracing) = spec.monitor.as_ref().and_then(|monitor| monitor.tracing.as_ref()) {
        if tracing.x_trace.is_some() && tracing.open_telemetry.is_some() {
            found.push(invalid(&tracing_at, "only one of xTrace and openTelemetry may be".into()));
        }
        found.extend(sample_rate(&tracing.x_trace, &tracing_at.key("xTrace")));
        found.extend(sample_rate(&tracing.open_telemetry, &tracing_at.key("openTelemetry")));
    }
    if let Some(namespace) = watch_namespace(spec)
        && !namespace.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        let message = format!("{namespace:?} is not one namespace");
        found.push(invalid(&at.key("ingress").key("local").key("watchNamespace"), message));
    }
    found
}

fn sample_rate(tracer: &Option<Sampling>, at: &Field) -> Option<Diag> {
    let text = tracer.as_ref()?.sample_rate.as_deref()?;
    let message = format!("{text:?} is not a number from 0 to 100");
    percentage(text).is_none().then(|| invalid(&at.key("sampleRate"), message))
}

fn percentage(text: &str) -> Option<f64> {
    text.parse().ok().filter(|rate: &f64| (0.0..=100.0).contains(rate))
}

/// `monitor.logging.sls`, also `{}` (semantics.md 1.1).
fn has_access_log(spec: &MseIngressConfigSpec) -> bool {
    let logging = spec.monitor.as_ref().and_then(|monitor| monitor.logging.as_ref());
    logging.is_some_and(|logging| logging.sls.is_some())
}

/// What is traced, if that is asked for and somebody takes the spans. Both of the vendor's tracers
/// are OpenTelemetry here.
fn tracing(
    spec: &MseIngressConfigSpec,
    knobs: &mut Knobs<'_>,
    defaults: &GatewayDefaults,
) -> Option<Tracing> {
    let collector = knobs.collector(&defaults.otlp_endpoint);
    let asked = spec.monitor.as_ref()?.tracing.as_ref()?;
    let (tracer, key, default) = match (&asked.open_telemetry, &asked.x_trace) {
        (Some(tracer), _) => (tracer, "openTelemetry", 100.0),
        (None, Some(tracer)) => (tracer, "xTrace", 0.0),
        (None, None) => return None,
    };
    // An invalid rate makes the whole spec invalid, so what is said for it here is never used.
    let rate = tracer.sample_rate.as_deref().map_or(Some(default), percentage)?;
    if rate == 0.0 {
        return None;
    }
    let Some(collector) = collector else {
        let at = knobs.root.key("spec").key("monitor").key("tracing").key(key);
        let message = "nobody takes the spans, so nothing is traced; name an OTLP/gRPC collector \
                       with the annotation `convoy.dev/otlp-endpoint: HOST:PORT`, or for all \
                       gateways with `--otlp-endpoint`";
        knobs.diags.push(Diag::warning(&at, Reason::CollectorMissing, message));
        return None;
    };
    Some(Tracing { collector, per_million: (rate * 10_000.0).round() as u32 })
}

fn class_rule(spec: &MseIngressConfigSpec) -> ClassRule {
    let local = spec.ingress.as_ref().and_then(|ingress| ingress.local.as_ref());
    match local.and_then(|local| local.ingress_class.as_deref()) {
        None => ClassRule::None,
        Some("") => ClassRule::Every,
        Some("nginx") => ClassRule::NginxOrNone,
        Some(class) => ClassRule::Exactly(class.into()),
    }
}

/// The one namespace to serve; `None` for all.
fn watch_namespace(spec: &MseIngressConfigSpec) -> Option<&str> {
    let local = spec.ingress.as_ref()?.local.as_ref()?;
    local.watch_namespace.as_deref().filter(|namespace| !namespace.is_empty())
}

fn invalid(at: &Field, message: String) -> Diag {
    Diag::error(at, Reason::InvalidGateway, message)
}

#[cfg(test)]
mod tests;
