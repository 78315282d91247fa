//! `/metrics`: the state of the moment in OpenMetrics text.
//!
//! Owns the names, which are a contract: prefix `convoy_`, `_total` for counters, seconds and
//! bytes as units, labels whose values the operator names or that are a closed set. Nothing is
//! counted twice: a scrape reads what the rooms already know, in a stable order.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract,
    http::header,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::{Registry, Unit},
};

use crate::{
    admin::{MemberReport, MemberState, State, proto, rejected::Rejected},
    diag::Severity,
    identity::{self, authority::Phase},
    key::{GatewayId, MemberId, ObjectRef, Scope},
    source::kube::Traffic,
};

/// The content type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Envoys that name no gateway we know share one label, so that a client cannot make labels up.
const NO_GATEWAY: &str = "none";

/// Answers one scrape.
pub(super) async fn scrape(extract::State(state): extract::State<State>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], exposition(state)).into_response()
}

/// All metrics as text.
pub(super) fn exposition(state: State) -> String {
    let mut registry = Registry::with_prefix("convoy");
    registry.register_collector(Box::new(Scrape(state)));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("invariant: a String never refuses text");
    out
}

type Labels = Vec<(&'static str, String)>;

/// One sample of a family: its labels and its value.
type Sample = (Labels, u64);

#[derive(Debug)]
struct Scrape(State);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Families(encoder);
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        out.gauge("build_info", "The version that runs", [(version, 1)])?;
        self.fleet(&mut out)?;
        self.traffic(&mut out)?;
        self.streams(&mut out)?;
        self.identity(&mut out)?;
        self.engine(&mut out)
    }
}

