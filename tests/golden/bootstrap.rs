//! The bootstraps that `convoy bootstrap` prints, before a real Envoy.

use convoy::bootstrap::{
    AdminAddress, BootstrapOptions, DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_HEAP_BYTES, Variant,
    render,
};

use crate::envoy;

#[test]
fn envoy_accepts_every_variant() {
    for variant in [Variant::Delta, Variant::Sotw] {
        for (admin, xds) in [
            (AdminAddress::Unix("/tmp/convoy-golden-admin.sock".into()), "unix:/tmp/xds.sock"),
            (AdminAddress::Tcp(([127, 0, 0, 1], 0).into()), "127.0.0.1:18000"),
        ] {
            let options = BootstrapOptions {
                gateway: "web".into(),
                node_id: "web-1".into(),
                xds: xds.parse().unwrap(),
                tls: None,
                variant,
                admin,
                metrics: Some(([127, 0, 0, 1], 0).into()),
                max_heap_bytes: DEFAULT_MAX_HEAP_BYTES,
                max_connections: DEFAULT_MAX_CONNECTIONS,
            };
            envoy::validate(&render(&options)).unwrap_or_else(|why| panic!("{options:?}: {why}"));
        }
    }
}
