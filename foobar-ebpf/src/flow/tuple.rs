//! Which flow a packet belongs to: addresses, ports and protocol as this host's end and the other,
//! whichever way the packet goes.

use crate::abi::flow::{BUCKET_BITS, Header};
use crate::flow::shared::Shared;
use crate::packet::{Address, Packet, Parsed, TransportKind};

/// ICMP, TCP, UDP, ICMPv6 (IANA).
pub(super) mod protocol {
    pub(in crate::flow) const ICMP: u8 = 1;
    pub(in crate::flow) const TCP: u8 = 6;
    pub(in crate::flow) const UDP: u8 = 17;
    pub(in crate::flow) const ICMPV6: u8 = 58;
}

/// One flow.
///
/// | word | |
/// |---|---|
/// | 0, 1 | the address on this side (IPv4 in the IPv4-mapped block) |
/// | 2, 3 | the address on the other side |
/// | 4 | port here, port there, 16 bits each; protocol in the lowest 8 |
///
/// Of an echo the port here is the identifier, and there is none there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// The words.
    pub words: [u64; Self::WORDS],
}

/// Where a flow is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Below [`crate::abi::flow::BUCKETS`].
    pub bucket: u32,
    /// By which most of the other flows of the bucket are told from it.
    pub tag: u32,
}

impl Tuple {
    /// Words of a tuple.
    pub const WORDS: usize = 5;
    /// Bits of a [`Place::tag`].
    pub const TAG_BITS: u32 = 24;

    /// From its parts.
    #[inline(always)]
    pub const fn new(local: Address, remote: Address, ports: (u16, u16), protocol: u8) -> Self {
        let last = (ports.0 as u64) << 48 | (ports.1 as u64) << 32 | protocol as u64;
        Self { words: [local.high, local.low, remote.high, remote.low, last] }
    }

    /// The flow of a packet that leaves, if it can be one's: TCP, UDP and echo requests can.
    #[inline(always)]
    pub const fn of_leaving(packet: &Packet) -> Option<Self> {
        let transport = &packet.transport;
        let ports = match transport.kind {
            TransportKind::Tcp => (transport.source_port, transport.destination_port),
            TransportKind::Ports if packet.protocol == protocol::UDP => {
                (transport.source_port, transport.destination_port)
            }
            TransportKind::Icmp if is_echo(packet, ECHO_REQUEST) => (transport.icmp_identifier, 0),
            _ => return None,
        };
        Some(Self::new(packet.source, packet.destination, ports, packet.protocol))
    }

    /// The flow of a packet that arrives, if it can be one's: TCP, UDP, echo replies, and errors about
    /// any of those can.
    #[inline(always)]
    pub const fn of_arriving(parsed: &Parsed) -> Option<Self> {
        let (packet, quote) = (&parsed.packet, &parsed.quote);
        let transport = &packet.transport;
        let (remote, ports, protocol) = match transport.kind {
            TransportKind::Tcp => {
                (packet.source, (transport.destination_port, transport.source_port), packet.protocol)
            }
            TransportKind::Ports if packet.protocol == protocol::UDP => {
                (packet.source, (transport.destination_port, transport.source_port), packet.protocol)
            }
            TransportKind::Icmp if transport.quotes_destination => {
                (quote.destination, (quote.source_port, quote.destination_port), quote.protocol)
            }
            TransportKind::Icmp if is_echo(packet, ECHO_REPLY) => {
                (packet.source, (transport.icmp_identifier, 0), packet.protocol)
            }
            _ => return None,
        };
        Some(Self::new(packet.destination, remote, ports, protocol))
    }

    /// The protocol's number.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lowest octet")]
    pub const fn protocol(&self) -> u8 {
        self.words[4] as u8
    }

    /// The address on this side.
    pub const fn local(&self) -> Address {
        Address { high: self.words[0], low: self.words[1] }
    }

    /// The address on the other side.
    pub const fn remote(&self) -> Address {
        Address { high: self.words[2], low: self.words[3] }
    }

    /// The port on this side; of an echo, its identifier.
    pub const fn local_port(&self) -> u16 {
        (self.words[4] >> 48) as u16
    }

    /// The port on the other side; of an echo, 0.
    #[expect(clippy::cast_possible_truncation, reason = "16 bits of the word")]
    pub const fn remote_port(&self) -> u16 {
        (self.words[4] >> 32) as u16
    }

    /// Where it is looked for: multilinear hashing (Lemire and Kaser, "Strongly universal string hashing
    /// is fast", 2014), whose highest 32 bits are uniform and pairwise independent over the seeds. Two
    /// flows that somebody chose without knowing those meet no more often than by chance.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "bits of the hash")]
    pub fn hash(&self, header: &Header) -> Place {
        let seed = |index: usize| header.seeds[index].load();
        let mut hash = seed(0);
        let mut index = 0;
        while index < Self::WORDS {
            let word = self.words[index];
            hash = hash
                .wrapping_add(seed(2 * index + 1).wrapping_mul(word >> 32))
                .wrapping_add(seed(2 * index + 2).wrapping_mul(word & 0xffff_ffff));
            index += 1;
        }
        Place {
            bucket: (hash >> (64 - BUCKET_BITS)) as u32,
            tag: (hash >> (64 - BUCKET_BITS - Self::TAG_BITS)) as u32 & ((1 << Self::TAG_BITS) - 1),
        }
    }

    /// Whether these words are its own.
    #[inline(always)]
    pub(super) fn is(&self, words: &[Shared; Self::WORDS]) -> bool {
        let mut index = 0;
        while index < Self::WORDS {
            if words[index].load() != self.words[index] {
                return false;
            }
            index += 1;
        }
        true
    }
}

/// Types of ICMP (RFC 792) and ICMPv6 (RFC 4443 §4).
const ECHO_REQUEST: [u8; 2] = [8, 128];
const ECHO_REPLY: [u8; 2] = [0, 129];

#[inline(always)]
const fn is_echo(packet: &Packet, [icmp, icmpv6]: [u8; 2]) -> bool {
    let kind = packet.transport.icmp_kind;
    match packet.protocol {
        protocol::ICMP => kind == icmp,
        protocol::ICMPV6 => kind == icmpv6,
        _ => false,
    }
}
