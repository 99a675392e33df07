//! TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), DCCP (RFC 4340), ICMP (RFC 792, 4443):
//! the fields that rules can ask for, and the checks that make them trustworthy.

use super::ip::{self, Family, Header};
use super::reader::PacketReader;
use super::{Quote, Transport, TransportKind, quote};
use crate::verdict::Reason;

/// Protocol numbers (IANA).
mod protocol {
    pub(super) const ICMP: u8 = 1;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const DCCP: u8 = 33;
    pub(super) const ICMPV6: u8 = 58;
    pub(super) const SCTP: u8 = 132;
    pub(super) const UDP_LITE: u8 = 136;
}

const TCP_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
const ICMP_HEADER_BYTES: usize = 8;
const SCTP_HEADER_BYTES: usize = 12;
const DCCP_HEADER_BYTES: usize = 12;

#[inline(always)]
pub(super) fn parse<R: PacketReader + ?Sized>(
    reader: &R,
    header: &Header,
    transport: &mut Transport,
    quote: &mut Quote,
) -> Result<(), Reason> {
    *transport = Transport::OPAQUE;
    if header.fragment_offset_bytes != 0 {
        return Ok(());
    }
    match (header.protocol, header.family) {
        (protocol::TCP, _) => parse_tcp(reader, header, transport),
        (protocol::UDP, _) => parse_udp(reader, header, transport),
        (protocol::UDP_LITE, _) => ports(reader, header, UDP_HEADER_BYTES, Reason::MalformedUdp, transport),
        (protocol::SCTP, _) => ports(reader, header, SCTP_HEADER_BYTES, Reason::MalformedSctp, transport),
        (protocol::DCCP, _) => ports(reader, header, DCCP_HEADER_BYTES, Reason::MalformedDccp, transport),
        (protocol::ICMP, Family::Ipv4) | (protocol::ICMPV6, Family::Ipv6) => {
            parse_icmp(reader, header, transport, quote)
        }
        _ => Ok(()),
    }
}

/// The first 8 octets of the transport header, if the packet holds `header_bytes` of it.
#[inline(always)]
fn start<R: PacketReader + ?Sized>(
    reader: &R,
    header: &Header,
    header_bytes: usize,
    reason: Reason,
) -> Result<[u8; 8], Reason> {
    // A first fragment without its whole transport header hides it from every rule (RFC 1858, RFC 7112).
    let reason = if header.more_fragments { Reason::MalformedFragment } else { reason };
    if header.transport_offset + header_bytes > header.end_offset {
        return Err(reason);
    }
    reader.read::<8>(header.transport_offset).ok_or(reason)
}

/// Every transport with ports begins with the source port and the destination port.
#[inline(always)]
const fn set_ports(transport: &mut Transport, kind: TransportKind, [s0, s1, d0, d1, ..]: [u8; 8]) {
    transport.kind = kind;
    transport.source_port = u16::from_be_bytes([s0, s1]);
    transport.destination_port = u16::from_be_bytes([d0, d1]);
}

#[inline(always)]
fn ports<R: PacketReader + ?Sized>(
    reader: &R,
    header: &Header,
    header_bytes: usize,
    reason: Reason,
    transport: &mut Transport,
) -> Result<(), Reason> {
    let first = start(reader, header, header_bytes, reason)?;
    set_ports(transport, TransportKind::Ports, first);
    Ok(())
}

#[inline(always)]
fn parse_udp<R: PacketReader + ?Sized>(
    reader: &R,
    header: &Header,
    transport: &mut Transport,
) -> Result<(), Reason> {
    let first = start(reader, header, UDP_HEADER_BYTES, Reason::MalformedUdp)?;
    let [_, _, _, _, length_high, length_low, ..] = first;
    let length_bytes = usize::from(u16::from_be_bytes([length_high, length_low]));
    // The length of a fragmented datagram reaches beyond its first fragment.
    let beyond = header.transport_offset + length_bytes > header.end_offset && !header.more_fragments;
    if length_bytes < UDP_HEADER_BYTES || beyond {
        return Err(Reason::MalformedUdp);
    }
    set_ports(transport, TransportKind::Ports, first);
    Ok(())
}

#[inline(always)]
fn parse_tcp<R: PacketReader + ?Sized>(
    reader: &R,
    header: &Header,
    transport: &mut Transport,
) -> Result<(), Reason> {
    let first = start(reader, header, TCP_HEADER_BYTES, Reason::MalformedTcp)?;
    let [data_offset, flags] = reader.read::<2>(header.transport_offset + 12).ok_or(Reason::MalformedTcp)?;
    // The high 4 bits count 32-bit words.
    let header_bytes = usize::from(data_offset >> 4) * 4;
    let payload_offset = header.transport_offset + header_bytes;
    if header_bytes < TCP_HEADER_BYTES {
        return Err(Reason::MalformedTcp);
    }
    if payload_offset > header.end_offset {
        return Err(if header.more_fragments { Reason::MalformedFragment } else { Reason::MalformedTcp });
    }
    set_ports(transport, TransportKind::Tcp, first);
    transport.tcp_flags = flags;
    #[expect(clippy::cast_possible_truncation, reason = "a frame's headers and an IP length fit 16 bits")]
    {
        transport.payload_offset = payload_offset as u16;
        transport.payload_bytes = (header.end_offset - payload_offset) as u16;
    }
    Ok(())
}

#[inline(always)]
fn parse_icmp<R: PacketReader + ?Sized>(
    reader: &R,
    header: &Header,
    transport: &mut Transport,
    quote: &mut Quote,
) -> Result<(), Reason> {
    let [kind, code, _, _, identifier_high, identifier_low, ..] =
        start(reader, header, ICMP_HEADER_BYTES, Reason::MalformedIcmp)?;
    // Destination unreachable, time exceeded, parameter problem (RFC 792); for ICMPv6 also
    // packet too big, which has a number of its own (RFC 4443 §3).
    let is_error = match header.family {
        Family::Ipv4 => matches!(kind, 3 | 11 | 12),
        Family::Ipv6 => matches!(kind, 1..=4),
    };
    transport.kind = TransportKind::Icmp;
    transport.icmp_kind = kind;
    transport.icmp_code = code;
    transport.icmp_identifier = u16::from_be_bytes([identifier_high, identifier_low]);
    let quoted_offset = header.transport_offset + ICMP_HEADER_BYTES;
    transport.quotes_destination =
        is_error && ip::quoted_source(reader, header, quoted_offset) == Some(header.destination);
    if transport.quotes_destination {
        quote::read(reader, header, quoted_offset, quote);
    }
    Ok(())
}
