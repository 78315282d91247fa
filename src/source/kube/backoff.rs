//! How long to wait after a failure, and never as long as the others do.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use crate::settings::SourceTimings;

/// Half of the wait after so many failures in a row to all of it, so that what failed together
/// does not return together.
pub(super) fn backoff(failures: u32, timings: &SourceTimings) -> Duration {
    let wait = longest(failures, timings);
    wait / 2 + (wait / 2).mul_f64(chance())
}

/// The interval, give or take a fifth.
pub(super) fn around(interval: Duration) -> Duration {
    interval.mul_f64(0.8 + 0.4 * chance())
}

fn longest(failures: u32, timings: &SourceTimings) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    timings.backoff_min.saturating_mul(doubled).min(timings.backoff_max)
}

/// From 0 to 1. No more than a hasher's seed is asked of it.
fn chance() -> f64 {
    let random = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or_default();
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMINGS: SourceTimings = SourceTimings::PRODUCTION;

    #[test]
    fn waits_double_up_to_the_longest() {
        let wait = |failures| longest(failures, &TIMINGS).as_millis();
        assert_eq!([1, 2, 3, 7, 100].map(wait), [500, 1000, 2000, 30_000, 30_000]);
    }

    #[test]
    fn nobody_waits_as_long_as_the_others() {
        let waits: Vec<_> = (0..100).map(|_| backoff(2, &TIMINGS)).collect();
        let within = TIMINGS.backoff_min..=TIMINGS.backoff_min * 2;
        assert!(waits.iter().all(|wait| within.contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
        let probes: Vec<_> = (0..100).map(|_| around(TIMINGS.probe)).collect();
        let within = TIMINGS.probe.mul_f64(0.79)..=TIMINGS.probe.mul_f64(1.21);
        assert!(probes.iter().all(|wait| within.contains(wait)), "{probes:?}");
    }
}
