//! Scripts: each line is a step and, after `->`, exactly the responses that it causes.
//!
//! ```text
//! commit +cds:a +eds:a@2 -lds:b   publish one commit; `@n` is the content, 1 if left out
//! miss +cds:a                     the same, without waking the stream
//! know partial                    publish what the view knows of members: whole, awaited, partial
//! anew                            the gateway is deleted, to be made again
//! sub cds a ^a ^b@2               delta: subscribe, with initial versions
//! unsub cds a                     delta: unsubscribe
//! list cds a b ^current           SotW: the whole list, with the version of what is published
//! ack cds · nack cds · ack cds #1 answer the last response, or another
//! wait 2000                       milliseconds pass
//! ```
//! A cluster `c` awaits the endpoints `c`, or what stands in parentheses: `+cds:c(cds:x,sds:y)`, and
//! settles for as many milliseconds as it says: `+cds:c~3000`.
//! Responses: `cds +a +b@2 -c` (delta), `cds a b@2` (SotW), several separated by `;`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use prost::Message;

use crate::{
    settings::{Mechanisms, Timings},
    snapshot::{Coverage, GatewayView, Kind, Resource, Version},
    xds::{
        request::{Request, Variant, Wants},
        session::{Outcome, Rules, Session},
        sotw,
        wire::Frame,
    },
};

/// As in production, but what no route needs is removed at once.
const TIMINGS: Timings = Timings { linger: Duration::ZERO, ..Timings::PRODUCTION };

/// Runs a script with all mechanisms on.
#[track_caller]
pub(super) fn check(variant: Variant, script: &str) {
    check_with(variant, Mechanisms::ALL, TIMINGS, script);
}

/// Runs a script; every line must cause what it says.
#[track_caller]
pub(super) fn check_with(variant: Variant, mechanisms: Mechanisms, timings: Timings, script: &str) {
    let mut run = Run::new(variant, Rules::new(&mechanisms, &timings));
    let (mut expect, mut actual) = (String::new(), String::new());
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, said) = line.split_once("->").unwrap_or((line, ""));
        let (step, said) = (step.trim(), said.trim());
        expect += &format!("{step:40} -> {said}\n");
        run.step(step);
        actual += &format!("{step:40} -> {}\n", run.drain().join("; "));
    }
    assert_eq!(actual, expect);
}

/// A resource whose message is `name@content`.
pub(super) fn resource(
    kind: Kind,
    name: &str,
    content: u32,
    awaits: Vec<(Kind, Arc<str>)>,
) -> Resource {
    Resource::new(kind, name.into(), format!("{name}@{content}").as_bytes(), awaits)
}

/// What a client reads of a response.
#[derive(Debug)]
pub(super) struct Heard {
    pub kind: Kind,
    pub nonce: u64,
    /// Names with contents.
    pub resources: Vec<(String, u32)>,
    pub removed: Vec<String>,
}

/// Decodes as a client does.
pub(super) fn hear(variant: Variant, frame: &Frame) -> Heard {
    let mut bytes = Vec::new();
    frame.copy_to(&mut bytes);
    assert_eq!(bytes.len(), frame.encoded_len());
    let (url, nonce, messages, removed) = match variant {
        Variant::Sotw => {
            let response = DiscoveryResponse::decode(&*bytes).unwrap();
            (response.type_url, response.nonce, response.resources, vec![])
        }
        Variant::Delta => {
            let response = DeltaDiscoveryResponse::decode(&*bytes).unwrap();
            let messages = response.resources.into_iter().map(|r| r.resource.unwrap()).collect();
            (response.type_url, response.nonce, messages, response.removed_resources)
        }
    };
    assert!(messages.iter().all(|any| any.type_url == url));
    let content = |value: Vec<u8>| {
        let text = String::from_utf8(value).unwrap();
        let (name, content) = text.rsplit_once('@').unwrap();
        (name.to_owned(), content.parse().unwrap())
    };
    let resources = messages.into_iter().map(|any| content(any.value)).collect();
    let kind = Kind::of_type_url(&url).unwrap();
    Heard { kind, nonce: nonce.parse().unwrap(), resources, removed }
}

pub(super) struct Run {
    variant: Variant,
    session: Session,
    view: GatewayView,
    now: Instant,
    /// Last nonce by type, and the last one that was answered.
    nonces: BTreeMap<Kind, (u64, u64)>,
    /// Last list by type (SotW).
    lists: BTreeMap<Kind, Vec<Arc<str>>>,
}