impl Scrape {
    /// What is served, from where, and what is wrong with it.
    fn fleet(&self, out: &mut Families<'_>) -> fmt::Result {
        let report = self.0.report.borrow().clone();
        let since = report.fleet.trouble_since.map_or(0, |since| since.elapsed().as_secs());
        let about = "Whether the fleet has been read to the end";
        out.gauge("fleet_synced", about, [(vec![], report.published.into())])?;
        let about = "Seconds since the fleet could last be read; 0 while it can";
        out.gauge("fleet_stale_seconds", about, [(vec![], since)])?;
        out.gauge("gateways", "Gateways served", [(vec![], report.gateways.len() as u64)])?;
        self.members(&report.members, out)?;
        let mut findings = BTreeMap::new();
        for diag in report.diags.iter() {
            *findings.entry((diag.severity, diag.reason)).or_default() += 1;
        }
        let findings = findings.into_iter().map(|((severity, reason), count)| {
            let severity = match severity {
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            (vec![("severity", severity.to_owned()), ("reason", reason.to_string())], count)
        });
        out.gauge("diagnostics", "Findings about objects", findings)
    }

    /// What is read of each member, and how well.
    fn members(
        &self,
        members: &BTreeMap<MemberId, MemberReport>,
        out: &mut Families<'_>,
    ) -> fmt::Result {
        let states = ["connecting", "syncing", "live", "stale"];
        let count = |state: &str| members.values().filter(|own| text(&own.state) == state).count();
        let states = states.map(|own| (vec![("state", own.to_owned())], count(own) as u64));
        out.gauge("members", "Registered members by state", states)?;
        let each = |value: fn(&MemberReport) -> u64| {
            members.iter().map(move |(id, own)| (vec![("member", id.to_string())], value(own)))
        };
        let synced = each(|own| own.synced.into());
        out.gauge("member_synced", "Whether the member has been read to the end", synced)?;
        let stale = members.iter().filter_map(|(id, own)| {
            let reason = own.trouble()?.reason.to_owned();
            Some((vec![("member", id.to_string()), ("reason", reason)], 1))
        });
        out.gauge("member_stale", "Members that cannot be read, and why", stale)?;
        out.gauge("member_services", "Services of the member", each(|own| own.services))?;
        out.gauge("member_endpoints", "Ready endpoints of the member", each(|own| own.endpoints))?;
        let about = "Nodes of the member, where its Pods are reached through them";
        out.gauge("member_nodes", about, each(|own| own.nodes))?;
        let shared = members.iter().flat_map(|(id, own)| {
            own.shared_addresses.iter().map(move |(other, count)| {
                (vec![("member", id.to_string()), ("other", other.to_string())], *count)
            })
        });
        let about = "Addresses of Pods that another member offers too";
        out.gauge("member_shared_addresses", about, shared)
    }

    /// What went to and fro with API servers.
    fn traffic(&self, out: &mut Families<'_>) -> fmt::Result {
        let registered = self.0.report.borrow().members.clone();
        let (mut fleet, mut members) = (Vec::new(), Vec::new());
        for (scope, traffic) in self.0.traffic.read() {
            match scope {
                Scope::Fleet => fleet.push((vec![], traffic)),
                Scope::Member(id) if registered.contains_key(&id) => {
                    members.push((vec![("member", id.to_string())], traffic));
                }
                Scope::Member(_) => {}
            }
        }
        for (cluster, all) in [("fleet", fleet), ("member", members)] {
            let age = |(labels, own): &(Labels, Traffic)| {
                Some((labels.clone(), own.contact_age()?.as_secs()))
            };
            let about = "Seconds since the API last gave an answer that is no error";
            out.gauge(
                &format!("{cluster}_contact_age_seconds"),
                about,
                all.iter().filter_map(age),
            )?;
            let lists = all.iter().map(|(labels, own)| (labels.clone(), own.lists));
            out.counter(&format!("{cluster}_lists"), "Complete lists of a kind", lists)?;
            let watches = all.iter().map(|(labels, own)| (labels.clone(), own.watches));
            out.counter(&format!("{cluster}_watches"), "Watches that were opened", watches)?;
            let failures = all.iter().flat_map(|(labels, own)| {
                let failure = |(reason, count): (&&'static str, &u64)| {
                    let mut labels = labels.clone();
                    labels.push(("reason", (*reason).to_owned()));
                    (labels, *count)
                };
                own.failures.iter().map(failure)
            });
            out.counter(&format!("{cluster}_read_failures"), "Requests that failed", failures)?;
        }
        Ok(())
    }

    /// Who is connected, and what went over the streams.
    fn streams(&self, out: &mut Families<'_>) -> fmt::Result {
        let gateways = self.0.report.borrow().gateways.clone();
        let mut connected: BTreeMap<String, u64> =
            gateways.keys().map(|id| (id.to_string(), 0)).collect();
        let (mut waiting, mut withheld) = (connected.clone(), connected.clone());
        for envoy in self.0.envoys.connected() {
            let label = gateway_label(gateways.keys(), &envoy);
            *waiting.entry(label.clone()).or_default() += u64::from(envoy.waiting);
            let resources: u64 = envoy.types.iter().map(|own| own.withheld).sum();
            *withheld.entry(label.clone()).or_default() += resources;
            *connected.entry(label).or_default() += 1;
        }
        let by_gateway = |counts: BTreeMap<String, u64>| {
            counts.into_iter().map(|(id, count)| (vec![("gateway", id)], count))
        };
        out.gauge("xds_envoys", "Connected Envoys by gateway", by_gateway(connected))?;
        let about = "Connected Envoys that are served nothing until a member is read or given up";
        out.gauge("xds_waiting_envoys", about, by_gateway(waiting))?;
        let about = "Resources that Envoys keep because a member was never read";
        out.gauge("xds_withheld", about, by_gateway(withheld))?;
        let refused = self.0.envoys.refused().into_iter();
        let refused = refused.map(|(reason, n)| (vec![("reason", reason.to_owned())], n));
        out.counter("xds_refused", "Connections and streams that were refused", refused)?;
        let totals = self.0.envoys.totals();
        let by_type = |value: fn(&super::StreamTotals) -> u64| {
            totals.iter().map(move |(kind, t)| (vec![("type", kind.to_string())], value(t)))
        };
        out.counter("xds_responses", "Responses sent to Envoys", by_type(|t| t.responses))?;
        out.counter("xds_nacks", "Responses that an Envoy refused", by_type(|t| t.refusals))?;
        self.rejected(out)?;
        self.propagation(out)
    }

    /// Whose configuration Envoys refuse at the moment.
    fn rejected(&self, out: &mut Families<'_>) -> fmt::Result {
        let Rejected { shown, left_out } = Rejected::of(&self.0.envoys.connected());
        let rejected = shown.into_iter().map(|((object, kind), envoys)| {
            let ObjectRef { scope: _, kind: what, name } = object;
            let labels = vec![
                ("kind", what.to_string()),
                ("namespace", name.namespace.to_string()),
                ("name", name.name.to_string()),
                ("type", kind),
            ];
            (labels, envoys)
        });
        let about = "Envoys that refuse what was made of the object";
        out.gauge("rejected_objects", about, rejected)?;
        let about = "Refused objects that have no series of their own";
        out.gauge("rejected_objects_left_out", about, [(vec![], left_out)])
    }

    /// How long changes take to reach Envoys.
    fn propagation(&self, out: &mut Families<'_>) -> fmt::Result {
        let about = "From a change at the engine to an Envoy's acknowledgement of all of it.";
        let unit = Unit::Seconds;
        let mut family =
            out.0.encode_descriptor("propagation", about, Some(&unit), MetricType::Histogram)?;
        for (kind, histogram) in self.0.envoys.propagation() {
            let labels = [("type", kind.as_str())];
            histogram.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// What xDS is served with.
    fn identity(&self, out: &mut Families<'_>) -> fmt::Result {
        let report = self.0.identity.as_ref().map(|own| own.borrow().clone());
        let failing = report.as_ref().map(|own| (vec![], own.trouble.is_some().into()));
        let identity::Report { server_end, authority_end, phase, trouble: _ } =
            report.unwrap_or_default();
        let one = |end: Option<SystemTime>| {
            end.map(|end| (vec![], end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()))
        };
        let about = "When the certificate ends that xDS is served with, in seconds since 1970";
        out.gauge("xds_certificate_end_timestamp_seconds", about, one(server_end))?;
        let about = "When the authority ends that signs it, in seconds since 1970";
        out.gauge("authority_end_timestamp_seconds", about, one(authority_end))?;
        let phases = phase.iter().flat_map(|own| {
            Phase::ALL
                .map(|each| (vec![("phase", each.as_str().to_owned())], u64::from(each == *own)))
        });
        out.gauge("authority_phase", "How far the rotation of the authority is", phases)?;
        let about = "Whether certificates cannot be read or kept; those known stay in use";
        out.gauge("certificates_failing", about, failing)
    }

    /// What was written to the fleet.
    fn status(&self, out: &mut Families<'_>) -> fmt::Result {
        let super::StatusMeter { writes, errors, dropped_events, queue, is_holder } =
            &*self.0.status;
        let one = |value: &AtomicU64| [(vec![], value.load(Relaxed))];
        out.gauge("status_holder", "Whether this replica writes status", one(is_holder))?;
        out.gauge("status_queue", "Objects that wait for a write", one(queue))?;
        out.counter("status_writes", "Requests that wrote status or an Event", one(writes))?;
        out.counter("status_write_errors", "Requests for that which failed", one(errors))?;
        out.counter("status_dropped_events", "Events without room to wait", one(dropped_events))
    }

    /// What was made for managed gateways.
    fn infra(&self, out: &mut Families<'_>) -> fmt::Result {
        let super::InfraMeter { in_order, applied, errors, unsettled } = &*self.0.infra;
        let one = |value: &AtomicU64| [(vec![], value.load(Relaxed))];
        let about = "Managed gateways some of whose objects are not as they should be";
        out.gauge("infra_unsettled_gateways", about, one(unsettled))?;
        out.counter("infra_applied", "Objects of managed gateways applied", one(applied))?;
        out.counter("infra_in_order", "Looks that found one in order", one(in_order))?;
        out.counter("infra_errors", "Objects that could not be applied", one(errors))
    }

    /// How much work changes made.
    fn engine(&self, out: &mut Families<'_>) -> fmt::Result {
        let super::EngineCounters { ticks, rows_recomputed, bytes_encoded } =
            self.0.report.borrow().engine;
        out.counter("engine_ticks", "Ticks that had something to do", [(vec![], ticks)])?;
        let rows = [(vec![], rows_recomputed)];
        out.counter("engine_rows_recomputed", "Derived rows computed again", rows)?;
        let bytes = [(vec![], bytes_encoded)];
        out.counter("engine_encoded_bytes", "Bytes of resources encoded", bytes)?;
        self.status(out)?;
        self.infra(out)?;
        let ticks = &self.0.tick_seconds;
        let about = "How long ticks of the engine took.";
        let unit = Unit::Seconds;
        ticks.encode(out.0.encode_descriptor(
            "engine_tick_duration",
            about,
            Some(&unit),
            ticks.metric_type(),
        )?)
    }
}

fn text(state: &MemberState) -> &'static str {
    match state {
        MemberState::Connecting => "connecting",
        MemberState::Syncing => "syncing",
        MemberState::Live => "live",
        MemberState::Stale(_) => "stale",
    }
}

fn gateway_label<'a>(
    gateways: impl Iterator<Item = &'a GatewayId> + Clone,
    envoy: &proto::Envoy,
) -> String {
    let found = GatewayId::find(gateways, &envoy.gateway);
    found.map_or_else(|| NO_GATEWAY.to_owned(), ToString::to_string)
}

/// Writes families in the order they are given.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn gauge(
        &mut self,
        name: &str,
        about: &str,
        samples: impl IntoIterator<Item = Sample>,
    ) -> fmt::Result {
        let about = format!("{about}.");
        let mut family = self.0.encode_descriptor(name, &about, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                family.encode_gauge(&value)?;
            } else {
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn counter(
        &mut self,
        name: &str,
        about: &str,
        samples: impl IntoIterator<Item = Sample>,
    ) -> fmt::Result {
        const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, u64>> = None;
        let about = format!("{about}.");
        let mut family = self.0.encode_descriptor(name, &about, None, MetricType::Counter)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                family.encode_counter(&value, NO_EXEMPLAR)?;
            } else {
                family.encode_family(&labels)?.encode_counter(&value, NO_EXEMPLAR)?;
            }
        }
        Ok(())
    }
}
