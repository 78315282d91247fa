//! The routes of one rule: its main Ingress with the canaries of the same host and path.
//!
//! A block is contiguous, so that a canary never jumps ahead of a more specific path
//! (semantics.md 4.3). Canaries have the main's policy, and its chain after their own (4.5, 5.4).

use std::{cmp::Reverse, sync::Arc};

use crate::{
    diag::{Diag, Field, Reason},
    ingress::{
        annotation::{Canary, Choice},
        row::{Does, IngressRow, PathRule},
        split::Split,
    },
    model::{Action, Arm, Condition, Filters, Forward, PathMatch, Route, Target, Transport},
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

    /// Where the rule stands among those of its host; equals keep the order of their Ingresses. Of
    /// two for one path, the one with conditions is first.
    pub(super) fn order(&self) -> (u16, Rank, Reverse<usize>, bool) {
        let rank = match self.rule.path {
            PathMatch::Exact(_) => Rank::Exact,
            PathMatch::Prefix(_) => Rank::Prefix,
            PathMatch::Regex(_) => Rank::Regex,
            PathMatch::Any => Rank::CatchAll,
        };
        let number = self.row.order.number();
        (number, rank, Reverse(self.rule.length), self.rule.is_unconditional())
    }

    /// Whether no request of the host passes it by.
    pub(super) fn takes_everything(&self) -> bool {
        self.rule.path == PathMatch::Any && self.rule.is_unconditional()
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
        let (Some(own), Some(main)) = (rule.target(), self.rule.target()) else {
            let message = format!("{} does not lead to one Service", place(&self.rule.at));
            return Err(Diag::error(at, Reason::CanaryWithoutMain, message));
        };
        let target = Arc::new(Target::clone(own).or(main));
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
            return self.each(&Action::Deny, &Filters::default());
        }
        if self.row.policy.redirects_to_https && transport == Transport::Plaintext {
            return self.each(&Action::RedirectToHttps, &Filters::default());
        }
        let main = match &self.rule.does {
            Does::Forward(target) => {
                let mut routes = self.selected(&self.by_request, target);
                routes.extend(self.selected(&self.by_cookie, target));
                let main = self.forward(self.by_weight.arms(target, &self.rule.at));
                routes.extend(self.each(&main, &self.rule.filters));
                return routes;
            }
            Does::Split(arms) => self.forward(arms.clone()),
            Does::Redirect(redirect) => Action::Redirect(redirect.clone()),
            Does::Answer(answer) => Action::Answer(answer.clone()),
            Does::Deny => Action::Deny,
        };
        self.each(&main, &self.rule.filters)
    }

    /// The same for each alternative of the rule's conditions.
    fn each(&self, action: &Action, filters: &Filters) -> Vec<Route> {
        let route = |when: &Vec<Condition>| {
            self.route(&self.rule.at, when.clone(), action.clone(), filters)
        };
        self.rule.when.iter().map(route).collect()
    }

    /// The canaries of one kind, and behind them who asks to be spared from all of them. A rule
    /// that has canaries has no conditions of its own.
    fn selected(&self, canaries: &[Selected<'a>], main: &Arc<Target>) -> Vec<Route> {
        let to = |origin: &Field, when: Vec<Condition>, arm: Arm| {
            self.route(origin, when, self.forward(vec![arm]), &self.rule.filters)
        };
        let taken = canaries.iter().map(|canary| {
            to(canary.at, canary.choice.when.clone(), lone(&canary.target, canary.at))
        });
        let spared = canaries.iter().flat_map(|canary| {
            let never = canary.choice.never.iter();
            never.map(|never| to(canary.at, vec![never.clone()], lone(main, &self.rule.at)))
        });
        taken.chain(spared).collect()
    }

    fn route(
        &self,
        origin: &Field,
        conditions: Vec<Condition>,
        action: Action,
        filters: &Filters,
    ) -> Route {
        Route {
            origin: origin.clone(),
            path: self.rule.path.clone(),
            conditions,
            action,
            filters: filters.clone(),
        }
    }

    fn forward(&self, arms: Vec<Arm>) -> Action {
        let policy = &self.row.policy;
        Action::Forward(Forward {
            arms,
            timeout: policy.timeout,
            per_try_timeout: policy.per_try_timeout,
            rewrite: self.rule.rewrite.clone(),
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
