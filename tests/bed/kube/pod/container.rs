//! One container: its process, run after run.

use std::{
    future, io::Write as _, os::unix::process::ExitStatusExt, process::ExitStatus, sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{self, ContainerState, ContainerStateTerminated, ContainerStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    process::Child,
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use super::{
    End, GRACE, PAUSE, Shared, Surroundings,
    image::Image,
    inside::Inside,
    probe::{Prober, Verdict},
    status::{now, waiting},
};

/// Between runs, doubled with each; a kubelet's ten seconds would only make tests long.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a container has left after a hook that took all its time, as a kubelet gives it.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// What a container is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs to its end, before others start.
    Init,
    /// An init container that stays, beside the main ones.
    Sidecar,
    Main,
}

/// What a test wants of a container.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    Kill,
    Revive,
    Signal(Signal),
}

/// A container of a pod, over all its runs.
pub(super) struct Container {
    pub(super) shared: Arc<Shared>,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) spec: v1::Container,
    role: Role,
    tasks: mpsc::Receiver<Request>,
    end: End,
}

/// A run of a container.
pub(super) struct Life {
    /// None after [`Task::Kill`].
    pub(super) process: Option<Child>,
    pub(super) prober: Option<Prober>,
    pub(super) inside: Inside,
}

/// A task with whom to tell that it was done.
pub(super) type Request = (Task, oneshot::Sender<()>);

/// What came first.
enum Came<T> {
    Ended(ExitStatus),
    Unhealthy(String),
    Event(T),
}

impl Container {
    pub(super) fn new(
        shared: Arc<Shared>,
        surroundings: Arc<Surroundings>,
        spec: v1::Container,
        role: Role,
        end: End,
    ) -> Container {
        let (control, tasks) = mpsc::channel(8);
        shared.controls.lock().unwrap().insert(spec.name.clone(), control);
        Container { shared, surroundings, spec, role, tasks, end }
    }

    /// Runs until it has ended for good.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE;
        while self.end.borrow().is_none() {
            let begin = now();
            match self.launch().await {
                Ok(life) => {
                    let status = self.attend(life).await;
                    self.note_end(status, &begin);
                    if self.is_done(status) {
                        break;
                    }
                    self.note(|it| {
                        it.restart_count += 1;
                        it.last_state = it.state.replace(waiting("CrashLoopBackOff", "it ended"));
                    });
                }
                Err((reason, message)) => {
                    self.note(|it| it.state = Some(waiting(reason, &message)))
                }
            }
            self.rest(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        self.shared.controls.lock().unwrap().remove(&self.spec.name);
    }

    fn is_done(&self, status: ExitStatus) -> bool {
        let policy = self.shared.spec().restart_policy.as_deref();
        let is_over = match self.role {
            Role::Init => status.success(),
            Role::Sidecar => false,
            Role::Main => match policy {
                Some("Never") => true,
                Some("OnFailure") => status.success(),
                Some(_) | None => false,
            },
        };
        is_over || self.end.borrow().is_some()
    }

    /// Waits, unless the end comes.
    async fn rest(&mut self, pause: Duration) {
        let mut end = self.end.clone();
        let over = async { time::timeout(pause, end.wait_for(Option::is_some)).await.is_ok() };
        tokio::pin!(over);
        loop {
            tokio::select! {
                _ = &mut over => return,
                // There is no process that could do it.
                Some((_, done)) = self.tasks.recv() => drop(done.send(())),
            }
        }
    }

    /// Looks after a process until it ends, by itself or because it has to.
    async fn attend(&mut self, mut life: Life) -> ExitStatus {
        let mut end = self.end.clone();
        let is_to_end = async { end.wait_for(|it| it.is_some()).await.ok().and_then(|it| *it) };
        let status = match self.until(&mut life, is_to_end).await {
            Came::Ended(status) => status,
            Came::Unhealthy(why) => {
                let _ = self.open_log().map(|mut log| writeln!(log, "bed: {why}"));
                let grace = self.shared.spec().termination_grace_period_seconds;
                let grace = grace.map_or(GRACE, i64::unsigned_abs);
                self.finish(&mut life, Instant::now() + Duration::from_secs(grace)).await
            }
            Came::Event(deadline) => {
                self.finish(&mut life, deadline.unwrap_or_else(Instant::now)).await
            }
        };
        self.shared.running.lock().unwrap().remove(&self.spec.name);
        status
    }

    /// preStop, SIGTERM, SIGKILL.
    async fn finish(&mut self, life: &mut Life, deadline: Instant) -> ExitStatus {
        life.prober.iter().for_each(Prober::is_ending);
        let hook = self.spec.lifecycle.clone().and_then(|it| it.pre_stop);
        if let Some(hook) = hook {
            let inside = life.inside.clone();
            let over = due(self.end.clone(), deadline);
            let hook = async {
                tokio::select! {
                    () = inside.hook(&hook) => {}
                    () = over => {}
                }
            };
            if let Came::Ended(status) = self.until(life, hook).await {
                return status;
            }
        }
        life.signal(Signal::SIGTERM);
        // A paused process hears of it only when it goes on.
        life.signal(Signal::SIGCONT);
        let had_hook = self.spec.lifecycle.is_some();
        let last = Instant::now() + if had_hook { LAST_GRACE } else { Duration::ZERO };
        let over = due(self.end.clone(), deadline);
        let over = async { tokio::join!(over, time::sleep_until(last)) };
        if let Came::Ended(status) = self.until(life, over).await {
            return status;
        }
        match &mut life.process {
            Some(process) => kill_group(process).await,
            None => ExitStatus::from_raw(Signal::SIGKILL as i32),
        }
    }

    /// Does what is asked, and notes what the probes find, until something comes.
    async fn until<T>(&mut self, life: &mut Life, event: impl Future<Output = T>) -> Came<T> {
        tokio::pin!(event);
        loop {
            tokio::select! {
                status = ended(&mut life.process) => return Came::Ended(status),
                it = &mut event => return Came::Event(it),
                verdict = verdict(&mut life.prober) => match verdict {
                    Verdict::Started => self.note(|it| it.started = Some(true)),
                    Verdict::Ready(is_ready) => self.note(|it| it.ready = is_ready),
                    Verdict::Dead(why) => return Came::Unhealthy(why),
                },
                Some((task, done)) = self.tasks.recv() => {
                    self.obey(task, life).await;
                    // Whoever gave the order may have given up on it.
                    let _ = done.send(());
                }
            }
        }
    }

    async fn obey(&self, task: Task, life: &mut Life) {
        match task {
            Task::Kill => {
                // Who is not there is not asked either.
                life.prober = None;
                if let Some(mut process) = life.process.take() {
                    kill_group(&mut process).await;
                }
            }
            Task::Revive => {
                if let (None, Ok(image)) = (&life.process, Image::of(&self.spec)) {
                    self.start(image, life).await.unwrap();
                }
            }
            Task::Signal(signal) => life.signal_all(signal),
        }
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut ContainerStatus)) {
        self.shared.board.note(&self.spec.name, change);
    }

