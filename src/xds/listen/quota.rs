//! How many connections one address may have (faults.md S15).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// An Envoy has one; this many may share an address behind a translating router. Four such addresses
/// would be needed to take all places of handshakes.
pub(super) const MAX_CONNECTIONS: usize = 128;

/// Connections by address. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Quota(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One of the connections of an address, while it lives.
#[derive(Debug)]
pub(super) struct Slot {
    quota: Quota,
    address: IpAddr,
}

impl Quota {
    /// `None` if the address has all that it may have.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Slot> {
        let address = of_one_host(address);
        let mut table = self.table();
        let count = table.entry(address).or_default();
        if *count >= MAX_CONNECTIONS {
            return None;
        }
        *count += 1;
        Some(Slot { quota: self.clone(), address })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.quota.table();
        if let Some(count) = table.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.address);
            }
        }
    }
}

/// A host of IPv6 has a whole /64 to choose addresses from.
fn of_one_host(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = !0 << 64;
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_s15_an_address_has_no_more_than_its_share() {
        let quota = Quota::default();
        let enter = |address: &str| quota.enter(address.parse().unwrap());
        let mut slots: Vec<_> = (0..MAX_CONNECTIONS).map(|_| enter("192.0.2.1").unwrap()).collect();
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("::ffff:192.0.2.1").is_none());
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        slots.pop();
        assert!(enter("192.0.2.1").is_some());
        drop((slots, other));
        assert!(quota.table().is_empty());
    }

    #[test]
    fn fault_s15_a_host_of_ipv6_is_its_network() {
        let quota = Quota::default();
        let enter = |last: usize| quota.enter(format!("2001:db8::{last:x}").parse().unwrap());
        let slots: Vec<_> = (0..MAX_CONNECTIONS).filter_map(enter).collect();
        assert_eq!(slots.len(), MAX_CONNECTIONS);
        assert!(enter(MAX_CONNECTIONS).is_none());
        assert!(quota.enter("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
