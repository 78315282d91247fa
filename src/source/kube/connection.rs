//! Everything that is read of one member, over one client.
//!
//! Owns which kinds those are, and that a connection is opened only when all of them have been
//! listed and are watched: until then it gathers, and nothing of it is passed on. Must not know
//! which cluster it should be, nor that there may be another connection. Cost: while it gathers,
//! a second copy of the member's trimmed objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use kube::Client;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep},
};

use crate::{
    key::{MemberId, ObjectKind, ObjectName, Scope},
    settings::SourceTimings,
    source::{
        kube::{
            link::Link,
            meter::ScopeMeter,
            probe::{self, ClusterUid},
            request::{Fault, Trouble},
            watch::{self, News, Post, Seen, Sighting, Watched},
        },
        registry::{Access, Credentials},
    },
    store::Network,
};

/// News that may wait. A watch that is faster than its member's task waits for it.
const INBOX: usize = 64;

/// What one watch of a member covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// All Services.
    Services,
    /// All EndpointSlices.
    Slices,
    /// The Pods of a namespace.
    Pods(Arc<str>),
    /// All Nodes.
    Nodes,
}

impl Part {
    /// What is read of a member with this network, in which these namespaces' Pods are wanted.
    pub(super) fn all(network: Network, pod_namespaces: &BTreeSet<Arc<str>>) -> BTreeSet<Part> {
        let pods = pod_namespaces.iter().cloned().map(Part::Pods);
        let nodes = match network {
            Network::Underlay => None,
            Network::Overlay => Some(Part::Nodes),
        };
        [Part::Services, Part::Slices].into_iter().chain(nodes).chain(pods).collect()
    }

    /// Services and EndpointSlices mean nothing without each other (faults.md A7). Nodes change by
    /// themselves: those that were known go on being used while they cannot be read.
    fn is_essential(&self) -> bool {
        match self {
            Part::Services | Part::Slices => true,
            Part::Nodes | Part::Pods(_) => false,
        }
    }

    /// Whether a member is not known without. Labels of Pods that are refused are done without: one
    /// Ingress that asks for them must not cost the others the member.
    fn is_needed(&self) -> bool {
        match self {
            Part::Services | Part::Slices | Part::Nodes => true,
            Part::Pods(_) => false,
        }
    }

    pub(super) fn kind(&self) -> ObjectKind {
        match self {
            Part::Services => ObjectKind::Service,
            Part::Slices => ObjectKind::EndpointSlice,
            Part::Pods(_) => ObjectKind::Pod,
            Part::Nodes => ObjectKind::Node,
        }
    }

    pub(super) fn watched(&self, id: &MemberId) -> Watched {
        let (scope, kind) = (Scope::Member(id.clone()), self.kind());
        match self {
            Part::Services => Watched::of::<core::Service>(scope, kind),
            Part::Slices => Watched::of::<discovery::EndpointSlice>(scope, kind),
            Part::Pods(namespace) => Watched {
                namespace: Some(namespace.to_string()),
                ..Watched::of::<core::Pod>(scope, kind)
            },
            Part::Nodes => Watched::of::<core::Node>(scope, kind),
        }
    }
}

/// What came over an open connection.
#[derive(Debug)]
pub(super) enum Heard {
    Listed(Part, Vec<Sighting>),
    Changed(Part, Sighting),
    /// Nothing to pass on.
    Noted,
}

/// The watches and the probe of one member. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Connection {
    id: MemberId,
    access: Access,
    link: Link,
    timings: SourceTimings,
    tasks: JoinSet<()>,
    watches: BTreeMap<Part, WatchState>,
    post: mpsc::Sender<(Part, News)>,
    news: mpsc::Receiver<(Part, News)>,
    answers: mpsc::Receiver<Result<ClusterUid, Trouble>>,
    began: Instant,
    heard: Option<Instant>,
    uid: Option<ClusterUid>,
    /// What the last probe met with.
    unproven: Option<Trouble>,
    opened: Option<Instant>,
}

