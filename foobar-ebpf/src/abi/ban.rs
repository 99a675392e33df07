//! Bans as kernel and agent share them: two tables of sources, each with an expiry that the kernel itself
//! judges by. Addresses are keyed by their 16 octets, IPv4 in the mapped block; prefixes by a length and
//! the same octets.
//!
//! A version of their own: a datapath of another version finds bans where they were.

use core::mem::size_of;

/// Version of the two tables, and of the folder of their pins.
pub const BANS_VERSION: u32 = 1;

/// Banned addresses at most. An empty table takes 16 MiB at this number: the kernel makes its buckets
/// when it makes the map, and its entries when they come.
pub const ADDRESSES_MAX: u32 = 1 << 20;
/// Banned and exempt prefixes at most; each takes memory of its own only.
pub const PREFIXES_MAX: u32 = 1 << 21;

/// [`Ban::expires_ns`] of one that does not end.
pub const FOREVER: u64 = u64::MAX;

/// Bits of the word [`super::control::BANS`]: what is empty is not asked.
pub mod kind {
    /// There are addresses.
    pub const ADDRESSES: u64 = 1;
    /// There are prefixes.
    pub const PREFIXES: u64 = 1 << 1;
}

/// A banned source, or a prefix that is exempt from wider bans. Times are nanoseconds of the boot clock,
/// which goes on while the host sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ban {
    /// From when on it is one no more.
    pub expires_ns: u64,
    /// The same of this and of every wider prefix around it: the kernel finds the longest prefix only, and
    /// an expired one must not hide another. 0 where it is exempt.
    pub covered_until_ns: u64,
    /// Packets dropped. The kernel adds.
    pub packets: u64,
    /// When the last one was dropped. The kernel writes.
    pub last_hit_ns: u64,
    /// Since when it is banned.
    pub since_ns: u64,
    /// Why, see [`BanReason`].
    pub reason: u32,
    /// Sum of [`flag`]s.
    pub flags: u32,
}
const _: () = assert!(size_of::<Ban>() == 48);

/// Bits of [`Ban::flags`].
pub mod flag {
    /// No ban: sources in this prefix are exempt from wider ones.
    pub const EXEMPT: u32 = 1;
    /// Of the exempt prefix of all IPv4 ([`super::IPV4`]), which is entered first: all that was to be
    /// restored has been.
    pub const COMPLETE: u32 = 1 << 1;
}

/// Length and octets of the block in which IPv4 lives: exempt, so that no IPv6 prefix around it bans it.
pub const IPV4: (u32, [u8; 16]) = (96, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);

crate::verdict::abi_enum! {
    /// Who banned, and for what.
    BanReason {
        /// Somebody, by `foobar-agent ban add`.
        Manual = 0 => "manual",
        /// Many refused ports tried.
        PortScan = 1 => "port-scan",
        /// One refused port tried many times.
        BruteForce = 2 => "brute-force",
        /// The load balancer.
        Balancer = 3 => "balancer",
    }
}
