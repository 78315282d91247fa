//! Warnings before something ends that nobody renews (faults.md D8).
//!
//! Owns when to warn. Must not know what it is that ends: whoever watches it writes the line.

use std::time::{Duration, SystemTime};

/// Days before the end: time to plan, time to act, and the last call.
const DAYS: [u64; 3] = [30, 7, 1];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Warns once for each of 30, 7 and 1 days that are left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Countdown {
    /// The fewest days that were warned of.
    warned: Option<u64>,
}

impl Countdown {
    /// Whole days that are left, the first time that they are so few. What was renewed has more of
    /// them, and counts down from the start.
    pub(crate) fn news(&mut self, end: SystemTime, now: SystemTime) -> Option<u64> {
        let left = end.duration_since(now).unwrap_or_default();
        let reached = DAYS.into_iter().filter(|days| left <= DAY * (*days as u32)).min();
        let is_news = reached.is_some_and(|days| self.warned.is_none_or(|warned| days < warned));
        self.warned = reached;
        is_news.then_some(left.as_secs() / DAY.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn fault_d08_it_warns_30_7_and_1_days_before_the_end() {
        let mut countdown = Countdown::default();
        let mut check = |end: u64, now: f64, expect: Option<u64>| {
            let at = |days: f64| UNIX_EPOCH + DAY.mul_f64(days);
            assert_eq!(countdown.news(at(end as f64), at(now)), expect, "end {end} at {now}");
        };
        check(100, 60.0, None);
        check(100, 70.0, Some(30));
        check(100, 70.1, None);
        check(100, 92.9, None);
        check(100, 93.0, Some(7));
        check(100, 98.0, None);
        check(100, 99.5, Some(0));
        check(100, 101.0, None);
        // Renewed, then forgotten again.
        check(200, 101.0, None);
        check(200, 195.0, Some(5));
        check(200, 199.9, Some(0));
    }
}
