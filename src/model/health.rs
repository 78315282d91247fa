//! Active health checks: what an Envoy asks endpoints by itself (semantics.md 2.7, 5.7).

use std::{
    collections::BTreeSet,
    fmt,
    num::{NonZeroU16, NonZeroU32},
    sync::Arc,
    time::Duration,
};

/// How the endpoints of a target are checked. An endpoint that was never checked serves nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// An answer that takes longer is none. Not zero.
    pub timeout: Duration,
    /// Between two checks of an endpoint, whether it has traffic or not. Not zero.
    pub interval: Duration,
    /// After so many good checks in a row an endpoint serves again; after the first one of its life.
    pub healthy: NonZeroU32,
    /// After so many failed checks in a row it serves no more.
    pub unhealthy: NonZeroU32,
    /// Where it is asked, if not where it serves.
    pub port: Option<NonZeroU16>,
}

/// What an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// A request.
    Http {
        /// Path, perhaps with a query; begins with `/`, and a request can carry it.
        path: Arc<str>,
        /// Its method.
        method: ProbeMethod,
        /// The answers that are good; never empty.
        statuses: BTreeSet<StatusRange>,
    },
    /// Whether it takes connections.
    Tcp,
}

/// Methods that a check may use: those that change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeMethod {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
}

/// Status codes from the first to the last, both included, within 100 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// `None` if it is empty, or has what is no status code.
    pub fn new(first: u16, last: u16) -> Option<StatusRange> {
        (100 <= first && first <= last && last <= 599).then_some(StatusRange { first, last })
    }

    /// The first.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last.
    pub fn last(self) -> u16 {
        self.last
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}
