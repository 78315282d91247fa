//! Ranges of addresses.

use std::{fmt, net::IpAddr};

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    /// At most the width of the address.
    bits: u8,
}

impl Cidr {
    /// `10.0.0.0/8` or `fd00::/8`; a bare address is a range of one.
    pub fn parse(text: &str) -> Option<Cidr> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width)?,
            None => width,
        };
        Some(Cidr { address, bits })
    }

    /// An address of the range.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Leading bits that its addresses share.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether some address is in both. Then one of them is within the other.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        let (wide, narrow) = if self.bits <= other.bits { (self, other) } else { (other, self) };
        wide.contains(narrow.address)
    }

    /// In order of this, whatever a range has within it comes right after it.
    pub fn rank(&self) -> (bool, u128, u8) {
        let (address, width) = match self.address {
            IpAddr::V4(own) => (own.to_bits().into(), 32),
            IpAddr::V6(own) => (own.to_bits(), 128),
        };
        let host_bits = u32::from(width - self.bits);
        let first = address.checked_shr(host_bits).unwrap_or(0).checked_shl(host_bits).unwrap_or(0);
        (self.address.is_ipv6(), first, self.bits)
    }

    /// Whether the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        // A shift by the whole width is what `/0` asks for, and `checked_shr` refuses it.
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_are_within_each_other_and_follow_each_other() {
        let check = |one: &str, other: &str, expect: bool| {
            let [one, other] = [one, other].map(|own| Cidr::parse(own).unwrap());
            assert_eq!(
                (one.overlaps(&other), other.overlaps(&one)),
                (expect, expect),
                "{one} {other}"
            );
        };
        check("10.0.0.0/8", "10.1.2.3/16", true);
        check("10.0.0.0/8", "10.0.0.0/8", true);
        check("10.0.0.0/8", "11.0.0.0/8", false);
        check("0.0.0.0/0", "11.0.0.0/8", true);
        check("0.0.0.0/0", "::/0", false);
        check("fd00::/8", "fd00::1", true);
        let mut all = ["::/0", "10.1.0.0/16", "10.9.9.9/8", "11.0.0.0/8", "0.0.0.0/0", "10.0.0.1"];
        all.sort_by_key(|own| Cidr::parse(own).unwrap().rank());
        let expect = ["0.0.0.0/0", "10.9.9.9/8", "10.0.0.1", "10.1.0.0/16", "11.0.0.0/8", "::/0"];
        assert_eq!(all, expect);
    }

    #[test]
    fn ranges_of_addresses() {
        let check = |range: &str, address: &str, expect: Option<bool>| {
            let range_of = Cidr::parse(range);
            let found = range_of.map(|range| range.contains(address.parse().unwrap()));
            assert_eq!(found, expect, "{address} in {range}");
        };
        check("10.0.0.0/8", "10.255.0.1", Some(true));
        check("10.0.0.0/8", "11.0.0.1", Some(false));
        check("10.0.0.1", "10.0.0.1", Some(true));
        check("10.0.0.1", "10.0.0.2", Some(false));
        check("0.0.0.0/0", "255.255.255.255", Some(true));
        check("0.0.0.0/0", "::1", Some(false));
        check("::/0", "fd00::1", Some(true));
        check("fd00::/8", "fe00::1", Some(false));
        check("10.0.0.0/33", "10.0.0.1", None);
        check("10.0.0.0/-1", "10.0.0.1", None);
        check("10.0.0/8", "10.0.0.1", None);
        check("fd00::/129", "fd00::1", None);
    }
}
