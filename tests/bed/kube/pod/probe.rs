//! Probes of a container, with the periods and thresholds that they declare.

use std::{future, time::Duration};

use k8s_openapi::api::core::v1::Probe;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time,
};

use super::inside::Inside;

/// What the probes found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Started,
    Ready(bool),
    /// It has to begin anew, and why.
    Dead(String),
}

/// All probes of one run of a container; they end with this value.
pub(super) struct Prober {
    verdicts: mpsc::Receiver<Verdict>,
    liveness: AbortHandle,
    _tasks: JoinSet<()>,
}

impl Prober {
    /// A container without a probe has what the probe would have found.
    pub(super) fn start(inside: &Inside) -> Prober {
        let (tell, verdicts) = mpsc::channel(4);
        let container = &inside.container;
        let task = |probe: &Option<Probe>| Task {
            probe: probe.clone(),
            inside: inside.clone(),
            tell: tell.clone(),
        };
        let (startup, readiness) =
            (task(&container.startup_probe), task(&container.readiness_probe));
        let (liveness, (started, mut is_started)) =
            (task(&container.liveness_probe), tokio::sync::watch::channel(false));
        let mut wait = is_started.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            startup.until_started().await;
            started.send_replace(true);
            // Until then the others wait.
            future::pending::<()>().await;
        });
        tasks.spawn(async move {
            let _ = wait.wait_for(|it| *it).await;
            readiness.ready().await;
        });
        let liveness = tasks.spawn(async move {
            let _ = is_started.wait_for(|it| *it).await;
            liveness.alive().await;
        });
        Prober { verdicts, liveness, _tasks: tasks }
    }

    /// Never returns when nothing is found any more.
    pub(super) async fn next(&mut self) -> Verdict {
        match self.verdicts.recv().await {
            Some(verdict) => verdict,
            None => future::pending().await,
        }
    }

    /// A container that is ending is asked only whether it still serves.
    pub(super) fn is_ending(&self) {
        self.liveness.abort();
    }
}

/// One probe.
struct Task {
    probe: Option<Probe>,
    inside: Inside,
    tell: mpsc::Sender<Verdict>,
}

impl Task {
    async fn until_started(self) {
        let Some(mut run) = self.begin().await else { return self.say(Verdict::Started).await };
        loop {
            match run.next(&self.inside).await {
                Ok(()) => return self.say(Verdict::Started).await,
                Err(why) => self.say(Verdict::Dead(format!("startup probe failed: {why}"))).await,
            }
        }
    }

    async fn ready(self) {
        let Some(mut run) = self.begin().await else { return self.say(Verdict::Ready(true)).await };
        let mut known = false;
        loop {
            let is_ready = run.next(&self.inside).await.is_ok();
            if is_ready != known {
                known = is_ready;
                self.say(Verdict::Ready(is_ready)).await;
            }
        }
    }

    async fn alive(self) {
        let Some(mut run) = self.begin().await else { return };
        loop {
            if let Err(why) = run.next(&self.inside).await {
                self.say(Verdict::Dead(format!("liveness probe failed: {why}"))).await;
            }
        }
    }

    async fn say(&self, verdict: Verdict) {
        // Nobody listens when the container has ended.
        let _ = self.tell.send(verdict).await;
    }

    /// After the initial delay.
    async fn begin(&self) -> Option<Run> {
        let probe = self.probe.clone()?;
        time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
        Some(Run { probe, streak: 0, is_first: true })
    }
}

/// A probe that is repeated.
struct Run {
    probe: Probe,
    /// So many successes, or failures when it is negative, in a row.
    streak: i32,
    is_first: bool,
}

impl Run {
    /// The next time that a threshold is reached or passed, and on which side.
    async fn next(&mut self, inside: &Inside) -> Result<(), String> {
        let patience = seconds(self.probe.timeout_seconds, 1);
        loop {
            if !std::mem::take(&mut self.is_first) {
                time::sleep(seconds(self.probe.period_seconds, 10)).await;
            }
            match inside.probe(&self.probe, patience).await {
                Ok(()) => {
                    self.streak = self.streak.max(0) + 1;
                    if self.streak >= self.probe.success_threshold.unwrap_or(1) {
                        return Ok(());
                    }
                }
                Err(why) => {
                    self.streak = self.streak.min(0) - 1;
                    if -self.streak >= self.probe.failure_threshold.unwrap_or(3) {
                        return Err(why);
                    }
                }
            }
        }
    }
}

fn seconds(declared: Option<i32>, default: i32) -> Duration {
    Duration::from_secs(declared.unwrap_or(default).unsigned_abs().into())
}
