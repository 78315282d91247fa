//! The state-of-the-world variant: how a request is read and a response is filled (xds.md 3.17).

use std::sync::Arc;

use crate::{
    snapshot::{Coverage, GatewayView, Kind, Resource, Version},
    xds::{
        channel::{Batch, Budget, Channel},
        ledger::Standing,
    },
};

/// Applies a request. True if the client may see more than before.
pub(crate) fn subscribe(channel: &mut Channel, names: Vec<Arc<str>>, version: String) -> bool {
    if !channel.is_open() && !version.is_empty() {
        channel.resume = Some(version);
    }
    let effect = channel.subscription.list(names);
    let widens = effect.widens();
    channel.apply(effect);
    widens
}

/// Whether a client with this version holds anything; the version of an empty list is one, too.
pub(crate) fn holds_something(version: &str) -> bool {
    !version.is_empty() && !version_of(&[]).is(version)
}

/// A client that reconnects with the version of all that it sees needs no answer. An explicit
/// subscription is always answered (xds.md 3.3).
///
/// With another version nobody knows what it holds. While the view lacks a member, the client
/// keeps all of that; its clusters may be recognised later.
pub(crate) fn resume(channel: &mut Channel, view: &GatewayView) {
    if channel.frozen {
        return;
    }
    let Some(version) = channel.resume.take() else { return };
    let table = view.table(channel.kind);
    let visible: Vec<_> = channel.subscription.visible(table).cloned().collect();
    if version_of(&visible).is(&version) {
        if channel.subscription.is_wildcard() {
            for resource in visible {
                let version = Some(resource.version);
                channel.ledger.record(resource.name.clone(), version, Standing::Claimed);
            }
            channel.must_answer = false;
        }
        return;
    }
    if view.coverage == Coverage::Whole || !holds_something(&version) {
        return;
    }
    match channel.kind {
        Kind::Cluster => {
            channel.frozen = true;
            channel.resume = Some(version);
        }
        Kind::Endpoint => {
            let names: Vec<_> = channel.subscription.names().cloned().collect();
            channel.withhold(names);
        }
        Kind::Secret | Kind::Listener | Kind::Route => {}
    }
}

/// What is to be said now, if anything. `held` are clusters that must not go yet.
pub(crate) fn fill(
    channel: &mut Channel,
    view: &GatewayView,
    latest: &GatewayView,
    held: &[Arc<Resource>],
) -> Option<Batch> {
    if channel.kind.is_full_state() {
        let due = channel.take_due(view, latest, Budget::UNLIMITED);
        if due.is_empty() && !channel.must_answer {
            return None;
        }
        let batch = whole(channel, view, held, due.upserts);
        // A view that waited at the gate may lack for a moment what came back since.
        let newest = latest.table(channel.kind);
        let back = batch.removed.iter().filter(|name| newest.get(name).is_some());
        back.for_each(|name| channel.touch(name, None));
        return Some(batch);
    }
    let budget = channel.budget();
    let due = channel.take_due(view, latest, budget);
    // xds: a name that does not exist is met with silence; it stays subscribed.
    let resources = due.upserts;
    (!resources.is_empty()).then(|| Batch { fresh: resources.clone(), resources, removed: vec![] })
}

/// The removal of clusters that gate G2 has let go: all but them.
pub(crate) fn remove(channel: &Channel, view: &GatewayView, held: &[Arc<Resource>]) -> Batch {
    whole(channel, view, held, Vec::new())
}

/// All that the client holds or is to hold. Absence removes.
fn whole(
    channel: &Channel,
    view: &GatewayView,
    held: &[Arc<Resource>],
    upserts: Vec<Arc<Resource>>,
) -> Batch {
    let visible = channel.subscription.visible(view.table(channel.kind));
    // A view that waited at the gate may still have what is gone by now and was never sent.
    let news = |r: &Resource| upserts.binary_search_by(|f| f.name.cmp(&r.name)).is_ok();
    let known = visible.filter(|r| channel.ledger.holds(&r.name) || news(r));
    let mut resources: Vec<_> = known.chain(held).cloned().collect();
    resources.sort_by(|a, b| a.name.cmp(&b.name));
    // xds: who accepts the list accepts what it refused before. A held cluster may be listed at
    // a newer version than was sent.
    let open = |r: &Resource| !channel.ledger.has_accepted(&r.name, r.version);
    let fresh = resources.iter().filter(|r| news(r) || open(r)).cloned().collect();
    let absent = |name: &&Arc<str>| resources.binary_search_by(|r| r.name.cmp(name)).is_err();
    let removed = channel.ledger.names().filter(absent).cloned().collect();
    Batch { resources, fresh, removed }
}

/// The version of a response: a hash of the names and versions that it lists.
pub(crate) fn version_of(resources: &[Arc<Resource>]) -> Version {
    let mut text = String::new();
    for resource in resources {
        text.push_str(&resource.name);
        text.push_str(&resource.version.to_string());
    }
    Version::of(text.as_bytes())
}
