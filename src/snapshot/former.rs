//! Versions that were published and replaced since.
//!
//! Owns how long they are remembered. Must not know what they are versions of: they are hashes of
//! content. Cost: logarithmic a version.

use imbl::{OrdSet, Vector};

use crate::snapshot::Version;

/// How many are remembered. An Envoy that was away for minutes is recognised at ten changes a
/// second; it takes less than a megabyte a gateway, and nothing where nothing changes.
const LIMIT: usize = 16_384;

/// The versions, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Former {
    known: OrdSet<Version>,
    /// Oldest first.
    order: Vector<Version>,
}

impl Former {
    pub(super) fn contains(&self, version: Version) -> bool {
        self.known.contains(&version)
    }

    /// A version is replaced.
    pub(super) fn add(&mut self, version: Version) {
        if self.known.insert(version).is_some() {
            return;
        }
        self.order.push_back(version);
        if self.order.len() > LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(n: usize) -> Version {
        Version::of(&n.to_be_bytes())
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut former = Former::default();
        (0..LIMIT).for_each(|n| former.add(version(n)));
        former.add(version(0));
        assert!(former.contains(version(0)), "it is known once");
        former.add(version(LIMIT));
        assert_eq!([0, 1, LIMIT].map(|n| former.contains(version(n))), [false, true, true]);
    }
}
