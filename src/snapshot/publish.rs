//! Who is told of a new view: one newest-wins slot a gateway.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::{key::GatewayId, snapshot::GatewayView};

/// The slot of one gateway, read by the streams of its Envoys. `None` until the gateway exists.
pub type Subscription = watch::Receiver<Option<Arc<GatewayView>>>;

/// The slots of all gateways. Written by the engine's thread alone.
#[derive(Debug, Default)]
pub struct Publisher {
    slots: Mutex<BTreeMap<GatewayId, watch::Sender<Option<Arc<GatewayView>>>>>,
}

impl Publisher {
    /// The slot of a gateway, which need not exist yet: its stream waits for it to appear.
    pub fn subscribe(&self, gateway: &GatewayId) -> Subscription {
        self.slot(gateway, |slot| slot.subscribe())
    }

    /// Replaces what a gateway's streams see. Only its own streams are woken.
    pub fn publish(&self, gateway: &GatewayId, view: Arc<GatewayView>) {
        self.slot(gateway, |slot| slot.send_replace(Some(view)));
    }

    /// The gateway was deleted. Its Envoys keep what they have; new ones wait for it to come back.
    pub fn withdraw(&self, gateway: &GatewayId) {
        self.slot(gateway, |slot| slot.send_replace(None));
    }

    /// The gateways that have been published, with what is current.
    pub fn current(&self) -> BTreeMap<GatewayId, Arc<GatewayView>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let view = |slot: &watch::Sender<Option<Arc<GatewayView>>>| slot.borrow().clone();
        slots.iter().filter_map(|(id, slot)| Some((id.clone(), view(slot)?))).collect()
    }

    fn slot<T>(
        &self,
        gateway: &GatewayId,
        use_slot: impl FnOnce(&watch::Sender<Option<Arc<GatewayView>>>) -> T,
    ) -> T {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        use_slot(slots.entry(gateway.clone()).or_insert_with(|| watch::Sender::new(None)))
    }
}
