//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers, the chain of extension headers, fragments.

use super::reader::PacketReader;
use super::{Address, Datagram, read_u16};
use crate::verdict::Reason;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

/// What the network layer says, up to where the transport header starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) family: Family,
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
    /// From the start of the frame.
    pub(super) transport_offset: usize,
    /// From the start of the frame; what lies behind is padding of the link.
    pub(super) end_offset: usize,
    /// Where this fragment's data belongs in its datagram; 0 for a first or only fragment.
    pub(super) fragment_offset_bytes: u16,
    pub(super) more_fragments: bool,
}

impl Header {
    /// Before the first packet.
    pub(super) const NONE: Self = Self {
        family: Family::Ipv4,
        source: Address::UNSPECIFIED,
        destination: Address::UNSPECIFIED,
        protocol: 0,
        hop_limit: 0,
        transport_offset: 0,
        end_offset: 0,
        fragment_offset_bytes: 0,
        more_fragments: false,
    };
}

/// Protocol numbers (IANA) that carry another header behind them.
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const HIP: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

const IPV4_HEADER_BYTES: usize = 20;
const IPV6_HEADER_BYTES: usize = 40;
const EXTENSION_HEADERS_MAX: usize = 8;
/// No datagram is longer, however it is cut (RFC 791 §3.1; RFC 8200 §4.5).
const DATAGRAM_BYTES_MAX: usize = 65_535;
const TCP: u8 = 6;

#[inline(always)]
pub(super) fn parse_ipv4<R: PacketReader + ?Sized>(
    reader: &R,
    offset: usize,
    datagram: &mut Datagram,
) -> Result<Header, Reason> {
    let header = reader.read::<IPV4_HEADER_BYTES>(offset).ok_or(Reason::MalformedIpv4Header)?;
    let [
        version_ihl,
        _,
        length_high,
        length_low,
        id_high,
        id_low,
        fragment_high,
        fragment_low,
        ttl,
        protocol,
        ..,
    ] = header;
    let header_bytes = usize::from(version_ihl & 0x0f) * 4;
    if version_ihl >> 4 != 4 || header_bytes < IPV4_HEADER_BYTES {
        return Err(Reason::MalformedIpv4Header);
    }
    let total_bytes = usize::from(u16::from_be_bytes([length_high, length_low]));
    if total_bytes < header_bytes || offset + total_bytes > reader.length_bytes() {
        return Err(Reason::MalformedIpLength);
    }
    // Flags (3 bits: reserved, DF, MF) and offset in units of 8 octets (13 bits).
    let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
    *datagram = Datagram { identification: u32::from(u16::from_be_bytes([id_high, id_low])), protocol };
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = header;
    Ok(Header {
        family: Family::Ipv4,
        source: ipv4_address([s0, s1, s2, s3]),
        destination: ipv4_address([d0, d1, d2, d3]),
        protocol,
        hop_limit: ttl,
        transport_offset: offset + header_bytes,
        end_offset: offset + total_bytes,
        fragment_offset_bytes: (fragment & 0x1fff) << 3,
        more_fragments: fragment & 0x2000 != 0,
    })
}

#[inline(always)]
pub(super) fn parse_ipv6<R: PacketReader + ?Sized>(reader: &R, offset: usize) -> Result<Header, Reason> {
    let fixed = reader.read::<8>(offset).ok_or(Reason::MalformedIpv6Header)?;
    let addresses = reader.read::<32>(offset + 8).ok_or(Reason::MalformedIpv6Header)?;
    let [version_class, _, _, _, length_high, length_low, next_header, hop_limit] = fixed;
    if version_class >> 4 != 6 {
        return Err(Reason::MalformedIpv6Header);
    }
    let payload_bytes = usize::from(u16::from_be_bytes([length_high, length_low]));
    let end_offset = offset + IPV6_HEADER_BYTES + payload_bytes;
    if end_offset > reader.length_bytes() {
        return Err(Reason::MalformedIpLength);
    }
    let source = ipv6_address(&addresses, 0);
    let destination = ipv6_address(&addresses, 16);
    if source.is_ipv4_mapped() || destination.is_ipv4_mapped() {
        return Err(Reason::MalformedMappedAddress);
    }
    Ok(Header {
        family: Family::Ipv6,
        source,
        destination,
        protocol: next_header,
        hop_limit,
        transport_offset: offset + IPV6_HEADER_BYTES,
        end_offset,
        fragment_offset_bytes: 0,
        more_fragments: false,
    })
}

