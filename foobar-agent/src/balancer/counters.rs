//! Counters that every core owns alone: a relaxed load and store, no locked instruction and
//! no cache line that two cores write. They are summed when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;

use super::snapshot::{DurationBucket, DurationSnapshot, HandshakeCount, HandshakeFailureCount};

/// A number that one thread raises and any thread reads.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Raises the number; only its owner may, since this is no atomic addition.
    pub(super) fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One `T` per core, each on cache lines of its own (two lines: adjacent ones are fetched together).
#[derive(Debug)]
pub(super) struct PerCore<T>(Box<[Padded<T>]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> PerCore<T> {
    pub(super) fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| Padded::default()).collect())
    }
}

impl<T> PerCore<T> {
    /// What belongs to one core.
    pub(super) fn on(&self, core: usize) -> &T {
        &self.0[core].0
    }

    /// Sums one number over the cores.
    pub(super) fn sum(&self, number: impl Fn(&T) -> u64) -> u64 {
        self.0.iter().map(|padded| number(&padded.0)).sum()
    }
}

/// Statuses with a registered meaning. The label is a closed set whatever a backend sends.
const CODES: [u16; 62] = [
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307,
    308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422,
    423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
];
const UNREGISTERED: u8 = 62;
/// Slot of each status from 100 on.
const SLOTS: [u8; 500] = {
    let mut slots = [UNREGISTERED; 500];
    let mut slot = 0;
    while slot < CODES.len() {
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer than 256 codes")]
        {
            slots[CODES[slot] as usize - 100] = slot as u8;
        }
        slot += 1;
    }
    slots
};

/// Answers by status.
#[derive(Debug)]
pub(super) struct CodeCounts([Counter; 63]);

impl Default for CodeCounts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl CodeCounts {
    pub(super) fn count(&self, status: StatusCode) {
        let slot = SLOTS.get(usize::from(status.as_u16()) - 100).copied().unwrap_or(UNREGISTERED);
        self.0[usize::from(slot)].add(1);
    }

    /// Each status that occurred on any core, with its sum; 0 is every unregistered one.
    pub(super) fn sums(cores: &PerCore<Self>) -> impl Iterator<Item = (u16, u64)> {
        (0..=usize::from(UNREGISTERED)).filter_map(|slot| {
            let count = cores.sum(|counts| counts.0[slot].get());
            (count > 0).then(|| (CODES.get(slot).copied().unwrap_or(0), count))
        })
    }
}

/// Upper bounds are 2^-12 s (244 µs) to 2^5 s: powers of two are exact and found by a bit scan.
const BUCKETS: usize = 18;
const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// Durations in log-spaced buckets.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Not cumulative; the last one is what is above every bound.
    buckets: [Counter; BUCKETS + 1],
    sum_nanoseconds: Counter,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        self.buckets[bucket(duration)].add(1);
        self.sum_nanoseconds.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    #[expect(clippy::cast_precision_loss, reason = "sums below 2^53 ns (104 days) are exact")]
    pub(super) fn sum(cores: &PerCore<Self>, site: &str) -> DurationSnapshot {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BUCKETS);
        for index in 0..=BUCKETS {
            count += cores.sum(|core| core.buckets[index].get());
            if index < BUCKETS {
                let le_seconds = (1_u64 << index) as f64 / 4096.0;
                buckets.push(DurationBucket { le_seconds, count });
            }
        }
        let nanoseconds = cores.sum(|core| core.sum_nanoseconds.get());
        let sum_seconds = nanoseconds as f64 / NANOSECONDS_PER_SECOND as f64;
        DurationSnapshot { site: site.to_owned(), buckets, sum_seconds, count }
    }
}

/// Index of the lowest bucket whose bound is not below `duration`.
fn bucket(duration: Duration) -> usize {
    // In units of 2^-12 s, rounded up: 10^9 / 4096 = 1,953,125 / 8.
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let units = nanoseconds.saturating_mul(8).div_ceil(1_953_125);
    let log2_ceil = if units <= 1 { 0 } else { 64 - (units - 1).leading_zeros() };
    (log2_ceil as usize).min(BUCKETS)
}

