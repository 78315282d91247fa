//! Whatever happens, a quiet client holds what is published, after a bounded number of responses;
//! and what it came with to a view that lacks a member, it keeps until the view lacks none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::script::{Heard, hear, resource};
use crate::{
    settings::{Mechanisms, Timings},
    snapshot::{Coverage, GatewayView, Kind, Resource, Version},
    xds::{
        request::{Request, Variant, Wants},
        session::{Rules, Session},
        sotw,
    },
};

/// Names are few, so that steps meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    /// Sets or removes some resources in one commit.
    Commit(Vec<(Kind, usize, Option<u32>)>),
    /// The client subscribes to a name, or to everything where it can.
    Subscribe(Kind, usize),
    /// The client drops a name.
    Unsubscribe(Kind, usize),
    /// The client reads one response of a type, and accepts it unless told otherwise.
    Answer(Kind, bool),
    /// Time passes.
    Wait(u64),
    /// The connection breaks; the client says what it holds.
    Reconnect,
    /// Members become known or unknown.
    Know(Coverage),
    /// Convoy is started again, and what it reads differs in some endpoints.
    Restart(Coverage, u32),
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

fn coverages() -> impl Strategy<Value = Coverage> {
    prop::sample::select(vec![Coverage::Whole, Coverage::Awaited, Coverage::Partial])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (kinds(), 0..NAMES.len(), prop::option::weighted(0.8, 1..4u32));
    let step = prop_oneof![
        4 => prop::collection::vec(change, 1..4).prop_map(Step::Commit),
        4 => (kinds(), 0..NAMES.len()).prop_map(|(kind, name)| Step::Subscribe(kind, name)),
        1 => (kinds(), 0..NAMES.len()).prop_map(|(kind, name)| Step::Unsubscribe(kind, name)),
        6 => (kinds(), prop::bool::weighted(0.85)).prop_map(|(kind, ok)| Step::Answer(kind, ok)),
        1 => (0..40_000u64).prop_map(Step::Wait),
        1 => Just(Step::Reconnect),
        1 => coverages().prop_map(Step::Know),
        1 => (coverages(), 0..16u32).prop_map(|(coverage, differs)| Step::Restart(coverage, differs)),
    ];
    prop::collection::vec(step, 0..60)
}

/// A client that keeps the rules of the protocol.
struct FakeEnvoy {
    variant: Variant,
    session: Session,
    held: BTreeMap<(Kind, String), u32>,
    wanted: BTreeMap<Kind, BTreeSet<Arc<str>>>,
    wildcards: BTreeSet<Kind>,
    inbox: BTreeMap<Kind, Vec<Heard>>,
    responses: usize,
    /// Names whose newest content was refused on this stream.
    refused: BTreeMap<(Kind, String), u32>,
    /// What must come whether it was refused or not: it was asked for, or its cluster came.
    expected: BTreeSet<(Kind, String)>,
    /// Whether the stream has seen a view that waits for nobody.
    started: bool,
    /// What it came with, was never published here and may hold an unknown member.
    kept: BTreeSet<(Kind, String)>,
}

impl FakeEnvoy {
    fn new(variant: Variant) -> FakeEnvoy {
        FakeEnvoy {
            variant,
            session: Session::new(variant, rules()),
            held: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wildcards: BTreeSet::new(),
            inbox: BTreeMap::new(),
            responses: 0,
            refused: BTreeMap::new(),
            expected: BTreeSet::new(),
            started: true,
            kept: BTreeSet::new(),
        }
    }

    fn sees(&self, kind: Kind, name: &str) -> bool {
        let named = self.wanted.get(&kind).is_some_and(|names| names.contains(name));
        named || self.wildcards.contains(&kind)
    }

