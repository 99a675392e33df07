//! What the classifier knows of a packet: five words of 64 bits, in the order in which decision
//! diagrams look at them, most significant bit first. Knows neither diagrams nor bytes.
//!
//! | word | |
//! |---|---|
//! | 0, 1 | source address (IPv4 in the IPv4-mapped block) |
//! | 2, 3 | destination address |
//! | 4 | see [`meta`] |

use core::sync::atomic::{Ordering, compiler_fence};

use crate::abi::image::Edge;
use crate::packet::{Packet, TransportKind};

/// Words of a key: a power of two, so that a masked index lies inside. The last two hold the
/// family and the end of a walk, the one before them is unused.
pub const WORDS: usize = 8;
/// Words in use.
pub const WORDS_USED: usize = 5;

/// First word of the source address.
pub const SOURCE: usize = 0;
/// First word of the destination address.
pub const DESTINATION: usize = 2;
/// The word of everything but addresses.
pub const META: usize = 4;

/// Where fields lie in the word [`META`]: how many bits up, and how many there are. What a packet
/// does not have is 0.
pub mod meta {
    /// A field of the word.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Field {
        /// Bits below it.
        pub shift: u32,
        /// Its own bits.
        pub bits: u32,
    }

    /// Logical interface of arrival.
    pub const INTERFACE: Field = Field { shift: 56, bits: 8 };
    /// 1 where the transport header was read: a later fragment has none, and ports, types and
    /// flags of a packet without one match no rule that names them.
    pub const HAS_TRANSPORT: Field = Field { shift: 52, bits: 1 };
    /// Protocol number.
    pub const PROTOCOL: Field = Field { shift: 44, bits: 8 };
    /// Destination port; ICMP type and code.
    pub const PORT: Field = Field { shift: 28, bits: 16 };
    /// Source port.
    pub const FROM_PORT: Field = Field { shift: 12, bits: 16 };
    /// TCP flags, octet 13 of the header.
    pub const TCP_FLAGS: Field = Field { shift: 4, bits: 8 };
}

/// A packet for the classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The words.
    pub words: [u64; WORDS],
}

/// Where the end of a walk is put down.
const END: usize = WORDS - 1;
/// Where the family is put down.
const IS_IPV4: usize = WORDS - 2;

impl Key {
    /// Before the first packet.
    pub const EMPTY: Self = Self { words: [0; WORDS] };

    /// Puts the end of a walk down and reads it back, so that all walks become one for the verifier, as
    /// in [`crate::packet::reader::PacketReader::forget`].
    #[inline(always)]
    pub(crate) fn forget(&mut self, end: Edge) -> Edge {
        self.words[END] = u64::from(end.to_word());
        compiler_fence(Ordering::SeqCst);
        #[expect(clippy::cast_possible_truncation, reason = "as it was put down")]
        Edge::from_word(self.words[END] as u32)
    }

    /// Takes up a packet that arrived on a logical interface.
    #[inline(always)]
    pub fn set(&mut self, packet: &Packet, interface: u32) {
        let transport = &packet.transport;
        let has_transport = transport.kind != TransportKind::Opaque;
        let port = match transport.kind {
            TransportKind::Icmp => u16::from_be_bytes([transport.icmp_kind, transport.icmp_code]),
            _ => transport.destination_port,
        };
        self.words[0] = packet.source.high;
        self.words[1] = packet.source.low;
        self.words[2] = packet.destination.high;
        self.words[3] = packet.destination.low;
        self.words[META] = u64::from(interface) << meta::INTERFACE.shift
            | u64::from(has_transport) << meta::HAS_TRANSPORT.shift
            | u64::from(packet.protocol) << meta::PROTOCOL.shift
            | u64::from(port) << meta::PORT.shift
            | u64::from(transport.source_port) << meta::FROM_PORT.shift
            | u64::from(transport.tcp_flags) << meta::TCP_FLAGS.shift;
        self.words[IS_IPV4] = u64::from(packet.is_ipv4());
        compiler_fence(Ordering::SeqCst);
    }

    /// Whether the packet is IPv4; read back, as in [`Key::forget`].
    #[inline(always)]
    pub(crate) const fn is_ipv4(&self) -> bool {
        self.words[IS_IPV4] != 0
    }
}