/// What one core sees of one listener.
#[derive(Debug, Default)]
pub(super) struct ListenerCounts {
    pub(super) accepted: Counter,
    /// By version (1.2, 1.3), then full and resumed.
    handshakes: [[Counter; 2]; 2],
    failures: [Counter; HandshakeFailure::ALL.len()],
}

impl ListenerCounts {
    pub(super) fn handshake(&self, tls13: bool, resumed: bool) {
        self.handshakes[usize::from(tls13)][usize::from(resumed)].add(1);
    }

    pub(super) fn failure(&self, reason: HandshakeFailure) {
        self.failures[reason as usize].add(1);
    }

    pub(super) fn handshake_sums(cores: &PerCore<Self>) -> Vec<HandshakeCount> {
        let kinds = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let sum = |(version, resumed): (usize, usize)| HandshakeCount {
            version: ["TLSv1.2", "TLSv1.3"][version].to_owned(),
            resumed: resumed == 1,
            count: cores.sum(|core| core.handshakes[version][resumed].get()),
        };
        kinds.into_iter().map(sum).collect()
    }

    pub(super) fn failure_sums(cores: &PerCore<Self>) -> Vec<HandshakeFailureCount> {
        let sum = |reason: HandshakeFailure| HandshakeFailureCount {
            reason: reason.word().to_owned(),
            count: cores.sum(|core| core.failures[reason as usize].get()),
        };
        HandshakeFailure::ALL.into_iter().map(sum).collect()
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakeFailure {
    /// It took too long.
    Timeout,
    /// The client went away.
    Closed,
    /// What came was no TLS.
    NotTls,
    /// No version, cipher suite, group or signature scheme in common.
    Incompatible,
    /// The client refused, for instance our certificate.
    Alert,
    /// Anything else.
    Other,
}

impl HandshakeFailure {
    const ALL: [Self; 6] =
        [Self::Timeout, Self::Closed, Self::NotTls, Self::Incompatible, Self::Alert, Self::Other];

    fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not-tls",
            Self::Incompatible => "incompatible",
            Self::Alert => "alert",
            Self::Other => "other",
        }
    }
}

/// What one core sees of one backend.
#[derive(Debug, Default)]
pub(super) struct BackendCounts {
    pub(super) requests: Counter,
    pub(super) connections_opened: Counter,
    pub(super) connect_failures: Counter,
    pub(super) exchange_failures: Counter,
    pub(super) timeouts: Counter,
    pub(super) retries: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_bound_and_nothing_above() {
        for index in 0..BUCKETS {
            let bound = Duration::from_nanos((1 << index) * NANOSECONDS_PER_SECOND / 4096);
            assert_eq!(bucket(bound), index, "{bound:?}");
            assert_eq!(bucket(bound + Duration::from_nanos(1)), index + 1, "{bound:?} + 1 ns");
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS);
    }

    #[test]
    fn a_histogram_is_cumulative_over_the_cores() {
        let cores = PerCore::<Histogram>::new(2);
        cores.on(0).observe(Duration::from_micros(100));
        cores.on(1).observe(Duration::from_millis(400));
        cores.on(1).observe(Duration::from_secs(100));
        let sum = Histogram::sum(&cores, "a");
        assert_eq!(sum.count, 3);
        assert!((sum.sum_seconds - 100.4001).abs() < 1e-9);
        assert_eq!(sum.buckets.first().map(|bucket| bucket.count), Some(1));
        assert_eq!(sum.buckets.last().map(|bucket| (bucket.le_seconds, bucket.count)), Some((32.0, 2)));
    }

    #[test]
    fn a_status_without_meaning_is_counted_as_zero() {
        let cores = PerCore::<CodeCounts>::new(1);
        for code in [200, 200, 299, 999, 511] {
            cores.on(0).count(StatusCode::from_u16(code).unwrap());
        }
        let sums: Vec<_> = CodeCounts::sums(&cores).collect();
        assert_eq!(sums, [(200, 2), (511, 1), (0, 2)]);
    }
}
