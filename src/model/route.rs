//! Routes of one host, in match order.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use crate::{
    diag::Field,
    model::{Host, Regex, Target},
};

/// The routes of one host on one listener. The unit that is built, cached and replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualHost {
    /// The host.
    pub host: Host,
    /// First match wins; a request that matches none is answered 404.
    pub routes: Vec<Route>,
}

impl VirtualHost {
    /// A host that answers every request 404.
    pub fn closed(host: Host) -> VirtualHost {
        VirtualHost { host, routes: Vec::new() }
    }
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The user's object and field, which is also the route's metadata.
    pub origin: Field,
    /// The path.
    pub path: PathMatch,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// What happens.
    pub action: Action,
}

/// How the path is matched, without the query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathMatch {
    /// The whole path.
    Exact(Arc<str>),
    /// `p` or `p/…`; without a trailing slash, and not empty.
    Prefix(Arc<str>),
    /// The whole path matches the expression.
    Regex(Regex),
    /// Every path.
    Any,
}

/// A condition besides the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A request header, by lower-case name.
    Header(Arc<str>, ValueMatch),
    /// A query parameter, by name.
    Query(Arc<str>, ValueMatch),
    /// A cookie, by name, with exactly this value.
    Cookie(Arc<str>, Arc<str>),
}

/// How a value is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// Equal, case-sensitive.
    Exact(Arc<str>),
    /// Equal to one of these; never empty.
    OneOf(Vec<Arc<str>>),
    /// The expression is found somewhere in the value.
    Contains(Regex),
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Forward to targets.
    Forward(Forward),
    /// 308 to the same URL over https (semantics.md 3.2, `ssl-redirect`).
    RedirectToHttps,
    /// 403: the object asks for a protection that is not served, so it fails closed (faults.md F15).
    Deny,
}

/// Forwarding with its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Shares of the traffic; one arm, or several with different targets. Never empty.
    pub arms: Vec<Arm>,
    /// Whole-request timeout; `None` is none (semantics.md 3.4).
    pub timeout: Option<Duration>,
    /// Per-try timeout; `None` is none, because it would cut slow answers.
    pub per_try_timeout: Option<Duration>,
}

/// One share of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Where it goes.
    pub target: Arc<Target>,
    /// Relative to the sum of the arms; a share of zero has no arm.
    pub weight: NonZeroU32,
    /// The Ingress and field that asked for it.
    pub origin: Field,
}
