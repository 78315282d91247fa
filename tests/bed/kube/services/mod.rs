//! What a cluster's network does for its Services: kube-proxy, a cloud's load balancer, and names.
//!
//! Owns who listens on addresses of Services and nodes, and where that leads; the addresses of load
//! balancers; the cluster's file of names. Must not know how a Pod runs. Cost: three watches a cluster;
//! each change of a Service or EndpointSlice is worked out anew, which is little for a test's few.
//!
//! Of kube-proxy it differs in one thing: a connection is accepted before its endpoint is asked, so an
//! endpoint that refuses shows as a reset. A Service without endpoints refuses, as everywhere.

mod forwarder;
pub(super) mod names;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::pin,
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        reflector::{self, Store, reflector},
        watcher::{self, watcher},
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt};

use self::forwarder::Forwarder;
use super::{cluster::Cluster, kubelet::Steady};

/// The network of one cluster; it ends with this value.
pub(crate) struct Services(JoinHandle<()>);

impl Services {
    /// Begins to forward, to give addresses and to write names.
    pub(crate) async fn start(cluster: &Cluster) -> Services {
        let network = Network {
            client: cluster.client().await,
            pool: balancers(cluster.number),
            hosts: cluster.hosts(),
            balancers: BTreeMap::new(),
            forwarders: BTreeMap::new(),
        };
        Services(tokio::spawn(network.run()))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the load balancers of a cluster are, but for the last byte.
pub(super) fn balancers(number: u8) -> [u8; 3] {
    [10, 0, if number == super::FLEET { 1 } else { 1 + number }]
}

/// What is there, as the API says it.
pub(super) struct Known {
    services: Vec<Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
    nodes: Vec<Arc<Node>>,
}

struct Network {
    client: Client,
    pool: [u8; 3],
    hosts: PathBuf,
    /// Addresses that were given, by namespace and name of the Service.
    balancers: BTreeMap<(String, String), Ipv4Addr>,
    forwarders: BTreeMap<SocketAddr, Forwarder>,
}

impl Network {
    async fn run(mut self) {
        let (services, of_services) = follow::<Service>(&self.client);
        let (slices, of_slices) = follow::<EndpointSlice>(&self.client);
        let (nodes, of_nodes) = follow::<Node>(&self.client);
        let mut changes = pin!(of_services.merge(of_slices).merge(of_nodes));
        while changes.next().await.is_some() {
            let known =
                Known { services: services.state(), slices: slices.state(), nodes: nodes.state() };
            self.give_addresses(&known).await;
            self.forward(table::of(&known));
            names::write(&self.hosts, &names::of(&known));
        }
    }

    /// Says in the status of each Service of type LoadBalancer where its load balancer is.
    async fn give_addresses(&mut self, known: &Known) {
        let wanted: BTreeSet<_> =
            known.services.iter().filter(|it| table::is_balanced(it)).map(|it| id(it)).collect();
        self.balancers.retain(|service, _| wanted.contains(service));
        for service in known.services.iter().filter(|it| table::is_balanced(it)) {
            let address = self.balancer_of(id(service));
            if table::balancer(service) != Some(address) {
                let api: Api<Service> =
                    Api::namespaced(self.client.clone(), &service.namespace().unwrap());
                let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
                let (name, patch) = (service.name_any(), Patch::Merge(&status));
                // Gone, or the API is: the watch brings it here again.
                let _ = api.patch_status(&name, &PatchParams::default(), &patch).await;
            }
        }
    }

    /// The one it has, or the first that is free.
    fn balancer_of(&mut self, service: (String, String)) -> Ipv4Addr {
        let used: BTreeSet<_> = self.balancers.values().copied().collect();
        let [a, b, c] = self.pool;
        let mut free = (1..=254).map(|n| Ipv4Addr::new(a, b, c, n)).filter(|it| !used.contains(it));
        *self.balancers.entry(service).or_insert_with(|| free.next().unwrap())
    }

    fn forward(&mut self, table: table::Table) {
        self.forwarders.retain(|address, _| table.contains_key(address));
        for (address, targets) in table {
            match self.forwarders.get(&address) {
                Some(forwarder) => forwarder.set(targets),
                None => {
                    self.forwarders.insert(address, Forwarder::open(address, targets));
                }
            }
        }
    }
}

fn id(service: &Service) -> (String, String) {
    (service.namespace().unwrap_or_default(), service.name_any())
}

/// All objects of a kind, and a stream that has an item whenever they may have changed.
fn follow<K>(client: &Client) -> (Store<K>, impl Stream<Item = ()> + Send + use<K>)
where
    K: Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default());
    (store, reflector(writer, events.backoff(Steady)).map(drop))
}