    fn pump(&mut self, now: Instant) {
        while let Some((kind, frame)) = self.session.next(now) {
            let heard = hear(self.variant, &frame);
            let names: BTreeSet<_> = heard.resources.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), heard.resources.len(), "a name twice makes Envoy refuse");
            assert!(heard.removed.iter().all(|name| !names.contains(name)));
            for (name, content) in &heard.resources {
                self.assert_expected(kind, name, *content);
            }
            self.assert_kept(&heard);
            // What was removed and comes back is news.
            self.refused.retain(|(k, name), _| *k != kind || !heard.removed.contains(name));
            let inbox = self.inbox.entry(kind).or_default();
            assert!(inbox.is_empty(), "two {kind} responses in flight");
            inbox.push(heard);
            self.responses += 1;
        }
        assert!(self.session.deadline().is_none_or(|at| at > now));
    }

    /// What was refused is not sent again, but in lists where absence would be a removal.
    fn assert_expected(&mut self, kind: Kind, name: &str, content: u32) {
        let whole = self.variant == Variant::Sotw && kind.is_full_state();
        let expected = self.expected.remove(&(kind, name.to_owned()));
        if kind == Kind::Cluster {
            self.expected.insert((Kind::Endpoint, name.to_owned()));
        }
        let again = self.refused.remove(&(kind, name.to_owned())) == Some(content);
        assert!(!again || whole || expected, "{kind} {name}@{content} is sent again");
    }

    /// Members are known, or are not, from now on.
    fn learn(&mut self, coverage: Coverage, published: &BTreeSet<(String, u32)>) {
        if !self.started && coverage != Coverage::Awaited {
            self.started = true;
            let foreign = self.held.iter().filter(|((kind, name), content)| {
                matches!(kind, Kind::Cluster | Kind::Endpoint)
                    && !published.contains(&(name.clone(), **content))
            });
            self.kept = foreign.map(|(key, _)| key.clone()).collect();
        }
        if coverage == Coverage::Whole {
            self.kept.clear();
        }
    }

    /// Nothing is said of what the client keeps. Nor of a cluster whose endpoints it keeps: that
    /// would warm for them.
    fn assert_kept(&mut self, heard: &Heard) {
        let whole = self.variant == Variant::Sotw && heard.kind.is_full_state();
        let listed: BTreeMap<_, _> = heard.resources.iter().cloned().collect();
        for (kind, name) in self.kept.clone() {
            let key = (kind, name.clone());
            let held = self.held.get(&key).copied();
            if kind == heard.kind {
                let told = listed.get(&name).copied();
                assert!(told.is_none() || told == held, "{kind} {name} is told");
                let removed = heard.removed.contains(&name) || whole && told.is_none();
                assert!(!removed, "{kind} {name} is removed");
            }
            if (kind, heard.kind) == (Kind::Endpoint, Kind::Cluster) {
                let cluster = self.held.get(&(Kind::Cluster, name.clone()));
                let told = listed.get(&name);
                if cluster.is_none() && told.is_some() {
                    self.kept.remove(&key);
                }
                assert!(cluster.is_none() || told.is_none() || told == cluster, "{name} warms");
            }
        }
    }

    fn request(&mut self, kind: Kind, wants: Wants, nonce: Option<u64>, ok: bool, now: Instant) {
        let error = (!ok).then(|| "bad".to_owned());
        let type_url = kind.type_url().into();
        self.session.on_request(Request { node: None, type_url, nonce, error, wants }, now);
    }

    fn wants(&self, kind: Kind, subscribe: Vec<Arc<str>>, unsubscribe: Vec<Arc<str>>) -> Wants {
        match self.variant {
            Variant::Sotw => {
                let star = self.wildcards.contains(&kind).then(|| Arc::from("*"));
                let names = self.wanted.get(&kind).into_iter().flatten().cloned();
                Wants::List {
                    names: star.into_iter().chain(names).collect(),
                    version: String::new(),
                }
            }
            Variant::Delta => Wants::Change { subscribe, unsubscribe, initial: BTreeMap::new() },
        }
    }

    fn subscribe(&mut self, kind: Kind, name: &str, now: Instant) {
        let name: Arc<str> = if kind.is_full_state() { "*".into() } else { name.into() };
        let new = match &*name {
            "*" => self.wildcards.insert(kind),
            _ => self.wanted.entry(kind).or_default().insert(name.clone()),
        };
        if new {
            self.expected.insert((kind, name.to_string()));
            let wants = self.wants(kind, vec![name], vec![]);
            self.request(kind, wants, None, true, now);
        }
    }

    fn unsubscribe(&mut self, kind: Kind, name: &str, now: Instant) {
        if self.wanted.get_mut(&kind).is_some_and(|names| names.remove(name)) {
            self.held.remove(&(kind, name.to_owned()));
            self.kept.remove(&(kind, name.to_owned()));
            let wants = self.wants(kind, vec![], vec![name.into()]);
            self.request(kind, wants, None, true, now);
        }
    }

    fn answer(&mut self, kind: Kind, ok: bool, now: Instant) {
        let Some(heard) = self.inbox.get_mut(&kind).and_then(Vec::pop) else { return };
        if ok {
            self.apply(&heard);
        } else {
            // As Envoy does: a removal is applied whatever is refused beside it.
            self.remove(&heard);
            let refused = heard.resources.iter().map(|(name, v)| ((kind, name.clone()), *v));
            if heard.resources.len() > 1 && !kind.is_full_state() {
                // One of them is bad: each comes again, alone.
                self.expected.extend(refused.map(|(at, _)| at));
            } else {
                self.refused.extend(refused);
            }
        }
        let wants = self.wants(kind, vec![], vec![]);
        self.request(kind, wants, Some(heard.nonce), ok, now);
    }

    fn apply(&mut self, heard: &Heard) {
        let kind = heard.kind;
        self.remove(heard);
        for (name, content) in &heard.resources {
            if self.sees(kind, name) {
                self.held.insert((kind, name.clone()), *content);
            }
        }
    }

    /// Envoy ignores removals of the other types (xds.md 3.8).
    fn remove(&mut self, heard: &Heard) {
        if !heard.kind.is_full_state() {
            return;
        }
        let sotw = self.variant == Variant::Sotw;
        let absent = |name: &String| !heard.resources.iter().any(|(listed, _)| listed == name);
        let gone = |name: &String| heard.removed.contains(name) || sotw && absent(name);
        self.held.retain(|(kind, name), _| *kind != heard.kind || !gone(name));
    }

    fn reconnect(&mut self, view: &Arc<GatewayView>, now: Instant) {
        self.session = Session::new(self.variant, rules());
        self.inbox.clear();
        self.refused.clear();
        self.expected.clear();
        self.kept.clear();
        self.started = false;
        self.session.on_view(view.clone(), now);
        for kind in Kind::ALL {
            let names: Vec<_> = self.wanted.get(&kind).into_iter().flatten().cloned().collect();
            if names.is_empty() && !self.wildcards.contains(&kind) {
                continue;
            }
            let wants = match self.variant {
                Variant::Sotw => match self.wants(kind, vec![], vec![]) {
                    Wants::List { names, .. } => Wants::List { names, version: self.version(kind) },
                    other => other,
                },
                Variant::Delta => {
                    let held = self.held.iter().filter(|((k, _), _)| *k == kind);
                    let version =
                        |name: &str, v: &u32| Version::of(format!("{name}@{v}").as_bytes());
                    let initial = held.map(|((_, name), v)| {
                        (Arc::from(name.as_str()), version(name, v).to_string())
                    });
                    Wants::Change {
                        subscribe: names,
                        unsubscribe: vec![],
                        initial: initial.collect(),
                    }
                }
            };
            self.request(kind, wants, None, true, now);
        }
    }

    /// The version of a list of what it holds.
    fn version(&self, kind: Kind) -> String {
        let held = self.held.iter().filter(|((k, _), _)| *k == kind);
        let made = held.map(|((_, name), v)| Arc::new(resource(kind, name, *v, vec![])));
        let made: Vec<_> = made.collect();
        if made.is_empty() { String::new() } else { sotw::version_of(&made).to_string() }
    }

    /// Every subscribed resource that exists is held, unless this very content was refused.
    fn assert_equals(&self, view: &GatewayView) {
        for kind in Kind::ALL {
            for resource in view.table(kind).iter().filter(|r| self.sees(kind, &r.name)) {
                let (name, content) = parse(resource);
                let held = self.held.get(&(kind, name.clone())).copied();
                let refused = self.refused.get(&(kind, name.clone())) == Some(&content);
                assert!(held == Some(content) || refused, "{kind} {name}@{content}, held {held:?}");
            }
            let gone = |(k, name): &&(Kind, String)| *k == kind && view.get(kind, name).is_none();
            if kind.is_full_state() && self.refused.is_empty() {
                assert_eq!(self.held.keys().find(gone), None);
            }
        }
    }
}

