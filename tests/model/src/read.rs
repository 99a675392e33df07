//! A frame, read as "Reading a frame" of `docs/rules.md` says, with slices and plain numbers. Knows no
//! rules.

use std::net::IpAddr;

use foobar_ebpf::verdict::Reason;

/// Why a frame is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    Foreign,
    Malformed(Reason),
}

/// What rules can ask of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hop_limit: u8,
    pub(crate) protocol: u8,
    pub(crate) part: Part,
    pub(crate) transport: Transport,
    /// The extension headers that were skipped, in order.
    headers: Vec<u8>,
}

/// Which part of a datagram a packet is. A first and a later fragment of the same datagram have the
/// same identification and protocol here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    First { identification: u32, protocol: u8 },
    Later { identification: u32, protocol: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Nothing that a rule could ask for.
    Other,
    Ports {
        from: u16,
        to: u16,
        tcp_flags: Option<u8>,
    },
    /// ICMP in IPv4, ICMPv6 in IPv6; what follows the first 8 octets.
    Icmp {
        kind: u8,
        code: u8,
        rest: Vec<u8>,
    },
}

/// How a packet is built, for those who must tell kinds of packets apart without judging them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// IPv4, not IPv6.
    pub is_ipv4: bool,
    /// Ethertypes of VLAN tags, outermost first.
    pub tags: Vec<u16>,
    /// Numbers of extension headers, outermost first.
    pub headers: Vec<u8>,
    /// The protocol that ends the chain; of a later fragment, what its Fragment header names.
    pub protocol: u8,
    /// Whether it is a later fragment.
    pub is_later: bool,
}

impl Outline {
    /// Of a frame; nothing of what is foreign or malformed.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let packet = read(frame).ok()?;
        let tags = (0..2).map(|number| word(frame, 12 + number * 4)).take_while(|tag| TAGS.contains(tag));
        Some(Self {
            is_ipv4: packet.source.is_ipv4(),
            tags: tags.collect(),
            protocol: packet.protocol,
            is_later: matches!(packet.part, Part::Later { .. }),
            headers: packet.headers,
        })
    }
}

/// Ethertypes of VLAN tags.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

type Read<T> = Result<T, Unread>;

fn malformed<T>(reason: Reason) -> Read<T> {
    Err(Unread::Malformed(reason))
}

/// Two octets as a number; both must be there.
fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Reads a frame.
pub(crate) fn read(frame: &[u8]) -> Read<Packet> {
    if frame.len() < 14 {
        return malformed(Reason::MalformedEthernet);
    }
    let mut at = 12;
    let mut tags = 0;
    while TAGS.contains(&word(frame, at)) {
        tags += 1;
        if tags == 3 {
            return malformed(Reason::MalformedVlan);
        }
        at += 4;
        if frame.len() < at + 2 {
            return malformed(Reason::MalformedEthernet);
        }
    }
    let payload = &frame[at + 2..];
    match word(frame, at) {
        0x0800 => ipv4(payload),
        0x86dd => ipv6(payload),
        _ => Err(Unread::Foreign),
    }
}

fn ipv4(bytes: &[u8]) -> Read<Packet> {
    if bytes.len() < 20 || bytes[0] >> 4 != 4 || bytes[0] & 15 < 5 {
        return malformed(Reason::MalformedIpv4Header);
    }
    let header = usize::from(bytes[0] & 15) * 4;
    let total = usize::from(word(bytes, 2));
    if total < header || total > bytes.len() {
        return malformed(Reason::MalformedIpLength);
    }
    let rest = &bytes[header..total];
    let (identification, protocol) = (u32::from(word(bytes, 4)), bytes[9]);
    let offset = usize::from(word(bytes, 6) & 0x1fff) * 8;
    let more = word(bytes, 6) & 0x2000 != 0;
    let part = part(offset, more, identification, protocol, rest.len())?;
    let address = |at: usize| IpAddr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let mut headers = Vec::new();
    let (protocol, part, rest) = match part {
        Part::Later { .. } => (protocol, part, rest),
        _ => extension_headers(false, protocol, part, rest, &mut headers)?,
    };
    let transport = transport(false, protocol, part, rest)?;
    Ok(Packet {
        source: address(12),
        destination: address(16),
        hop_limit: bytes[8],
        protocol,
        part,
        transport,
        headers,
    })
}

