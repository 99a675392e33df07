//! What an ICMP error quotes of the packet that it is about (RFC 792, RFC 4443 §3): enough to know which
//! flow that belonged to.

use super::Address;
use super::ip::{self, Family, Header};
use super::reader::PacketReader;

/// The quoted packet, beside its source, which is the error's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Destination address.
    pub destination: Address,
    /// TCP, UDP, or ICMP with an echo request; 0 where it is another, or too little of it is there.
    pub protocol: u8,
    /// Source port; of an echo request, its identifier.
    pub source_port: u16,
    /// Destination port; of an echo request, 0.
    pub destination_port: u16,
}

impl Quote {
    /// In the place of a quote where there is none.
    pub const NONE: Self =
        Self { destination: Address::UNSPECIFIED, protocol: 0, source_port: 0, destination_port: 0 };
}

/// ICMP, TCP, UDP, ICMPv6 (IANA).
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Types of echo requests (RFC 792, RFC 4443 §4.1).
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

/// Reads a quoted packet whose IP header is there as a whole and of the right version. Extension headers
/// are not followed: a packet with any counts as one of another protocol.
#[inline(always)]
pub(super) fn read<R: PacketReader + ?Sized>(reader: &R, header: &Header, offset: usize, quote: &mut Quote) {
    *quote = Quote::NONE;
    let (protocol, transport_offset) = match header.family {
        Family::Ipv4 => {
            let Some([version_ihl, _, _, _, _, _, fragment_high, fragment_low, _, protocol]) =
                reader.read::<10>(offset)
            else {
                return;
            };
            let Some(destination) = reader.read::<4>(offset + 16) else { return };
            // A later fragment has no ports: offset in units of 8 octets (13 bits).
            if u16::from_be_bytes([fragment_high, fragment_low]) & 0x1fff != 0 {
                return;
            }
            quote.destination = ip::ipv4_address(destination);
            (protocol, offset + usize::from(version_ihl & 0x0f) * 4)
        }
        Family::Ipv6 => {
            let Some([protocol]) = reader.read::<1>(offset + 6) else { return };
            let Some(destination) = reader.read::<16>(offset + 24) else { return };
            quote.destination = ip::ipv6_address(&destination, 0);
            (protocol, offset + 40)
        }
    };
    if transport_offset + 8 > header.end_offset {
        return;
    }
    let Some([kind, next, c, d, e, f, _, _]) = reader.read::<8>(transport_offset) else { return };
    match (protocol, kind) {
        (TCP | UDP, _) => {
            quote.source_port = u16::from_be_bytes([kind, next]);
            quote.destination_port = u16::from_be_bytes([c, d]);
        }
        (ICMP, ECHO_REQUEST) | (ICMPV6, ECHO_REQUEST_V6) => quote.source_port = u16::from_be_bytes([e, f]),
        _ => return,
    }
    quote.protocol = protocol;
}
