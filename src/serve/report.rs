//! What the admin address and the status room are told after a tick.
//!
//! Owns how the engine's state is said in the read model. Cost: linear in members, gateways and
//! their members; what is large is shared.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    admin::{EngineCounters, FleetReport, MemberReport, MemberState, Report, Trouble},
    engine::Engine,
    key::{MemberId, Scope},
    store::{Health, Locality, Member, Store},
};

/// Says the state of the moment. `has_declared`: gateway objects or their classes changed.
pub(super) fn update(report: &mut Report, engine: &Engine, has_declared: bool) {
    let store = engine.store();
    if has_declared {
        report.declared = Arc::new(engine.declared());
    }
    report.published = store.is_fleet_synced();
    report.unsynced = unsynced(store);
    report.was_ready |= report.published && report.unsynced.is_empty();
    report.fleet = fleet(store, &report.fleet);
    let gateways = engine.members().into_iter();
    report.gateways = Arc::new(gateways.map(|(id, order)| (id, order.to_vec())).collect());
    report.certificates = Arc::new(engine.certificates());
    report.members = Arc::new(members(engine));
    report.diags = match report.was_ready {
        true => engine.findings().all().clone(),
        // What only seems to be missing, because it was not read yet, is no finding.
        false => store.reports().flat_map(|(_, diags)| diags).cloned().collect(),
    };
    report.attachments = engine.attachments().clone();
    let work = engine.work();
    report.engine = EngineCounters {
        ticks: work.ticks,
        rows_recomputed: work.rows(),
        bytes_encoded: work.bytes_encoded,
    };
}

fn unsynced(store: &Store) -> Vec<Scope> {
    let fleet = (!store.is_fleet_synced()).then_some(Scope::Fleet);
    let members = store.members().filter(|(_, member)| member.is_awaited());
    fleet.into_iter().chain(members.map(|(id, _)| Scope::Member(id.clone()))).collect()
}

fn fleet(store: &Store, before: &FleetReport) -> FleetReport {
    let trouble = trouble(store.fleet_health());
    let since = trouble.as_ref().map(|_| before.trouble_since.unwrap_or_else(Instant::now));
    FleetReport { trouble, trouble_since: since }
}

fn members(engine: &Engine) -> BTreeMap<MemberId, MemberReport> {
    let store = engine.store();
    let registered = store.members().filter(|(_, member)| member.is_registered());
    let report = |member: &Member| {
        let Locality { region, zone } = member.locality();
        MemberReport {
            state: state(member),
            synced: member.is_synced(),
            services: member.service_count() as u64,
            endpoints: member.ready_endpoint_count() as u64,
            nodes: member.nodes().len() as u64,
            shared_addresses: BTreeMap::new(),
            region,
            zone,
        }
    };
    let mut members: BTreeMap<_, _> =
        registered.map(|(id, member)| (id.clone(), report(member))).collect();
    for (one, other, count) in engine.shared_addresses() {
        for (own, other) in [(one, other), (other, one)] {
            if let Some(own) = members.get_mut(own) {
                own.shared_addresses.insert(other.clone(), count as u64);
            }
        }
    }
    members
}

fn state(member: &Member) -> MemberState {
    match member.health() {
        Health::Stale { reason, message } => {
            MemberState::Stale(Trouble { reason, message: message.clone() })
        }
        // Of a directory nothing is said but that it was read.
        Health::Connecting | Health::Syncing | Health::Live if member.is_synced() => {
            MemberState::Live
        }
        Health::Connecting => MemberState::Connecting,
        Health::Syncing | Health::Live => MemberState::Syncing,
    }
}

fn trouble(health: &Health) -> Option<Trouble> {
    match health {
        Health::Connecting | Health::Syncing | Health::Live => None,
        Health::Stale { reason, message } => Some(Trouble { reason, message: message.clone() }),
    }
}
