//! Spans: what reaches an OTLP collector, and that its death costs nothing.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response},
    routing::post,
};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    bed::{
        Bed,
        client::get,
        guide::{CLUSTER_ONE, GATEWAY, GATEWAY_NAME},
        netns::CONTROL_PLANE,
        poll::eventually,
    },
    rows::{BOTH, rows},
};

rows! { BOTH; spans_reach_the_collector_and_its_death_costs_nothing }

/// What the test needs of OTLP (opentelemetry/proto/collector/trace/v1).
mod otlp {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Export {
        #[prost(message, repeated, tag = "1")]
        pub(super) resources: Vec<ResourceSpans>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        pub(super) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(super) scopes: Vec<ScopeSpans>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(super) attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ScopeSpans {
        #[prost(message, repeated, tag = "2")]
        pub(super) spans: Vec<Span>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(string, tag = "5")]
        pub(super) name: String,
        #[prost(message, repeated, tag = "9")]
        pub(super) attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<AnyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct AnyValue {
        #[prost(string, optional, tag = "1")]
        pub(super) text: Option<String>,
    }
}

/// Attributes of a span, its name and its service's among them.
type Attributes = BTreeMap<String, String>;

/// A collector that runs.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Attributes>>>,
    server: JoinHandle<()>,
}

impl Collector {
    async fn start() -> Collector {
        let listener = TcpListener::bind((CONTROL_PLANE.ip(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let spans: Arc<Mutex<Vec<Attributes>>> = Arc::default();
        let export = post(export).with_state(spans.clone());
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let app = Router::new().route(path, export);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Collector { address, spans, server }
    }

    /// The spans of requests whose URL ends so.
    fn of(&self, mark: &str) -> Vec<Attributes> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|span| span["http.url"].ends_with(mark)).cloned().collect()
    }
}

async fn export(State(spans): State<Arc<Mutex<Vec<Attributes>>>>, body: Bytes) -> Response<Body> {
    // A message of gRPC has a flag and four bytes of length before it.
    let export = otlp::Export::decode(&body[5..]).unwrap();
    for own in export.resources {
        let service = attributes(&own.resource.unwrap().attributes);
        for span in own.scopes.into_iter().flat_map(|scope| scope.spans) {
            let mut all = attributes(&span.attributes);
            all.insert("name".into(), span.name);
            all.extend(service.clone());
            spans.lock().unwrap().push(all);
        }
    }
    let status = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(status)];
    let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Infallible>)));
    Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
}

fn attributes(of: &[otlp::KeyValue]) -> Attributes {
    let text = |own: &otlp::KeyValue| own.value.as_ref().and_then(|value| value.text.clone());
    of.iter().map(|own| (own.key.clone(), text(own).unwrap_or_default())).collect()
}

/// The guide's gateway, traced.
fn traced(collector: SocketAddr, rate: &str) -> String {
    let tracing = format!("openTelemetry: {{ sampleRate: \"{rate}\" }}");
    let spec = format!("spec:\n  monitor:\n    tracing: {{ {tracing} }}\n  common");
    let annotation = format!("  annotations:\n    convoy.dev/otlp-endpoint: \"{collector}\"\n");
    GATEWAY.replace("spec:\n  common", &spec).replace("  annotations:\n", &annotation)
}

async fn spans_reach_the_collector_and_its_death_costs_nothing(bed: &mut Bed) {
    let collector = Collector::start().await;
    bed.deploy_service1(&[("c1", 1), ("c2", 1)]);
    bed.fleet.apply("cluster-one", CLUSTER_ONE);
    bed.fleet.apply("gateway", &traced(collector.address, "0"));
    bed.start().await;
    bed.check(&[(get("/service1"), "cluster-demo-1")]).await;
    let http = bed.http();
    http.hit(20, &get("/service1?none")).await;

    bed.fleet.apply("gateway", &traced(collector.address, "100"));
    eventually(Duration::from_secs(20), "tracing is on", || async {
        http.hit(1, &get("/service1?on")).await;
        if collector.of("?on").is_empty() { Err("no span".to_owned()) } else { Ok(()) }
    })
    .await;
    http.hit(20, &get("/service1?all")).await;
    let spans = eventually(Duration::from_secs(20), "every request has a span", || async {
        let spans = collector.of("?all");
        if spans.len() == 20 { Ok(spans) } else { Err(format!("{} spans", spans.len())) }
    })
    .await;
    for span in &spans {
        assert_eq!(span["service.name"], GATEWAY_NAME, "{span:?}");
        assert_eq!(span["convoy.member"], "c1", "{span:?}");
        assert_eq!(span["convoy.ingress"], "gateway-demo/web-demo-cluster-one", "{span:?}");
        assert_eq!(span["name"], "ingress", "{span:?}");
    }
    assert!(collector.of("?none").is_empty(), "nothing is traced at a rate of 0");

    collector.server.abort();
    let replies = http.hit(300, &get("/service1?dead")).await;
    assert!(replies.envs().only("cluster-demo-1"), "{:?}", replies.envs());
}