fn ipv6(bytes: &[u8]) -> Read<Packet> {
    if bytes.len() < 40 || bytes[0] >> 4 != 6 {
        return malformed(Reason::MalformedIpv6Header);
    }
    let end = 40 + usize::from(word(bytes, 4));
    if end > bytes.len() {
        return malformed(Reason::MalformedIpLength);
    }
    let address = |at: usize| <[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap_or_default();
    let is_mapped = |address: [u8; 16]| address[..10] == [0; 10] && address[10..12] == [0xff, 0xff];
    if is_mapped(address(8)) || is_mapped(address(24)) {
        return malformed(Reason::MalformedMappedAddress);
    }
    let mut headers = Vec::new();
    let (protocol, part, rest) =
        extension_headers(true, bytes[6], Part::Whole, &bytes[40..end], &mut headers)?;
    let transport = transport(true, protocol, part, rest)?;
    Ok(Packet {
        source: address(8).into(),
        destination: address(24).into(),
        hop_limit: bytes[7],
        protocol,
        part,
        transport,
        headers,
    })
}

/// The part that a fragment is, from its offset in octets and what it carries.
fn part(offset: usize, more: bool, identification: u32, protocol: u8, octets: usize) -> Read<Part> {
    if offset == 0 {
        return Ok(if more { Part::First { identification, protocol } } else { Part::Whole });
    }
    if offset + octets > 65_535 || (protocol == 6 && offset == 8) {
        return malformed(Reason::MalformedFragment);
    }
    Ok(Part::Later { identification, protocol })
}

/// Skips the chain and lists it: what the last header names, the part that the packet is by then, and
/// what follows.
fn extension_headers<'a>(
    is_ipv6: bool,
    number: u8,
    part: Part,
    bytes: &'a [u8],
    headers: &mut Vec<u8>,
) -> Read<(u8, Part, &'a [u8])> {
    let (mut number, mut part, mut rest) = (number, part, bytes);
    loop {
        let in_units_of_8 = is_ipv6 && [0, 43, 60, 135, 139, 140].contains(&number);
        let is_fragment = is_ipv6 && number == 44;
        if !in_units_of_8 && !is_fragment && number != 51 {
            return Ok((number, part, rest));
        }
        headers.push(number);
        if headers.len() > 8 {
            return malformed(Reason::MalformedExtensionHeader);
        }
        let cut_off = match part {
            Part::Whole => Reason::MalformedExtensionHeader,
            _ => Reason::MalformedFragment,
        };
        if rest.len() < 8 {
            return malformed(cut_off);
        }
        let octets = match () {
            () if is_fragment => 8,
            () if in_units_of_8 => (usize::from(rest[1]) + 1) * 8,
            () => (usize::from(rest[1]) + 2) * 4,
        };
        if rest.len() < octets {
            return malformed(cut_off);
        }
        let header = &rest[..octets];
        (number, rest) = (header[0], &rest[octets..]);
        if is_fragment {
            let identification = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let offset = usize::from(word(header, 2) & !7);
            let now = self::part(offset, header[3] & 1 == 1, identification, number, rest.len())?;
            // The first that is not atomic says of which datagram this is a part.
            part = match (part, now) {
                (Part::First { identification, protocol }, Part::Later { .. }) => {
                    Part::Later { identification, protocol }
                }
                (Part::First { .. }, _) => part,
                _ => now,
            };
            if matches!(part, Part::Later { .. }) {
                return Ok((number, part, rest));
            }
        }
    }
}

fn transport(is_ipv6: bool, protocol: u8, part: Part, bytes: &[u8]) -> Read<Transport> {
    if matches!(part, Part::Later { .. }) {
        return Ok(Transport::Other);
    }
    let icmp = if is_ipv6 { 58 } else { 1 };
    let (least, reason) = match protocol {
        6 => (20, Reason::MalformedTcp),
        17 | 136 => (8, Reason::MalformedUdp),
        33 => (12, Reason::MalformedDccp),
        132 => (12, Reason::MalformedSctp),
        _ if protocol == icmp => (8, Reason::MalformedIcmp),
        _ => return Ok(Transport::Other),
    };
    let is_first = matches!(part, Part::First { .. });
    let too_short = if is_first { Reason::MalformedFragment } else { reason };
    if bytes.len() < least {
        return malformed(too_short);
    }
    if protocol == icmp {
        return Ok(Transport::Icmp { kind: bytes[0], code: bytes[1], rest: bytes[8..].to_vec() });
    }
    if protocol == 6 {
        let header = usize::from(bytes[12] >> 4) * 4;
        if header < 20 {
            return malformed(reason);
        }
        if header > bytes.len() {
            return malformed(too_short);
        }
    }
    if protocol == 17 {
        let length = usize::from(word(bytes, 4));
        if length < 8 || (length > bytes.len() && !is_first) {
            return malformed(reason);
        }
    }
    let tcp_flags = (protocol == 6).then(|| bytes[13]);
    Ok(Transport::Ports { from: word(bytes, 0), to: word(bytes, 2), tcp_flags })
}
