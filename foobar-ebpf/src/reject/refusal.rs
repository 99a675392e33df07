//! Which answer a rejected packet gets, and which packets get none.

use crate::abi::answer::Outcome;
use crate::packet::{Address, Packet, TransportKind};

/// RST in octet 13 of a TCP header.
const RST: u8 = 1 << 2;

/// The answer that a packet gets if nothing about its frame or the limit is against it, or why it
/// gets none.
#[inline(always)]
pub(super) fn of(packet: &Packet) -> Outcome {
    if packet.later_fragment {
        // RFC 1122 §3.2.2, RFC 4443 §2.4(b): it has no ports by which its sender would know it.
        return Outcome::LaterFragment;
    }
    if !is_between_hosts(packet) {
        return Outcome::Address;
    }
    let error = if packet.is_ipv4() { Outcome::Icmp } else { Outcome::Icmpv6 };
    match packet.transport.kind {
        TransportKind::Tcp if packet.transport.tcp_flags & RST != 0 => Outcome::ToReset,
        // How long a segment is, which an acknowledgement must say, the first fragment does not tell.
        TransportKind::Tcp if !packet.first_fragment => Outcome::TcpReset,
        TransportKind::Icmp if !is_query(packet) => Outcome::ToIcmpError,
        _ => error,
    }
}

/// Whether source and destination are each one host's.
#[inline(always)]
pub(crate) const fn is_between_hosts(packet: &Packet) -> bool {
    is_one_host(packet.source) && is_one_host(packet.destination)
}

/// Whether an address is a host's own, as far as that can be told from it: an answer is sent to
/// no other, and from no other (RFC 1122 §3.2.2, RFC 4443 §2.4(e)).
#[inline(always)]
const fn is_one_host(address: Address) -> bool {
    if address.is_ipv4_mapped() {
        // 0/8 this network, 127/8 loopback, 224/4 multicast, 240/4 reserved with broadcast.
        !matches!((address.low >> 24) & 0xff, 0 | 127 | 224..)
    } else {
        // ff00::/8 multicast, :: and ::1.
        address.high >> 56 != 0xff && !(address.high == 0 && address.low <= 1)
    }
}

/// Whether an ICMP or ICMPv6 message is known to be no error, so that an answer cannot lead to
/// another one.
#[inline(always)]
const fn is_query(packet: &Packet) -> bool {
    let kind = packet.transport.icmp_kind;
    if packet.is_ipv4() {
        // Echo, router discovery, timestamp, information, address mask (RFC 792, 950, 1256) and
        // extended echo (RFC 8335), with their replies.
        matches!(kind, 0 | 8..=10 | 13..=18 | 42 | 43)
    } else {
        // RFC 4443 §2.1: errors are below 128. A redirect is answered as little (§2.4(e.2)).
        kind >= 128 && kind != 137
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Transport;

    fn v4(octets: [u8; 4]) -> Address {
        Address { high: 0, low: 0xffff << 32 | u64::from(u32::from_be_bytes(octets)) }
    }

    fn v6(text: &str) -> Address {
        let octets = text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let word = |at: usize| u64::from_be_bytes(*octets[at..].first_chunk().unwrap());
        Address { high: word(0), low: word(8) }
    }

    #[test]
    fn the_edges_of_what_is_one_host() {
        for one in [[1, 0, 0, 0], [126, 255, 255, 255], [128, 0, 0, 0], [223, 255, 255, 255], [10, 0, 0, 1]] {
            assert!(is_one_host(v4(one)), "{one:?}");
        }
        for none in [
            [0; 4],
            [0, 255, 255, 255],
            [127, 0, 0, 1],
            [127, 255, 0, 0],
            [224, 0, 0, 0],
            [240, 0, 0, 1],
            [255; 4],
        ] {
            assert!(!is_one_host(v4(none)), "{none:?}");
        }
        for one in ["::2", "fe80::1", "2001:db8::", "feff::", "0:0:0:1::"] {
            assert!(is_one_host(v6(one)), "{one}");
        }
        for none in ["::", "::1", "ff00::", "ff02::1", "ffff::"] {
            assert!(!is_one_host(v6(none)), "{none}");
        }
    }

    #[test]
    fn every_icmp_type_that_could_be_an_error_is_one() {
        let answered = |source: Address| {
            let kinds = (0..=u8::MAX).filter(move |&icmp_kind| {
                let transport = Transport { kind: TransportKind::Icmp, icmp_kind, ..Transport::OPAQUE };
                of(&Packet { source, destination: source, transport, ..Packet::NONE }).is_sent()
            });
            kinds.collect::<Vec<_>>()
        };
        assert_eq!(answered(v4([192, 0, 2, 1])), [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43]);
        let informational: Vec<_> = (128..=u8::MAX).filter(|kind| *kind != 137).collect();
        assert_eq!(answered(v6("2001:db8::1")), informational);
    }
}
