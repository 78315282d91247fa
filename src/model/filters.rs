//! Filters: what a route does to requests and answers on their way (semantics.md 2.6, 2.7).

use std::{num::NonZeroU32, sync::Arc};

/// What a route does beside its action. A route that asks for nothing costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// How many requests it takes.
    pub limit: Option<RateLimit>,
    /// Which pages of other origins may use it.
    pub cors: Option<Arc<Cors>>,
    /// Changes of the request's headers, in order.
    pub headers: Vec<HeaderEdit>,
}

/// Requests a second that each Envoy lets through; the others are answered 503. At least one is
/// set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Of all clients.
    pub total: Option<NonZeroU32>,
    /// Of one client, by its address.
    pub each: Option<NonZeroU32>,
}

/// Cross-origin resource sharing (semantics.md 3.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Who may; never empty.
    pub origins: Vec<Origin>,
    /// Joined by commas, as the header has them; so are the next two.
    pub methods: Arc<str>,
    /// Headers that a request may have.
    pub headers: Arc<str>,
    /// Headers of answers that a page may read; perhaps empty.
    pub exposed: Arc<str>,
    /// Whether cookies may be sent.
    pub credentials: bool,
    /// How long a browser may remember all this, in seconds.
    pub max_age: u32,
}

/// An origin, as the header `origin` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Each; it is told its own name, and not `*`, which would exclude cookies.
    Any,
    /// This one.
    Exact(Arc<str>),
    /// Every host below a domain.
    Below {
        /// `https://`.
        scheme: Arc<str>,
        /// `foo.com`, perhaps with a port.
        domain: Arc<str>,
    },
}

/// A change of the headers of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Gives it a header.
    Insert {
        /// Lower case.
        name: Arc<str>,
        /// With this value.
        value: HeaderValue,
        /// A value that it has is replaced; otherwise that one stays.
        replaces: bool,
    },
    /// Takes a header away, by lower-case name.
    Remove(Arc<str>),
}

/// The value of a header that is inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// This text.
    Text(Arc<str>),
    /// That of another header of the request, by lower-case name.
    OfHeader(Arc<str>),
}
