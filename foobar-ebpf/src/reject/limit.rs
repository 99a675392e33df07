//! How often a CPU may answer: a token bucket (GCRA), as one moment in time.

use crate::abi::answer::{BURST, PER_SECOND};

const INTERVAL_NS: u64 = 1_000_000_000 / PER_SECOND;
const BURST_NS: u64 = BURST * INTERVAL_NS;

/// One CPU's bucket; full at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Limit {
    /// Up to when the answers so far have used up what was allowed, in nanoseconds.
    used_until_ns: u64,
}

impl Limit {
    /// Takes one answer out of the bucket, if there is one.
    #[inline(always)]
    pub const fn take(&mut self, now_ns: u64) -> bool {
        let full_ns = now_ns.saturating_sub(BURST_NS);
        let used_until_ns = if self.used_until_ns < full_ns { full_ns } else { self.used_until_ns };
        if used_until_ns + INTERVAL_NS > now_ns {
            return false;
        }
        self.used_until_ns = used_until_ns + INTERVAL_NS;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_NS: u64 = 5_000_000_000;

    fn taken(limit: &mut Limit, now_ns: u64, attempts: u64) -> u64 {
        (0..attempts).filter(|_| limit.take(now_ns)).count() as u64
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut limit = Limit::default();
        assert_eq!(taken(&mut limit, START_NS, 2 * BURST), BURST);
        assert_eq!(taken(&mut limit, START_NS + INTERVAL_NS - 1, 9), 0);
        assert_eq!(taken(&mut limit, START_NS + INTERVAL_NS, 9), 1);
        let in_a_second: u64 =
            (1..=1000).map(|ms| taken(&mut limit, START_NS + INTERVAL_NS + ms * 1_000_000, 50)).sum();
        assert_eq!(in_a_second, PER_SECOND);
        // Rest fills it up to the burst, and no further.
        assert_eq!(taken(&mut limit, START_NS * 9, 2 * BURST), BURST);
    }

    #[test]
    fn a_clock_near_its_start_or_going_back_allows_nothing_more() {
        let mut limit = Limit::default();
        assert_eq!(taken(&mut limit, 0, 5), 0);
        assert_eq!(taken(&mut limit, BURST_NS, 2 * BURST), BURST);
        assert_eq!(taken(&mut limit, INTERVAL_NS, 5), 0);
    }
}
