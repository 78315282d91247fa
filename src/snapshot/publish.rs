//! Who is told of a new view: one newest-wins slot a gateway.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::{
    key::GatewayId,
    snapshot::{Coverage, GatewayView},
};

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
        self.forget_unused();
        self.slot(gateway, |slot| slot.subscribe())
    }

    /// Anybody can name a gateway that does not exist; its slot goes with its last stream.
    fn forget_unused(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| slot.receiver_count() > 0 || slot.borrow().is_some());
    }

    /// Replaces what a gateway's streams see. Only its own streams are woken.
    pub fn publish(&self, gateway: &GatewayId, view: Arc<GatewayView>) {
        let coverage = view.coverage;
        let old = self.slot(gateway, |slot| slot.send_replace(Some(view)));
        if old.map(|old| old.coverage).unwrap_or_default() != coverage {
            log(gateway, coverage);
        }
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

fn log(gateway: &GatewayId, coverage: Coverage) {
    match coverage {
        Coverage::Whole => tracing::info!(%gateway, "all members have been read"),
        Coverage::Awaited => {
            tracing::info!(%gateway, "a member was never read; new Envoys wait for it");
        }
        Coverage::Partial => tracing::warn!(
            %gateway,
            "a member was never read; new Envoys are served without it, others keep what they have",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Kind, Resource};

    /// The view after as many commits.
    fn view(revision: u32) -> Arc<GatewayView> {
        let resource = |n: u32| Resource::new(Kind::Cluster, "a".into(), &n.to_be_bytes(), vec![]);
        let next = |view: GatewayView, n| {
            view.commit([(Kind::Cluster, "a".into(), Some(resource(n)))]).unwrap()
        };
        Arc::new((0..revision).fold(GatewayView::default(), next))
    }

    #[test]
    fn a_gateway_that_does_not_exist_leaves_nothing_behind() {
        let publisher = Publisher::default();
        publisher.publish(&GatewayId::mse("real"), view(1));
        for n in 0..10 {
            drop(publisher.subscribe(&GatewayId::mse(&format!("typo-{n}"))));
        }
        let _stream = publisher.subscribe(&GatewayId::mse("waits"));
        let _other = publisher.subscribe(&GatewayId::mse("real"));
        let slots = publisher.slots.lock().unwrap();
        let names: Vec<_> = slots.keys().map(|id| id.name.to_string()).collect();
        assert_eq!(names, ["real", "waits"]);
    }

    #[test]
    fn only_the_streams_of_the_gateway_are_woken() {
        let publisher = Publisher::default();
        let (mut a, b) =
            (publisher.subscribe(&GatewayId::mse("a")), publisher.subscribe(&GatewayId::mse("b")));
        publisher.publish(&GatewayId::mse("a"), view(1));
        assert!(a.has_changed().unwrap());
        assert!(!b.has_changed().unwrap());
        assert_eq!(a.borrow_and_update().as_ref().map(|view| view.revision), Some(1));
    }

    #[test]
    fn a_gateway_that_is_only_waited_for_is_not_current() {
        let publisher = Publisher::default();
        let waiting = publisher.subscribe(&GatewayId::mse("later"));
        assert!(waiting.borrow().is_none());
        assert!(publisher.current().is_empty());
    }

    #[test]
    fn the_newest_view_wins() {
        let publisher = Publisher::default();
        let stream = publisher.subscribe(&GatewayId::mse("a"));
        publisher.publish(&GatewayId::mse("a"), view(1));
        publisher.publish(&GatewayId::mse("a"), view(2));
        assert_eq!(stream.borrow().as_ref().map(|view| view.revision), Some(2));
    }
}
