//! Runs each row in namespaces of its own.
//!
//! The test program plays two parts: it lists and schedules rows; in the namespaces of a row it runs
//! that row.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process::{ExitCode, Stdio},
    sync::{Arc, RwLock},
    time::Duration,
};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::bed::{Bed, Variant, netns};

/// Names the row that a process in its own namespaces is to run.
const ROW: &str = "CONVOY_BED_ROW";

/// Rows mostly wait, but eight that are under load starve each other on two cores.
const PARALLEL_ROWS: usize = 4;

/// Far above the slowest row, so that only a hang is cut.
const LONGEST_ROW: Duration = Duration::from_secs(240);

/// Marks the lines of a row's output that are worth reading when it passes.
const FIGURE: &str = "figure: ";

/// Prints a measurement, also of a row that passes.
pub(crate) fn figure(text: &str) {
    println!("{FIGURE}{text}");
}

/// A test.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a mut Bed) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
    pub(crate) variants: &'static [Variant],
    /// Nothing else may run beside it.
    pub(crate) alone: bool,
}

/// Rows that need both cores: what they show depends on how fast Envoy follows.
pub(crate) fn alone(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().map(|row| Row { alone: true, ..row }).collect()
}

/// Both ways to speak xDS.
pub(crate) const BOTH: &[Variant] = &[Variant::Delta, Variant::Sotw];

/// A list of rows from functions `async fn(&mut Bed)`; the name of the function is the name of the
/// test.
macro_rules! rows {
    ($variants:expr; $($row:ident),+ $(,)?) => {
        pub(crate) fn rows() -> Vec<$crate::harness::Row> {
            vec![$($crate::harness::Row {
                name: stringify!($row),
                run: |bed| Box::pin($row(bed)),
                variants: $variants,
                alone: false,
            }),+]
        }
    };
}
pub(crate) use rows;

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
