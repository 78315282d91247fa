//! Which rows of the behaviour table (semantics.md 9) are played on real clusters.

use std::{collections::BTreeSet, ops::RangeInclusive};

use crate::{
    bed::Variant,
    harness::{Ground, Order, Play, Scenario, Step},
    latency, members,
    rows::{Row, balance, canary, control_plane, failover, gateway, placement, subset},
    status,
};

/// How its Envoys speak has nothing to do with where objects come from: one way is enough.
pub(crate) const VARIANT: Variant = Variant::Delta;

/// All that speak of the fleet, of its members, or of who serves. The others are about what the gateway
/// makes of objects, wherever these come from.
const PLAYED: [RangeInclusive<u16>; 6] =
    [1..=38, 40..=49, 54..=58, 169..=173, 187..=188, 191..=192];

/// The rows that a test shows by its name: `row_016_nine_to_one`.
fn numbers(name: &str) -> BTreeSet<u16> {
    let parts = name.split("row_").skip(1);
    parts.filter_map(|part| part.get(..3)?.parse().ok()).collect()
}

/// The rows that know no clusters, which are played on a directory too; and in place of some of these
/// those that do, and say more.
pub(crate) fn scenario() -> Scenario {
    let shared = [
        gateway::rows(),
        balance::rows(),
        placement::rows(),
        subset::rows(),
        canary::rows(),
        control_plane::rows(),
        failover::rows(),
    ];
    let mut steps = [status::STEPS, members::STEPS, latency::STEPS].concat();
    let to_play: BTreeSet<u16> = PLAYED.into_iter().flatten().collect();
    let shown: BTreeSet<u16> = steps.iter().flat_map(|step| numbers(step.name)).collect();
    let is_missing = |row: &Row| {
        let numbers = numbers(row.name);
        row.variants.contains(&VARIANT)
            && !numbers.is_disjoint(&to_play)
            && numbers.is_disjoint(&shown)
    };
    let shared = shared.into_iter().flatten().filter(is_missing);
    steps.extend(shared.map(|row| Step { name: row.name, play: Play::Bed(row.run) }));
    steps.sort_unstable_by_key(|step| step.name);
    let shown: BTreeSet<u16> = steps.iter().flat_map(|step| numbers(step.name)).collect();
    assert!(shown.is_superset(&to_play), "rows without a test: {:?}", &to_play - &shown);
    // There is one table, and it is needed to the end.
    Scenario {
        name: "rows",
        members: &["c1", "c2", "c3"],
        fleet: Ground::Prepared,
        order: Order::Any,
        steps: steps.leak(),
    }
}