    fn note_end(&self, status: ExitStatus, begin: &Time) {
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or_default();
        let terminated = ContainerStateTerminated {
            exit_code: code,
            signal: status.signal(),
            reason: Some(if status.success() { "Completed" } else { "Error" }.to_owned()),
            started_at: Some(begin.clone()),
            finished_at: Some(now()),
            ..ContainerStateTerminated::default()
        };
        self.note(|it| {
            // An init container is ready when it has done its work.
            it.ready = self.role == Role::Init && status.success();
            it.started = Some(false);
            it.state =
                Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() });
        });
    }
}

impl Life {
    fn id(&self) -> Option<Pid> {
        let id = self.process.as_ref().and_then(Child::id)?;
        id.try_into().ok().map(Pid::from_raw)
    }

    /// As a kubelet does, to the process alone. It may have ended a moment ago.
    fn signal(&self, signal: Signal) {
        let _ = self.id().map(|id| kill(id, signal));
    }

    /// To all that it started, too.
    fn signal_all(&self, signal: Signal) {
        let _ = self.id().map(|id| killpg(id, signal));
    }
}

/// Returns at a deadline, or at an earlier one that the pod is given meanwhile.
async fn due(mut end: End, deadline: Instant) {
    loop {
        let until = end.borrow_and_update().map_or(deadline, |end| end.min(deadline));
        tokio::select! {
            () = time::sleep_until(until) => return,
            changed = end.changed() => if changed.is_err() {
                return time::sleep_until(until).await;
            },
        }
    }
}

/// SIGKILL for a process and all that it started.
async fn kill_group(process: &mut Child) -> ExitStatus {
    if let Some(id) = process.id().and_then(|id| id.try_into().ok()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
    process.wait().await.unwrap()
}

/// Returns when the process has ended; never without one.
async fn ended(process: &mut Option<Child>) -> ExitStatus {
    match process {
        Some(process) => process.wait().await.unwrap(),
        None => future::pending().await,
    }
}

/// What a probe finds; nothing where none is made.
async fn verdict(prober: &mut Option<Prober>) -> Verdict {
    match prober {
        Some(prober) => prober.next().await,
        None => future::pending().await,
    }
}