/// One watch, as seen from here.
#[derive(Debug)]
struct WatchState {
    task: AbortHandle,
    /// What there is, while the connection gathers.
    gathered: Option<BTreeMap<ObjectName, Seen>>,
    /// The watch that follows the list was let in too.
    is_followed: bool,
    /// Since when nothing but failures came, and the last of them.
    failing: Option<(Instant, Trouble)>,
}

impl WatchState {
    fn is_ready(&self) -> bool {
        self.gathered.is_some() && self.is_followed && self.refusal().is_none()
    }

    fn refusal(&self) -> Option<&Trouble> {
        let (_, trouble) = self.failing.as_ref()?;
        Some(trouble).filter(|trouble| trouble.fault.is_refusal())
    }
}

impl Connection {
    /// Begins to gather `parts`, after `delay`. The error says why there is no client.
    pub(super) fn new(
        id: &MemberId,
        (access, fleet): (&Access, &Client),
        parts: &BTreeSet<Part>,
        (meter, timings): (ScopeMeter, SourceTimings),
        delay: Duration,
    ) -> Result<Connection, kube::Error> {
        let client = match access {
            Access::Fleet => fleet.clone(),
            Access::Remote(credentials) => client(credentials, &timings)?,
        };
        let link = Link::new(client, meter);
        let (post, news) = mpsc::channel(INBOX);
        let (answer, answers) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let renewed = access.clone();
        let renew = move || match &renewed {
            Access::Fleet => None,
            Access::Remote(credentials) => client_again(credentials, &timings),
        };
        let probed = link.clone();
        tasks.spawn(async move {
            sleep(delay).await;
            probe::run(probed, renew, answer, timings).await;
        });
        let mut connection = Connection {
            id: id.clone(),
            access: access.clone(),
            link,
            timings,
            tasks,
            watches: BTreeMap::new(),
            post,
            news,
            answers,
            began: Instant::now(),
            heard: None,
            uid: None,
            unproven: None,
            opened: None,
        };
        parts.iter().for_each(|part| connection.watch(part.clone(), delay));
        Ok(connection)
    }

    /// Begins and ends watches, so that they are these.
    pub(super) fn cover(&mut self, parts: &BTreeSet<Part>) {
        self.watches.retain(|part, watch| {
            let is_wanted = parts.contains(part);
            if !is_wanted {
                watch.task.abort();
            }
            is_wanted
        });
        for part in parts {
            if !self.watches.contains_key(part) {
                self.watch(part.clone(), Duration::ZERO);
            }
        }
    }

    fn watch(&mut self, part: Part, delay: Duration) {
        let (link, watched, timings) = (self.link.clone(), part.watched(&self.id), self.timings);
        let post = Post { key: part.clone(), news: self.post.clone() };
        let task = self.tasks.spawn(async move {
            sleep(delay).await;
            watch::run(link, watched, post, timings).await;
        });
        let state = WatchState { task, gathered: None, is_followed: false, failing: None };
        self.watches.insert(part, state);
    }

    /// With what it was made.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Who answers, as far as is known.
    pub(super) fn uid(&self) -> Option<&ClusterUid> {
        self.uid.as_ref()
    }

    /// Whether what comes is passed on.
    pub(super) fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    /// Whether it has been open for long enough not to count as one that breaks at once.
    pub(super) fn has_lasted(&self) -> bool {
        self.opened.is_some_and(|since| since.elapsed() >= self.timings.stale_after)
    }

    /// Whether anybody answered so far.
    pub(super) fn is_answered(&self) -> bool {
        self.heard.is_some()
    }

    /// Whether it has been tried for as long as anybody waits.
    pub(super) fn is_overdue(&self) -> bool {
        self.began.elapsed() >= self.timings.sync_deadline
    }

    /// Whether everything that is needed was listed and is watched, and it is known who answers.
    pub(super) fn is_complete(&self) -> bool {
        let is_ready = |(part, watch): (&Part, &WatchState)| {
            watch.is_ready() || !part.is_needed() && watch.refusal().is_some()
        };
        self.uid.is_some() && self.watches.iter().all(is_ready)
    }

