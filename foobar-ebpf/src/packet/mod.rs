//! From the bytes of a frame to the fields that rules can ask for. Knows no rule and no
//! map; reads through [`reader::PacketReader`] only, so that kernel and host run the same
//! code.
//!
//! The result has three outcomes: a packet, a frame that is not ours to judge, or a frame
//! that contradicts itself. The last two are told apart because the first of them must
//! pass (ARP) and the second must not.

mod ip;
mod quote;
pub mod reader;
mod transport;

use crate::verdict::Reason;
pub use quote::Quote;
use reader::PacketReader;

/// What a frame turned out to be.
///
/// Flat and whole on every path, like all that the parser hands on: the unused part of an enum
/// is undefined, and the verifier refuses a program that copies what was never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Which of the three outcomes.
    pub status: Status,
    /// The packet. Unless there is one, what the memory held that it was parsed into.
    pub packet: Packet,
    /// What a fragment is a part of; of no meaning where the packet is none.
    pub datagram: Datagram,
    /// What an ICMP error quotes; of no meaning unless [`Transport::quotes_destination`].
    pub quote: Quote,
}

/// What all fragments of a datagram say alike, beside their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The sender's number of the datagram, 16 bits in IPv4, 32 in IPv6.
    pub identification: u32,
    /// IPv4's protocol, or the next header that the Fragment header names.
    pub protocol: u8,
}

impl Datagram {
    /// In the place of a datagram where the packet is no part of one.
    pub const NONE: Self = Self { identification: 0, protocol: 0 };
}

/// The three outcomes of parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// IPv4 or IPv6, whole enough to be judged.
    Packet,
    /// Not IP: ARP, LLDP, LLC and the like.
    Foreign,
    /// Contradicts itself or ends too early; the reason names where.
    Malformed(Reason),
}

/// An address of either family: 128 bits, most significant word first, in host byte order.
/// IPv4 is held in the IPv4-mapped block `::ffff:0:0/96`, which no IPv6 packet may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Bits 127–64.
    pub high: u64,
    /// Bits 63–0.
    pub low: u64,
}

/// What rules can ask of an IP packet. Numbers are in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Protocol after all extension headers that could be skipped.
    pub protocol: u8,
    /// IPv4's TTL or IPv6's hop limit.
    pub hop_limit: u8,
    /// A fragment that is not the first of its datagram: it has no transport header.
    pub later_fragment: bool,
    /// A fragment that is the first of several: the others take its verdict.
    pub first_fragment: bool,
    /// What is known beyond the protocol's number.
    pub transport: Transport,
}

/// The fields of the transport header that rules can ask for. What the kind does not have is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Which fields there are.
    pub kind: TransportKind,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Octet 13 of a TCP header: CWR ECE URG ACK PSH RST SYN FIN.
    pub tcp_flags: u8,
    /// ICMP type.
    pub icmp_kind: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// Identifier, where the type is an echo's.
    pub icmp_identifier: u16,
    /// An ICMP error about a packet whose source is this packet's destination.
    pub quotes_destination: bool,
    /// Offset of a TCP payload from the start of the frame, in bytes.
    pub payload_offset: u16,
    /// Length of a TCP payload by the IP header, in bytes.
    pub payload_bytes: u16,
}

/// Which fields of [`Transport`] there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// None: another protocol, or a later fragment.
    Opaque,
    /// Ports: UDP, UDP-Lite, SCTP, DCCP.
    Ports,
    /// Ports, flags and payload: TCP.
    Tcp,
    /// Type and code: ICMP in IPv4, ICMPv6 in IPv6.
    Icmp,
}

impl Transport {
    /// Nothing is known.
    pub const OPAQUE: Self = Self {
        kind: TransportKind::Opaque,
        source_port: 0,
        destination_port: 0,
        tcp_flags: 0,
        icmp_kind: 0,
        icmp_code: 0,
        icmp_identifier: 0,
        quotes_destination: false,
        payload_offset: 0,
        payload_bytes: 0,
    };
}

impl Packet {
    /// In the place of a packet where there is none.
    pub const NONE: Self = Self {
        source: Address::UNSPECIFIED,
        destination: Address::UNSPECIFIED,
        protocol: 0,
        hop_limit: 0,
        later_fragment: false,
        first_fragment: false,
        transport: Transport::OPAQUE,
    };

