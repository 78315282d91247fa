//! The routes of one rule: its main Ingress with the canaries of the same host and path.
//!
//! A block is contiguous, so that a canary never jumps ahead of a more specific path
//! (semantics.md 4.3). Canaries have the main's policy, and its chain after their own (4.5, 5.4).

use std::{cmp::Reverse, sync::Arc};

use crate::{
    diag::{Diag, Field, Reason},
    ingress::{
        annotation::{Canary, Choice},
        row::{IngressRow, PathRule},
        split::Split,
    },
    model::{Action, Arm, Condition, Forward, PathMatch, Route, Target, Transport},
};

/// One rule of one host.
pub(super) struct Block<'a> {
    row: &'a IngressRow,
    rule: &'a PathRule,
    /// By header and query, oldest first.
    by_request: Vec<Selected<'a>>,
    /// By cookie, oldest first.
    by_cookie: Vec<Selected<'a>>,
    by_weight: Split<'a>,
}

/// A canary with conditions.
struct Selected<'a> {
    choice: &'a Choice,
    at: &'a Field,
    target: Arc<Target>,
}

/// Order of the kinds of path; the default backend is behind all of them (semantics.md 4.6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Exact,
    Prefix,
    Regex,
    CatchAll,
}

impl<'a> Block<'a> {
    /// The block of a main rule.
    pub(super) fn new(row: &'a IngressRow, rule: &'a PathRule) -> Block<'a> {
        let (by_request, by_cookie) = (Vec::new(), Vec::new());
        Block { row, rule, by_request, by_cookie, by_weight: Split::default() }
    }

    /// Where the rule stands among those of its host; equals keep the order of their age.
    pub(super) fn order(&self) -> (Rank, Reverse<usize>) {
        let rank = match self.rule.path {
            PathMatch::Exact(_) => Rank::Exact,
            PathMatch::Prefix(_) => Rank::Prefix,
            PathMatch::Regex(_) => Rank::Regex,
            PathMatch::Any => Rank::CatchAll,
        };
        (rank, Reverse(self.rule.length))
    }

    /// The field that owns the rule.
    pub(super) fn at(&self) -> &'a Field {
        &self.rule.at
    }

    /// Adds a canary; they come oldest first, and the first with a condition has it.
    ///
    /// # Errors
    /// Says on the canary why it takes no part.
    pub(super) fn attach(&mut self, canary: &'a Canary, rule: &'a PathRule) -> Result<(), Diag> {
        let at = &rule.at;
        let target = Arc::new(Target::clone(&rule.target).or(&self.rule.target));
        let (siblings, choice) = match canary {
            Canary::Inactive => return Ok(()),
            Canary::Weighted(share) if self.by_weight.add(*share, &target, at) => return Ok(()),
            Canary::Weighted(_) => {
                let message = "the weights of the canaries of this path exceed 32 bits";
                return Err(Diag::error(at, Reason::LimitExceeded, message));
            }
            Canary::Requests(choice) => (&mut self.by_request, choice),
            Canary::Cookies(choice) => (&mut self.by_cookie, choice),
        };
        if let Some(older) = siblings.iter().find(|older| older.choice.when == choice.when) {
            let message = format!("the same condition is that of {}", place(older.at));
            return Err(Diag::error(at, Reason::RuleConflict, message));
        }
        siblings.push(Selected { choice, at, target });
        Ok(())
    }

    /// The routes on a listener of this transport, in match order. Never empty.
    pub(super) fn routes(&self, transport: Transport) -> Vec<Route> {
        if self.row.is_denied {
            return vec![self.route(&self.rule.at, Vec::new(), Action::Deny)];
        }
        if self.row.policy.redirects_to_https && transport == Transport::Plaintext {
            return vec![self.route(&self.rule.at, Vec::new(), Action::RedirectToHttps)];
        }
        let mut routes = self.selected(&self.by_request);
        routes.extend(self.selected(&self.by_cookie));
        let arms = self.by_weight.arms(&self.rule.target, &self.rule.at);
        routes.push(self.route(&self.rule.at, Vec::new(), self.forward(arms)));
        routes
    }

    /// The canaries of one kind, and behind them who asks to be spared from all of them.
    fn selected(&self, canaries: &[Selected<'a>]) -> Vec<Route> {
        let taken = canaries.iter().map(|canary| {
            let arm = lone(&canary.target, canary.at);
            self.route(canary.at, canary.choice.when.clone(), self.forward(vec![arm]))
        });
        let spared = canaries.iter().flat_map(|canary| {
            canary.choice.never.iter().map(|never| {
                let arm = lone(&self.rule.target, &self.rule.at);
                self.route(canary.at, vec![never.clone()], self.forward(vec![arm]))
            })
        });
        taken.chain(spared).collect()
    }

    fn route(&self, origin: &Field, conditions: Vec<Condition>, action: Action) -> Route {
        Route { origin: origin.clone(), path: self.rule.path.clone(), conditions, action }
    }

    fn forward(&self, arms: Vec<Arm>) -> Action {
        let policy = &self.row.policy;
        Action::Forward(Forward {
            arms,
            timeout: policy.timeout,
            per_try_timeout: policy.per_try_timeout,
        })
    }
}

fn lone(target: &Arc<Target>, at: &Field) -> Arm {
    Arm { target: target.clone(), weight: std::num::NonZeroU32::MIN, origin: at.clone() }
}

/// A field of another object, for a message.
pub(super) fn place(at: &Field) -> String {
    format!("{} ({})", at.object, at.path)
}
