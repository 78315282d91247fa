//! Where the Envoys of a gateway are reached themselves: no endpoint of a member may be there
//! (faults.md S17), or a gateway would forward to itself, past whatever it asks of its clients.

use std::net::SocketAddr;

use crate::{
    bootstrap::METRICS_PORT,
    gateway::{Address, parse, publish_addresses},
    settings::GatewayDefaults,
    store,
};

/// Ports on which Envoys have their admin interface, where that is no socket: the usual one of a
/// proxy, and that of `convoy bootstrap`.
const ADMIN_PORTS: [u16; 2] = [19000, 9901];

/// Every address of the gateway that its annotations say as a number, at every port that its Envoys
/// may listen on. Of an object that is invalid, the ports that gateways have by default.
pub fn own_addresses(object: &store::Gateway, defaults: &GatewayDefaults) -> Vec<SocketAddr> {
    let addresses = publish_addresses(&object.annotations);
    if addresses.is_empty() {
        return Vec::new();
    }
    let mut ports = match parse(object, defaults).0 {
        Some(own) => {
            let ports = own.listeners.values().map(|listener| listener.port);
            let ports = ports.flat_map(|port| [port.public, port.bound]);
            ports.chain([own.ready_port]).collect()
        }
        None => vec![defaults.http_port, defaults.https_port, defaults.ready_port],
    };
    ports.push(METRICS_PORT);
    ports.extend(ADMIN_PORTS);
    let ip = |own: &Address| match own {
        Address::Ip(ip) => Some(*ip),
        Address::Hostname(_) => None,
    };
    let addresses = addresses.iter().filter_map(ip);
    addresses.flat_map(|ip| ports.iter().map(move |port| SocketAddr::new(ip, *port))).collect()
}
