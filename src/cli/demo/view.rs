//! The live view: one screen, redrawn in place.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use tokio::{task::JoinHandle, time::sleep};

use crate::cli::demo::{
    board::{Board, ClusterState},
    load::{Load, Tally},
    play::{Play, Traffic},
    scenario::percent,
};

/// Five frames a second: smooth enough, and nothing to a terminal.
const FRAME: Duration = Duration::from_millis(200);

/// Columns of a bar for 100 %.
const BAR: usize = 40;

/// Lines of what has happened; with the rest it fits a terminal of 40 lines.
const LOG_LINES: usize = 10;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR: &str = "\x1b[2J";
const HOME: &str = "\x1b[H";
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END_OF_SCREEN: &str = "\x1b[J";
const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Whether somebody watches.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Draws until it is dropped, and gives the terminal back.
pub(super) struct Live(JoinHandle<()>);

impl Live {
    pub(super) fn start(board: Board, load: Load) -> Live {
        Live(tokio::spawn(async move {
            draw(&format!("{HIDE_CURSOR}{CLEAR}"));
            loop {
                let text = frame(&board, &load).join(&format!("{TO_END_OF_LINE}\r\n"));
                draw(&format!("{HOME}{text}{TO_END_OF_LINE}{TO_END_OF_SCREEN}"));
                sleep(FRAME).await;
            }
        }))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.abort();
        draw(&format!("{SHOW_CURSOR}\r\n"));
    }
}

/// A terminal that has gone away is noticed by its signal.
fn draw(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn frame(board: &Board, load: &Load) -> Vec<String> {
    let (log, invitation) = board.lines(LOG_LINES);
    let Play { title, clusters: [first, second], loss, .. } = board.play();
    let mut lines = vec![format!("{BOLD}{title}{PLAIN}   {}", board.clock()), String::new()];
    let alive = format!("{GREEN}alive{PLAIN}");
    let state = match board.first() {
        ClusterState::Alive => alive.clone(),
        ClusterState::Lost => format!("{RED}{}{PLAIN}", loss.state()),
    };
    for (cluster, state) in [(first, state), (second, alive)] {
        lines.push(format!("{:<12} {state}, {}", cluster.name, cluster.has));
    }
    for (traffic, tally) in load.tallies() {
        lines.push(String::new());
        lines.extend(shares(traffic, &tally));
    }
    for part in [log, invitation] {
        lines.push(String::new());
        lines.extend(part);
    }
    lines
}

/// One kind of request: who answered the last of them.
fn shares(traffic: &Traffic, tally: &Tally) -> Vec<String> {
    let color = if tally.failed == 0 { GREEN } else { RED };
    let header = traffic.header.map(|(name, value)| format!(" with {name}: {value}"));
    let title = format!(
        "{BOLD}{}{PLAIN}  GET {}{}   {} requests, {color}{} failed{PLAIN}",
        traffic.title,
        traffic.path,
        header.unwrap_or_default(),
        tally.sent,
        tally.failed
    );
    let total = tally.recent.len() as u64;
    let answers = |who: &String| tally.recent.iter().filter(|recent| *recent == who).count() as u64;
    let rows = tally.seen.iter().map(|who| row(who, percent(answers(who), total)));
    std::iter::once(title).chain(rows).collect()
}

fn row(who: &str, percent: f64) -> String {
    // Any answer at all is seen.
    let columns = ((percent / 100.0 * BAR as f64).ceil() as usize).min(BAR);
    format!("  {who:<22} {:<BAR$} {percent:>3.0} %", "█".repeat(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_shares() {
        let check = |percent, columns, text: &str| {
            let row = row("cluster-demo-1", percent);
            assert_eq!((row.matches('█').count(), row.ends_with(text)), (columns, true), "{row}");
        };
        check(100.0, 40, " 100 %");
        check(90.0, 36, "  90 %");
        check(0.4, 1, "   0 %");
        check(0.0, 0, "   0 %");
    }
}