fn parse(resource: &Resource) -> (String, u32) {
    let text = String::from_utf8(resource.message().to_vec()).unwrap();
    let (name, content) = text.rsplit_once('@').unwrap();
    (name.to_owned(), content.parse().unwrap())
}

fn rules() -> Rules {
    Rules::new(&Mechanisms::ALL, &Timings::PRODUCTION)
}

fn commit(view: &GatewayView, changes: &[(Kind, usize, Option<u32>)]) -> Option<GatewayView> {
    view.commit(changes.iter().map(|(kind, idx, content)| {
        let name: Arc<str> = NAMES[*idx].into();
        let awaits = match kind {
            Kind::Cluster => vec![(Kind::Endpoint, name.clone())],
            Kind::Secret | Kind::Endpoint | Kind::Listener | Kind::Route => vec![],
        };
        let made = content.map(|content| resource(*kind, &name, content, awaits));
        (*kind, name, made)
    }))
}

fn contents(view: &GatewayView) -> impl Iterator<Item = (Kind, String, u32)> {
    let all = Kind::ALL.into_iter().flat_map(|kind| view.table(kind).iter());
    all.map(|resource| {
        let (name, content) = parse(resource);
        (resource.kind, name, content)
    })
}

/// What versions are of: here, resources of two types may have one.
fn versions(view: &GatewayView) -> impl Iterator<Item = (String, u32)> {
    contents(view).map(|(_, name, content)| (name, content))
}

