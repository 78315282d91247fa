//! The audit: what was derived step by step against a rebuild from nothing (invariant 3).

use crate::{
    engine::Engine,
    key::GatewayId,
    snapshot::{GatewayView, Kind},
};

impl Engine {
    /// Rebuilds from the ground state and compares. Linear in everything: for tests and for an
    /// operator who asks.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn audit(&self) -> Result<(), String> {
        let mut fresh = Engine { store: self.store.clone(), ..Engine::new(self.settings.clone()) };
        fresh.derive(self.store.everything());
        // An invalid gateway object keeps what its last valid one made; a rebuild cannot know it.
        let ours = self.views();
        for (id, view) in fresh.views() {
            let Some(own) = ours.get(&id) else {
                return Err(format!("{id} is missing"));
            };
            compare(&id, own, &view)?;
        }
        if fresh.gateways.len() != self.gateways.len() {
            // Nor what it says and whom it serves.
            return Ok(());
        }
        // A rebuild cannot know what was accepted and is no longer.
        if !self.attachments.accepted().eq(fresh.attachments.accepted()) {
            let (own, new) = (&self.attachments, &fresh.attachments);
            return Err(format!("attachments differ: {own:?} instead of {new:?}"));
        }
        let (own, new) = (self.findings.all(), fresh.findings.all());
        if !own.iter().eq(new.iter()) {
            return Err(format!("findings differ: {own:#?} instead of {new:#?}"));
        }
        Ok(())
    }
}

fn compare(id: &GatewayId, own: &GatewayView, new: &GatewayView) -> Result<(), String> {
    if own.coverage != new.coverage {
        return Err(format!("{id}: {:?} instead of {:?}", own.coverage, new.coverage));
    }
    for kind in Kind::ALL {
        let list = |view: &GatewayView| -> Vec<_> {
            view.table(kind).iter().map(|r| (r.name.clone(), r.version)).collect()
        };
        let (own, new) = (list(own), list(new));
        if own != new {
            return Err(format!("{id}: {kind} differs: {own:?} instead of {new:?}"));
        }
    }
    Ok(())
}
