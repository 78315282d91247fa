//! Withholding: what an Envoy keeps while a member of its gateway was never read (xds.md 3.15).
//!
//! 1. While such a member is waited for, a stream that was served nothing yet is served nothing:
//!    every backend of a gateway may be in each of its members, so a part would be half a gateway.
//! 2. Once nobody waits, a fresh Envoy is served without the member.
//! 3. An Envoy that came with clusters or endpoints keeps, without limit of time, each whose
//!    version was never published here, for it may hold something of the member: no newer one and
//!    no removal is sent. What was published here cannot hold anything of it, and is served on.
//! 4. A cluster changes only together with its endpoints. Certificates, listeners, routes and
//!    clusters that are new to the Envoy flow: a route never names what was not sent (gate G1).
//! 5. A state-of-the-world client says one version for everything. If that is not the view's, it
//!    keeps all clusters, listeners and routes; of endpoints all that it named first.
//!
//! When the members are known, all of it is owed at once. Which form a target has is not a matter
//! of this: `member::shape` counts a member that was never read as having everything.
//!
//! Owns what of that spans several types; a channel owns which of its names are withheld. Must
//! not know members. Cost: that of what changed.

use std::sync::Arc;

use crate::{
    snapshot::{Coverage, GatewayView, Kind},
    xds::{request::Variant, session::Session},
};

impl Session {
    /// Whether there is a view that is not served yet, because a member is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// How many resources of a type are withheld, because a member was never read.
    pub(crate) fn withheld(&self, kind: Kind) -> usize {
        let channel = self.channel(kind);
        match (&self.view, channel.frozen) {
            (Some(view), true) => view.table(kind).len(),
            (None, _) | (_, false) => channel.withheld(),
        }
    }

    /// Whether this view is not served yet. A stream that is served is served on, whoever joins.
    pub(super) fn must_wait(&self, view: &GatewayView) -> bool {
        self.view.is_none() && view.coverage == Coverage::Awaited
    }

    /// The view knows every member: nothing is withheld. Returns whether clusters were.
    pub(super) fn serve_all(&mut self) -> bool {
        self.channel_mut(Kind::Endpoint).serve_all();
        self.channel_mut(Kind::Cluster).serve_all()
    }

    /// Withholds clusters with their endpoints: one that changes would warm until these come. A
    /// list is withheld as a whole.
    pub(super) fn withhold_clusters(&mut self, view: &GatewayView) {
        if !self.may_hold_more_than(view) {
            return;
        }
        let endpoints = self.channel(Kind::Endpoint);
        let is_stuck = |name: &&Arc<str>| {
            let cluster = view.get(Kind::Cluster, name);
            let mut awaited = cluster.iter().flat_map(|cluster| &cluster.awaits);
            awaited.any(|(kind, name)| *kind == Kind::Endpoint && endpoints.withholds(name))
        };
        let stuck = self.channel(Kind::Cluster).changed().filter(is_stuck);
        let stuck: Vec<_> = stuck.cloned().collect();
        let variant = self.variant;
        let clusters = self.channel_mut(Kind::Cluster);
        match variant {
            Variant::Delta => clusters.withhold(stuck),
            Variant::Sotw => clusters.frozen |= !stuck.is_empty(),
        }
    }

    /// Whether nothing at all is said of this type. Of clusters it is not before the client has
    /// told which endpoints it came with.
    pub(super) fn is_silent(&self, kind: Kind, view: &GatewayView) -> bool {
        let is_told = !self.may_hold_more_than(view) || self.channel(Kind::Endpoint).is_open();
        kind == Kind::Cluster && (self.channel(kind).frozen || !is_told)
    }

    fn may_hold_more_than(&self, view: &GatewayView) -> bool {
        self.resumed && view.coverage != Coverage::Whole
    }
}
