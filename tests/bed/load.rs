//! Load whose rate does not depend on the answers, and what became of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use super::{
    client::{Client, Connection, Request},
    poll::eventually,
};

/// Nobody waits longer than this for an answer: what is not there by then is lost. With every
/// mechanism on, the slowest took 3.4 s (M32).
const PATIENCE: Duration = Duration::from_secs(10);

/// A load that is forgotten ends by itself, after the longest row of `make soak`.
const LONGEST: Duration = Duration::from_secs(3600);

/// What to send.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Tells the ids and figures of several loads apart.
    pub(crate) name: &'static str,
    pub(crate) request: Request,
    pub(crate) gets_per_second: u32,
    /// POSTs with ids of their own, which the backends record.
    pub(crate) posts_per_second: u32,
}

/// Load that runs.
pub(crate) struct Load {
    name: &'static str,
    stop: Arc<AtomicBool>,
    gets_sent: Arc<AtomicUsize>,
    gets: JoinHandle<Vec<Sample>>,
    posts: JoinHandle<Vec<Sample>>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When it was due.
    pub(crate) due: Instant,
    /// From then to the end of the answer.
    pub(crate) took: Duration,
    /// Who answered 200; else the code or the error.
    pub(crate) outcome: Result<String, String>,
}

impl Load {
    pub(crate) fn start(client: &Client, plan: &Plan) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let gets_sent = Arc::new(AtomicUsize::new(0));
        let stream = |rate, sent: &Arc<AtomicUsize>, request: fn(&Plan, usize) -> _| Stream {
            client: client.clone(),
            plan: plan.clone(),
            rate,
            request,
            sent: sent.clone(),
            stop: stop.clone(),
        };
        let gets = stream(plan.gets_per_second, &gets_sent, |plan, _| plan.request.clone());
        let posts = stream(plan.posts_per_second, &Arc::default(), |plan, n| {
            plan.request.clone().post(&format!("{} {n}", plan.name))
        });
        let (gets, posts) = (tokio::spawn(gets.run()), tokio::spawn(posts.run()));
        Load { name: plan.name, stop, gets_sent, gets, posts }
    }

    /// How many GETs have been sent.
    pub(crate) fn sent(&self) -> usize {
        self.gets_sent.load(Ordering::Relaxed)
    }

    /// Returns when `n` GETs have been sent in all.
    pub(crate) async fn reaches(&self, n: usize) {
        eventually(LONGEST, "the load is sent", || async {
            let sent = self.sent();
            if sent >= n { Ok(()) } else { Err(sent.to_string()) }
        })
        .await;
    }

    /// Returns when `n` more GETs have been sent.
    pub(crate) async fn sends(&self, n: usize) {
        self.reaches(self.sent() + n).await;
    }

    /// Sends nothing more, waits for what is under way, and says what became of all.
    pub(crate) async fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let (gets, posts) = (self.gets.await.unwrap(), self.posts.await.unwrap());
        Report { name: self.name, gets, posts }
    }
}

/// Connections that are open and not in use.
type Idle = Arc<Mutex<Vec<Connection>>>;

/// Requests of one kind.
struct Stream {
    client: Client,
    plan: Plan,
    rate: u32,
    request: fn(&Plan, usize) -> Request,
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Stream {
    async fn run(self) -> Vec<Sample> {
        let mut under_way = JoinSet::new();
        if self.rate > 0 {
            let idle = Idle::default();
            let mut ticks = interval(Duration::from_secs(1) / self.rate);
            // A late tick is sent at once: the rate holds on average.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let end = Instant::now() + LONGEST;
            while !self.stop.load(Ordering::Relaxed) && Instant::now() < end {
                let due = ticks.tick().await.into_std();
                let n = self.sent.fetch_add(1, Ordering::Relaxed);
                let request = (self.request)(&self.plan, n);
                under_way.spawn(send(self.client.clone(), idle.clone(), request, due));
            }
        }
        under_way.join_all().await
    }
}

async fn send(client: Client, idle: Idle, request: Request, due: Instant) -> Sample {
    let outcome = exchange(&client, &idle, &request.patience(PATIENCE)).await;
    Sample { due, took: due.elapsed(), outcome }
}

async fn exchange(client: &Client, idle: &Idle, request: &Request) -> Result<String, String> {
    let kept = idle.lock().unwrap().pop().filter(Connection::is_open);
    let mut connection = match kept {
        Some(connection) => connection,
        None => client.connect().await?,
    };
    let reply = connection.send(request).await?;
    idle.lock().unwrap().push(connection);
    if reply.status.is_success() {
        return Ok(reply.echo()?.env);
    }
    Err(format!("{} {}", reply.status.as_u16(), String::from_utf8_lossy(&reply.body)))
}

/// What became of a load.
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) gets: Vec<Sample>,
    pub(crate) posts: Vec<Sample>,
}

impl Report {
    /// How many GETs failed.
    pub(crate) fn lost(&self) -> usize {
        self.gets.iter().filter(|sample| sample.outcome.is_err()).count()
    }

    /// GETs that failed, by reason.
    pub(crate) fn failures(&self) -> BTreeMap<&str, usize> {
        let mut reasons = BTreeMap::new();
        for reason in self.gets.iter().filter_map(|sample| sample.outcome.as_ref().err()) {
            *reasons.entry(reason.as_str()).or_default() += 1;
        }
        reasons
    }

    /// The time in which `percent` of the GETs had ended.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut times: Vec<_> = self.gets.iter().map(|sample| sample.took).collect();
        times.sort_unstable();
        let rank = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(rank).copied().unwrap_or_default()
    }

    /// POSTs that failed although they were not under way at any time from `start` to `end`.
    pub(crate) fn posts_lost_apart_from(&self, start: Instant, end: Instant) -> Vec<&Sample> {
        let excused = |post: &&Sample| post.due <= end && start <= post.due + post.took;
        let failed = self.posts.iter().filter(|post| post.outcome.is_err());
        failed.filter(|post| !excused(post)).collect()
    }

    /// One line for the log.
    pub(crate) fn figures(&self) -> String {
        let slowest = self.gets.iter().map(|sample| sample.took).max().unwrap_or_default();
        let failed_posts = self.posts.iter().filter(|sample| sample.outcome.is_err()).count();
        format!(
            "{}: GET {} failed {} p50 {:?} p99 {:?} max {slowest:?}; POST {} failed {failed_posts}",
            self.name,
            self.gets.len(),
            self.lost(),
            self.percentile(50),
            self.percentile(99),
            self.posts.len(),
        )
    }
}