    /// Hands out what was gathered; what comes from now on is passed on.
    pub(super) fn open(&mut self) -> Vec<(Part, Vec<Sighting>)> {
        self.opened = Some(Instant::now());
        let sighting = |(name, seen)| Sighting { name, seen };
        let gathered = self.watches.iter_mut().filter_map(|(part, watch)| {
            let all = watch.gathered.take()?.into_iter().map(sighting);
            Some((part.clone(), all.collect()))
        });
        gathered.collect()
    }

    /// What a watch is refused without which the others must not go on, if one is.
    pub(super) fn refusal(&self) -> Option<&Trouble> {
        let essential = self.watches.iter().filter(|(part, _)| part.is_essential());
        essential.map(|(_, watch)| watch).find_map(WatchState::refusal)
    }

    /// Why what was read is not up to date, if it is not.
    pub(super) fn staleness(&self) -> Option<Trouble> {
        let is_old = |since: Instant| since.elapsed() >= self.timings.stale_after;
        let refused = self.unproven.as_ref().filter(|trouble| trouble.fault.is_refusal());
        let lacking = self.watches.values().find_map(WatchState::refusal);
        let refused = self.refusal().or(refused).or(lacking).cloned();
        let failing = || {
            let failing = self.watches.values().filter_map(|watch| watch.failing.as_ref());
            failing.into_iter().find(|(since, _)| is_old(*since)).map(|(_, own)| own.clone())
        };
        let silence = || {
            let heard = self.heard.unwrap_or(self.began);
            let unknown = || Trouble::new(Fault::Unreachable, "no answer");
            is_old(heard).then(|| self.trouble().cloned().unwrap_or_else(unknown))
        };
        refused.or_else(failing).or_else(silence)
    }

    /// The worst that is known to be wrong at the moment, be it only for now.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        let failing = self.watches.values().filter_map(|watch| watch.failing.as_ref());
        let failing = failing.map(|(_, trouble)| trouble).next();
        self.refusal().or(self.unproven.as_ref()).or(failing)
    }

    /// Waits for whatever comes next. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            Some((part, news)) = self.news.recv() => self.note(part, news),
            Some(answer) = self.answers.recv() => {
                self.unproven = answer.as_ref().err().cloned();
                if let Ok(uid) = answer {
                    self.heard = Some(Instant::now());
                    self.uid = Some(uid);
                }
                Heard::Noted
            }
            Some(Err(ended)) = self.tasks.join_next() => match ended.try_into_panic() {
                // Whoever restarts the member's task restarts this one with it.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_ended_by_us) => Heard::Noted,
            },
        }
    }

    fn note(&mut self, part: Part, news: News) -> Heard {
        let now = Instant::now();
        let is_open = self.is_open();
        // A watch that has ended in the meantime is not heard any more.
        let Some(watch) = self.watches.get_mut(&part) else { return Heard::Noted };
        if let News::Failed(trouble) = news {
            let since = watch.failing.take().map_or(now, |(since, _)| since);
            watch.failing = Some((since, trouble));
            return Heard::Noted;
        }
        watch.failing = None;
        watch.is_followed = watch.gathered.is_some();
        self.heard = Some(now);
        match news {
            News::Listed(all) if is_open => Heard::Listed(part, all),
            News::Changed(sighting) if is_open => Heard::Changed(part, sighting),
            News::Listed(all) => {
                watch.gathered = Some(all.into_iter().map(|own| (own.name, own.seen)).collect());
                watch.is_followed = false;
                Heard::Noted
            }
            News::Changed(Sighting { name, seen }) => {
                watch.gathered.iter_mut().for_each(|all| {
                    all.insert(name.clone(), seen.clone());
                });
                Heard::Noted
            }
            News::Contact | News::Failed(_) => Heard::Noted,
        }
    }
}

/// A client that asks once and says what came: whether and when to ask again is decided here.
fn client(credentials: &Credentials, timings: &SourceTimings) -> Result<Client, kube::Error> {
    let mut config = credentials.client_config();
    config.connect_timeout = Some(timings.connect);
    config.write_timeout = Some(timings.request);
    // Each request has a limit of its own, and a watch another one.
    config.read_timeout = None;
    config.default_retry = false;
    Client::try_from(config)
}

fn client_again(credentials: &Credentials, timings: &SourceTimings) -> Option<Client> {
    // It was possible once with the same credentials.
    client(credentials, timings).ok()
}
