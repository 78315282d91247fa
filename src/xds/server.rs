//! The ADS server: HTTP/2 over the connections that `listen` lets in, and a task for each stream.
//!
//! Owns HTTP and its limits. Must not know the protocol. Cost: what the streams cost.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use http::header::CONTENT_TYPE;
use prost::Message;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    body::Body,
    codegen::Service,
    metadata::GRPC_CONTENT_TYPE,
    server::NamedService,
    transport::{self, Server},
};

use crate::{
    settings::{Mechanisms, Timings},
    snapshot::Publisher,
    xds::{
        access::{Peer, Proof, authenticate},
        listen::{Access, Listener, accept},
        registry::EnvoyRegistry,
        request::{Request, Variant},
        session::Rules,
        stream::{self, Shared},
        wire::{RequestDecoder, Responses},
    },
};

/// A first request names everything that an Envoy holds: 40,000 resources pass tonic's 4 MB, and
/// the Envoy would reconnect for ever (xds.md 3.9).
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// An Envoy opens one stream; a few more pass while it reconnects (faults.md S15).
const MAX_STREAMS_PER_CONNECTION: u32 = 16;

/// Headers of an Envoy are a few hundred bytes (faults.md S15).
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// Streams of a connection that were reset before they were served. Envoy resets none of its few; more
/// than this at once is an attack, and ends the connection (faults.md S15).
const MAX_PENDING_RESETS: usize = 16;

/// Connections that are let in and not yet taken by HTTP: it takes them at once.
const INCOMING: usize = 16;

/// How long connections may take to close after their streams ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The server, not yet listening.
#[derive(Debug)]
pub struct AdsServer {
    publisher: Arc<Publisher>,
    registry: Arc<EnvoyRegistry>,
    rules: Rules,
    timings: Timings,
}

impl AdsServer {
    /// A server of what `publisher` publishes, which shows its streams in `registry`.
    pub fn new(
        publisher: Arc<Publisher>,
        registry: Arc<EnvoyRegistry>,
        mechanisms: &Mechanisms,
        timings: &Timings,
    ) -> AdsServer {
        let rules = Rules::new(mechanisms, timings);
        AdsServer { publisher, registry, rules, timings: *timings }
    }

    /// Serves whom `access` lets in until `shutdown` completes; then tells every Envoy to go elsewhere, ends the
    /// streams and waits a bounded time for the connections to close.
    pub async fn serve(
        self,
        listener: Listener,
        access: Access,
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
        let AdsServer { publisher, registry, rules, timings } = self;
        let tokens = match &access {
            Access::Open => None,
            Access::Tls { tokens, .. } => tokens.clone(),
        };
        let (connections, incoming) = mpsc::channel(INCOMING);
        let until = stopping.clone();
        let accepting = accept(listener, access, registry.clone(), connections, until);
        let ads = Ads { shared: Shared { publisher, registry, tokens, rules, stopping } };
        let serving = Server::builder()
            .http2_keepalive_interval(Some(timings.keepalive_interval))
            .http2_keepalive_timeout(Some(timings.keepalive_timeout))
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
            .add_service(ads)
            .serve_with_incoming_shutdown(ReceiverStream::new(incoming), signal);
        // In one task, so that the socket is closed with whatever ends it.
        tokio::select! {
            (result, ()) = async { tokio::join!(serving, accepting) } => result,
            () = drain_limit => Ok(()),
        }
    }
}

/// The service: two methods, both streams. It is written by hand because the generated one would
/// put the responses through tonic's buffer (`wire::Responses`).
#[derive(Clone)]
struct Ads {
    shared: Shared,
}

impl NamedService for Ads {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for Ads {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        ready(Ok(match method {
            "DeltaAggregatedResources" => {
                self.open::<DeltaDiscoveryRequest>(Variant::Delta, request)
            }
            "StreamAggregatedResources" => self.open::<DiscoveryRequest>(Variant::Sotw, request),
            other => Status::unimplemented(format!("no method is called `{other}`")).into_http(),
        }))
    }
}

impl Ads {
    fn open<M>(&self, variant: Variant, request: http::Request<Body>) -> http::Response<Body>
    where
        M: Message + Default + Into<Request> + 'static,
    {
        let peer = request.extensions().get::<Peer>();
        let (proof, address) =
            peer.map_or((&Proof::Nothing, None), |peer| (&peer.proof, peer.address));
        let caller = match authenticate(proof, request.headers(), self.shared.tokens.as_ref()) {
            Ok(caller) => caller,
            Err(refusal) => {
                self.shared.registry.meter.refusals.add(refusal.kind(), address, &refusal);
                return Status::from(refusal).into_http();
            }
        };
        let decoder = RequestDecoder::<M>::new();
        let body = request.into_body();
        let requests = Streaming::new_request(decoder, body, None, Some(MAX_REQUEST_BYTES));
        let (responses, frames) = mpsc::channel(1);
        tokio::spawn(stream::run(
            self.shared.clone(),
            variant,
            caller,
            address,
            requests,
            responses,
        ));
        let mut response = http::Response::new(Body::new(Responses::new(frames)));
        response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
        response
    }
}
