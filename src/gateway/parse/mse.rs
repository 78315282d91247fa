//! `MseIngressConfig` → what of a gateway its spec decides (semantics.md 1.1).

use std::{collections::BTreeMap, sync::Arc};

use super::{Own, invalid};
use crate::{
    api::{MseIngressConfigSpec, Sampling},
    diag::{Diag, Field, Reason},
    gateway::{
        Size,
        knobs::{HTTP_PORT, HTTPS_PORT, Knobs, REPLICAS},
    },
    model::{ClassRule, Edge, Listener, ListenerKey, Tracing},
    settings::GatewayDefaults,
};

/// One plaintext and one TLS listener, on ports that the annotations decide.
pub(super) fn read(
    spec: &MseIngressConfigSpec,
    knobs: &mut Knobs<'_>,
    defaults: &GatewayDefaults,
) -> Own {
    let http = knobs.port(HTTP_PORT, defaults.http_port);
    let https = knobs.port(HTTPS_PORT, defaults.https_port);
    let edge = knobs.edge(Edge::DEFAULT);
    let listener = |port| Listener { port: super::place(port, &[], defaults), edge: edge.clone() };
    Own {
        listeners: BTreeMap::from([
            (ListenerKey::HTTP, listener(http)),
            (ListenerKey::HTTPS, listener(https)),
        ]),
        access_log: has_access_log(spec),
        tracing: tracing(spec, knobs, defaults),
        class_rule: class_rule(spec),
        watch_namespace: watch_namespace(spec).map(Arc::from),
        problems: problems(spec, &knobs.root.key("spec")),
    }
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
            && !u32::try_from(replicas).is_ok_and(|own| REPLICAS.contains(&own))
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