impl Run {
    fn new(variant: Variant, rules: Rules) -> Run {
        Run {
            variant,
            session: Session::new(variant, rules),
            view: GatewayView::default(),
            now: Instant::now(),
            nonces: BTreeMap::new(),
            lists: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &str) {
        let mut words = step.split_whitespace();
        let verb = words.next().unwrap();
        let words: Vec<_> = words.collect();
        match verb {
            "commit" | "miss" => {
                let changes = words.iter().map(|word| change(word));
                self.view = self.view.commit(changes).expect("a commit changes something");
                if verb == "commit" {
                    self.session.on_view(Arc::new(self.view.clone()), self.now);
                }
            }
            "know" => {
                let coverage = match words[0] {
                    "whole" => Coverage::Whole,
                    "awaited" => Coverage::Awaited,
                    "partial" => Coverage::Partial,
                    other => panic!("no view knows {other}"),
                };
                self.view = self.view.commit_as(coverage, []).expect("it knew something else");
                self.session.on_view(Arc::new(self.view.clone()), self.now);
            }
            "anew" => self.view = GatewayView::default(),
            "wait" => self.now += Duration::from_millis(words[0].parse().unwrap()),
            "sub" | "unsub" | "list" | "ack" | "nack" => self.request(verb, &words),
            other => panic!("no step is called {other}"),
        }
    }

    fn request(&mut self, verb: &str, words: &[&str]) {
        let kind = kind(words[0]);
        let (last, answered) = self.nonces.get(&kind).copied().unwrap_or_default();
        let names = words[1..].iter().filter(|word| !word.starts_with(['^', '#']));
        let names: Vec<Arc<str>> = names.map(|name| Arc::from(*name)).collect();
        let claims: Vec<_> = words[1..].iter().filter_map(|word| word.strip_prefix('^')).collect();
        let chosen = words[1..].iter().find_map(|word| word.strip_prefix('#'));
        let nonce = match (verb, self.variant) {
            _ if chosen.is_some() => chosen.map(|nonce| nonce.parse().unwrap()),
            ("ack" | "nack", _) => Some(last),
            ("list", _) => Some(answered).filter(|nonce| *nonce > 0),
            _ => None,
        };
        if verb == "list" {
            self.lists.insert(kind, names.clone());
        }
        let listed = self.lists.get(&kind).cloned().unwrap_or_default();
        let wants = match (self.variant, verb) {
            (Variant::Sotw, _) => {
                Wants::List { names: listed, version: self.version(kind, &claims) }
            }
            (Variant::Delta, "unsub") => change_list(vec![], names, &[]),
            (Variant::Delta, _) => change_list(names, vec![], &claims),
        };
        let error = (verb == "nack").then(|| "bad".to_owned());
        let request = Request { node: None, type_url: kind.type_url().into(), nonce, error, wants };
        let outcome = self.session.on_request(request, self.now);
        if let Outcome::Answered(..) = outcome {
            self.nonces.insert(kind, (last, nonce.unwrap_or_default()));
        }
    }

    /// `^current` is the version of everything that is published.
    fn version(&self, kind: Kind, claims: &[&str]) -> String {
        let all: Vec<_> = self.view.table(kind).iter().cloned().collect();
        match claims {
            [] => String::new(),
            ["current"] => sotw::version_of(&all).to_string(),
            other => other.concat(),
        }
    }

    fn drain(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some((kind, frame)) = self.session.next(self.now) {
            let heard = hear(self.variant, &frame);
            assert_eq!(heard.kind, kind);
            let answered = self.nonces.get(&kind).map_or(0, |(_, answered)| *answered);
            self.nonces.insert(kind, (heard.nonce, answered));
            said.push(self.render(&heard));
        }
        let deadline = self.session.deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "a past deadline would spin the task");
        said
    }

    fn render(&self, heard: &Heard) -> String {
        let plus = if self.variant == Variant::Delta { "+" } else { "" };
        let mut text = heard.kind.to_string();
        for (name, content) in &heard.resources {
            text += &format!(" {plus}{name}");
            if *content != 1 {
                text += &format!("@{content}");
            }
        }
        for name in &heard.removed {
            text += &format!(" -{name}");
        }
        text
    }
}

fn change_list(subscribe: Vec<Arc<str>>, unsubscribe: Vec<Arc<str>>, claims: &[&str]) -> Wants {
    let claim = |claim: &&str| {
        let (name, content) = claim.split_once('@').unwrap_or((claim, "1"));
        let version = Version::of(format!("{name}@{content}").as_bytes());
        (Arc::from(name), version.to_string())
    };
    Wants::Change { subscribe, unsubscribe, initial: claims.iter().map(claim).collect() }
}

fn kind(word: &str) -> Kind {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == word).unwrap()
}

fn named(text: &str) -> (Kind, Arc<str>) {
    let (word, name) = text.split_once(':').unwrap();
    (kind(word), name.into())
}

/// `+cds:a@2~3000(eds:x,sds:y)` or `-cds:a`.
fn change(word: &str) -> (Kind, Arc<str>, Option<Resource>) {
    if let Some(gone) = word.strip_prefix('-') {
        let (kind, name) = named(gone);
        return (kind, name, None);
    }
    let word = word.strip_prefix('+').unwrap();
    let (word, awaits) = match word.split_once('(') {
        Some((word, awaits)) => (word, Some(awaits.trim_end_matches(')'))),
        None => (word, None),
    };
    let (word, settles) = word.split_once('~').unwrap_or((word, "0"));
    let (word, content) = word.split_once('@').unwrap_or((word, "1"));
    let (kind, name) = named(word);
    let awaits = match awaits {
        Some(list) => list.split(',').map(named).collect(),
        None if kind == Kind::Cluster => vec![(Kind::Endpoint, name.clone())],
        None => vec![],
    };
    let made = resource(kind, &name, content.parse().unwrap(), awaits);
    (kind, name, Some(made.settling(Duration::from_millis(settles.parse().unwrap()))))
}
