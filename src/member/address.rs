//! Addresses that are never served, whoever claims them (faults.md F20, S17).
//!
//! A member is trusted with its own Pods, not with the gateway's host, its neighbours on the
//! link or the metadata service of its cloud. Envoy accepts all of these (M16).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services that are not link-local: AWS over IPv6, Alibaba Cloud, Oracle Cloud.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Why the address must not be served, in words that fit after "is"; `None` if it may be.
pub(super) fn forbidden(address: IpAddr, allow_loopback: bool) -> Option<&'static str> {
    if address.is_loopback() {
        return if allow_loopback { None } else { Some("a loopback address") };
    }
    if METADATA.contains(&address) {
        return Some("the address of a metadata service");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    if address.octets().first() == Some(&0) {
        Some("an unspecified address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if address.octets().first() >= Some(&240) {
        Some("a broadcast or reserved address")
    } else {
        None
    }
}

/// What carries an IPv4 address inside would be a way around the rules above.
fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_unicast_link_local() {
        Some("a link-local address")
    } else if address.to_ipv4_mapped().is_some() {
        Some("an IPv4-mapped address")
    } else if address.to_ipv4().is_some() {
        Some("an IPv4-compatible address")
    } else if address.segments().starts_with(&[0x64, 0xff9b]) {
        Some("an IPv4 address translated to IPv6")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fault_f20_forbidden_addresses() {
        for (address, reason) in [
            ("127.0.0.1", "a loopback address"),
            ("127.255.255.254", "a loopback address"),
            ("::1", "a loopback address"),
            ("0.0.0.0", "an unspecified address"),
            ("0.1.2.3", "an unspecified address"),
            ("::", "the unspecified address"),
            ("169.254.0.1", "a link-local address"),
            ("169.254.169.254", "a link-local address"),
            ("fe80::1", "a link-local address"),
            ("febf:ffff::1", "a link-local address"),
            ("fd00:ec2::254", "the address of a metadata service"),
            ("100.100.100.200", "the address of a metadata service"),
            ("192.0.0.192", "the address of a metadata service"),
            ("224.0.0.1", "a multicast address"),
            ("239.255.255.255", "a multicast address"),
            ("ff02::1", "a multicast address"),
            ("255.255.255.255", "a broadcast or reserved address"),
            ("240.0.0.1", "a broadcast or reserved address"),
            ("::ffff:10.0.0.1", "an IPv4-mapped address"),
            ("::ffff:127.0.0.1", "an IPv4-mapped address"),
            ("::10.0.0.1", "an IPv4-compatible address"),
            ("64:ff9b::a00:1", "an IPv4 address translated to IPv6"),
        ] {
            assert_eq!(forbidden(address.parse().unwrap(), false), Some(reason), "{address}");
        }
    }

    #[test]
    fn pod_addresses_are_served() {
        for address in ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd00::1"]
        {
            assert_eq!(forbidden(address.parse().unwrap(), false), None, "{address}");
        }
    }

    #[test]
    fn the_flag_allows_loopback_and_nothing_else() {
        assert_eq!(forbidden("127.0.0.1".parse().unwrap(), true), None);
        assert_eq!(forbidden("::1".parse().unwrap(), true), None);
        assert!(forbidden("::ffff:127.0.0.1".parse().unwrap(), true).is_some());
        assert!(forbidden("0.0.0.0".parse().unwrap(), true).is_some());
    }

    /// An IPv4 address that is forbidden must not come back in an IPv6 dress.
    #[test]
    fn fault_f20_no_dress_for_ipv4() {
        proptest!(|(bits: u32)| {
            let v4 = Ipv4Addr::from(bits);
            prop_assert!(forbidden(v4.to_ipv6_mapped().into(), true).is_some());
            let [a, b, c, d] = v4.octets();
            let compatible = Ipv6Addr::new(
                0, 0, 0, 0, 0, 0, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]),
            );
            let is_loopback = compatible.is_loopback();
            prop_assert!(is_loopback || forbidden(compatible.into(), true).is_some());
        });
    }
}
