//! `convoy demo`: the zone disaster recovery example, alive on this machine.
//!
//! Owns the play: real HTTP servers as the pods of two clusters ([`example`]), `convoy serve` and a
//! stock Envoy as processes of their own ([`stage`]), bounded load ([`load`]), what is expected of
//! it ([`scenario`]), and how it is shown ([`board`], [`view`]). Every process ends with this one.

mod board;
mod example;
mod load;
mod process;
mod scenario;
mod stage;
mod view;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::serve::StopSignals;

/// Watch one gateway spread traffic over two clusters, and a dead cluster cost no request
///
/// Starts two simulated member clusters of real HTTP servers on loopback addresses (nine replicas
/// and one), `convoy serve`, and a stock Envoy, which is fetched if need be; then sends requests,
/// kills cluster 1 and brings it back. Everything keeps running until Ctrl-C, for your own curl.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Play once without the live view, and fail if any expectation is not met
    #[arg(long, env = "CONVOY_ONCE")]
    once: bool,
    /// Port of the gateway on 127.0.0.1; 0 picks a free one
    #[arg(long, env = "CONVOY_PORT", default_value_t = 8080)]
    port: u16,
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let mut stop = StopSignals::new()?;
    tokio::select! {
        outcome = play(args) => outcome,
        () = stop.received() => Ok(ExitCode::SUCCESS),
    }
}

async fn play(args: Args) -> Result<ExitCode> {
    let mut stage = stage::Stage::start(args.port).await?;
    let load = load::Load::start(stage.port());
    let is_live = !args.once && view::is_terminal();
    let board = board::Board::new(is_live, stage.port());
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
