//! How often a CPU may answer: a token bucket (GCRA), as one moment in time.

use crate::abi::answer::Allowance;

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
    pub const fn take(&mut self, allowance: Allowance, now_ns: u64) -> bool {
        let full_ns = now_ns.saturating_sub(allowance.burst_ns);
        let used_until_ns = if self.used_until_ns < full_ns { full_ns } else { self.used_until_ns };
        if used_until_ns + allowance.interval_ns > now_ns {
            return false;
        }
        self.used_until_ns = used_until_ns + allowance.interval_ns;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::answer::{BURST, PER_SECOND};

    const START_NS: u64 = 5_000_000_000;

    fn taken(limit: &mut Limit, allowance: Allowance, now_ns: u64, attempts: u64) -> u64 {
        (0..attempts).filter(|_| limit.take(allowance, now_ns)).count() as u64
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let alone = Allowance::of_each(1);
        let interval_ns = alone.interval_ns;
        let mut limit = Limit::default();
        assert_eq!(taken(&mut limit, alone, START_NS, 2 * BURST), BURST);
        assert_eq!(taken(&mut limit, alone, START_NS + interval_ns - 1, 9), 0);
        assert_eq!(taken(&mut limit, alone, START_NS + interval_ns, 9), 1);
        let in_a_second: u64 =
            (1..=1000).map(|ms| taken(&mut limit, alone, START_NS + interval_ns + ms * 1_000_000, 50)).sum();
        assert_eq!(in_a_second, PER_SECOND);
        // Rest fills it up to the burst, and no further.
        assert_eq!(taken(&mut limit, alone, START_NS * 9, 2 * BURST), BURST);
    }

    #[test]
    fn all_cpus_together_stay_within_the_hosts_limit() {
        for cpus in [1, 2, 3, 7, 64, 100, 101, 512] {
            let allowance = Allowance::of_each(cpus);
            let (mut at_once, mut later) = (0, 0);
            for mut limit in vec![Limit::default(); cpus as usize] {
                at_once += taken(&mut limit, allowance, 3 * START_NS, 2 * BURST);
                // Ten seconds of a flood, two packets a millisecond on each CPU.
                later += (1..=10_000)
                    .map(|ms| taken(&mut limit, allowance, 3 * START_NS + ms * 1_000_000, 2))
                    .sum::<u64>();
            }
            assert!(at_once <= BURST.max(cpus.into()) && at_once >= cpus.into(), "{at_once} of {cpus} CPUs");
            assert!(later <= 10 * PER_SECOND, "{later} of {cpus} CPUs");
            assert!(
                later + u64::from(cpus) >= 10 * PER_SECOND,
                "little is left unused: {later} of {cpus} CPUs"
            );
        }
    }

    #[test]
    fn a_clock_near_its_start_or_going_back_allows_nothing_more() {
        let alone = Allowance::of_each(1);
        let mut limit = Limit::default();
        assert_eq!(taken(&mut limit, alone, 0, 5), 0);
        assert_eq!(taken(&mut limit, alone, alone.burst_ns, 2 * BURST), BURST);
        assert_eq!(taken(&mut limit, alone, alone.interval_ns, 5), 0);
    }
}
