//! Which rows of the behaviour table (semantics.md 9) are played on real clusters.

use crate::{
    bed::Variant,
    harness::{Order, Play, Scenario, Step},
    latency, members,
    rows::{Row, balance, canary, control_plane, failover, gateway, subset},
    status,
};

/// How its Envoys speak has nothing to do with where objects come from: one way is enough.
pub(crate) const VARIANT: Variant = Variant::Delta;

/// All that speak of the fleet, of its members, or of who serves. The others are about what the gateway
/// makes of objects, wherever these come from.
fn is_played(row: &Row) -> bool {
    let number = row.name.strip_prefix("row_").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    let is_about_clusters =
        matches!(number, Some(1..=38 | 40..=49 | 54..=58 | 187 | 188 | 191 | 192));
    is_about_clusters && row.variants.contains(&VARIANT)
}

/// The rows that know no clusters, which are played on a directory too; and those that do, some of which
/// take the place of one of the same name and say more.
pub(crate) fn scenario() -> Scenario {
    let shared = [
        gateway::rows(),
        balance::rows(),
        subset::rows(),
        canary::rows(),
        control_plane::rows(),
        failover::rows(),
    ];
    let own = [status::STEPS, members::STEPS, latency::STEPS].concat();
    let is_extended = |row: &Row| own.iter().any(|step| step.name == row.name);
    let shared = shared.into_iter().flatten().filter(|row| is_played(row) && !is_extended(row));
    let mut steps: Vec<Step> =
        shared.map(|row| Step { name: row.name, play: Play::Bed(row.run) }).collect();
    steps.extend_from_slice(&own);
    steps.sort_unstable_by_key(|step| step.name);
    // There is one table, and it is needed to the end.
    Scenario { name: "rows", members: &["c1", "c2", "c3"], order: Order::Any, steps: steps.leak() }
}
