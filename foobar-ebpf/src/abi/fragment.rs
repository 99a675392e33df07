//! What the kernel keeps of a datagram's first fragment, so that the others can follow it.

use core::mem::size_of;

/// Datagrams under way whose first fragment is remembered. The least recently used one makes
/// room, so that a flood of first fragments costs others their memory, never the host its own.
pub const ENTRIES: u32 = 4096;

/// How long a first fragment is remembered, in nanoseconds: Linux gives up reassembly after
/// 30 s in IPv4 (`ipfrag_time`), 60 s in IPv6 (RFC 8200 §4.5). An identification is free for
/// another datagram afterwards, so the shorter one counts for both.
pub const LIFETIME_NS: u64 = 30_000_000_000;

/// The fragments of one datagram (RFC 791 §2.3, RFC 8200 §4.5), as they arrive on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FragmentKey {
    /// Source address, most significant word first.
    pub source: [u64; 2],
    /// Destination address, most significant word first.
    pub destination: [u64; 2],
    /// What the sender numbered the datagram with: 16 bits in IPv4, 32 in IPv6.
    pub identification: u32,
    /// Logical interface.
    pub interface: u16,
    /// IPv4's protocol, or the next header that the Fragment header names.
    pub protocol: u16,
}
const _: () = assert!(size_of::<FragmentKey>() == 40);

/// How a first fragment was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FirstFragment {
    /// When, in nanoseconds of the boot clock.
    pub judged_at_ns: u64,
    /// Slot of the deciding rule; [`NO_RULE`]: none, an essential passed.
    pub rule: u32,
    /// [`crate::verdict::Verdict`].
    pub verdict: u32,
}
const _: () = assert!(size_of::<FirstFragment>() == 16);

/// [`FirstFragment::rule`] where no rule decided.
pub const NO_RULE: u32 = u32::MAX;
