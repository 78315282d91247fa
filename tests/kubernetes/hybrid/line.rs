//! The leased line is cut, slow, or loses packets, under load: no GET fails.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    bed::{
        client::get,
        load::{Load, Plan, Report},
        poll::eventually,
    },
    clusters::line::State,
    harness::figure,
    hybrid::{client, scale},
    rows::balance::{C1, C2},
    scene::Scene,
};

const GETS_PER_SECOND: u32 = 200;

/// How many GETs go out before a fault, so that it meets connections in use.
const WARM_UP: usize = 400;

/// How many go out meanwhile: a cut lasts through two un-ejections, 18 s (semantics.md 5.7).
const UNDER_FAULT: usize = 3_600;

/// How many go out on a line that is bad, and works.
const WHILE_BAD: usize = 2_000;

/// How many go out when all is well again.
const AFTERWARDS: usize = 600;

/// Until a member that comes back has its share: hosts are ejected for at most a minute.
const RETURN: Duration = Duration::from_secs(70);

/// Each way, so that whoever asks and hears waits for twice this.
const LATE: Duration = Duration::from_millis(100);

/// As many replicas in either member, so that a share tells what the line does.
const REPLICAS: usize = 2;

pub(super) async fn loses_nothing_when_cut(scene: &mut Scene) {
    let report = under(scene, State::Cut, UNDER_FAULT).await;
    // The rest of the time it has its half.
    let share = percent(&report, C2);
    assert!(share < 35.0, "{share} % of a line that was cut most of the time");
}

pub(super) async fn loses_nothing_when_slow(scene: &mut Scene) {
    let report = under(scene, State::Slow(LATE), WHILE_BAD).await;
    assert!(percent(&report, C2) > 45.0, "slow is not dead");
    assert!(report.percentile(99) >= 2 * LATE);
}

pub(super) async fn loses_nothing_when_lossy(scene: &mut Scene) {
    let report = under(scene, State::Lossy { percent: 5 }, WHILE_BAD).await;
    assert!(percent(&report, C2) > 40.0, "bad is not dead");
}

/// Load before, while and after the line is impaired, of which nothing is lost.
async fn under(scene: &mut Scene, state: State, gets: usize) -> Report {
    for member in ["c1", "c2"] {
        scale(scene, member, REPLICAS).await;
    }
    halves().await;
    let plan = Plan {
        name: "load",
        // Takes a moment, so that some are always under way.
        request: get("/svc1?sleep_ms=20"),
        gets_per_second: GETS_PER_SECOND,
        posts_per_second: 0,
    };
    let load = Load::start(&client(), &plan);
    load.sends(WARM_UP).await;
    let remote = scene.world.remote("c2");
    remote.impair(state).await;
    load.sends(gets).await;
    remote.mend().await;
    load.sends(AFTERWARDS).await;
    let report = load.stop().await;
    let (c1, c2) = (percent(&report, C1), percent(&report, C2));
    figure(&format!("line {state}: {}; {C1} {c1:.0} %, {C2} {c2:.0} %", report.figures()));
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
    halves().await;
    report
}

/// Both members have their share.
async fn halves() {
    eventually(RETURN, "the members have their shares", || async {
        let envs = client().hit(200, &get("/svc1")).await.envs();
        if envs.shares(&[(C1, 50.0), (C2, 50.0)], 1.0) {
            Ok(())
        } else {
            Err(format!("{:?}", envs.0))
        }
    })
    .await;
}

/// Of the answers.
fn percent(report: &Report, env: &str) -> f64 {
    let mut counts = BTreeMap::<_, usize>::new();
    for answer in report.gets.iter().filter_map(|get| get.outcome.as_deref().ok()) {
        *counts.entry(answer).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    100.0 * counts.get(env).copied().unwrap_or_default() as f64 / all.max(1) as f64
}
