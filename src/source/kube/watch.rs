//! The list and the watch of one kind of one cluster, for as long as somebody listens.
//!
//! Owns the requests, their timeouts and the back-off. Drives list and watch itself rather than
//! through `kube::runtime::watcher`, because the rules are few and strict here: a list asks for
//! no resource version, so that it is the most recent one and never that of a replica that lags;
//! it counts only when its last page has arrived; any 410 means a new list, after a wait; and an
//! object that cannot be read is its own problem. Must not know what objects mean, nor what
//! becomes of what it tells. Cost: one page of a list in memory beside the trimmed objects.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use kube::{
    Resource,
    api::{ApiResource, DynamicObject, ListParams, WatchParams},
    core::Request,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::{
    diag::Diag,
    key::{ObjectKind, ObjectName, Scope},
    settings::SourceTimings,
    source::{
        decode::{Decoded, decode},
        kube::{
            backoff::backoff,
            link::Link,
            listing::{Listing, Next, PAGE, Page},
            quota::Load,
            request::{self, Failure, Fault, Lines, Said, Trouble},
        },
    },
    store::Object,
};

/// After so many lists whose next page was gone before it was asked for, everything is asked for
/// in one page (faults.md A12).
const IMPATIENT_AFTER: u32 = 3;

/// So many lists in a row have to be older than what was seen before one is believed: then it is
/// no replica that lags, but a server that was restored from a backup (faults.md B4).
const REGRESSIONS: u32 = 3;

/// What is watched.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// The cluster.
    pub(super) scope: Scope,
    /// The kind.
    pub(super) kind: ObjectKind,
    /// Where the kind is served.
    pub(super) resource: ApiResource,
    /// Only in this namespace.
    pub(super) namespace: Option<String>,
    /// Only what this field selector selects.
    pub(super) fields: Option<String>,
}

impl Watched {
    /// All objects of a kind.
    pub(super) fn of<K: Resource<DynamicType = ()>>(scope: Scope, kind: ObjectKind) -> Watched {
        let resource = ApiResource::erase::<K>(&());
        Watched { scope, kind, resource, namespace: None, fields: None }
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Watched { scope, kind, resource: _, namespace, fields } = self;
        write!(f, "watch of {kind} in {scope}")?;
        namespace.iter().try_for_each(|own| write!(f, ", namespace {own}"))?;
        fields.iter().try_for_each(|own| write!(f, ", where {own}"))
    }
}

/// What a watch tells.
#[derive(Debug)]
pub(super) enum News {
    /// Everything there is: what is not in it is gone.
    Listed(Vec<Sighting>),
    /// One object came, changed or went.
    Changed(Sighting),
    /// The server answers, and has nothing new to say.
    Contact,
    /// A request failed. It is made again, without end.
    Failed(Trouble),
}

/// An object as a list or an event showed it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sighting {
    pub(super) name: ObjectName,
    pub(super) seen: Seen,
}

/// What there was to see.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    /// An object, with what is wrong in it.
    Object(Object, Vec<Diag>),
    /// An object that is not legal: whatever was seen before still holds.
    Refused(Diag),
    /// None, or none of our business.
    Absent,
}

/// Whom to tell, and who is telling.
#[derive(Clone, Debug)]
pub(super) struct Post<K> {
    pub(super) key: K,
    pub(super) news: mpsc::Sender<(K, News)>,
}

impl<K: Clone> Post<K> {
    async fn send(&self, news: News) -> Result<(), Ended> {
        self.news.send((self.key.clone(), news)).await.map_err(|_| Ended::Unheard)
    }
}

