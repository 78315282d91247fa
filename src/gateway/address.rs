//! Where clients reach a gateway: what `status.loadBalancer` says.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

/// An address or a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// `ip`.
    Ip(IpAddr),
    /// `hostname`.
    Hostname(Arc<str>),
}

/// Neither an IP address nor a DNS name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither an IP address nor a DNS name")]
pub struct NotAnAddress;

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Address, NotAnAddress> {
        if let Ok(ip) = text.parse() {
            return Ok(Address::Ip(ip));
        }
        let is_label = |label: &str| {
            let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=63).contains(&label.len())
                && label.bytes().all(legal)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A name whose last label is a number is a mistyped address (RFC 1123, 2.1).
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        let is_name = text.len() <= 253
            && text.split('.').all(is_label)
            && !text.rsplit('.').next().is_some_and(is_number);
        if is_name { Ok(Address::Hostname(text.into())) } else { Err(NotAnAddress) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => write!(f, "{ip}"),
            Address::Hostname(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_or_a_name() {
        let kind = |text: &str| match text.parse() {
            Ok(Address::Ip(_)) => "ip",
            Ok(Address::Hostname(_)) => "hostname",
            Err(NotAnAddress) => "neither",
        };
        for (text, expect) in [
            ("192.0.2.7", "ip"),
            ("2001:db8::7", "ip"),
            ("lb.example.com", "hostname"),
            ("lb", "hostname"),
            ("192.0.2.700", "neither"),
            ("192.0.2.7:80", "neither"),
            ("LB.example.com", "neither"),
            ("-a.example.com", "neither"),
            ("a..b", "neither"),
            ("", "neither"),
        ] {
            assert_eq!(kind(text), expect, "{text:?}");
        }
    }
}
