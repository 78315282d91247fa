//! Plays scenarios, each in a world of its own that its steps share.
//!
//! The test program has two parts: it lists steps as tests; and in namespaces of its own it plays one
//! scenario, step by step as the first part asks for them. So each step is reported by its own name, a
//! world is paid for once, and the kernel removes it whole.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Lines, Write},
    os::unix::process::CommandExt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::NamedTempFile;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::{
    bed::{Bed, netns},
    clusters::programs::Programs,
    hold,
    paced::is_soak,
    rows::FIGURE,
    scene::Scene,
};

pub(crate) use crate::rows::figure;

/// Names the scenario that a process in its own namespaces is to play, or [`HOLD`].
const PART: &str = "CONVOY_BED";

/// Instead of a scenario: a world for a person.
const HOLD: &str = "hold";

/// Far above the slowest step, so that only a hang is cut. Of `make soak`, a fault lasts ten minutes.
fn longest_step() -> Duration {
    if is_soak() { Duration::from_secs(3600) } else { Duration::from_secs(240) }
}

/// A world ends in a fraction of a second.
const TIDY: Duration = Duration::from_secs(10);

/// How a step ended, as its process says it.
const PASSED: &str = "step passed";
const FAILED: &str = "step failed";

/// Steps that share clusters.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) members: &'static [&'static str],
    pub(crate) fleet: Ground,
    pub(crate) order: Order,
    pub(crate) steps: &'static [Step],
}

/// What a scenario finds in the fleet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Convoy's kinds and its account.
    Prepared,
    /// The same, and the last member is at the other end of a leased line.
    Divided,
    /// Machines too.
    Machines,
    /// Machines, and nothing of Convoy's.
    Bare,
}

/// How the steps of a scenario depend on each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Each may rely on what the earlier ones left. A step that is asked for alone is played after
    /// those before it.
    Story,
    /// Each begins with clusters that hold nothing, and all members declared. After a failure comes a
    /// new world.
    Any,
}

/// A test.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) play: Play,
}

/// What a step is given.
#[derive(Clone, Copy)]
pub(crate) enum Play {
    Scene(for<'a> fn(&'a mut Scene) -> Pin<Box<dyn Future<Output = ()> + 'a>>),
    /// One that does not know that there are clusters.
    Bed(for<'a> fn(&'a mut Bed) -> Pin<Box<dyn Future<Output = ()> + 'a>>),
}

/// Steps from functions `async fn(&mut Scene)`; the name of the function is the name of the test.
macro_rules! steps {
    ($($step:ident),+ $(,)?) => {
        pub(crate) const STEPS: &[$crate::harness::Step] = &[$($crate::harness::Step {
            name: stringify!($step),
            play: $crate::harness::Play::Scene(|scene| Box::pin($step(scene))),
        }),+];
    };
}
pub(crate) use steps;

/// A story in [`steps`].
macro_rules! scenario {
    ($name:literal, $members:expr; $($step:ident),+ $(,)?) => {
        $crate::harness::scenario! { $name, $members, fleet: Prepared; $($step),+ }
    };
    ($name:literal, $members:expr, fleet: $ground:ident; $($step:ident),+ $(,)?) => {
        $crate::harness::steps! { $($step),+ }

        pub(crate) const SCENARIO: $crate::harness::Scenario = $crate::harness::Scenario {
            name: $name,
            members: $members,
            fleet: $crate::harness::Ground::$ground,
            order: $crate::harness::Order::Story,
            steps: STEPS,
        };
    };
}
pub(crate) use scenario;

/// Plays whichever part the environment asks for.
pub(crate) fn main(scenarios: &[Scenario]) -> ExitCode {
    match env::var(PART).as_deref() {
        Ok(HOLD) if env::var_os(hold::ENTERED).is_some() => play(hold::show),
        Ok(HOLD) => hold_in_namespaces(),
        Ok(name) => {
            let scenario = *scenarios.iter().find(|it| it.name == name).unwrap();
            play(move |runtime| play_steps(runtime, scenario))
        }
        Err(_) => schedule(scenarios),
    }
}

