//! `convoy demo`: an example, alive on this machine.
//!
//! Owns what is played ([`play`]; [`zone`] and [`hybrid`]), with real HTTP servers as the pods of
//! two clusters, `convoy serve` and a stock Envoy as processes of their own ([`stage`]), nodes in
//! front of pods ([`line`]), bounded load ([`load`]), the course of events ([`scenario`]), and how
//! it is shown ([`board`], [`view`]). Every process ends with this one.

mod board;
mod hybrid;
mod line;
mod load;
mod play;
mod process;
mod scenario;
mod stage;
mod view;
mod zone;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::serve::StopSignals;

/// Watch one gateway spread traffic over two clusters, and the loss of one cost no request
///
/// Starts two simulated member clusters of real HTTP servers on loopback addresses, `convoy serve`,
/// and a stock Envoy, which is fetched if need be; then sends requests, takes one of the clusters
/// away and brings it back. Everything keeps running until Ctrl-C, for your own curl.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What is played
    #[arg(long, env = "CONVOY_SCENARIO", value_enum, default_value_t = ScenarioName::Zone)]
    scenario: ScenarioName,
    /// Play once without the live view, and fail if any expectation is not met
    #[arg(long, env = "CONVOY_ONCE")]
    once: bool,
    /// Port of the gateway on 127.0.0.1; 0 picks a free one
    #[arg(long, env = "CONVOY_PORT", default_value_t = 8080)]
    port: u16,
}

/// Each has a directory in `examples/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ScenarioName {
    /// Two zones, nine replicas to one; the greater cluster is killed
    Zone,
    /// A cloud and a data center of which only nodes are reached, with weights; the line is cut
    Hybrid,
}

impl ScenarioName {
    fn play(self) -> &'static play::Play {
        match self {
            ScenarioName::Zone => &zone::PLAY,
            ScenarioName::Hybrid => &hybrid::PLAY,
        }
    }
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let mut stop = StopSignals::new()?;
    tokio::select! {
        outcome = play(args) => outcome,
        () = stop.received() => Ok(ExitCode::SUCCESS),
    }
}

async fn play(args: Args) -> Result<ExitCode> {
    let play = args.scenario.play();
    let mut stage = stage::Stage::start(play, args.port).await?;
    let load = load::Load::start(play.traffic, stage.port());
    let is_live = !args.once && view::is_terminal();
    let board = board::Board::new(play, is_live, stage.port());
    let view = is_live.then(|| view::Live::start(board.clone(), load.clone()));
    if !args.once {
        board.show_commands();
    }
    let unmet = scenario::play(&mut stage, &load, &board).await?;
    let failed = load.failed();
    let sent = load.sent();
    board.say(&format!("{sent} requests, {failed} failed, {unmet} expectations not met"));
    let is_met = unmet == 0 && failed == 0;
    if args.once {
        if !is_met {
            stage.print_logs();
        }
        return Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let end = scenario::by_hand(&mut stage, &board).await;
    drop(view);
    end
}
