//! What happens, and what is expected of it.

use std::{collections::BTreeMap, io, process::ExitCode, time::Duration};

use anyhow::Result;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::cli::demo::{
    board::{Board, ClusterState},
    load::{Load, Traffic},
    stage::Stage,
};

/// How often the tallies are looked at.
const POLL: Duration = Duration::from_millis(100);

/// A judgement needs so many answers of each kind; active-active has four times as many by then.
const ENOUGH: u64 = 100;

/// Enough answers take four seconds; a gateway that gives none is judged by what there is.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A share that is neither nothing nor all may be off by so many points: with 400 answers a split
/// by weighted choice is exact to one, and each of Envoy's threads may begin elsewhere.
const TOLERANCE: f64 = 3.0;

/// Cluster 1 stays dead for so long that pods which were left out are tried again (ejections last
/// 5 s at first, semantics.md 5.7), and must be left out again.
const DEAD_FOR: Duration = Duration::from_secs(12);

/// After its return pods are still left out for what remains of their ejection, at most 60 s.
const RETURN_LIMIT: Duration = Duration::from_secs(75);

/// Shares in percent by who answers.
type Shares = &'static [(&'static str, f64)];

/// While both clusters live.
fn both_alive(traffic: Traffic) -> Shares {
    match traffic {
        Traffic::ActiveActive => &[("cluster-demo-1", 90.0), ("cluster-demo-2", 10.0)],
        Traffic::CanaryVersion => &[("cluster-demo-1-canary", 100.0)],
        Traffic::PrimarySecondary => &[("cluster-demo-1", 100.0)],
        Traffic::CanaryByCluster => &[("cluster-demo-2", 100.0)],
    }
}

/// While cluster 1 is dead, whoever asks for whatever.
fn only_cluster_2(_: Traffic) -> Shares {
    &[("cluster-demo-2", 100.0)]
}

/// Plays it once. Returns how many expectations were not met; failed requests are counted apart.
pub(super) async fn play(stage: &mut Stage, load: &Load, board: &Board) -> Result<usize> {
    board.say("both clusters serve");
    load.set_mark();
    let mut unmet = judge(stage, load, board, both_alive, Duration::ZERO).await?;

    kill(stage, board).await?;
    load.set_mark();
    unmet += judge(stage, load, board, only_cluster_2, DEAD_FOR).await?;

    revive(stage, board).await?;
    wait_for_return(stage, load).await?;
    load.set_mark();
    unmet += judge(stage, load, board, both_alive, Duration::ZERO).await?;
    Ok(unmet)
}

/// Lets the user kill and revive cluster 1 with the Enter key. Ends only with an error.
pub(super) async fn by_hand(stage: &mut Stage, board: &Board) -> Result<ExitCode> {
    board.invite("Enter kills cluster 1 or starts it again, Ctrl-C ends the demo.");
    let mut enter = enter_keys();
    loop {
        tokio::select! {
            // Without a keyboard this never resolves: all stays up, for curl.
            Some(()) = enter.recv() => match board.cluster_1() {
                ClusterState::Alive => kill(stage, board).await?,
                ClusterState::Dead => revive(stage, board).await?,
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

async fn kill(stage: &mut Stage, board: &Board) -> Result<()> {
    stage.kill_cluster().await?;
    board.set_cluster_1(ClusterState::Dead);
    board.say(
        "cluster 1 is killed (SIGKILL to all its pods, nobody tells Convoy); the load goes on",
    );
    Ok(())
}

async fn revive(stage: &mut Stage, board: &Board) -> Result<()> {
    stage.revive_cluster().await?;
    board.set_cluster_1(ClusterState::Alive);
    board.say("cluster 1 is started again; Envoy takes its pods back as their ejections end");
    Ok(())
}

/// Waits for enough answers, but at least `at_least`, and says what they show.
async fn judge(
    stage: &mut Stage,
    load: &Load,
    board: &Board,
    expected: fn(Traffic) -> Shares,
    at_least: Duration,
) -> Result<usize> {
    let earliest = Instant::now() + at_least;
    while Instant::now() < earliest {
        sleep(POLL).await;
        stage.ensure_alive()?;
    }
    wait_for_answers(stage, load, &Traffic::ALL).await?;
    let mut unmet = 0;
    for traffic in Traffic::ALL {
        let tally = load.tally(traffic);
        let is_met = meets(&tally.since_mark, expected(traffic));
        unmet += usize::from(!is_met);
        let verdict = if is_met { "ok" } else { "UNEXPECTED" };
        let (title, shown) = (traffic.title(), shown(&tally.since_mark));
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
    let is_back = |load: &Load| {
        let shares =
            |traffic: &Traffic| meets(&load.tally(*traffic).since_mark, both_alive(*traffic));
        Traffic::ALL.iter().all(shares)
    };
    load.set_mark();
    while Instant::now() < limit && !is_back(load) {
        // A short window: what was before the return must not count.
        load.set_mark();
        wait_for_answers(stage, load, &[Traffic::ActiveActive]).await?;
    }
    Ok(())
}

/// Waits until there are enough answers since the mark to judge by.
async fn wait_for_answers(stage: &mut Stage, load: &Load, of: &[Traffic]) -> Result<()> {
    let limit = Instant::now() + ANSWER_LIMIT;
    while Instant::now() < limit && !of.iter().all(|traffic| answers(load, *traffic) >= ENOUGH) {
        sleep(POLL).await;
        stage.ensure_alive()?;
    }
    Ok(())
}

fn answers(load: &Load, traffic: Traffic) -> u64 {
    load.tally(traffic).since_mark.values().sum()
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
        let check = |traffic, counts: &[(&str, u64)], expect| {
            let counts = counts.iter().map(|(who, n)| (who.to_string(), *n)).collect();
            assert_eq!(meets(&counts, both_alive(traffic)), expect, "{counts:?}");
        };
        let (c1, c2, canary) = ("cluster-demo-1", "cluster-demo-2", "cluster-demo-1-canary");
        check(Traffic::ActiveActive, &[(c1, 360), (c2, 40)], true);
        check(Traffic::ActiveActive, &[(c1, 350), (c2, 50)], true);
        check(Traffic::ActiveActive, &[(c1, 340), (c2, 60)], false);
        check(Traffic::ActiveActive, &[(c1, 400)], false);
        check(Traffic::ActiveActive, &[], false);
        check(Traffic::CanaryVersion, &[(canary, 100)], true);
        check(Traffic::CanaryVersion, &[(canary, 999), (c2, 1)], false);
    }
}
