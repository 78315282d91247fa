//! A client of the real server over loopback, for both variants of the protocol.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use convoy::{
    key::GatewayId,
    settings::{Mechanisms, Timings},
    snapshot::{Coverage, GatewayView, Kind, Publisher, Resource},
    xds::{Access, AdsServer, EnvoyRegistry, EnvoyStatus, Listener, XdsListen},
};
use envoy_types::pb::{
    envoy::{
        config::{cluster::v3::Cluster, core::v3::Node, endpoint::v3::ClusterLoadAssignment},
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::rpc,
};
use http::HeaderMap;
use prometheus_client::{encoding::text::encode, registry::Registry};
use prost::Message;
use tokio::{sync::mpsc, sync::oneshot, task::JoinHandle, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    metadata::MetadataMap,
    transport::{self, Channel, Endpoint},
};

/// Far longer than anything takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server, with what a test needs to drive and to watch it.
pub(crate) struct Bench {
    pub publisher: Arc<Publisher>,
    pub registry: Arc<EnvoyRegistry>,
    pub address: SocketAddr,
    view: GatewayView,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Bench {
    /// A server that knows no gateway yet, and asks nobody for proof.
    pub(crate) async fn start() -> Bench {
        Bench::start_with(Access::Open).await
    }

    /// The same with proof.
    pub(crate) async fn start_with(access: Access) -> Bench {
        let (publisher, registry) = <(Arc<Publisher>, Arc<EnvoyRegistry>)>::default();
        let any = XdsListen::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind(&any).await.unwrap();
        let XdsListen::Tcp(address) = listener.address().unwrap() else { panic!("not TCP") };
        let (stop, stopped) = oneshot::channel();
        let server = AdsServer::new(
            publisher.clone(),
            registry.clone(),
            &Mechanisms::ALL,
            &Timings { linger: Duration::ZERO, ..Timings::PRODUCTION },
        );
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            server.serve(listener, access, stopped).await.unwrap();
        });
        let view = GatewayView::default();
        Bench { publisher, registry, address, view, stop: Some(stop), server }
    }

    /// Publishes the view of another gateway.
    pub(crate) fn publish_other(&self, gateway: &str, content: &[(Kind, &str, u32)]) {
        let changes = content.iter().map(|(kind, name, content)| {
            (*kind, Arc::from(*name), Some(resource(*kind, name, *content)))
        });
        let view = GatewayView::default().commit(changes).expect("there is content");
        self.publisher.publish(&GatewayId::mse(gateway), Arc::new(view));
    }

    /// Publishes resources of the gateway `edge`; content `None` removes.
    pub(crate) fn publish(&mut self, changes: &[(Kind, &str, Option<u32>)]) {
        let changes = changes.iter().map(|(kind, name, content)| {
            (*kind, Arc::from(*name), content.map(|content| resource(*kind, name, content)))
        });
        self.view = self.view.commit(changes).expect("a commit changes something");
        self.view = self.view.at(Instant::now());
        self.publisher.publish(&GatewayId::mse("edge"), Arc::new(self.view.clone()));
    }

    /// Says what is known of the members of the gateway.
    pub(crate) fn know(&mut self, coverage: Coverage) {
        self.view = self.view.commit_as(coverage, []).expect("it knew something else");
        self.publisher.publish(&GatewayId::mse("edge"), Arc::new(self.view.clone()));
    }

    /// How many changes of a type were timed from the engine to an acknowledgement.
    pub(crate) fn propagated(&self, kind: Kind) -> u64 {
        let mut metrics = Registry::default();
        let histogram = self.registry.propagation()[&kind].clone();
        metrics.register("times", "Times", histogram);
        let mut text = String::new();
        encode(&mut text, &metrics).unwrap();
        text.lines().find_map(|line| line.strip_prefix("times_count ")).unwrap().parse().unwrap()
    }

    /// The version of a resource.
    pub(crate) fn version(&self, kind: Kind, name: &str) -> String {
        self.view.get(kind, name).unwrap().version.to_string()
    }

    /// The only Envoy that is connected.
    pub(crate) fn envoy(&self) -> Option<EnvoyStatus> {
        self.registry.envoys().into_iter().next()
    }

    /// Asks the server to stop.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until the server has stopped.
    pub(crate) async fn stopped(self) {
        within(self.server).await.unwrap();
    }
}

/// A real message of the kind, which says its content.
fn resource(kind: Kind, name: &str, content: u32) -> Resource {
    let bytes = match kind {
        Kind::Cluster => {
            let alt_stat_name = content.to_string();
            Cluster { name: name.into(), alt_stat_name, ..Default::default() }.encode_to_vec()
        }
        Kind::Endpoint => {
            let cluster_name = format!("{name}@{content}");
            ClusterLoadAssignment { cluster_name, ..Default::default() }.encode_to_vec()
        }
        Kind::Secret | Kind::Listener | Kind::Route => format!("{name}@{content}").into_bytes(),
    };
    Resource::new(kind, name.into(), &bytes, vec![])
}

/// Fails a test that would hang.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    time::timeout(PATIENCE, future).await.expect("nothing came")
}

/// Polls a condition.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// The node of every test.
pub(crate) fn node(cluster: &str) -> Option<Node> {
    Some(Node { id: "envoy-1".into(), cluster: cluster.into(), ..Default::default() })
}

