//! A packet by its fields, and the frame that it makes: as short as it can be, whole enough to be
//! judged. Checksums are zero: nothing that judges reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Frame;
use crate::config::lookup::{ICMP, ICMPV6, TCP, has_ports};

const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;

/// A packet by what rules can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Protocol number.
    pub protocol: u8,
    /// Source address; both are of one family.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port, where the protocol has ports.
    pub source_port: u16,
    /// Destination port, where the protocol has ports.
    pub destination_port: u16,
    /// Octet 13 of a TCP header.
    pub tcp_flags: u8,
    /// ICMP type and code.
    pub icmp: (u8, u8),
    /// IPv4's TTL or IPv6's hop limit.
    pub hop_limit: u8,
    /// A fragment that is not the first of its datagram: it has no ports, flags or types.
    pub is_later_fragment: bool,
    /// Whether an ICMP error quotes a packet of its receiver, as errors do (RFC 792; RFC 4443, section
    /// 2.4), or nothing.
    pub quotes_receiver: bool,
}

/// Where a later fragment begins in its datagram, in units of 8 octets: behind a full Ethernet frame.
const LATER_OFFSET: u16 = 185;
const FRAGMENT_HEADER: u8 = 44;

impl Packet {
    /// Its frame.
    pub fn frame(&self) -> Frame {
        let payload = self.transport();
        let (ethertype, header) = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = ipv4(source, destination, self.protocol, self.hop_limit, payload.len());
                if self.is_later_fragment {
                    header[6..8].copy_from_slice(&LATER_OFFSET.to_be_bytes());
                }
                (0x0800u16, header)
            }
            (source, destination) => {
                let (source, destination) = (as_ipv6(source), as_ipv6(destination));
                let protocol = if self.is_later_fragment { FRAGMENT_HEADER } else { self.protocol };
                (0x86dd, ipv6(source, destination, protocol, self.hop_limit, payload.len()))
            }
        };
        let mut bytes = vec![0; 12];
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(header);
        bytes.extend(payload);
        Frame::whole(bytes)
    }

    /// Whether type and code of ICMP are fields of this packet: each family has its own protocol.
    pub fn has_icmp_type(&self) -> bool {
        match self.source {
            IpAddr::V4(_) => self.protocol == ICMP,
            IpAddr::V6(_) => self.protocol == ICMPV6,
        }
    }

    /// The shortest transport header that the protocol allows.
    fn transport(&self) -> Vec<u8> {
        if self.is_later_fragment {
            return self.later_fragment();
        }
        if self.has_icmp_type() {
            return self.icmp_message();
        }
        if !has_ports(self.protocol) {
            return Vec::new();
        }
        let mut header = [self.source_port.to_be_bytes(), self.destination_port.to_be_bytes()].concat();
        let bytes = match self.protocol {
            TCP => 20,
            SCTP | DCCP => 12,
            _ => 8,
        };
        header.resize(bytes, 0);
        match self.protocol {
            // The data offset, in the high 4 bits: 5 words of 32 bits.
            TCP => header[12..14].copy_from_slice(&[5 << 4, self.tcp_flags]),
            UDP => header[5] = 8,
            _ => {}
        }
        header
    }

    /// Eight octets of somewhere; in IPv6 behind the Fragment header (RFC 8200, section 4.5).
    fn later_fragment(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        if self.source.is_ipv6() {
            let [high, low] = (LATER_OFFSET << 3).to_be_bytes();
            bytes.splice(0..0, [self.protocol, 0, high, low, 0, 0, 0, 0]);
        }
        bytes
    }

    /// The packet that an error quotes is one from its receiver to its sender.
    fn icmp_message(&self) -> Vec<u8> {
        let (kind, code) = self.icmp;
        let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
        if !self.quotes_receiver {
            return message;
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) if matches!(kind, 3 | 11 | 12) => {
                message.extend(ipv4(destination, source, UDP, 64, 8));
                message.extend([0; 8]);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) if matches!(kind, 1..=4) => {
                message.extend(ipv6(destination, source, UDP, 64, 8));
                message.extend([0; 8]);
            }
            _ => {}
        }
        message
    }
}

fn as_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// RFC 791, section 3.1.
fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, ttl: u8, payload_bytes: usize) -> Vec<u8> {
    let [high, low] = length(20 + payload_bytes);
    let mut header = vec![0x45, 0, high, low, 0, 0, 0, 0, ttl, protocol, 0, 0];
    header.extend(source.octets());
    header.extend(destination.octets());
    header
}

/// RFC 8200, section 3.
fn ipv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: u8,
    hop_limit: u8,
    payload_bytes: usize,
) -> Vec<u8> {
    let [high, low] = length(payload_bytes);
    let mut header = vec![0x60, 0, 0, 0, high, low, protocol, hop_limit];
    header.extend(source.octets());
    header.extend(destination.octets());
    header
}

/// No packet here is longer than 200 bytes.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}
