//! RDS: how the hosts of a listener are put into resources.
//!
//! Owns the frame around hosts that are already encoded, so that a change of one host copies
//! bytes and encodes nothing else (xds.md 3.6). Must not know what is in a host. Cost: a copy of
//! the table's bytes.

use bytes::{BufMut, Bytes};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

use crate::{
    model::{ListenerKey, name},
    resources::ready,
    snapshot::{Kind, Resource},
};

/// Field `virtual_hosts` of `RouteConfiguration`.
const VIRTUAL_HOSTS: u32 = 2;

/// One table with every host of the listener. Without hosts it answers 404, which is what a
/// listener that has lost its last host must do (xds.md 3.8). That of the gateway's
/// [`Gateway::ready_listener`] also answers for readiness.
///
/// [`Gateway::ready_listener`]: crate::model::Gateway::ready_listener
pub fn table<'a>(
    listener: ListenerKey,
    is_ready: bool,
    hosts: impl Iterator<Item = &'a Bytes>,
) -> Resource {
    let name = name::listener(listener);
    let frame = RouteConfiguration {
        name: name.to_string(),
        // `Host: a.com:8080` is a.com's; the backend still sees what was sent (semantics.md 3.10).
        ignore_port_in_host_matching: true,
        ..Default::default()
    };
    let mut message = frame.encode_to_vec();
    let mut put = |host: &Bytes| {
        encode_key(VIRTUAL_HOSTS, WireType::LengthDelimited, &mut message);
        encode_varint(host.len() as u64, &mut message);
        message.put_slice(host);
    };
    if is_ready {
        put(&ready::virtual_host());
    }
    hosts.for_each(put);
    Resource::new(Kind::Route, name, &message, Vec::new())
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::route::v3::VirtualHost;

    use super::*;

    #[test]
    fn a_table_is_its_hosts_in_order() {
        let host = |name: &str| VirtualHost { name: name.into(), ..Default::default() };
        let hosts = [host("a"), host(""), host(&"b".repeat(300))];
        let encoded: Vec<Bytes> = hosts.iter().map(|host| host.encode_to_vec().into()).collect();
        let table = table(ListenerKey::HTTPS, false, encoded.iter());
        let decoded = RouteConfiguration::decode(table.message()).unwrap();
        assert_eq!(decoded.virtual_hosts, hosts);
        assert_eq!((&*table.name, &*decoded.name), ("https", "https"));
        assert!(decoded.ignore_port_in_host_matching);
        let table = super::table(ListenerKey::HTTP, true, encoded.iter());
        let decoded = RouteConfiguration::decode(table.message()).unwrap();
        assert_eq!(decoded.virtual_hosts[0].domains, [crate::settings::READY_HOST]);
        assert_eq!(decoded.virtual_hosts[1..], hosts);
    }
}
