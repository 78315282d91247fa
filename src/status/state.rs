//! What status should say, as of the last look, and what differs from the look before.
//!
//! Owns the keys that a difference touches. Must not know requests. Cost: what differs, and every
//! gateway and member once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    admin::Report,
    diag::{Diag, DiagSet},
    gateway::Attachments,
    key::{GatewayId, ObjectName, Scope},
    settings::StatusTimings,
    status::{
        desired::GatewayStatus,
        events,
        members::{MemberRow, MemberStatus, Members, is_due},
        plan::Key,
        writer::Written,
    },
};

/// What status should say, as of the last look.
#[derive(Debug, Default)]
pub(super) struct Desired {
    pub(super) gateways: BTreeMap<GatewayId, Arc<GatewayStatus>>,
    pub(super) uids: BTreeMap<GatewayId, Arc<str>>,
    pub(super) attachments: Attachments,
    /// By the `MemberCluster` that declares the member.
    pub(super) members: BTreeMap<ObjectName, MemberRow>,
    pub(super) diags: DiagSet,
    /// When each gateway without an Envoy was first seen.
    lonely_since: BTreeMap<GatewayId, Instant>,
    /// Absence means something only after everything has been read once.
    pub(super) is_complete: bool,
}

/// What differs from one state to the next.
pub(super) struct Changes {
    pub(super) keys: Vec<Key>,
    /// Ingresses that do not exist any more.
    pub(super) gone: Vec<ObjectName>,
}

impl Desired {
    /// Takes the next state; what differs in it.
    pub(super) fn replace(
        &mut self,
        report: &Report,
        gateways: BTreeMap<GatewayId, Arc<GatewayStatus>>,
        Members { rows, findings }: Members,
        timings: &StatusTimings,
    ) -> Changes {
        let uids: BTreeMap<_, _> =
            report.declared.iter().map(|(id, own)| (id.clone(), own.uid.clone())).collect();
        let row = |own: &BTreeMap<GatewayId, Arc<GatewayStatus>>,
                   uids: &BTreeMap<_, Arc<str>>,
                   id| { own.get(id).cloned().zip(uids.get(id).cloned()) };
        let ids: BTreeSet<_> = self.gateways.keys().chain(gateways.keys()).collect();
        let changed = ids
            .into_iter()
            .filter(|id| row(&self.gateways, &self.uids, id) != row(&gateways, &uids, id));
        let mut keys: Vec<_> = changed.map(|id| Key::Gateway(id.clone())).collect();
        let points = |own: &BTreeMap<GatewayId, Arc<GatewayStatus>>, id| {
            own.get(id).map(|status| status.load_balancer.ingress.clone()).unwrap_or_default()
        };
        let moved: BTreeSet<_> = gateways
            .keys()
            .filter(|id| points(&self.gateways, id) != points(&gateways, id))
            .collect();
        if !moved.is_empty() {
            let accepted = report.attachments.accepted();
            let on_moved =
                accepted.filter(|(_, row)| row.gateways.iter().any(|id| moved.contains(id)));
            keys.extend(on_moved.map(|(name, _)| Key::Ingress(name.clone())));
        }
        let attached = report.attachments.changes(&self.attachments).cloned();
        let (here, gone): (Vec<_>, _) =
            attached.partition(|name| report.attachments.get(name).is_some());
        keys.extend(here.into_iter().map(Key::Ingress));
        let is_news = |(name, row): &(&ObjectName, &MemberRow)| {
            let before = self.members.get(*name).filter(|own| own.uid == row.uid);
            before.is_none_or(|own| is_due(&row.status, &own.status, timings))
        };
        let gone_members = self.members.keys().filter(|name| !rows.contains_key(*name));
        let members = rows.iter().filter(is_news).map(|(name, _)| name).chain(gone_members);
        keys.extend(members.cloned().map(Key::Member));
        let mut diags = report.diags.clone();
        findings.into_iter().for_each(|diag| diags.add(&Arc::new(diag)));
        keys.extend(diags.news(&self.diags).filter_map(event_key));
        self.attachments = report.attachments.clone();
        self.members = rows;
        self.diags = diags;
        self.is_complete = is_complete(report);
        (self.gateways, self.uids) = (gateways, uids);
        Changes { keys, gone }
    }

    /// Everything that has a status, and every finding.
    pub(super) fn keys(&self) -> Vec<Key> {
        let gateways = self.gateways.keys().cloned().map(Key::Gateway);
        let ingresses = self.attachments.accepted().map(|(name, _)| Key::Ingress(name.clone()));
        let events = self.diags.iter().filter_map(event_key);
        let members = self.members.keys().cloned().map(Key::Member);
        gateways.chain(ingresses).chain(members).chain(events).collect()
    }

    /// Members of whose status so much differs from what was written that it is worth a write.
    pub(super) fn members_due(
        &self,
        written: &BTreeMap<ObjectName, Written<MemberStatus>>,
        timings: &StatusTimings,
    ) -> impl Iterator<Item = &ObjectName> {
        let both =
            self.members.iter().filter_map(|(name, row)| Some((name, row, written.get(name)?)));
        let due = both.filter(|(_, row, own)| is_due(&row.status, &own.status, timings));
        due.map(|(name, ..)| name)
    }

    /// Gateways that have had no Envoy for too long.
    pub(super) fn overdue(
        &mut self,
        report: &Report,
        acknowledged: &BTreeSet<GatewayId>,
        now: Instant,
        patience: Duration,
    ) -> BTreeSet<GatewayId> {
        let lonely =
            |id: &GatewayId| report.declared.contains_key(id) && !acknowledged.contains(id);
        self.lonely_since.retain(|id, _| lonely(id));
        for id in report.declared.keys().filter(|id| lonely(id)) {
            self.lonely_since.entry(id.clone()).or_insert(now);
        }
        let overdue = self.lonely_since.iter().filter(|(_, since)| now >= **since + patience);
        overdue.map(|(id, _)| id.clone()).collect()
    }
}

/// Whether the fleet has been read, so that what is missing in it does not exist.
pub(super) fn is_complete(report: &Report) -> bool {
    report.published && !report.unsynced.contains(&Scope::Fleet)
}

fn event_key(diag: &Diag) -> Option<Key> {
    events::resource(&diag.object)?;
    Some(Key::Event(diag.object.clone(), diag.reason))
}
