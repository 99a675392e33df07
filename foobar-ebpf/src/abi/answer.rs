//! Answers to rejected packets: how many there may be, how large, and what became of them.

use crate::verdict::abi_enum;

/// Answers that a host sends in a second at most, in the long run. Enough for the mistakes of
/// people and programs; little for whoever makes this host answer to a forged source: with
/// [`QUOTE_BYTES_MAX`], less than 1.6 Mbit/s.
pub const PER_SECOND: u64 = 1000;

/// Answers that a host may send at once after a time without any; more only where there are more
/// CPUs, each of which may send one.
pub const BURST: u64 = 100;

/// One CPU's part of what the host may send. Parts are equal and fixed: a count that all CPUs
/// share would cost every one of them more than the answer does, just when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// From one answer to the next in the long run, in nanoseconds.
    pub interval_ns: u64,
    /// The time whose answers may be sent at once, in nanoseconds: a multiple of `interval_ns`.
    pub burst_ns: u64,
}

impl Allowance {
    /// The part of each of `cpus`, all that the host can ever have; none is taken for one.
    pub const fn of_each(cpus: u32) -> Self {
        let cpus = if cpus == 0 { 1 } else { cpus as u64 };
        let interval_ns = cpus * (1_000_000_000 / PER_SECOND);
        let burst = if BURST > cpus { BURST / cpus } else { 1 };
        Self { interval_ns, burst_ns: burst * interval_ns }
    }

    /// Answers that may be sent at once.
    pub const fn burst(self) -> u64 {
        self.burst_ns / self.interval_ns
    }
}

/// Bytes of the rejected datagram in an ICMP or ICMPv6 error at most, its IP header included.
///
/// A host finds the program that is concerned by the addresses, protocol and ports in it. They
/// lie within this even behind an IPv4 header of 60 bytes or 84 bytes of IPv6 extension headers,
/// and as much is what RFC 4884 §4 lets every receiver count on. RFC 1812 §4.3.2.3 and RFC 4443
/// §2.4(c) would have up to 576 and 1,280 bytes of answer: more for the same purpose, and several
/// times as much for a forged source.
pub const QUOTE_BYTES_MAX: u32 = 128;

abi_enum! {
    /// What became of the answer to a rejected packet: index in [`super::map::ANSWERS`].
    Outcome {
        /// A TCP segment with RST was sent.
        TcpReset = 0 => "tcp-rst",
        /// ICMP type 3, code 13 was sent: communication administratively prohibited.
        Icmp = 1 => "icmp",
        /// ICMPv6 type 1, code 1 was sent: communication administratively prohibited.
        Icmpv6 = 2 => "icmpv6",
        /// Withheld: to a TCP segment with RST.
        ToReset = 3 => "to-rst",
        /// Withheld: to an ICMP or ICMPv6 message that is an error, a redirect, or unknown.
        ToIcmpError = 4 => "to-icmp-error",
        /// Withheld: to a fragment that is not the first.
        LaterFragment = 5 => "later-fragment",
        /// Withheld: an IP address that is not one host's.
        Address = 6 => "address",
        /// Withheld: an Ethernet address that is not one station's, or a destination that is not the
        /// interface's own.
        Station = 7 => "station",
        /// Withheld: more than the [`Allowance`].
        Limit = 8 => "limit",
        /// Withheld: the frame cannot become the answer, for want of room or of bytes at hand.
        Frame = 9 => "frame",
    }
}

impl Outcome {
    /// Whether there was an answer.
    #[inline(always)]
    pub const fn is_sent(self) -> bool {
        (self as u32) < Self::ToReset as u32
    }
}