/// Lists and watches until nobody hears `post` any more.
pub(super) async fn run<K: Clone>(
    link: Link,
    watched: Watched,
    post: Post<K>,
    timings: SourceTimings,
) {
    let mut recoveries = link.recoveries();
    let mut task = Task::new(link, watched, post, timings);
    loop {
        let ended = tokio::select! {
            ended = task.step() => ended,
            Ok(()) = recoveries.changed() => continue,
        };
        let failure = match ended {
            Ok(()) => continue,
            Err(Ended::Unheard) => return,
            Err(Ended::Failed(failure)) => failure,
        };
        let Ok(wait) = task.failed(failure).await else { return };
        tokio::select! {
            () = sleep(wait) => {}
            Ok(()) = recoveries.changed() => {}
            () = task.post.news.closed() => return,
        }
    }
}

/// Why a list or a watch ended.
enum Ended {
    Failed(Failure),
    /// Nobody listens any more.
    Unheard,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        Ended::Failed(failure)
    }
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Ended {
        Ended::Failed(trouble.into())
    }
}

/// An event as the server sends it.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    what: String,
    object: Value,
}

struct Task<K> {
    link: Link,
    watched: Watched,
    path: Request,
    post: Post<K>,
    timings: SourceTimings,
    /// Where the watch goes on.
    version: Option<String>,
    /// A list is needed first: nothing was listed, or the version is gone.
    needs_list: bool,
    /// In a row, without a watch that lived.
    failures: u32,
    /// Objects asked for in a page.
    page: u32,
    /// Lists in a row that ended because a page was gone.
    lost_pages: u32,
    /// Lists in a row that were older than what was seen before.
    regressions: u32,
    /// When the verdict on some object changes though the object does not.
    judge_again: Option<i64>,
    /// How much it has shown.
    load: Load,
}

impl<K: Clone> Task<K> {
    fn new(link: Link, watched: Watched, post: Post<K>, timings: SourceTimings) -> Task<K> {
        let load = Load::new(&watched.scope, watched.kind);
        let path = DynamicObject::url_path(&watched.resource, watched.namespace.as_deref());
        Task {
            link,
            watched,
            path: Request::new(path),
            post,
            timings,
            version: None,
            needs_list: true,
            failures: 0,
            page: PAGE,
            lost_pages: 0,
            regressions: 0,
            judge_again: None,
            load,
        }
    }

    async fn step(&mut self) -> Result<(), Ended> {
        match self.version.clone() {
            Some(version) if !self.needs_list => self.watch(&version).await,
            Some(_) | None => self.list().await,
        }
    }

    /// Tells of a failure; returns how long to wait.
    async fn failed(&mut self, failure: Failure) -> Result<Duration, Ended> {
        let Failure { trouble, retry_after } = failure;
        self.failures = self.failures.saturating_add(1);
        let wait = backoff(self.failures, &self.timings);
        let wait = wait.max(retry_after.unwrap_or_default().min(self.timings.backoff_max));
        // Once in a row: whoever drives this says what follows from it.
        if self.failures == 1 {
            tracing::warn!(watch = %self.watched, %trouble, ?wait, "a list or watch ended");
        } else {
            tracing::debug!(watch = %self.watched, %trouble, ?wait, "a list or watch ended");
        }
        match trouble.fault {
            // Whether they were deletions is not known. Only a list says how much there is.
            Fault::Expired | Fault::IncompleteList | Fault::QuotaExceeded => self.needs_list = true,
            // A page of large objects may be too long where a shorter one is not.
            Fault::LimitExceeded => {
                self.needs_list = true;
                (self.page, self.lost_pages) = ((self.page / 2).max(1), 0);
            }
            Fault::Unreachable | Fault::TlsVerify => self.link.doubt(),
            Fault::Unauthorized | Fault::Forbidden | Fault::KindUnavailable => {}
        }
        self.link.meter().failure(trouble.reason());
        let plural = &self.watched.resource.plural;
        let message = format!("{plural}: {}", trouble.message);
        self.post.send(News::Failed(Trouble { message, ..trouble })).await?;
        Ok(wait)
    }

    async fn contact(&self) -> Result<(), Ended> {
        self.link.meter().contact();
        self.post.send(News::Contact).await
    }

