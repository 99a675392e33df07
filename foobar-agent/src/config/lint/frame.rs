//! TCP segments as Ethernet frames, for the rules to judge. Only what rules look at is filled
//! in; checksums are 0, which the datapath does not verify.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Flags of octet 13 of the TCP header (RFC 9293, section 3.1).
pub(super) const SYN: u8 = 0x02;
pub(super) const ACK: u8 = 0x10;

const TCP: u8 = 6;
const TCP_HEADER_BYTES: u8 = 20;
const HOP_LIMIT: u8 = 64;

/// A TCP segment without data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) flags: u8,
}

impl Segment {
    /// The Ethernet frame; both addresses are of one family, else it is empty.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0; 12];
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(&mut frame, from, to),
            (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(&mut frame, from, to),
            _ => return Vec::new(),
        }
        frame.extend(self.from.port().to_be_bytes());
        frame.extend(self.to.port().to_be_bytes());
        frame.extend([0; 8]);
        // The data offset, in units of 4 octets, in the upper half of its octet.
        frame.extend([(TCP_HEADER_BYTES / 4) << 4, self.flags]);
        frame.extend([0xff, 0xff, 0, 0, 0, 0]);
        frame
    }
}

fn ipv4(frame: &mut Vec<u8>, from: Ipv4Addr, to: Ipv4Addr) {
    frame.extend([0x08, 0x00]);
    frame.extend([0x45, 0, 0, 20 + TCP_HEADER_BYTES]);
    // No identification, "do not fragment".
    frame.extend([0, 0, 0x40, 0, HOP_LIMIT, TCP, 0, 0]);
    frame.extend(from.octets());
    frame.extend(to.octets());
}

fn ipv6(frame: &mut Vec<u8>, from: Ipv6Addr, to: Ipv6Addr) {
    frame.extend([0x86, 0xdd]);
    frame.extend([0x60, 0, 0, 0, 0, TCP_HEADER_BYTES, TCP, HOP_LIMIT]);
    frame.extend(from.octets());
    frame.extend(to.octets());
}
