//! Runs each row in namespaces of its own.
//!
//! The test program plays two parts: it lists and schedules rows; in the namespaces of a row it runs
//! that row.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{ExitCode, Stdio},
    sync::{Arc, RwLock},
    time::Duration,
};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{
    bed::{Bed, Variant, netns},
    rows::{FIGURE, Row},
};

/// Names the row that a process in its own namespaces is to run.
const ROW: &str = "CONVOY_BED_ROW";

/// Rows mostly wait, but eight that are under load starve each other on two cores.
const PARALLEL_ROWS: usize = 4;

/// Far above the slowest row, so that only a hang is cut.
const LONGEST_ROW: Duration = Duration::from_secs(240);

/// A row in one variant.
#[derive(Clone, Copy)]
struct Case {
    row: Row,
    variant: Variant,
}

impl Case {
    fn name(&self) -> String {
        let variant = match self.variant {
            Variant::Delta => "delta",
            Variant::Sotw => "sotw",
        };
        format!("{}::{variant}", self.row.name)
    }
}

/// Plays whichever part the environment asks for.
pub(crate) fn main(rows: Vec<Row>) -> ExitCode {
    let cases = rows
        .into_iter()
        .flat_map(|row| row.variants.iter().map(move |v| Case { row, variant: *v }));
    match env::var(ROW) {
        Ok(wanted) => run(cases.into_iter().find(|case| case.name() == wanted).unwrap()),
        Err(_) => schedule(cases),
    }
}

fn schedule(cases: impl Iterator<Item = Case>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(PARALLEL_ROWS);
    let machine: Arc<RwLock<()>> = Arc::default();
    let trial = |case: Case| {
        let machine = machine.clone();
        Trial::test(case.name(), move || {
            let (_shared, _whole);
            if case.row.alone {
                _whole = machine.write().unwrap();
            } else {
                _shared = machine.read().unwrap();
            }
            isolate(&case)
        })
    };
    libtest_mimic::run(&arguments, cases.map(trial).collect()).exit_code()
}

/// Runs a case in a process with namespaces of its own.
fn isolate(case: &Case) -> Result<(), Failed> {
    let output = netns::isolated().env(ROW, case.name()).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("unshare: {e}; the tests need util-linux"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines().filter_map(|line| line.strip_prefix(FIGURE)) {
        println!("{}: {line}", case.name());
    }
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{said}\n{why}", output.status).into())
}

/// Runs a case here.
fn run(case: Case) -> ExitCode {
    netns::set_up();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut bed = Bed::new(case.variant);
    let body = async { tokio::time::timeout(LONGEST_ROW, (case.row.run)(&mut bed)).await };
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(body))) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(_)) => eprintln!("the row took longer than {LONGEST_ROW:?}"),
        // The panic has been printed where it happened.
        Err(_) => {}
    }
    eprintln!("{}", runtime.block_on(bed.autopsy()));
    ExitCode::FAILURE
}