    async fn list(&mut self) -> Result<(), Ended> {
        let is_impatient = self.lost_pages >= IMPATIENT_AFTER;
        let mut params = ListParams::default();
        params.field_selector.clone_from(&self.watched.fields);
        params.limit = (!is_impatient).then_some(self.page);
        self.judge_again = None;
        let (mut listing, mut sightings) = (Listing::default(), Vec::new());
        self.load = Load::new(&self.watched.scope, self.watched.kind);
        let version = loop {
            let page = self.page(&params).await?;
            self.contact().await?;
            let next = listing.add(&page)?;
            for item in page.items {
                let sighting = self.sight(item)?;
                self.load.add(&sighting)?;
                sightings.push(sighting);
            }
            match next {
                Next::Page(token) => params.continue_token = Some(token),
                Next::Done(version) => break version,
            }
        };
        self.not_before(&version)?;
        self.lost_pages = 0;
        self.link.meter().list();
        self.post.send(News::Listed(sightings)).await?;
        self.version = Some(version);
        self.needs_list = false;
        Ok(())
    }

    async fn page(&mut self, params: &ListParams) -> Result<Page, Ended> {
        let request = self.path.list(params).map_err(|err| illegal(&err))?;
        let answer = request::fetch(&self.link.client(), request, self.timings.request).await;
        let answer = answer.inspect_err(|failure| {
            let is_lost =
                failure.trouble.fault == Fault::Expired && params.continue_token.is_some();
            self.lost_pages += u32::from(is_lost);
        })?;
        let page = serde_json::from_slice(&answer);
        let unreadable = |err| Trouble::new(Fault::IncompleteList, format!("not a list: {err}"));
        Ok(page.map_err(unreadable)?)
    }

    /// What was seen once is not unseen: a list that is older is that of a replica that lags
    /// (faults.md A11, B9), unless it stays so.
    fn not_before(&mut self, version: &str) -> Result<(), Trouble> {
        let number = |version: &str| version.parse::<u64>().ok();
        let known = self.version.as_deref().and_then(number);
        let is_older = known.zip(number(version)).is_some_and(|(known, new)| new < known);
        self.regressions = if is_older { self.regressions + 1 } else { 0 };
        if self.regressions == 0 || self.regressions >= REGRESSIONS {
            return Ok(());
        }
        let message = format!("version {version} is older than what was seen before; ignored");
        Err(Trouble::new(Fault::IncompleteList, message))
    }

    async fn watch(&mut self, version: &str) -> Result<(), Ended> {
        // One that is not opened has not lived, however long that took.
        let mut lines = self.open(version).await?;
        let opened = Instant::now();
        let ended = self.follow(&mut lines).await;
        // A server that ends every watch as it begins is not asked again at once.
        let is_early = opened.elapsed() < self.timings.backoff_min;
        if !is_early {
            self.failures = 0;
        }
        if ended.is_ok() && is_early && !self.needs_list {
            let message = "the watch ended as it began";
            return Err(Trouble::new(Fault::Unreachable, message).into());
        }
        ended
    }

    /// The server counts in whole seconds.
    fn idle(&self) -> Duration {
        self.timings.watch_idle.max(Duration::from_secs(1))
    }

    async fn open(&self, version: &str) -> Result<Lines, Ended> {
        let idle = self.idle();
        let seconds = u32::try_from(idle.as_secs()).unwrap_or(u32::MAX);
        let mut params = WatchParams::default().timeout(seconds);
        params.field_selector.clone_from(&self.watched.fields);
        let request = self.path.watch(&params, version).map_err(|err| illegal(&err))?;
        let limit = self.timings.request;
        let lines = request::open(&self.link.client(), request, limit).await?;
        self.link.meter().watch();
        self.contact().await?;
        Ok(lines)
    }

