//! The task of one Envoy stream: it waits, and lets the session decide.
//!
//! Owns the clock and the channels of a stream. Must not know the protocol. Cost: one task, a
//! queue of one response, and nothing that grows while the Envoy does not read.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};
use tonic::{Code, Status, Streaming};
use tracing::{Instrument, debug, info, info_span, warn};

use crate::{
    key::GatewayId,
    snapshot::{Kind, Publisher, Subscription},
    xds::{
        access::{Caller, Tokens},
        channel::Answer,
        node::agent_version,
        registry::{EnvoyRegistry, EnvoyStatus, Record, TypeStatus},
        request::{Request, Variant},
        session::{Outcome, Rules, Session},
        wire::Frame,
    },
};

/// A response that is not taken off our hands for this long: the Envoy does not read (faults.md
/// D5). It answers pings, or keepalive would have ended the connection sooner.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// How much of an Envoy's complaint is logged.
const MAX_REASON: usize = 300;

/// What all streams share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub publisher: Arc<Publisher>,
    pub registry: Arc<EnvoyRegistry>,
    /// What verifies bearer tokens, if they are accepted.
    pub tokens: Option<Tokens>,
    pub rules: Rules,
    /// True once the server stops.
    pub stopping: watch::Receiver<bool>,
}

/// Serves one stream until the Envoy or the server ends it.
pub(crate) async fn run<M: Into<Request>>(
    shared: Shared,
    variant: Variant,
    caller: Caller,
    peer: Option<SocketAddr>,
    mut requests: Streaming<M>,
    responses: mpsc::Sender<Result<Frame, Status>>,
) {
    let mut stopping = shared.stopping.clone();
    let first = tokio::select! {
        first = requests.message() => first,
        () = stopped(&mut stopping) => return,
    };
    let first: Request = match first {
        Ok(Some(first)) => first.into(),
        Ok(None) => return,
        Err(status) => {
            broken(&status);
            // The receiver is gone only if the Envoy is.
            let _ = responses.send(Err(status)).await;
            return;
        }
    };
    let (node, gateway) = match caller.gateway(first.node.as_ref()) {
        Ok(identity) => identity,
        Err(refusal) => {
            shared.registry.meter.refusals.add(refusal.kind(), peer, &refusal);
            // The receiver is gone only if the Envoy is.
            let _ = responses.send(Err(refusal.into())).await;
            return;
        }
    };
    let delta = variant == Variant::Delta;
    let span = info_span!("ads", node = %node.id, %gateway, delta);
    let record = shared.registry.open(EnvoyStatus {
        node_id: node.id.clone(),
        gateway: gateway.to_string(),
        gateway_found: false,
        is_waiting: false,
        delta,
        version: agent_version(&node),
        address: peer,
        types: Default::default(),
    });
    let stream = Stream {
        session: Session::new(variant, shared.rules),
        views: shared.publisher.subscribe(&gateway),
        record,
        stopping,
        withheld: 0,
    };
    let serve = async {
        info!(?peer, version = agent_version(&node), "envoy connected");
        warn_if_unknown(&shared.publisher, &node, &gateway);
        let end = stream.serve(first, requests, responses).await;
        info!(reason = end, "ads stream ended");
    };
    serve.instrument(span).await;
}

fn warn_if_unknown(publisher: &Publisher, node: &Node, gateway: &GatewayId) {
    let known = publisher.current();
    if !known.contains_key(gateway) {
        let known: Vec<_> = known.keys().map(GatewayId::to_string).collect();
        warn!(
            node = node.id,
            cluster = node.cluster,
            known = known.join(", "),
            "node.cluster names a gateway that does not exist; the stream waits for it",
        );
    }
}

/// A request that is refused for its size or form comes again and again: that must be seen.
fn broken(status: &Status) -> &'static str {
    if matches!(status.code(), Code::OutOfRange | Code::InvalidArgument) {
        warn!(%status, "envoy's request was refused");
        return "its request was refused";
    }
    debug!(%status, "ads request failed");
    "the connection broke"
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone: stopped as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

struct Stream {
    session: Session,
    views: Subscription,
    record: Record,
    stopping: watch::Receiver<bool>,
    /// Resources withheld when that was last shown.
    withheld: usize,
}

