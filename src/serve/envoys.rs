//! The connected Envoys as the admin address shows them.

use std::collections::BTreeMap;

use prometheus_client::metrics::histogram::Histogram;

use crate::{
    admin::{Envoys, StreamTotals, proto},
    snapshot::Kind,
    xds::{EnvoyRegistry, EnvoyStatus, TypeStatus},
};

impl Envoys for EnvoyRegistry {
    fn connected(&self) -> Vec<proto::Envoy> {
        let mut envoys: Vec<_> = self.envoys().into_iter().map(envoy).collect();
        envoys.sort_by(|a, b| (&a.node_id, &a.address).cmp(&(&b.node_id, &b.address)));
        envoys
    }

    fn propagation(&self) -> BTreeMap<Kind, Histogram> {
        EnvoyRegistry::propagation(self)
    }

    fn totals(&self) -> BTreeMap<Kind, StreamTotals> {
        let kinds = self.counters().kinds.into_iter();
        kinds
            .map(|(kind, count)| {
                let totals = StreamTotals { responses: count.responses, refusals: count.refusals };
                (kind, totals)
            })
            .collect()
    }

    fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.counters().refused.into_iter().map(|(own, count)| (own.as_str(), count)).collect()
    }
}

fn envoy(status: EnvoyStatus) -> proto::Envoy {
    proto::Envoy {
        node_id: status.node_id,
        gateway: status.gateway,
        gateway_found: status.gateway_found,
        delta: status.delta,
        version: status.version,
        address: status.address.map(|address| address.to_string()).unwrap_or_default(),
        types: status.types.into_iter().map(type_status).collect(),
        waiting: status.is_waiting,
    }
}

fn type_status((kind, status): (Kind, TypeStatus)) -> proto::TypeStatus {
    proto::TypeStatus {
        r#type: kind.to_string(),
        sent: status.sent as u64,
        acknowledged: status.acknowledged as u64,
        refusals: status.refusals,
        last_error: status.last_error,
        rejected: status.rejected.iter().map(|name| name.to_string()).collect(),
        withheld: status.withheld as u64,
    }
}