/// A stream of either variant.
pub(crate) struct Stream<Req, Resp> {
    requests: mpsc::Sender<Req>,
    responses: Streaming<Resp>,
    node: Option<Node>,
}

pub(crate) type Delta = Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
pub(crate) type Sotw = Stream<DiscoveryRequest, DiscoveryResponse>;

impl<Req, Resp> Stream<Req, Resp> {
    /// The next response, or the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Resp>, Status> {
        within(self.responses.message()).await
    }

    /// The next response.
    pub(crate) async fn response(&mut self) -> Resp {
        self.next().await.unwrap().expect("the stream goes on")
    }

    pub(crate) async fn send(&self, request: Req) {
        self.requests.send(request).await.unwrap();
    }
}

type Client = AggregatedDiscoveryServiceClient<Channel>;

async fn channel(bench: &Bench) -> Result<Channel, transport::Error> {
    within(Endpoint::from_shared(format!("http://{}", bench.address)).unwrap().connect()).await
}

fn with<S>(headers: HeaderMap, stream: S) -> Request<S> {
    let mut request = Request::new(stream);
    *request.metadata_mut() = MetadataMap::from_headers(headers);
    request
}

impl Delta {
    /// While the server may refuse the connection.
    pub(crate) async fn try_open(bench: &Bench, node: Option<Node>) -> Result<Delta, Status> {
        let channel = channel(bench).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        Delta::open_on(channel, HeaderMap::new(), node).await
    }

    pub(crate) async fn open(bench: &Bench, node: Option<Node>) -> Delta {
        let channel = channel(bench).await.unwrap();
        Delta::open_on(channel, HeaderMap::new(), node).await.unwrap()
    }

    /// On a connection of the test's own. A server that refuses at once may say so here.
    pub(crate) async fn open_on(
        channel: Channel,
        headers: HeaderMap,
        node: Option<Node>,
    ) -> Result<Delta, Status> {
        let (requests, receiver) = mpsc::channel(4);
        let stream = with(headers, ReceiverStream::new(receiver));
        let responses = within(Client::new(channel).delta_aggregated_resources(stream)).await?;
        Ok(Stream { requests, responses: responses.into_inner(), node })
    }

    pub(crate) async fn subscribe(&mut self, kind: Kind, names: &[&str]) {
        self.resume(kind, names, HashMap::new()).await;
    }

    pub(crate) async fn resume(
        &mut self,
        kind: Kind,
        names: &[&str],
        held: HashMap<String, String>,
    ) {
        let node = self.node.take();
        self.send(DeltaDiscoveryRequest {
            node,
            type_url: kind.type_url().into(),
            resource_names_subscribe: names.iter().map(|name| name.to_string()).collect(),
            initial_resource_versions: held,
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn answer(&mut self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(refusal),
            ..Default::default()
        })
        .await;
    }
}

impl Sotw {
    pub(crate) async fn open(bench: &Bench, node: Option<Node>) -> Sotw {
        let channel = channel(bench).await.unwrap();
        Sotw::open_on(channel, HeaderMap::new(), node).await.unwrap()
    }

    /// On a connection of the test's own. A server that refuses at once may say so here.
    pub(crate) async fn open_on(
        channel: Channel,
        headers: HeaderMap,
        node: Option<Node>,
    ) -> Result<Sotw, Status> {
        let (requests, receiver) = mpsc::channel(4);
        let stream = with(headers, ReceiverStream::new(receiver));
        let responses = within(Client::new(channel).stream_aggregated_resources(stream)).await?;
        Ok(Stream { requests, responses: responses.into_inner(), node })
    }

    pub(crate) async fn subscribe(&mut self, kind: Kind, names: &[&str]) {
        self.resume(kind, names, "").await;
    }

    pub(crate) async fn resume(&mut self, kind: Kind, names: &[&str], version: &str) {
        let node = self.node.take();
        self.send(DiscoveryRequest {
            node,
            type_url: kind.type_url().into(),
            resource_names: names.iter().map(|name| name.to_string()).collect(),
            version_info: version.into(),
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn answer(
        &mut self,
        response: &DiscoveryResponse,
        names: &[&str],
        error: Option<&str>,
    ) {
        self.send(DiscoveryRequest {
            type_url: response.type_url.clone(),
            resource_names: names.iter().map(|name| name.to_string()).collect(),
            version_info: response.version_info.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(refusal),
            ..Default::default()
        })
        .await;
    }
}

fn refusal(message: &str) -> rpc::Status {
    rpc::Status { message: message.into(), ..Default::default() }
}

/// `+a -b`: what a delta response says.
pub(crate) fn said(response: &DeltaDiscoveryResponse) -> String {
    let upserts = response.resources.iter().map(|resource| format!("+{}", resource.name));
    let removed = response.removed_resources.iter().map(|name| format!("-{name}"));
    upserts.chain(removed).collect::<Vec<_>>().join(" ")
}

/// The clusters of a state-of-the-world response.
pub(crate) fn clusters(response: &DiscoveryResponse) -> Vec<String> {
    let name = |value: &[u8]| Cluster::decode(value).unwrap().name;
    response.resources.iter().map(|any| name(&any.value)).collect()
}
