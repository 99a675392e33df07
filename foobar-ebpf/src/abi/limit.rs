//! Rates of rules and of their samples as they lie in an image, and the tables that keep how far each
//! is used up.
//!
//! Time is counted in ticks, sixteenths of a nanosecond of the boot clock: at 100 Gbit/s a byte takes
//! 1.28 of them, and 64 bits hold 36 years.

use core::mem::size_of;
use core::sync::atomic::AtomicU64;

/// Ticks of a nanosecond.
pub const TICKS_PER_NS: u64 = 16;

/// Rules of a ruleset that can have a `rate`: each has the diagrams of what follows it, and a packet
/// that is over all of them walks as many.
pub const LIMITS_MAX: usize = 64;

/// Rules of a ruleset that can have a `log`.
pub const LOGS_MAX: usize = 4096;

/// What a meter charges for one packet.
pub mod counts {
    /// 1 each.
    pub const PACKETS: u32 = 0;
    /// 1 for a TCP segment that has SYN without ACK, else nothing.
    pub const CONNECTIONS: u32 = 1;
    /// Its bytes from the Ethernet header on.
    pub const BYTES: u32 = 2;
    /// The bits of those.
    pub const MASK: u32 = 3;
    /// A flag beside them: every source has a meter of its own.
    pub const PER_SOURCE: u32 = 4;
}

/// A rate, ready to be asked: a generic cell rate algorithm (ITU-T I.371), whose whole state is one
/// moment, up to which what was let through has used up what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Meter {
    /// Ticks that one unit takes, `shift` bits up.
    pub scale: u64,
    /// Ticks whose units may come at once.
    pub burst_ticks: u64,
    /// See `scale`; below 64.
    pub shift: u32,
    /// See [`counts`].
    pub counts: u32,
    /// Of a source per IPv4 address, in the mapped space: 96 to 128.
    pub prefix_ipv4: u32,
    /// Of a source per IPv6 address.
    pub prefix_ipv6: u32,
}
const _: () = assert!(size_of::<Meter>() == super::image::UNIT_BYTES);

/// The most that one packet is charged for, in bytes: twice what XDP gets to see.
pub const AMOUNT_MAX: u64 = (1 << 17) - 1;
/// [`Meter::scale`] is below: so charges fit 64 bits.
pub const SCALE_BITS: u32 = 46;

/// One source's use of one meter.
#[derive(Debug, Default)]
#[repr(C)]
pub struct SourceEntry {
    /// The source's prefix, most significant word first.
    pub source: [AtomicU64; 2],
    /// The meter that it is of. In the first entry of a set with [`LOCKED`] while somebody works on the set.
    pub meter: AtomicU64,
    /// Up to when it is used up, in ticks; a moment that has passed says nothing, and the entry is free.
    pub used_until_ticks: AtomicU64,
}
const _: () = assert!(size_of::<SourceEntry>() == 32);

/// See [`SourceEntry::meter`].
pub const LOCKED: u64 = 1 << 63;

/// Entries of a set: a source has its place in one of them.
pub const SOURCE_WAYS: usize = 8;
/// Sets of [`super::map::SOURCES`]; a power of two. With [`SOURCE_WAYS`], 131,072 entries and 4 MiB.
pub const SOURCE_SETS: u32 = 1 << 14;

/// The entries among which a source has its place.
#[derive(Debug, Default)]
#[repr(C)]
pub struct SourceSet {
    /// In no order.
    pub ways: [SourceEntry; SOURCE_WAYS],
}
const _: () = assert!(size_of::<SourceSet>() == 256);

/// Words of the secret that spreads sources over sets.
pub const SEED_WORDS: usize = 6;
