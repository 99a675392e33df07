//! The image of a generation: one immutable value that holds a whole ruleset.
//!
//! ```text
//! ┌────────────┬─────────┬─────────┬───┐
//! │ Header     │ Entry 0 │ Entry 1 │ … │
//! └────────────┴─────────┴─────────┴───┘
//! ```
//!
//! A rule is one or more entries, in the order of judgement; the first entry that matches
//! gives the leaf.

use core::mem::size_of;

use crate::packet::Address;

/// First word of every image: "fooB" in memory order on a little-endian machine.
pub const MAGIC: u32 = u32::from_le_bytes(*b"fooB");

/// Entries that one image can hold: the walk is linear, and the verifier follows all of it.
pub const ENTRIES_MAX: u32 = 1024;

/// The image's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`super::DATAPATH_VERSION`].
    pub version: u32,
    /// Entries that follow.
    pub entries: u32,
    /// Rule slots, the policy's included, which is the last.
    pub rule_slots: u32,
    /// What happens when no entry matches.
    pub policy: Leaf,
    /// Zero.
    pub padding: [u64; 4],
}
const _: () = assert!(size_of::<Header>() == 64);

/// The end of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Leaf {
    /// Slot in the generation's rule counters.
    pub rule: u32,
    /// [`crate::verdict::Verdict`].
    pub verdict: u32,
    /// The entry at which judgement goes on for a packet over this rule's rate; [`NO_RATE`]:
    /// the rule has none.
    pub over_rate: u32,
    /// Slot of the rule's log sampler; [`NO_LOG`]: the rule does not log.
    pub log: u32,
}
const _: () = assert!(size_of::<Leaf>() == 16);

/// [`Leaf::over_rate`] of a rule without a rate.
pub const NO_RATE: u32 = u32::MAX;
/// [`Leaf::log`] of a rule that does not log.
pub const NO_LOG: u32 = u32::MAX;

/// [`Entry::protocol`], [`Entry::icmp_kind`] and [`Entry::icmp_code`] that match any value.
pub const ANY: u16 = 256;

/// One conjunction: all of it must hold. Two cache lines: what tells most packets apart and
/// the leaf in the first, masks and the rest in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Entry {
    /// Protocol number or [`ANY`].
    pub protocol: u16,
    /// What the transport header must have, see [`needs`].
    pub needs: u16,
    /// Destination ports, inclusive.
    pub port_first: u16,
    /// Destination ports, inclusive.
    pub port_last: u16,
    /// Source ports, inclusive.
    pub from_port_first: u16,
    /// Source ports, inclusive.
    pub from_port_last: u16,
    /// ICMP type or [`ANY`].
    pub icmp_kind: u16,
    /// ICMP code or [`ANY`].
    pub icmp_code: u16,
    /// Source address under `from_mask`.
    pub from: [u64; 2],
    /// Destination address under `to_mask`.
    pub to: [u64; 2],
    /// What a match means.
    pub leaf: Leaf,
    /// Bits of the source address that are compared.
    pub from_mask: [u64; 2],
    /// Bits of the destination address that are compared.
    pub to_mask: [u64; 2],
    /// A bit for each logical interface on which the entry holds.
    pub interfaces: u64,
    /// TCP flags that must be set, of those in `tcp_flags_of`.
    pub tcp_flags_set: u8,
    /// TCP flags that are compared.
    pub tcp_flags_of: u8,
    /// Zero.
    pub padding: [u16; 11],
}
const _: () = assert!(size_of::<Entry>() == 128);

/// Both are plain integers without implicit padding, as the size assertions show, so that
/// any bytes are a value and every value is bytes.
macro_rules! plain_bytes {
    ($type:ty) => {
        impl $type {
            /// The value as it lies in an image.
            pub const fn to_bytes(self) -> [u8; size_of::<Self>()] {
                // SAFETY: same size, and no byte of the value is padding.
                unsafe { core::mem::transmute(self) }
            }

            /// The value that lies in an image.
            pub const fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
                // SAFETY: same size, and any bit pattern is a value.
                unsafe { core::mem::transmute(bytes) }
            }
        }
    };
}

plain_bytes!(Header);
plain_bytes!(Entry);

/// Flags of [`Entry::needs`].
pub mod needs {
    /// Ports are compared: a packet without them does not match.
    pub const PORTS: u16 = 1;
    /// ICMP type and code are compared.
    pub const ICMP: u16 = 1 << 1;
    /// TCP flags are compared.
    pub const TCP_FLAGS: u16 = 1 << 2;
}

impl Entry {
    /// Matches every packet.
    pub const fn any(leaf: Leaf) -> Self {
        Self {
            protocol: ANY,
            needs: 0,
            port_first: 0,
            port_last: u16::MAX,
            from_port_first: 0,
            from_port_last: u16::MAX,
            icmp_kind: ANY,
            icmp_code: ANY,
            from: [0; 2],
            to: [0; 2],
            leaf,
            from_mask: [0; 2],
            to_mask: [0; 2],
            interfaces: u64::MAX,
            tcp_flags_set: 0,
            tcp_flags_of: 0,
            padding: [0; 11],
        }
    }

    /// Whether the source lies in the entry's prefix.
    #[inline(always)]
    pub const fn matches_source(&self, address: Address) -> bool {
        under_mask(address, self.from, self.from_mask)
    }

    /// Whether the destination lies in the entry's prefix.
    #[inline(always)]
    pub const fn matches_destination(&self, address: Address) -> bool {
        under_mask(address, self.to, self.to_mask)
    }
}

#[inline(always)]
const fn under_mask(address: Address, [high, low]: [u64; 2], [mask_high, mask_low]: [u64; 2]) -> bool {
    // One branch for both words: two would double the paths that the verifier follows.
    (address.high & mask_high ^ high) | (address.low & mask_low ^ low) == 0
}
