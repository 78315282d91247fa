//! The addresses of the Service in front of the Envoys (`--publish-service`).
//!
//! Owns one watch of one object. While it cannot be read the last addresses stay.

use std::pin::pin;

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher::watch_object},
};
use tokio::sync::watch;
use tokio_stream::StreamExt;

use crate::{gateway::Address, key::ObjectName};

/// Publishes `fixed` and the Service's addresses, at each change of them.
pub(super) async fn follow(
    client: Client,
    name: ObjectName,
    fixed: Vec<Address>,
    addresses: watch::Sender<Vec<Address>>,
) {
    let api = Api::<Service>::namespaced(client, &name.namespace);
    let mut states = pin!(watch_object(api, &name.name).default_backoff());
    while let Some(state) = states.next().await {
        match state {
            Ok(service) => {
                let next = with(&fixed, service.as_ref());
                addresses.send_if_modified(|own| {
                    *own != next && {
                        *own = next;
                        true
                    }
                });
            }
            Err(err) => tracing::warn!(service = %name, error = %err, "cannot watch"),
        }
    }
}

/// In order, each once.
fn with(fixed: &[Address], service: Option<&Service>) -> Vec<Address> {
    let balancer = service.and_then(|own| own.status.as_ref()?.load_balancer.as_ref());
    let points = balancer.and_then(|own| own.ingress.as_ref()).into_iter().flatten();
    let texts = points.filter_map(|point| point.ip.as_ref().or(point.hostname.as_ref()));
    let mut all: Vec<_> = texts.filter_map(|text| text.parse().ok()).collect();
    all.extend_from_slice(fixed);
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_service_are_added_to_the_fixed_ones() {
        let check = |points: serde_json::Value, expect: &str| {
            let service = serde_json::json!({"status": {"loadBalancer": {"ingress": points}}});
            let service: Service = serde_json::from_value(service).unwrap();
            let fixed = ["192.0.2.7".parse().unwrap()];
            let all: Vec<_> = with(&fixed, Some(&service)).iter().map(|a| a.to_string()).collect();
            assert_eq!(all.join(" "), expect);
        };
        check(serde_json::json!([]), "192.0.2.7");
        check(serde_json::json!([{"ip": "192.0.2.7"}]), "192.0.2.7");
        check(
            serde_json::json!([{"hostname": "lb.example.com"}, {"ip": "192.0.2.1"}]),
            "192.0.2.1 192.0.2.7 lb.example.com",
        );
        assert_eq!(with(&[], None), []);
    }
}
