//! Answers that the gateway gives itself, and URLs that it changes (semantics.md 2.6, 3.2).

use std::{num::NonZeroU16, sync::Arc};

use crate::model::Regex;

/// What the backend sees as the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Matches the whole path.
    pub pattern: Regex,
    /// What it becomes; `\1` is the first group of the pattern, and it has every group named here.
    pub substitution: Arc<str>,
}

/// To another URL. What is not said stays as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub code: RedirectCode,
    /// The scheme.
    pub scheme: Option<Scheme>,
    /// The host, without a port.
    pub host: Option<Arc<str>>,
    /// The port.
    pub port: Option<NonZeroU16>,
    /// The path, and with it the query.
    pub path: NewPath,
}

/// How permanent a redirect is, and whether the method stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectCode {
    /// 301
    MovedPermanently,
    /// 302
    Found,
    /// 303
    SeeOther,
    /// 307
    TemporaryRedirect,
    /// 308
    PermanentRedirect,
}

/// What HTTP is spoken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plaintext.
    Http,
    /// TLS.
    Https,
}

/// Path and query of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewPath {
    /// Both stay.
    Same,
    /// Text around the path; the query stays.
    Around {
        /// Begins with `/`, or is empty.
        before: Arc<str>,
        /// Perhaps empty.
        after: Arc<str>,
    },
    /// Another path.
    Fixed {
        /// Begins with `/`.
        path: Arc<str>,
        /// Another query; `None` keeps it.
        query: Option<Arc<str>>,
    },
}

/// An answer without a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status: 200 to 599.
    pub status: u16,
    /// What the body is.
    pub content_type: Arc<str>,
    /// At most [`Answer::MAX_BODY`] bytes.
    pub body: Arc<str>,
}

impl Answer {
    /// Envoy refuses a table with a longer one.
    pub const MAX_BODY: usize = 4096;
}
