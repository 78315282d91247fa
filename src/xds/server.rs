//! The ADS server: a listening socket, and a task for each stream.
//!
//! Owns the transport and its limits. Must not know the protocol. Cost: what the streams cost.

use std::{future::Future, sync::Arc, time::Duration};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    transport::{self, Server, server::TcpIncoming},
};

use crate::{
    settings::{Mechanisms, Timings},
    snapshot::Publisher,
    xds::{
        node::Resolver,
        registry::EnvoyRegistry,
        request::{self, Variant},
        service::aggregated_discovery_service_server::{
            AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
        },
        session::Rules,
        stream::{self, Shared},
        wire::Frame,
    },
};

/// A first request names everything that an Envoy holds: 40,000 resources pass tonic's 4 MB, and
/// the Envoy would reconnect for ever (xds.md 3.9).
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// An Envoy opens one stream; a few more pass while it reconnects (faults.md S15).
const MAX_STREAMS_PER_CONNECTION: u32 = 16;

/// Headers of an Envoy are a few hundred bytes (faults.md S15).
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// How long connections may take to close after their streams ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The server, not yet listening.
#[derive(Debug)]
pub struct AdsServer {
    publisher: Arc<Publisher>,
    registry: Arc<EnvoyRegistry>,
    resolve: Resolver,
    rules: Rules,
    timings: Timings,
}

impl AdsServer {
    /// A server of what `publisher` publishes, which shows its streams in `registry`.
    pub fn new(
        publisher: Arc<Publisher>,
        registry: Arc<EnvoyRegistry>,
        resolve: Resolver,
        mechanisms: &Mechanisms,
        timings: &Timings,
    ) -> AdsServer {
        let rules = Rules::new(mechanisms, timings);
        AdsServer { publisher, registry, resolve, rules, timings: *timings }
    }

    /// Serves until `shutdown` completes; then tells every Envoy to go elsewhere, ends the
    /// streams and waits a bounded time for the connections to close.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), transport::Error> {
        let (stop, stopping) = watch::channel(false);
        let mut stopped = stopping.clone();
        let drain_limit = async {
            // An error means that the server is gone, and with it what there was to drain.
            let _ = stopped.wait_for(|stopped| *stopped).await;
            sleep(DRAIN_LIMIT).await;
        };
        let signal = async {
            shutdown.await;
            stop.send_replace(true);
        };
        let AdsServer { publisher, registry, resolve, rules, timings } = self;
        let ads = Ads { shared: Shared { publisher, registry, resolve, rules, stopping } };
        let service =
            AggregatedDiscoveryServiceServer::new(ads).max_decoding_message_size(MAX_REQUEST_BYTES);
        let serving = Server::builder()
            .http2_keepalive_interval(Some(timings.keepalive_interval))
            .http2_keepalive_timeout(Some(timings.keepalive_timeout))
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .add_service(service)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                signal,
            );
        tokio::select! {
            result = serving => result,
            () = drain_limit => Ok(()),
        }
    }
}

/// The service. Cloned by nobody: tonic shares it.
#[derive(Debug)]
struct Ads {
    shared: Shared,
}

impl Ads {
    fn open<M>(&self, variant: Variant, request: Request<Streaming<M>>) -> Responses
    where
        M: Into<request::Request> + Send + 'static,
    {
        let peer = request.remote_addr();
        let (responses, stream) = mpsc::channel(1);
        let requests = request.into_inner();
        tokio::spawn(stream::run(self.shared.clone(), variant, peer, requests, responses));
        Response::new(ReceiverStream::new(stream))
    }
}

type Responses = Response<ReceiverStream<Result<Frame, Status>>>;

#[async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<Frame, Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<Frame, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Responses, Status> {
        Ok(self.open(Variant::Sotw, request))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Responses, Status> {
        Ok(self.open(Variant::Delta, request))
    }
}