/// Goes on to where the transport header starts, or finds that this is a later fragment.
#[inline(always)]
pub(super) fn finish<R: PacketReader + ?Sized>(
    reader: &R,
    header: &mut Header,
    datagram: &mut Datagram,
) -> Result<(), Reason> {
    if header.fragment_offset_bytes == 0 && is_extension(header.family, header.protocol) {
        skip_extensions(reader, header, datagram)?;
    }
    if header.fragment_offset_bytes == 0 { Ok(()) } else { check_later_fragment(header) }
}

/// Moves past extension headers until something that is none, or a later fragment.
#[inline(always)]
fn skip_extensions<R: PacketReader + ?Sized>(
    reader: &R,
    header: &mut Header,
    datagram: &mut Datagram,
) -> Result<(), Reason> {
    for _ in 0..EXTENSION_HEADERS_MAX {
        if !is_extension(header.family, header.protocol) {
            return Ok(());
        }
        if header.transport_offset + 8 > header.end_offset {
            return Err(cut_off(header));
        }
        // One word that is shifted: octets of an array the compiler takes apart on the stack, in
        // loads that the verifier finds misaligned.
        let first = reader.read::<8>(header.transport_offset).map(u64::from_be_bytes);
        let Extension { next_header, length, fragment, identification } =
            Extension::from_word(first.ok_or_else(|| cut_off(header))?);
        let header_bytes = match header.protocol {
            // RFC 8200 §4.5; the octet after the next header is reserved, not a length.
            extension::FRAGMENT => 8,
            // RFC 4302 §2.2: in units of 4 octets, minus 2.
            extension::AUTHENTICATION => (usize::from(length) + 2) * 4,
            // RFC 8200 §4.3: in units of 8 octets, not counting the first 8.
            _ => (usize::from(length) + 1) * 8,
        };
        if header.protocol == extension::FRAGMENT {
            // Offset in units of 8 octets (13 bits), reserved (2 bits), M.
            header.fragment_offset_bytes = fragment & 0xfff8;
            // A second Fragment header is part of the first one's datagram, and changes nothing
            // about it; RFC 6946: one that says "whole" makes no fragment.
            if !header.more_fragments {
                header.more_fragments = fragment & 1 != 0;
                *datagram = Datagram { identification, protocol: next_header };
            }
        }
        header.transport_offset += header_bytes;
        if header.transport_offset > header.end_offset {
            return Err(cut_off(header));
        }
        header.protocol = next_header;
        reader.forget();
        if header.fragment_offset_bytes != 0 {
            return Ok(());
        }
    }
    if is_extension(header.family, header.protocol) { Err(Reason::MalformedExtensionHeader) } else { Ok(()) }
}

/// The first 8 octets of an extension header; none is shorter. What is only in some means nothing
/// in the others.
struct Extension {
    next_header: u8,
    /// In all but the Fragment header.
    length: u8,
    /// In the Fragment header: offset in units of 8 octets (13 bits), reserved (2 bits), M.
    fragment: u16,
    /// In the Fragment header.
    identification: u32,
}

impl Extension {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the fields of the word, the first one highest")]
    const fn from_word(word: u64) -> Self {
        Self {
            next_header: (word >> 56) as u8,
            length: (word >> 48) as u8,
            fragment: (word >> 32) as u16,
            identification: word as u32,
        }
    }
}

