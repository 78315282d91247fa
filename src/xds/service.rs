//! The generated service trait of ADS; `build.rs` says over which codec.
#![allow(unreachable_pub)]

include!(concat!(env!("OUT_DIR"), "/envoy.service.discovery.v3.AggregatedDiscoveryService.rs"));
