//! Bounded load: a few workers over keep-alive connections, each with one request at a time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::cli::demo::play::Traffic;

/// The host of every rule of the example.
const HOST: &str = "example.com";

/// A request without an answer for so long has failed.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Over how many answers the live view shows shares: the last second of what has four workers.
const WINDOW: usize = 100;

/// The command that sends one by hand.
pub(super) fn curl(traffic: &Traffic, port: u16) -> String {
    let header = traffic.header.map(|(name, value)| format!(" -H '{name}: {value}'"));
    let (header, path) = (header.unwrap_or_default(), traffic.path);
    format!("curl -H 'host: {HOST}'{header} http://127.0.0.1:{port}{path}")
}

/// Time between two requests of one worker: with seven of them 175 a second, a few percent of a core.
const PACE: Duration = Duration::from_millis(40);

/// What came of one kind of request.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Requests that ended, since the start.
    pub(super) sent: u64,
    /// Those without a 200, since the start.
    pub(super) failed: u64,
    /// What was wrong with the last of them.
    pub(super) last_failure: Option<String>,
    /// Who answered last, oldest first.
    pub(super) recent: VecDeque<String>,
    /// Who has ever answered.
    pub(super) seen: BTreeSet<String>,
    /// Who answered how many of the requests that were sent since the last mark.
    pub(super) since_mark: BTreeMap<String, u64>,
    mark: u64,
}

impl Tally {
    /// A request that was sent at `mark` has ended.
    fn record(&mut self, mark: u64, answer: Result<String, String>) {
        self.sent += 1;
        match answer {
            Err(failure) => {
                self.failed += 1;
                self.last_failure = Some(failure);
            }
            Ok(who) => {
                // A request that was on its way when the mark was set belongs to what was before.
                if mark == self.mark {
                    *self.since_mark.entry(who.clone()).or_default() += 1;
                }
                self.seen.insert(who.clone());
                self.recent.push_back(who);
                if self.recent.len() > WINDOW {
                    self.recent.pop_front();
                }
            }
        }
    }

    fn set_mark(&mut self) {
        self.mark += 1;
        self.since_mark.clear();
    }
}

/// The running load. It ends when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Load {
    /// One for each kind of request.
    rows: Arc<[Row]>,
    _workers: Arc<JoinSet<()>>,
}

#[derive(Debug)]
struct Row {
    traffic: &'static Traffic,
    tally: Mutex<Tally>,
}

impl Row {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Starts to send to the gateway on `port`.
    pub(super) fn start(traffic: &'static [Traffic], port: u16) -> Load {
        let row = |traffic| Row { traffic, tally: Mutex::default() };
        let rows: Arc<[Row]> = traffic.iter().map(row).collect();
        let mut workers = JoinSet::new();
        for (idx, traffic) in traffic.iter().enumerate() {
            for _ in 0..traffic.workers {
                workers.spawn(send(idx, port, rows.clone()));
            }
        }
        Load { rows, _workers: Arc::new(workers) }
    }

    /// Every kind of request, and what came of it so far.
    pub(super) fn tallies(&self) -> impl Iterator<Item = (&'static Traffic, Tally)> {
        self.rows.iter().map(|row| (row.traffic, row.lock().clone()))
    }

    /// From now on `since_mark` counts anew.
    pub(super) fn set_mark(&self) {
        self.rows.iter().for_each(|row| row.lock().set_mark());
    }

    /// All requests that ended.
    pub(super) fn sent(&self) -> u64 {
        self.rows.iter().map(|row| row.lock().sent).sum()
    }

    /// All requests that failed.
    pub(super) fn failed(&self) -> u64 {
        self.rows.iter().map(|row| row.lock().failed).sum()
    }
}

async fn send(idx: usize, port: u16, rows: Arc<[Row]>) {
    let Some(row) = rows.get(idx) else { return };
    let client = client();
    let url = format!("http://127.0.0.1:{port}{}", row.traffic.path);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let mark = row.lock().mark;
        let answer = get(&client, &url, row.traffic.header).await.and_then(|body| who(&body));
        row.lock().record(mark, answer);
    }
}

/// Who answered, by the name of the environment.
fn who(body: &[u8]) -> Result<String, String> {
    let answer: serde_json::Value =
        serde_json::from_slice(body).map_err(|err| format!("not a pod's answer: {err}"))?;
    let env = answer.get("env").and_then(|env| env.as_str());
    env.map(str::to_owned).ok_or_else(|| "an answer without `env`".to_owned())
}

pub(super) type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// A client with connections of its own, which are kept alive.
pub(super) fn client() -> HttpClient {
    // The client must not hide a failure: what Envoy does not retry counts.
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

/// The body of a 200 answer to a GET, or what was wrong.
pub(super) async fn get(
    client: &HttpClient,
    url: &str,
    header: Option<(&str, &str)>,
) -> Result<Vec<u8>, String> {
    let request = Request::get(url).header(header::HOST, HOST);
    let request =
        header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let request = request.body(Empty::new()).map_err(|err| err.to_string())?;
    let answer = async {
        let answer = client.request(request).await.map_err(|err| format!("{err:?}"))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("status {}", answer.status()));
        }
        answer.into_body().collect().await.map_err(|err| err.to_string())
    };
    let body = timeout(REQUEST_LIMIT, answer).await;
    Ok(body.map_err(|_| format!("no answer within {REQUEST_LIMIT:?}"))??.to_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_the_mark_at_which_it_was_sent() {
        let mut tally = Tally::default();
        tally.record(0, Ok("a".into()));
        tally.set_mark();
        tally.record(0, Ok("late".into()));
        tally.record(1, Ok("b".into()));
        tally.record(1, Err("status 503".into()));
        assert_eq!(tally.since_mark, BTreeMap::from([("b".to_owned(), 1)]));
        assert_eq!((tally.sent, tally.failed), (4, 1));
        assert_eq!(tally.recent, ["a", "late", "b"]);
    }

    #[test]
    fn only_a_pods_answer_says_who() {
        assert_eq!(who(br#"{"env":"cluster-demo-1"}"#), Ok("cluster-demo-1".into()));
        assert!(who(b"no healthy upstream").is_err());
        assert!(who(b"{}").is_err());
    }
}