    async fn follow(&mut self, lines: &mut Lines) -> Result<(), Ended> {
        let limit = self.idle() + self.timings.request;
        loop {
            let judge_again = until(self.judge_again);
            let line = tokio::select! {
                line = timeout(limit, lines.next()) => line,
                () = judge_again => {
                    self.needs_list = true;
                    return Ok(());
                }
            };
            // The server ends the watch at `idle`; a connection that is dead does not.
            let silent = |_| Trouble::new(Fault::Unreachable, "a watch without a sign of life");
            match line.map_err(silent)?? {
                Some(line) => self.event(&line).await?,
                None => return Ok(()),
            }
        }
    }

    async fn event(&mut self, line: &Bytes) -> Result<(), Ended> {
        let event: Event = serde_json::from_slice(line).map_err(|err| unreadable(line, &err))?;
        let version = metadata(&event.object, "resourceVersion").map(str::to_owned);
        self.link.meter().contact();
        match event.what.as_str() {
            "ADDED" | "MODIFIED" => {
                let sighting = self.sight(event.object)?;
                self.load.add(&sighting)?;
                self.post.send(News::Changed(sighting)).await?;
            }
            "DELETED" => {
                let sighting = Sighting { name: name(&event.object)?, seen: Seen::Absent };
                self.load.add(&sighting)?;
                self.post.send(News::Changed(sighting)).await?;
            }
            "BOOKMARK" => self.post.send(News::Contact).await?,
            "ERROR" => {
                let said: Said = serde_json::from_value(event.object).unwrap_or_default();
                return Err(said.trouble().into());
            }
            _newer => return Err(incomplete("an event of an unknown type").into()),
        }
        self.version = version.filter(|own| !own.is_empty()).or_else(|| self.version.take());
        Ok(())
    }

    /// Reads an object, whose type the items of a list leave out.
    fn sight(&mut self, mut object: Value) -> Result<Sighting, Trouble> {
        let name = name(&object)?;
        if let Value::Object(fields) = &mut object {
            let ApiResource { kind, api_version, .. } = &self.watched.resource;
            fields.insert("kind".into(), kind.as_str().into());
            fields.insert("apiVersion".into(), api_version.as_str().into());
        }
        let seen = match decode(&self.watched.scope, object, now()) {
            Decoded::Object { object, diags, judge_again } => {
                self.judge_again = self.judge_again.into_iter().chain(judge_again).min();
                Seen::Object(object, diags)
            }
            Decoded::Refused(diag) => Seen::Refused(diag),
            Decoded::Nameless(_) | Decoded::Ignored(_) => Seen::Absent,
        };
        Ok(Sighting { name, seen })
    }
}

fn name(object: &Value) -> Result<ObjectName, Trouble> {
    let name = metadata(object, "name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| incomplete("an object without a name"))?;
    Ok(ObjectName::new(metadata(object, "namespace").unwrap_or_default(), name))
}

fn metadata<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get(key)?.as_str()
}

fn incomplete(message: &str) -> Trouble {
    Trouble::new(Fault::IncompleteList, message)
}

/// Some servers answer a watch with a bare `Status` instead of an event that holds one.
fn unreadable(line: &Bytes, err: &serde_json::Error) -> Trouble {
    #[derive(Deserialize)]
    struct Bare {
        kind: String,
        #[serde(flatten)]
        said: Said,
    }
    match serde_json::from_slice(line) {
        Ok(Bare { kind, said }) if kind == "Status" => said.trouble(),
        Ok(_) | Err(_) => incomplete(&format!("an event that cannot be read: {err}")),
    }
}

/// A request that was never sent: a selector of ours is wrong.
fn illegal(err: &kube::core::request::Error) -> Trouble {
    Trouble::new(Fault::Unreachable, format!("a request that cannot be made: {err}"))
}

/// Waits until a time in seconds since 1970; without one, for ever.
async fn until(time: Option<i64>) {
    let Some(time) = time else { return std::future::pending().await };
    let rest = u64::try_from(time.saturating_sub(now())).unwrap_or(0);
    // Past it rather than at it, and never at once.
    sleep(Duration::from_secs(rest.saturating_add(1))).await;
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
