//! Shares of a rule's traffic between its main and its weighted canaries (semantics.md 4.2).
//!
//! Exact: no share is rounded, and the arms sum to the greater of the total and the weights.

use std::{num::NonZeroU32, sync::Arc};

use crate::{
    diag::Field,
    ingress::annotation::Share,
    model::{Arm, Target},
};

/// What weights are relative to unless the oldest weighted canary says otherwise.
const DEFAULT_TOTAL: u32 = 100;

/// Weighted canaries of one rule, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Split<'a> {
    total: Option<u32>,
    taken: u32,
    shares: Vec<(Arc<Target>, u32, &'a Field)>,
}

impl<'a> Split<'a> {
    /// Adds a canary. False if its weight no longer fits: Envoy's sum has 32 bits (faults.md F19).
    pub(super) fn add(&mut self, share: Share, target: &Arc<Target>, at: &'a Field) -> bool {
        self.total.get_or_insert(share.total.map_or(DEFAULT_TOTAL, NonZeroU32::get));
        let Some(taken) = self.taken.checked_add(share.weight) else { return false };
        self.taken = taken;
        self.shares.push((target.clone(), share.weight, at));
        true
    }

    /// The arms: the main's, which has what the canaries leave, then theirs. Arms with the same
    /// target are one, and a share of zero is none. Never empty, because the total is not zero.
    pub(super) fn arms(&self, main: &Arc<Target>, at: &Field) -> Vec<Arm> {
        let rest = self.total.unwrap_or(DEFAULT_TOTAL).saturating_sub(self.taken);
        let shares = self.shares.iter().map(|(target, weight, at)| (target, *weight, *at));
        let mut arms: Vec<Arm> = Vec::new();
        for (target, weight, at) in std::iter::once((main, rest, at)).chain(shares) {
            let Some(weight) = NonZeroU32::new(weight) else { continue };
            match arms.iter_mut().find(|arm| arm.target == *target) {
                Some(arm) => arm.weight = arm.weight.saturating_add(weight.get()),
                None => arms.push(Arm { target: target.clone(), weight, origin: at.clone() }),
            }
        }
        match arms.as_mut_slice() {
            // A share of everything is the same whatever it is written as.
            [all] => all.weight = NonZeroU32::MIN,
            _several => {}
        }
        arms
    }
}
