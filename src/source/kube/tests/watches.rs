//! One watch by itself: what it takes, and when it comes again.

use axum::response::Response;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use super::{
    fake::{Fake, Request, raw, refusal, service, silence},
    *,
};
use crate::{
    key::Scope,
    source::kube::{
        link::Link,
        request::{Fault, MAX_ANSWER_BYTES, MAX_EVENT_BYTES},
        watch::{self, News, Post, Seen, Watched},
    },
    store::Object,
};

/// A watch of a kind, and what it tells.
struct Told(mpsc::Receiver<((), News)>);

impl Told {
    async fn new<K: kube::Resource<DynamicType = ()>>(fake: &Fake, kind: ObjectKind) -> Told {
        let is_of_fleet = kind == ObjectKind::Secret;
        let scope = if is_of_fleet { Scope::Fleet } else { Scope::Member(member("c1")) };
        let mut config = kube::Config::new(fake.serve().await.parse().unwrap());
        config.default_retry = false;
        let meter = SourceMeter::default().of(scope.clone());
        let link = Link::new(Client::try_from(config).unwrap(), meter);
        let (news, told) = mpsc::channel(1);
        let watched = Watched::of::<K>(scope, kind);
        tokio::spawn(watch::run(link, watched, Post { key: (), news }, TIMINGS()));
        Told(told)
    }

    async fn services(fake: &Fake) -> Told {
        Told::new::<k8s_openapi::api::core::v1::Service>(fake, ObjectKind::Service).await
    }

    async fn next(&mut self) -> News {
        timeout(PATIENCE, self.0.recv()).await.expect("news").expect("the watch goes on").1
    }

    async fn failure(&mut self) -> Fault {
        loop {
            if let News::Failed(trouble) = self.next().await {
                return trouble.fault;
            }
        }
    }

    async fn list(&mut self) -> Vec<Seen> {
        loop {
            if let News::Listed(all) = self.next().await {
                return all.into_iter().map(|own| own.seen).collect();
            }
        }
    }
}

/// Answers the first list, or the first watch, with something else.
fn once(
    is_watch: bool,
    mut answer: impl FnMut() -> Response + Send + 'static,
) -> impl FnMut(&Request) -> Option<Response> + Send {
    let mut left = 1;
    move |request| {
        let is_hit = request.is_watch == is_watch && left > 0;
        left -= usize::from(is_hit);
        is_hit.then(&mut answer)
    }
}

#[tokio::test]
async fn fault_a13_answers_and_events_without_end_are_refused() {
    let endless = |max: usize| move || raw(200, "x".repeat(max + 1));
    for trick in [once(false, endless(MAX_ANSWER_BYTES)), once(true, endless(MAX_EVENT_BYTES))] {
        let fake = Fake::new("u1");
        fake.put("services", service("web"));
        fake.trick(trick);
        let mut told = Told::services(&fake).await;
        assert_eq!(told.failure().await, Fault::LimitExceeded);
        assert_eq!(told.list().await.len(), 1);
    }
}

/// Of large objects, pages of 500 are too long to be read.
#[tokio::test]
async fn fault_a13_a_list_of_large_objects_is_read_in_shorter_pages() {
    let fake = Fake::new("u1");
    fake.put("services", service("web"));
    fake.trick(|request| {
        let is_long =
            request.is_list("services") && request.number("limit").is_none_or(|own| own > 125);
        is_long.then(|| raw(200, "x".repeat(MAX_ANSWER_BYTES + 1)))
    });
    let mut told = Told::services(&fake).await;
    assert_eq!(told.list().await.len(), 1);
    let limits: Vec<_> = fake.log().iter().filter_map(|request| request.number("limit")).collect();
    assert_eq!(limits, [500, 250, 125]);
}

#[tokio::test]
async fn fault_b08_a_server_that_asks_for_time_gets_it() {
    let fake = Fake::new("u1");
    fake.trick(once(false, || {
        let busy = Response::builder().status(429).header("retry-after", "1");
        busy.body(axum::body::Body::empty()).unwrap()
    }));
    let mut told = Told::services(&fake).await;
    assert_eq!(told.failure().await, Fault::Unreachable);
    told.list().await;
    let log = fake.log();
    let wait = log[1].at - log[0].at;
    assert!(wait >= Duration::from_secs(1) && wait < Duration::from_secs(20), "{wait:?}");
}

#[tokio::test]
async fn fault_a14_a_watch_that_is_dead_is_noticed_and_resumed_without_a_list() {
    let fake = Fake::new("u1");
    fake.trick(once(true, silence));
    let mut told = Told::services(&fake).await;
    assert!(told.list().await.is_empty());
    let began = Instant::now();
    fake.put("services", service("web"));
    assert_eq!(told.failure().await, Fault::Unreachable);
    let SourceTimings { watch_idle, request, .. } = TIMINGS();
    assert!(began.elapsed() >= watch_idle, "{:?}", began.elapsed());
    assert!(began.elapsed() < (watch_idle + request) * 2, "{:?}", began.elapsed());
    let resumed = loop {
        match told.next().await {
            News::Changed(sighting) => break sighting,
            News::Contact => {}
            News::Listed(_) | News::Failed(_) => panic!("it is not resumed"),
        }
    };
    assert_eq!(&*resumed.name.name, "web");
    assert_eq!(fake.log().iter().filter(|request| request.is_list("services")).count(), 1);
}

/// Its certificate is not valid before some seconds have passed: that is no event.
#[tokio::test]
async fn a_certificate_that_comes_into_validity_is_judged_again() {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_before = (std::time::SystemTime::now() + Duration::from_secs(3)).into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let base64 =
        |text: String| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let fake = Fake::new("u1");
    fake.put(
        "secrets",
        json!({
            "metadata": {"namespace": "shop", "name": "tls"},
            "type": "kubernetes.io/tls",
            "data": {
                "tls.crt": base64(certificate.pem()), "tls.key": base64(key.serialize_pem()),
            },
        }),
    );
    let mut told = Told::new::<k8s_openapi::api::core::v1::Secret>(&fake, ObjectKind::Secret).await;
    let problem = |all: &[Seen]| match all {
        [Seen::Object(Object::Secret(secret), _)] => secret.problem.is_some(),
        other => panic!("{other:?}"),
    };
    assert!(problem(&told.list().await));
    assert!(!problem(&told.list().await));
}

#[tokio::test]
async fn a_watch_that_is_never_opened_is_asked_for_less_and_less() {
    let slow = TIMINGS().backoff_min * 2;
    let fake = Fake::new("u1");
    fake.trick(move |request| {
        request.is_watch.then(|| {
            // An API server that is busy dying.
            std::thread::sleep(slow);
            refusal(503, "ServiceUnavailable", "no")
        })
    });
    let mut told = Told::services(&fake).await;
    for _ in 0..6 {
        told.failure().await;
    }
    let watches: Vec<_> = fake.log().into_iter().filter(|request| request.is_watch).collect();
    let waits: Vec<_> = watches.windows(2).map(|pair| pair[1].at - pair[0].at - slow).collect();
    assert!(waits[4] > TIMINGS().backoff_min * 4, "{waits:?}");
}
