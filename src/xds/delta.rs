//! The incremental variant: how a request is read and a response is filled (xds.md 3.17).

use std::{collections::BTreeMap, mem, sync::Arc};

use crate::{
    snapshot::{Coverage, GatewayView, Kind, Version},
    xds::{
        channel::{Batch, Channel},
        ledger::Standing,
    },
};

/// Applies a request; a nonce never makes it void (xds.md 3.3). True if the client may see more
/// than before.
pub(crate) fn subscribe(
    channel: &mut Channel,
    subscribe: Vec<Arc<str>>,
    unsubscribe: Vec<Arc<str>>,
    initial: BTreeMap<Arc<str>, String>,
) -> bool {
    let effect = channel.subscription.change(subscribe, unsubscribe);
    let widens = effect.widens();
    if !effect.first {
        channel.apply(effect);
        return widens;
    }
    // Only what is subscribed: the rest would be tracked for ever.
    let claims = initial.into_iter().filter(|(name, _)| channel.subscription.sees(name));
    for (name, version) in claims.collect::<Vec<_>>() {
        channel.ledger.record(name, Version::parse(&version), Standing::Claimed);
    }
    channel.has_claims = true;
    channel.apply(effect);
    channel.touch_all();
    // A client that holds something has had its first answer on another stream.
    channel.must_answer &= channel.ledger.len() == 0;
    widens
}

/// Looks at what the client came with. While the view lacks a member, a version that was never
/// published here may hold that member: the client keeps it.
pub(crate) fn resume(channel: &mut Channel, view: &GatewayView) {
    if !mem::take(&mut channel.has_claims) || view.coverage == Coverage::Whole {
        return;
    }
    let kind = channel.kind;
    match kind {
        Kind::Cluster | Kind::Endpoint => {}
        Kind::Secret | Kind::Listener | Kind::Route => return,
    }
    let published = |name: &str, version| view.has_published(kind, name, version);
    let foreign = channel
        .ledger
        .claims()
        .filter(|(name, version)| version.is_none_or(|version| !published(name, version)));
    let foreign: Vec<_> = foreign.map(|(name, _)| name.clone()).collect();
    channel.withhold(foreign);
}

/// What is to be said now, if anything.
pub(crate) fn fill(
    channel: &mut Channel,
    view: &GatewayView,
    latest: &GatewayView,
) -> Option<Batch> {
    let budget = channel.budget();
    let due = channel.take_due(view, latest, budget);
    if due.is_empty() && !channel.must_answer {
        return None;
    }
    Some(Batch { resources: due.upserts.clone(), fresh: due.upserts, removed: due.missing })
}

/// The removal of clusters that gate G2 has let go.
pub(crate) fn remove(released: Vec<Arc<str>>) -> Batch {
    Batch { removed: released, ..Batch::default() }
}