/// The view of a Convoy that has just started: the same, but for the endpoints whose bit is set.
fn restart(view: &GatewayView, coverage: Coverage, differs: u32) -> GatewayView {
    let all = contents(view).map(|(kind, name, content)| {
        let idx = NAMES.iter().position(|known| *known == name).unwrap();
        let other = kind == Kind::Endpoint && differs & (1 << idx) != 0;
        (kind, idx, Some(if other { content + 10 } else { content }))
    });
    let all: Vec<_> = all.collect();
    let empty = GatewayView::default();
    let empty = empty.commit_as(coverage, []).unwrap_or(empty);
    commit(&empty, &all).unwrap_or(empty)
}

fn run(variant: Variant, steps: &[Step]) {
    let mut now = Instant::now();
    let mut envoy = FakeEnvoy::new(variant);
    let mut view = Arc::new(GatewayView::default());
    let mut published = BTreeSet::new();
    envoy.session.on_view(view.clone(), now);
    for step in steps {
        match step {
            Step::Commit(changes) => {
                if let Some(next) = commit(&view, changes) {
                    view = Arc::new(next);
                    published.extend(changes.iter().filter_map(|(_, idx, content)| {
                        Some((NAMES[*idx].to_owned(), (*content)?))
                    }));
                    envoy.session.on_view(view.clone(), now);
                }
            }
            Step::Know(coverage) => {
                if let Some(next) = view.commit_as(*coverage, []) {
                    view = Arc::new(next);
                    envoy.session.on_view(view.clone(), now);
                }
            }
            Step::Restart(coverage, differs) => {
                view = Arc::new(restart(&view, *coverage, *differs));
                published = versions(&view).collect();
                envoy.reconnect(&view, now);
            }
            Step::Subscribe(kind, idx) => envoy.subscribe(*kind, NAMES[*idx], now),
            Step::Unsubscribe(kind, idx) => envoy.unsubscribe(*kind, NAMES[*idx], now),
            Step::Answer(kind, ok) => envoy.answer(*kind, *ok, now),
            // Shorter than a lease: a client that answers twice is not modelled.
            Step::Wait(ms) => {
                Kind::ALL.into_iter().for_each(|kind| envoy.answer(kind, true, now));
                now += Duration::from_millis(*ms);
            }
            Step::Reconnect => envoy.reconnect(&view, now),
        }
        envoy.learn(view.coverage, &published);
        envoy.pump(now);
    }
    if let Some(whole) = view.commit_as(Coverage::Whole, []) {
        view = Arc::new(whole);
        envoy.session.on_view(view.clone(), now);
        envoy.learn(view.coverage, &published);
    }
    // Quiet: everything is accepted, and the timers of the gates run out.
    for _ in 0..40 {
        Kind::ALL.into_iter().for_each(|kind| envoy.answer(kind, true, now));
        now += Duration::from_secs(5);
        envoy.pump(now);
    }
    envoy.assert_equals(&view);
    // Each step causes at most one response a type, and each of them at most one that follows.
    let bound = (steps.len() + 2) * Kind::ALL.len() * 2;
    assert!(envoy.responses <= bound, "{} responses in {} steps", envoy.responses, steps.len());
    let quiet = envoy.responses;
    envoy.pump(now + Duration::from_secs(3_600));
    assert_eq!(envoy.responses, quiet, "a quiet client is left alone");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_quiet_delta_client_holds_what_is_published(steps in steps()) {
        run(Variant::Delta, &steps);
    }

    #[test]
    fn a_quiet_sotw_client_holds_what_is_published(steps in steps()) {
        run(Variant::Sotw, &steps);
    }
}
