//! Samples of packets with what became of them, on their way to the agent.

use core::mem::size_of;

use super::limit::{Meter, TICKS_PER_NS, counts};
use crate::verdict::abi_enum;

/// Bytes of a frame that a sample holds at most: headers with a good part of what follows them.
pub const FRAME_BYTES_MAX: usize = 208;

/// Bytes of [`super::map::EVENTS`], a power of two of pages: 4,096 samples that wait.
pub const RING_BYTES: u32 = 1 << 20;

/// Samples of one [`Cause`] in a second at most, on all CPUs together.
pub const PER_SECOND: u64 = 1000;
/// Samples of one [`Cause`] that may come at once.
pub const BURST: u64 = 200;

/// What holds for all samples of one cause together.
pub const METER: Meter = {
    let scale = 1_000_000_000 * TICKS_PER_NS / PER_SECOND;
    Meter {
        scale,
        burst_ticks: scale * BURST,
        shift: 0,
        counts: counts::PACKETS,
        prefix_ipv4: 0,
        prefix_ipv6: 0,
    }
};

abi_enum! {
    /// Why a packet was sampled.
    Cause {
        /// The rule that decided has a log.
        Log = 0 => "log",
        /// Somebody watches.
        Watch = 1 => "watch",
    }
}

abi_enum! {
    /// What became of a sample: index in [`super::map::SAMPLES`].
    Outcome {
        /// It is in the ring buffer.
        Emitted = 0 => "emitted",
        /// The ring buffer was full: the agent does not run, or cannot keep up.
        Lost = 1 => "lost",
        /// More than [`PER_SECOND`].
        Withheld = 2 => "withheld",
    }
}

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When, in nanoseconds of the boot clock.
    pub at_ns: u64,
    /// Number of the generation that judged; its rules have the slots.
    pub generation: u64,
    /// Bytes of the packet, from the Ethernet header on.
    pub length_bytes: u32,
    /// Bytes of it in `frame`.
    pub captured_bytes: u32,
    /// Logical interface.
    pub interface: u32,
    /// Slot of the deciding rule; [`super::fragment::NO_RULE`]: none.
    pub rule: u32,
    /// [`crate::verdict::Verdict`].
    pub verdict: u32,
    /// [`crate::verdict::Reason`].
    pub reason: u32,
    /// [`Cause`].
    pub cause: u32,
    /// Zero.
    pub padding: u32,
    /// The packet's beginning; what is behind `captured_bytes` means nothing.
    pub frame: [u8; FRAME_BYTES_MAX],
}
const _: () = assert!(size_of::<Event>() == 256);

/// Values of [`super::control::EVENTS`].
pub mod watch {
    /// Nobody watches.
    pub const NOTHING: u64 = 0;
    /// Packets that do not pass.
    pub const REFUSED: u64 = 1;
    /// Every packet.
    pub const ALL: u64 = 2;
}
