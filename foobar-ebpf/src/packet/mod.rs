//! From the bytes of a frame to the fields that rules can ask for. Knows no rule and no
//! map; reads through [`reader::PacketReader`] only, so that kernel and host run the same
//! code.
//!
//! The result has three outcomes: a packet, a frame that is not ours to judge, or a frame
//! that contradicts itself. The last two are told apart because the first of them must
//! pass (ARP) and the second must not.

mod ip;
pub mod reader;
mod transport;

use crate::verdict::Reason;
use ip::Family;
use reader::PacketReader;

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// IPv4 or IPv6, whole enough to be judged.
    Packet(Packet),
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
    /// What is known beyond the protocol's number.
    pub transport: Transport,
    /// A fragment that is not the first of its datagram: it has no transport header.
    pub later_fragment: bool,
}

/// The fields of the transport header that rules can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Nothing: another protocol, or a later fragment.
    Opaque,
    /// UDP, UDP-Lite, SCTP or DCCP.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// TCP.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Octet 13 of the header: CWR ECE URG ACK PSH RST SYN FIN.
        flags: u8,
        /// Offset of the payload from the start of the frame, in bytes.
        payload_offset: u16,
        /// Length of the payload by the IP header, in bytes.
        payload_bytes: u16,
    },
    /// ICMP in IPv4 or ICMPv6 in IPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// An error about a packet whose source is this packet's destination.
        quotes_destination: bool,
    },
}

/// Octet counts and `EtherType`s of the link layer (IEEE 802.3, 802.1Q, 802.1ad).
mod ethernet {
    pub(super) const HEADER_BYTES: usize = 14;
    pub(super) const ETHERTYPE_OFFSET: usize = 12;
    pub(super) const TAG_BYTES: usize = 4;
    pub(super) const TAGS_MAX: usize = 2;
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;

    pub(super) const fn is_tag(ethertype: u16) -> bool {
        matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
    }
}

/// Reads an Ethernet frame.
#[inline(always)]
pub fn parse<R: PacketReader + ?Sized>(reader: &R) -> Parsed {
    match parse_frame(reader) {
        Ok(Some(packet)) => Parsed::Packet(packet),
        Ok(None) => Parsed::Foreign,
        Err(reason) => Parsed::Malformed(reason),
    }
}

/// `Ok(None)` is a foreign frame.
#[inline(always)]
fn parse_frame<R: PacketReader + ?Sized>(reader: &R) -> Result<Option<Packet>, Reason> {
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
    let family = match ethertype {
        ethernet::IPV4 => Family::Ipv4,
        ethernet::IPV6 => Family::Ipv6,
        tag if ethernet::is_tag(tag) => return Err(Reason::MalformedVlan),
        _ => return Ok(None),
    };
    let header = match family {
        Family::Ipv4 => ip::parse_ipv4(reader, offset)?,
        Family::Ipv6 => ip::parse_ipv6(reader, offset)?,
    };
    let transport = transport::parse(reader, &header)?;
    Ok(Some(Packet {
        source: header.source,
        destination: header.destination,
        protocol: header.protocol,
        hop_limit: header.hop_limit,
        transport,
        later_fragment: header.fragment_offset_bytes != 0,
    }))
}

#[inline(always)]
fn read_u16<R: PacketReader + ?Sized>(reader: &R, offset: usize) -> Option<u16> {
    reader.read::<2>(offset).map(u16::from_be_bytes)
}