    /// Whether the packet is IPv4.
    #[inline(always)]
    pub const fn is_ipv4(&self) -> bool {
        // The mapped block holds IPv4 only: an IPv6 packet with such an address is malformed.
        self.source.is_ipv4_mapped()
    }
}

/// Octet counts and `EtherType`s of the link layer (IEEE 802.3, 802.1Q, 802.1ad).
pub(crate) mod ethernet {
    pub(crate) const HEADER_BYTES: usize = 14;
    pub(super) const ETHERTYPE_OFFSET: usize = 12;
    pub(crate) const TAG_BYTES: usize = 4;
    pub(super) const TAGS_MAX: usize = 2;
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;

    pub(crate) const fn is_tag(ethertype: u16) -> bool {
        matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
    }
}

/// Where the parser puts down what it has read. In the kernel it lies in a map, see
/// [`PacketReader::forget`].
#[derive(Clone, Copy, Debug)]
pub struct Scratch {
    header: ip::Header,
    parsed: Parsed,
}

impl Scratch {
    /// Before the first packet.
    pub const EMPTY: Self = Self {
        header: ip::Header::NONE,
        parsed: Parsed {
            status: Status::Foreign,
            packet: Packet::NONE,
            datagram: Datagram::NONE,
            quote: Quote::NONE,
        },
    };

    /// The frame that was parsed last.
    #[inline(always)]
    pub const fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// Where its transport header begins, or what cannot be skipped, from the start of the frame.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "an IP length and a few headers")]
    pub const fn transport_offset(&self) -> u32 {
        self.header.transport_offset as u32
    }

    /// Where its IP packet ends, from the start of the frame.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "an IP length and a few headers")]
    pub const fn end_offset(&self) -> u32 {
        self.header.end_offset as u32
    }
}

/// Reads an Ethernet frame.
///
/// Fields go straight to where they stay, each on its own path: of a value that is put together on
/// several paths and stored behind them, every field would take a place on the kernel's small stack.
#[inline(always)]
pub fn parse<'s, R: PacketReader + ?Sized>(reader: &R, scratch: &'s mut Scratch) -> &'s Parsed {
    scratch.parsed.status = match parse_frame(reader, scratch) {
        Ok(status) => status,
        Err(reason) => Status::Malformed(reason),
    };
    reader.forget();
    &scratch.parsed
}

#[inline(always)]
fn parse_frame<R: PacketReader + ?Sized>(reader: &R, scratch: &mut Scratch) -> Result<Status, Reason> {
    let Scratch { header, parsed: Parsed { packet, datagram, quote, .. } } = scratch;
    *datagram = Datagram::NONE;
    if reader.length_bytes() < ethernet::HEADER_BYTES {
        return Err(Reason::MalformedEthernet);
    }
    let mut offset = ethernet::HEADER_BYTES;
    let mut ethertype = read_u16(reader, ethernet::ETHERTYPE_OFFSET).ok_or(Reason::MalformedEthernet)?;
    for _ in 0..ethernet::TAGS_MAX {
        if !ethernet::is_tag(ethertype) {
            break;
        }
        ethertype = read_u16(reader, offset + 2).ok_or(Reason::MalformedEthernet)?;
        offset += ethernet::TAG_BYTES;
    }
    *header = match ethertype {
        ethernet::IPV4 => ip::parse_ipv4(reader, offset, datagram)?,
        ethernet::IPV6 => ip::parse_ipv6(reader, offset)?,
        tag if ethernet::is_tag(tag) => return Err(Reason::MalformedVlan),
        _ => return Ok(Status::Foreign),
    };
    reader.forget();
    ip::finish(reader, header, datagram)?;
    transport::parse(reader, header, &mut packet.transport, quote)?;
    packet.source = header.source;
    packet.destination = header.destination;
    packet.protocol = header.protocol;
    packet.hop_limit = header.hop_limit;
    packet.later_fragment = header.fragment_offset_bytes != 0;
    packet.first_fragment = header.fragment_offset_bytes == 0 && header.more_fragments;
    Ok(Status::Packet)
}

#[inline(always)]
fn read_u16<R: PacketReader + ?Sized>(reader: &R, offset: usize) -> Option<u16> {
    reader.read::<2>(offset).map(u16::from_be_bytes)
}
