//! Connections and streams that were refused: counted, and said in the log.
//!
//! Owns how often it is said: whoever is refused may come again as often as it likes, also with a stolen
//! certificate, and must not fill the log. Cost: a relaxed counter, and a short lock for each refusal.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How often refusals of one kind are logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// A connection: its address has enough of them.
    TooMany,
    /// A connection, because Convoy has no certificate.
    NoCertificate,
    /// A connection: no TLS, or not that of a client that is trusted.
    Handshake,
    /// A stream: neither certificate nor token says whose it is.
    Unauthenticated,
    /// A stream that asked for another gateway than its own.
    Forbidden,
    /// A stream that does not say what it is.
    BadNode,
}

impl Refused {
    /// Every kind.
    pub const ALL: [Refused; 6] = [
        Refused::TooMany,
        Refused::NoCertificate,
        Refused::Handshake,
        Refused::Unauthenticated,
        Refused::Forbidden,
        Refused::BadNode,
    ];

    /// As metrics and the log say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::TooMany => "too_many",
            Refused::NoCertificate => "no_certificate",
            Refused::Handshake => "handshake",
            Refused::Unauthenticated => "unauthenticated",
            Refused::Forbidden => "forbidden",
            Refused::BadNode => "bad_node",
        }
    }
}

/// What was refused since the start.
#[derive(Debug, Default)]
pub(crate) struct Refusals([Kind; Refused::ALL.len()]);

#[derive(Debug, Default)]
struct Kind {
    count: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Kind {
    /// Whether it is time for another line of the log.
    fn is_news(&self, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = logged.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
        if is_news {
            *logged = Some(now);
        }
        is_news
    }
}

impl Refusals {
    fn kind(&self, refused: Refused) -> &Kind {
        let idx = Refused::ALL.iter().position(|own| *own == refused);
        idx.and_then(|idx| self.0.get(idx)).expect("invariant: a counter for every kind")
    }

    pub(crate) fn count(&self, refused: Refused) -> u64 {
        self.kind(refused).count.load(Relaxed)
    }

    /// Counts one, and says it.
    pub(crate) fn add(
        &self,
        refused: Refused,
        address: Option<SocketAddr>,
        why: &dyn fmt::Display,
    ) {
        let kind = self.kind(refused);
        let total = kind.count.fetch_add(1, Relaxed) + 1;
        let address = address.map(tracing::field::display);
        if kind.is_news(Instant::now()) {
            tracing::warn!(address, kind = refused.as_str(), total, %why, "refused an envoy");
        } else {
            tracing::debug!(address, kind = refused.as_str(), total, %why, "refused an envoy");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_s15_each_refusal_is_counted_and_few_are_logged() {
        let refusals = Refusals::default();
        (0..3).for_each(|_| refusals.add(Refused::Handshake, None, &"noise"));
        refusals.add(Refused::Forbidden, None, &"another gateway");
        assert_eq!(Refused::ALL.map(|own| refusals.count(own)), [0, 0, 3, 0, 1, 0]);
        let kind = Kind::default();
        let start = Instant::now();
        let news = |after: u64| kind.is_news(start + Duration::from_secs(after));
        assert_eq!(
            [news(0), news(1), news(9), news(10), news(11)],
            [true, false, false, true, false]
        );
    }
}
