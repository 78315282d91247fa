//! What happens, and what is expected of it.

use std::{collections::BTreeMap, io, process::ExitCode, time::Duration};

use anyhow::Result;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::cli::demo::{
    board::{Board, ClusterState},
    load::Load,
    play::{Shares, Traffic},
    stage::Stage,
};

/// How often the tallies are looked at.
const POLL: Duration = Duration::from_millis(100);

/// A judgement needs so many answers of each kind; what has four workers has four times as many.
const ENOUGH: u64 = 100;

/// Enough answers take four seconds; a gateway that gives none is judged by what there is.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A share that is neither nothing nor all may be off by so many points: with 400 answers a split
/// by weighted choice is exact to one, and each of Envoy's threads may begin elsewhere.
const TOLERANCE: f64 = 3.0;

/// The cluster stays lost for so long that pods which were left out are tried again (ejections last
/// 5 s at first, semantics.md 5.7), and must be left out again.
const LOST_FOR: Duration = Duration::from_secs(12);

/// After its return pods are still left out for what remains of their ejection, at most 60 s.
const RETURN_LIMIT: Duration = Duration::from_secs(75);

/// Plays it once. Returns how many expectations were not met; failed requests are counted apart.
pub(super) async fn play(stage: &mut Stage, load: &Load, board: &Board) -> Result<usize> {
    board.say("both clusters serve");
    load.set_mark();
    let mut unmet = judge(stage, load, board, |traffic| traffic.both, Duration::ZERO).await?;

    lose(stage, board).await?;
    load.set_mark();
    unmet += judge(stage, load, board, |traffic| traffic.alone, LOST_FOR).await?;

    bring_back(stage, board).await?;
    wait_for_return(stage, load).await?;
    load.set_mark();
    unmet += judge(stage, load, board, |traffic| traffic.both, Duration::ZERO).await?;
    Ok(unmet)
}

/// Lets the user take the first cluster away and bring it back with the Enter key. Ends only with an error.
pub(super) async fn by_hand(stage: &mut Stage, board: &Board) -> Result<ExitCode> {
    board.invite(stage.play().loss.invitation());
    let mut enter = enter_keys();
    loop {
        tokio::select! {
            // Without a keyboard this never resolves: all stays up, for curl.
            Some(()) = enter.recv() => match board.first() {
                ClusterState::Alive => lose(stage, board).await?,
                ClusterState::Lost => bring_back(stage, board).await?,
            },
            () = sleep(Duration::from_secs(1)) => stage.ensure_alive()?,
        }
    }
}

/// One message for each line typed. A thread of its own, because a read from a terminal cannot be
/// given up, and the program must be able to end meanwhile.
fn enter_keys() -> mpsc::Receiver<()> {
    let (tx, rx) = mpsc::channel(1);
    std::thread::spawn(move || {
        for _ in io::stdin().lines().map_while(Result::ok) {
            if tx.blocking_send(()).is_err() {
                return;
            }
        }
    });
    rx
}

async fn lose(stage: &mut Stage, board: &Board) -> Result<()> {
    stage.lose().await?;
    let [lost, _] = stage.play().loss.said();
    board.set_first(ClusterState::Lost);
    board.say(lost);
    Ok(())
}

async fn bring_back(stage: &mut Stage, board: &Board) -> Result<()> {
    stage.bring_back().await?;
    let [_, back] = stage.play().loss.said();
    board.set_first(ClusterState::Alive);
    board.say(back);
    Ok(())
}

/// Waits for enough answers, but at least `at_least`, and says what they show.
async fn judge(
    stage: &mut Stage,
    load: &Load,
    board: &Board,
    expected: fn(&Traffic) -> Shares,
    at_least: Duration,
) -> Result<usize> {
    let earliest = Instant::now() + at_least;
    while Instant::now() < earliest {
        sleep(POLL).await;
        stage.ensure_alive()?;
    }
    wait_for_answers(stage, load).await?;
    let mut unmet = 0;
    for (traffic, tally) in load.tallies() {
        let is_met = meets(&tally.since_mark, expected(traffic));
        unmet += usize::from(!is_met);
        let verdict = if is_met { "ok" } else { "UNEXPECTED" };
        let (title, shown) = (traffic.title, shown(&tally.since_mark));
        let failed = match tally.last_failure {
            Some(why) => format!("{} failed ({why})", tally.failed),
            None => "0 failed".to_owned(),
        };
        board.say(&format!("{verdict}: {title}: {shown}, {failed}"));
        if !is_met {
            board.say(&format!("  expected {:?}", expected(traffic)));
        }
    }
    Ok(unmet)
}

/// Waits until everything is as it was; what is not then will be judged so.
async fn wait_for_return(stage: &mut Stage, load: &Load) -> Result<()> {
    let limit = Instant::now() + RETURN_LIMIT;
    let is_back =
        |load: &Load| load.tallies().all(|(own, tally)| meets(&tally.since_mark, own.both));
    load.set_mark();
    while Instant::now() < limit && !is_back(load) {
        // A short window: what was before the return must not count.
        load.set_mark();
        wait_for_answers(stage, load).await?;
    }
    Ok(())
}

/// Waits until there are enough answers since the mark to judge by.
async fn wait_for_answers(stage: &mut Stage, load: &Load) -> Result<()> {
    let limit = Instant::now() + ANSWER_LIMIT;
    let has_enough = |load: &Load| {
        load.tallies().all(|(_, tally)| tally.since_mark.values().sum::<u64>() >= ENOUGH)
    };
    while Instant::now() < limit && !has_enough(load) {
        sleep(POLL).await;
        stage.ensure_alive()?;
    }
    Ok(())
}

/// Whether the answers are shared as expected, and nobody else answered.
fn meets(counts: &BTreeMap<String, u64>, expected: Shares) -> bool {
    let total: u64 = counts.values().sum();
    let share = |who: &str| percent(counts.get(who).copied().unwrap_or(0), total);
    let is_near = |(who, want): &(&str, f64)| {
        let tolerance = if *want == 100.0 { 0.0 } else { TOLERANCE };
        (share(who) - want).abs() <= tolerance
    };
    let is_named = |who: &String| expected.iter().any(|(name, _)| name == who);
    total > 0 && expected.iter().all(is_near) && counts.keys().all(is_named)
}

fn shown(counts: &BTreeMap<String, u64>) -> String {
    let total: u64 = counts.values().sum();
    let shares = counts.iter().map(|(who, n)| format!("{who} {:.1} %", percent(*n, total)));
    format!("{} of {total} answers", shares.collect::<Vec<_>>().join(", "))
}

/// `part` of `total` in percent; nothing of nothing is 0.
pub(super) fn percent(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 * 100.0 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_must_be_near_and_nobody_else_may_answer() {
        let check = |expected, counts: &[(&str, u64)], expect| {
            let counts = counts.iter().map(|(who, n)| (who.to_string(), *n)).collect();
            assert_eq!(meets(&counts, expected), expect, "{counts:?}");
        };
        const C1: &str = "cluster-demo-1";
        const C2: &str = "cluster-demo-2";
        let nine_to_one: Shares = &[(C1, 90.0), (C2, 10.0)];
        check(nine_to_one, &[(C1, 360), (C2, 40)], true);
        check(nine_to_one, &[(C1, 350), (C2, 50)], true);
        check(nine_to_one, &[(C1, 340), (C2, 60)], false);
        check(nine_to_one, &[(C1, 400)], false);
        check(nine_to_one, &[], false);
        check(&[(C1, 100.0)], &[(C1, 100)], true);
        check(&[(C1, 100.0)], &[(C1, 999), (C2, 1)], false);
    }
}