fn schedule(scenarios: &[Scenario]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A world fills the smallest machine, and steps are in order.
    arguments.test_threads = Some(1);
    let missing = Programs::find().err();
    let skip = missing.is_some() && env::var_os("CI").is_none();
    if let Some(missing) = missing.as_ref().filter(|_| skip) {
        eprintln!("\n*** THE KUBERNETES TESTS ARE SKIPPED: {missing} ***\n");
    }
    // The world of the scenario that is being played.
    let stage: Arc<Mutex<Option<Stage>>> = Arc::default();
    let trials = scenarios.iter().flat_map(|scenario| {
        scenario.steps.iter().enumerate().map({
            let (stage, missing) = (stage.clone(), missing.clone());
            move |(idx, step)| {
                let (scenario, stage, missing) = (*scenario, stage.clone(), missing.clone());
                Trial::test(format!("{}::{}", scenario.name, step.name), move || match missing {
                    Some(missing) => Err(missing.into()),
                    None => ask(&mut stage.lock().unwrap(), scenario, idx),
                })
                .with_ignored_flag(skip)
            }
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // The last world ends before the program does.
    drop(stage.lock().unwrap().take());
    conclusion.exit_code()
}

/// A process that plays a scenario.
struct Stage {
    scenario: &'static str,
    process: Child,
    /// When it is closed, the process tidies up and ends.
    requests: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    errors: NamedTempFile,
    played: usize,
    failed: Option<&'static str>,
}

/// Has a step played.
fn ask(stage: &mut Option<Stage>, scenario: Scenario, idx: usize) -> Result<(), Failed> {
    if stage.as_ref().is_none_or(|stage| stage.scenario != scenario.name) {
        // The old world goes first: two do not fit.
        *stage = None;
    }
    let open = stage.get_or_insert_with(|| Stage::open(scenario.name));
    match scenario.order {
        Order::Story => open.play_up_to(scenario.steps, idx),
        Order::Any => {
            let played = open.play(scenario.steps[idx].name);
            if played.is_err() {
                *stage = None;
            }
            Ok(played?)
        }
    }
}

impl Stage {
    fn open(scenario: &'static str) -> Stage {
        let errors = NamedTempFile::new().unwrap();
        let mut process = netns::isolated()
            .env(PART, scenario)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.reopen().unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("unshare: {e}; the tests need util-linux"));
        let requests = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Stage { scenario, process, requests, answers, errors, played: 0, failed: None }
    }

    /// Plays a step of a story, after those before it.
    fn play_up_to(&mut self, steps: &[Step], idx: usize) -> Result<(), Failed> {
        while self.played <= idx {
            if let Some(failed) = self.failed {
                return Err(format!("not played, because {failed} failed").into());
            }
            let step = &steps[self.played];
            self.played += 1;
            if let Err(why) = self.play(step.name) {
                self.failed = Some(step.name);
                return Err(why.into());
            }
        }
        Ok(())
    }

    fn play(&mut self, step: &str) -> Result<(), String> {
        let start = Instant::now();
        let requests = self.requests.as_mut().expect("invariant: it is closed at the end");
        let asked = writeln!(requests, "{step}");
        let mut said = String::new();
        while asked.is_ok() {
            match self.answers.next() {
                Some(Ok(line)) if line == PASSED => {
                    println!("{step}: {:?}", start.elapsed());
                    return Ok(());
                }
                Some(Ok(line)) if line == FAILED => break,
                Some(Ok(line)) => {
                    if let Some(figure) = line.strip_prefix(FIGURE) {
                        println!("{step}: {figure}");
                    }
                    said.extend([line.as_str(), "\n"]);
                }
                Some(Err(_)) | None => break,
            }
        }
        let why = fs::read_to_string(self.errors.path()).unwrap_or_default();
        Err(format!("{said}{why}"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.requests = None;
        let start = Instant::now();
        while start.elapsed() < TIDY && matches!(self.process.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
        // `unshare` takes its namespaces with it, whatever hangs in them.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs something in the namespaces of this process.
fn play(part: impl FnOnce(&Runtime)) -> ExitCode {
    netns::set_up();
    // What a Convoy in this process says is part of the report of a failed step.
    let filter = EnvFilter::new("convoy=info");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    part(&runtime);
    ExitCode::SUCCESS
}

/// Plays steps by the names that come in, until no more do.
fn play_steps(runtime: &Runtime, scenario: Scenario) {
    let start = Instant::now();
    let mut scene = runtime.block_on(Scene::open(scenario.members, scenario.fleet));
    if scenario.order == Order::Any {
        scene.install_proxied(scenario.members);
    }
    figure(&format!("{} clusters started in {:?}", 1 + scenario.members.len(), start.elapsed()));
    for name in io::stdin().lines().map_while(Result::ok) {
        let step = scenario.steps.iter().find(|step| step.name == name).unwrap();
        let body = async {
            if scenario.order == Order::Any {
                scene.clear().await;
            }
            tokio::time::timeout(longest_step(), scene.play(step.play)).await
        };
        let passed = match catch_unwind(AssertUnwindSafe(|| runtime.block_on(body))) {
            Ok(Ok(())) => true,
            Ok(Err(_)) => {
                eprintln!("the step took longer than {:?}", longest_step());
                false
            }
            // The panic has been printed where it happened.
            Err(_) => false,
        };
        if !passed {
            eprintln!("{}", runtime.block_on(scene.autopsy()));
        }
        println!("{}", if passed { PASSED } else { FAILED });
    }
}

/// A world of a person's own, in namespaces of its own, until Ctrl-C.
fn hold_in_namespaces() -> ExitCode {
    let user = if nix::unistd::geteuid().is_root() { hold::AS_ROOT } else { hold::AS_USER };
    let mut isolated = netns::isolated();
    // In a process group of its own, Ctrl-C does not end it before it has tidied up.
    isolated.env(hold::ENTERED, user).stdin(Stdio::piped()).process_group(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = runtime.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt())?;
        // The end of the terminal, or of the program that was interrupted with this one.
        let mut hangups = signal(SignalKind::hangup())?;
        let mut world = tokio::process::Command::from(isolated).spawn()?;
        let requests = world.stdin.take();
        tokio::select! {
            status = world.wait() => return status,
            _ = interrupts.recv() => {}
            _ = hangups.recv() => {}
        }
        drop(requests);
        world.wait().await
    });
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("unshare: {e}; the bed needs util-linux");
            ExitCode::FAILURE
        }
    }
}