/// A chain that ends inside the first fragment of a longer datagram is that fragment's fault (RFC 7112).
#[inline(always)]
fn cut_off(header: &Header) -> Reason {
    if header.more_fragments { Reason::MalformedFragment } else { Reason::MalformedExtensionHeader }
}

/// AH is skipped in both families; the rest exists in IPv6 only.
#[inline(always)]
fn is_extension(family: Family, protocol: u8) -> bool {
    match protocol {
        extension::AUTHENTICATION => true,
        extension::HOP_BY_HOP
        | extension::ROUTING
        | extension::FRAGMENT
        | extension::DESTINATION
        | extension::MOBILITY
        | extension::HIP
        | extension::SHIM6 => family == Family::Ipv6,
        _ => false,
    }
}

#[inline(always)]
fn check_later_fragment(header: &Header) -> Result<(), Reason> {
    let offset_bytes = usize::from(header.fragment_offset_bytes);
    let data_bytes = header.end_offset - header.transport_offset;
    // A TCP fragment at octet 8 would overwrite the flags that its first fragment was judged by (RFC 1858).
    if offset_bytes + data_bytes > DATAGRAM_BYTES_MAX || (header.protocol == TCP && offset_bytes == 8) {
        return Err(Reason::MalformedFragment);
    }
    Ok(())
}

impl Address {
    const MAPPED: u64 = 0xffff;

    /// `::`
    pub const UNSPECIFIED: Self = Self { high: 0, low: 0 };

    /// Whether it is an IPv4 address in its place in the IPv6 space.
    #[inline(always)]
    pub const fn is_ipv4_mapped(self) -> bool {
        self.high == 0 && self.low >> 32 == Self::MAPPED
    }

    /// Whether an address is a host's own, as far as that can be told from it: nothing is answered to
    /// any other, and no other answers (RFC 1122 §3.2.2, RFC 4443 §2.4(e)).
    #[inline(always)]
    pub const fn is_one_host(self) -> bool {
        if self.is_ipv4_mapped() {
            // 0/8 this network, 127/8 loopback, 224/4 multicast, 240/4 reserved with broadcast.
            !matches!((self.low >> 24) & 0xff, 0 | 127 | 224..)
        } else {
            // ff00::/8 multicast, :: and ::1.
            self.high >> 56 != 0xff && !(self.high == 0 && self.low <= 1)
        }
    }
}

#[inline(always)]
pub(super) fn ipv4_address(octets: [u8; 4]) -> Address {
    Address { high: 0, low: Address::MAPPED << 32 | u64::from(u32::from_be_bytes(octets)) }
}

/// The address that starts at octet `at` of `octets`.
#[inline(always)]
pub(super) fn ipv6_address<const N: usize>(octets: &[u8; N], at: usize) -> Address {
    Address { high: word(octets, at), low: word(octets, at + 8) }
}

#[inline(always)]
fn word<const N: usize>(octets: &[u8; N], at: usize) -> u64 {
    match octets.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => 0,
    }
}

/// The source address of the packet that an ICMP error quotes, if that much of it is there.
#[inline(always)]
pub(super) fn quoted_source<R: PacketReader + ?Sized>(
    reader: &R,
    header: &Header,
    offset: usize,
) -> Option<Address> {
    let quoted_bytes = match header.family {
        Family::Ipv4 => IPV4_HEADER_BYTES,
        Family::Ipv6 => IPV6_HEADER_BYTES,
    };
    if offset + quoted_bytes > header.end_offset {
        return None;
    }
    let version = read_u16(reader, offset)? >> 12;
    match header.family {
        Family::Ipv4 if version == 4 => Some(ipv4_address(reader.read::<4>(offset + 12)?)),
        Family::Ipv6 if version == 6 => Some(ipv6_address(&reader.read::<16>(offset + 8)?, 0)),
        _ => None,
    }
}
