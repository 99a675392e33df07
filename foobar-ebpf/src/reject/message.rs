//! The words of an answer from its IP header on: IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293),
//! ICMP (RFC 792, RFC 1812) and ICMPv6 (RFC 4443). Words are given in network byte order.

use super::BODY_WORDS;
use crate::abi::answer::Outcome;
use crate::packet::{Address, Packet, Transport};

pub(super) const IPV4_WORDS: usize = 5;
pub(crate) const IPV4_BYTES: u32 = 20;
pub(crate) const IPV6_WORDS: usize = 10;
pub(crate) const IPV6_BYTES: u32 = 40;
pub(super) const ICMP_HEADER_WORDS: usize = 2;
pub(super) const ICMP_HEADER_BYTES: u32 = 8;
pub(crate) const TCP_HEADER_BYTES: u32 = 20;
/// Of a segment that is answered: ports, sequence and acknowledgement number.
pub(super) const SEGMENT_WORDS: usize = 3;
pub(super) const SEGMENT_BYTES: u32 = 12;

/// TTL and hop limit of every answer, as of most packets of a Linux host.
const HOP_LIMIT: u32 = 64;
/// The flag "don't fragment", beside an identification of 0 (RFC 6864 §4.1).
const DONT_FRAGMENT: u32 = 0x4000;

/// Protocol numbers (IANA).
pub(crate) mod number {
    pub(crate) const ICMP: u32 = 1;
    pub(crate) const TCP: u32 = 6;
    pub(crate) const ICMPV6: u32 = 58;
}

/// Octet 13 of a TCP header.
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 1 << 1;
    pub(crate) const RST: u8 = 1 << 2;
    pub(crate) const ACK: u8 = 1 << 4;
    pub(crate) const ECE: u8 = 1 << 6;
    pub(crate) const CWR: u8 = 1 << 7;
}

/// The protocol number of an answer.
#[inline(always)]
pub(super) const fn protocol(answer: Outcome) -> u32 {
    match answer {
        Outcome::TcpReset => number::TCP,
        Outcome::Icmp => number::ICMP,
        _ => number::ICMPV6,
    }
}

/// The IPv4 header of an answer to `packet`.
#[inline(always)]
pub(super) fn ipv4(packet: &Packet, protocol: u32, body_bytes: u32, words: &mut [u32; IPV4_WORDS]) {
    let (from, to) = (lowest(packet.destination), lowest(packet.source));
    let header = [
        4 << 28 | 5 << 24 | (IPV4_BYTES + body_bytes),
        DONT_FRAGMENT,
        HOP_LIMIT << 24 | protocol << 16,
        from,
        to,
    ];
    *words = header.map(u32::to_be);
    words[2] |= checksum(sum(words)).to_be();
}

/// The IPv6 header of an answer to `packet`.
#[inline(always)]
pub(super) fn ipv6(packet: &Packet, protocol: u32, body_bytes: u32, words: &mut [u32; IPV6_WORDS]) {
    let [s0, s1, s2, s3] = halves(packet.destination);
    let [d0, d1, d2, d3] = halves(packet.source);
    let header = [6 << 28, body_bytes << 16 | protocol << 8 | HOP_LIMIT, s0, s1, s2, s3, d0, d1, d2, d3];
    *words = header.map(u32::to_be);
}

/// A reset of the connection to which a segment belongs (RFC 9293 §3.10.7.1).
#[inline(always)]
pub(super) fn reset(packet: &Packet, segment: &[u32; SEGMENT_WORDS], words: &mut [u32; BODY_WORDS]) {
    let transport = &packet.transport;
    let [_, sequence, acknowledged] = segment.map(u32::from_be);
    let has = |flag| transport.tcp_flags & flag != 0;
    let (sequence, acknowledgement, flags) = if has(flag::ACK) {
        (acknowledged, 0, flag::RST)
    } else {
        // SYN and FIN take a number each, like an octet.
        let length =
            u32::from(transport.payload_bytes) + u32::from(has(flag::SYN)) + u32::from(has(flag::FIN));
        (0, sequence.wrapping_add(length), flag::RST | flag::ACK)
    };
    tcp(packet, Segment { sequence, acknowledgement, flags, window: 0 }, TCP_HEADER_BYTES, words);
}

/// The fields of a TCP header that an answer fills in.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
}

/// The TCP header of an answer without data; `header_bytes` with the options, which are already there.
#[inline(always)]
pub(crate) fn tcp(packet: &Packet, segment: Segment, header_bytes: u32, words: &mut [u32; BODY_WORDS]) {
    let Segment { sequence, acknowledgement, flags, window } = segment;
    let Transport { source_port, destination_port, .. } = packet.transport;
    let ports = u32::from(destination_port) << 16 | u32::from(source_port);
    // The data offset counts words, in the highest four bits.
    let offset_and_flags = (header_bytes / 4) << 28 | u32::from(flags) << 16;
    let header = [ports, sequence, acknowledgement, offset_and_flags | u32::from(window), 0];
    for (word, value) in words.iter_mut().zip(header) {
        *word = value.to_be();
    }
    let sum = pseudo_header(packet, number::TCP, header_bytes) + sum(words);
    words[4] = (checksum(sum) << 16).to_be();
}

/// The header of an ICMP or ICMPv6 error of `body_bytes`; its quote is already there.
#[inline(always)]
pub(super) fn error(packet: &Packet, body_bytes: u32, words: &mut [u32; BODY_WORDS]) {
    // Communication administratively prohibited: RFC 1812 §5.2.7.1 and RFC 4443 §3.1.
    let (kind, code, pseudo_header) =
        if packet.is_ipv4() { (3, 13, 0) } else { (1, 1, pseudo_header(packet, number::ICMPV6, body_bytes)) };
    let head = kind << 24 | code << 16;
    words[0] = u32::to_be(head);
    words[0] = (head | checksum(pseudo_header + sum(words))).to_be();
}

/// What a checksum covers beside the message (RFC 9293 §3.1, RFC 8200 §8.1). Both addresses count
/// alike, whichever way the message goes.
#[inline(always)]
fn pseudo_header(packet: &Packet, protocol: u32, body_bytes: u32) -> u64 {
    let addresses = if packet.is_ipv4() {
        u64::from(lowest(packet.source)) + u64::from(lowest(packet.destination))
    } else {
        let words = [halves(packet.source), halves(packet.destination)];
        words.as_flattened().iter().map(|word| u64::from(*word)).sum()
    };
    addresses + u64::from(protocol) + u64::from(body_bytes)
}

/// The sum of 32-bit words: modulo 65,535 it is that of their halves.
#[inline(always)]
fn sum<const N: usize>(words: &[u32; N]) -> u64 {
    let mut sum = 0;
    for word in words {
        sum += u64::from(u32::from_be(*word));
    }
    sum
}

/// The internet checksum (RFC 1071) of what came to `sum`, in the low half.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
const fn checksum(sum: u64) -> u32 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum ^ 0xffff) as u32
}

/// An IPv4 address in its place in the IPv6 space.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low half")]
const fn lowest(address: Address) -> u32 {
    address.low as u32
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "halves")]
const fn halves(address: Address) -> [u32; 4] {
    let Address { high, low } = address;
    [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32]
}
