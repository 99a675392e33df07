//! The two clocks of a ban: the kernel's, which neither jumps nor stops while the host sleeps, and the
//! world's, which goes on over a reboot.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foobar_ebpf::abi::ban::FOREVER;
use nix::time::{ClockId, clock_gettime};

use super::Term;

const NS_PER_MS: u64 = 1_000_000;

/// Both, read at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Nanoseconds since the boot.
    pub(super) boot_ns: u64,
    /// Milliseconds since the Unix epoch.
    pub(super) wall_ms: u64,
}

impl Now {
    pub(super) fn read() -> Self {
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let saturated = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
        Self { boot_ns: saturated(boot.as_nanos()), wall_ms: saturated(wall.as_millis()) }
    }

    /// When a term that begins now ends, in nanoseconds since the boot.
    pub(super) fn end_of(self, term: Term) -> u64 {
        match term {
            Term::Forever => FOREVER,
            Term::For(duration) => {
                let ns = u64::try_from(duration.as_nanos()).unwrap_or(FOREVER);
                self.boot_ns.saturating_add(ns)
            }
        }
    }

    /// The wall clock's time of a moment since the boot; `None` for one that does not come.
    pub(super) fn wall_ms_of(self, boot_ns: u64) -> Option<u64> {
        if boot_ns == FOREVER {
            return None;
        }
        let ahead_ms = boot_ns.saturating_sub(self.boot_ns).div_ceil(NS_PER_MS);
        let behind_ms = self.boot_ns.saturating_sub(boot_ns) / NS_PER_MS;
        Some(self.wall_ms.saturating_add(ahead_ms).saturating_sub(behind_ms))
    }

    /// The moment since the boot of a time of the wall clock; before the boot it is 0.
    pub(super) fn boot_ns_of(self, wall_ms: Option<u64>) -> u64 {
        let Some(wall_ms) = wall_ms else { return FOREVER };
        let ahead_ns = wall_ms.saturating_sub(self.wall_ms).saturating_mul(NS_PER_MS);
        let behind_ns = self.wall_ms.saturating_sub(wall_ms).saturating_mul(NS_PER_MS);
        // One less than for ever, so that a time in the far future stays one.
        self.boot_ns.saturating_add(ahead_ns).saturating_sub(behind_ns).min(FOREVER - 1)
    }
}

/// Seconds of nanoseconds.
pub(super) fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}