impl Stream {
    /// Returns why it ended.
    async fn serve<M: Into<Request>>(
        mut self,
        first: Request,
        mut requests: Streaming<M>,
        responses: mpsc::Sender<Result<Frame, Status>>,
    ) -> &'static str {
        self.on_request(first);
        self.on_view();
        // xds: 3.13, room first and then the response, so that it says what is true when it
        // leaves. While there is no room, requests and views only mark what is owed.
        let mut room = None;
        let mut waiting_since = Instant::now();
        loop {
            if let Some(permit) = room.take() {
                match self.next() {
                    Some(frame) => {
                        mpsc::Permit::send(permit, Ok(frame));
                        waiting_since = Instant::now();
                    }
                    None => room = Some(permit),
                }
            }
            let deadline = match room {
                Some(_) => self.session.deadline(),
                None => Some(waiting_since + STALL_LIMIT),
            };
            tokio::select! {
                permit = responses.reserve(), if room.is_none() => match permit {
                    Ok(permit) => room = Some(permit),
                    Err(_) => return "envoy is gone",
                },
                request = requests.message() => match request {
                    Ok(Some(request)) => self.on_request(request.into()),
                    Ok(None) => return "envoy ended it",
                    Err(status) => {
                        let reason = broken(&status);
                        if let Some(permit) = room {
                            mpsc::Permit::send(permit, Err(status));
                        }
                        return reason;
                    }
                },
                changed = self.views.changed() => match changed {
                    Ok(()) => self.on_view(),
                    Err(_) => return "nothing publishes any more",
                },
                () = sleep_until(deadline.unwrap_or(waiting_since).into()), if deadline.is_some() => {
                    if room.is_none() {
                        warn!(seconds = STALL_LIMIT.as_secs(), "envoy does not read its responses");
                        return "envoy does not read";
                    }
                }
                () = stopped(&mut self.stopping) => return "the server stops",
            }
        }
    }

    /// A deleted gateway changes nothing for its Envoys but what is shown of them.
    fn on_view(&mut self) {
        let view = self.views.borrow_and_update().clone();
        self.record.update(|status| status.gateway_found = view.is_some());
        if let Some(view) = view {
            self.record.meter().wakes.fetch_add(1, Relaxed);
            self.session.on_view(view, Instant::now());
            self.show_waiting();
        }
    }

    fn show_waiting(&self) {
        let is_waiting = self.session.is_waiting();
        self.record.update(|status| {
            if is_waiting && !status.is_waiting {
                info!("a member of the gateway is waited for; nothing is served until then");
            }
            status.is_waiting = is_waiting;
        });
    }

    fn on_request(&mut self, request: Request) {
        let url = request.type_url.clone();
        match self.session.on_request(request, Instant::now()) {
            Outcome::Subscribed(kind) => self.report(kind),
            Outcome::Answered(kind, answer) => {
                self.log_answer(kind, &answer);
                if let Some(event) = answer.event {
                    self.record.meter().propagated(kind, event.elapsed());
                }
                self.report(kind);
            }
            Outcome::Stale(kind) => {
                self.record.meter().stale_nonces.fetch_add(1, Relaxed);
                debug!(%kind, "answer to a response no longer in flight");
            }
            Outcome::UnknownType => {
                self.record.meter().unknown_types.fetch_add(1, Relaxed);
                debug!(type_url = url, "type is not served");
            }
        }
    }

    fn log_answer(&self, kind: Kind, answer: &Answer) {
        let Some(error) = &answer.error else { return };
        self.record.meter().refused(kind);
        let reason: String = error.chars().take(MAX_REASON).collect();
        warn!(%kind, resources = answer.names.len(), reason, "envoy refused a response");
    }

    fn next(&mut self) -> Option<Frame> {
        let next = self.session.next(Instant::now());
        self.show_withheld();
        let expired = self.session.take_expired();
        self.record.meter().expired_leases.fetch_add(expired, Relaxed);
        let (kind, frame) = next?;
        let bytes = frame.encoded_len();
        self.record.meter().sent(kind, bytes);
        self.report(kind);
        debug!(%kind, bytes, "response");
        Some(frame)
    }

    fn show_withheld(&mut self) {
        let withheld = Kind::ALL.map(|kind| self.session.withheld(kind)).iter().sum();
        if withheld == self.withheld {
            return;
        }
        match (self.withheld, withheld) {
            (_, 0) => info!("every member was read; nothing is withheld any more"),
            (0, resources) => {
                info!(resources, "a member was never read; the envoy keeps what may hold it");
            }
            (_, _) => {}
        }
        self.withheld = withheld;
        [Kind::Cluster, Kind::Endpoint].into_iter().for_each(|kind| self.report(kind));
    }

    /// Shows how the Envoy stands with a type.
    fn report(&self, kind: Kind) {
        let channel = self.session.channel(kind);
        // Not looked for on a stream that never refused anything, which is nearly every one.
        let refused = (channel.refusals > 0).then(|| channel.ledger.refused());
        let status = TypeStatus {
            sent: channel.ledger.len(),
            acknowledged: channel.ledger.settled(),
            refusals: channel.refusals,
            last_error: channel.last_error.clone(),
            rejected: refused.into_iter().flatten().cloned().collect(),
            withheld: self.session.withheld(kind),
        };
        self.record.update(|envoy| {
            envoy.types.insert(kind, status);
        });
    }
}
