//! Routes of one host, in match order.

use std::{net::Ipv4Addr, num::NonZeroU32, sync::Arc, time::Duration};

use crate::{
    diag::Field,
    model::{Answer, Filters, Host, Redirect, Regex, Rewrite, Target},
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
    /// What is done to requests and answers on the way.
    pub filters: Filters,
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// A request header, by lower-case name; `:method` is one.
    Header(Arc<str>, ValueMatch),
    /// A query parameter, by name.
    Query(Arc<str>, ValueMatch),
    /// A cookie, by name, with exactly this value.
    Cookie(Arc<str>, Arc<str>),
    /// The client's address, as the gateway trusts it, is in one of these; never empty.
    Client(Vec<Ipv4Range>),
}

/// A range of IPv4 addresses. Envoy has no matcher of routes for addresses, and the text of an
/// IPv6 address has too many forms for an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ipv4Range {
    /// Its first address.
    pub network: Ipv4Addr,
    /// Leading bits that its addresses share; at most 32.
    pub bits: u8,
}

/// How a value is matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// To another URL.
    Redirect(Redirect),
    /// Answered by the gateway itself.
    Answer(Answer),
    /// 403: the object asks for a protection that is not served, so it fails closed (faults.md F15).
    Deny,
}

impl Action {
    /// Where it forwards to, if it does.
    pub fn arms(&self) -> &[Arm] {
        match self {
            Action::Forward(forward) => &forward.arms,
            Action::RedirectToHttps | Action::Redirect(_) | Action::Answer(_) | Action::Deny => &[],
        }
    }
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
    /// What the backend sees as the path; as it was sent, if `None`.
    pub rewrite: Option<Rewrite>,
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
