//! A packet in one line of words, for people. What it says of a packet can be typed again.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv6Addr};

use foobar_ebpf::packet::{Address, Packet, Parsed, Status, TransportKind};

use super::Frame;
use crate::config::lookup;

/// A frame with its fields, ready to be printed.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// What the parser found.
    pub parsed: &'a Parsed,
}

impl Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parsed.status {
            Status::Packet => packet(&self.parsed.packet, f),
            Status::Foreign => match ethertype(&self.frame.bytes) {
                // IEEE 802.3: below 0x0600 it is a length, and LLC follows.
                Some(length @ ..0x0600) => write!(f, "LLC frame of {length} B"),
                Some(0x0806) => f.write_str("ARP"),
                Some(0x88cc) => f.write_str("LLDP"),
                Some(ethertype) => write!(f, "ethertype {ethertype:#06x}"),
                None => f.write_str("frame"),
            },
            Status::Malformed(_) if self.frame.is_cut() => {
                let (held, length) = (self.frame.bytes.len(), self.frame.length_bytes);
                write!(f, "{held} of {length} B of a frame")
            }
            Status::Malformed(_) => write!(f, "frame of {} B", self.frame.length_bytes),
        }
    }
}

fn packet(packet: &Packet, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (source, destination) = (address(packet.source), address(packet.destination));
    let transport = &packet.transport;
    f.write_str(&lookup::protocol_name(packet.protocol))?;
    match transport.kind {
        TransportKind::Opaque => {
            write!(f, " from {source} to {destination}")?;
            if packet.later_fragment { f.write_str(" (later fragment)") } else { Ok(()) }
        }
        TransportKind::Ports | TransportKind::Tcp => {
            let (source, destination) = (
                with_port(source, transport.source_port),
                with_port(destination, transport.destination_port),
            );
            write!(f, " from {source} to {destination}")?;
            if transport.kind == TransportKind::Tcp {
                write!(f, " flags {}", lookup::tcp_flag_names(transport.tcp_flags))?;
            }
            Ok(())
        }
        TransportKind::Icmp => {
            if transport.icmp_code == 0 {
                write!(f, " {}", lookup::icmp_type_name(packet.protocol, transport.icmp_kind))?;
            } else {
                write!(f, " {}/{}", transport.icmp_kind, transport.icmp_code)?;
            }
            write!(f, " from {source} to {destination}")
        }
    }
}

/// An address as people write it; IPv4 comes out of the mapped block.
pub fn address(address: Address) -> IpAddr {
    let bits = u128::from(address.high) << 64 | u128::from(address.low);
    IpAddr::V6(Ipv6Addr::from(bits)).to_canonical()
}

fn with_port(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

/// The ethertype behind up to two tags.
fn ethertype(bytes: &[u8]) -> Option<u16> {
    let mut offset = 12;
    loop {
        let ethertype = u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?);
        if !matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
            return Some(ethertype);
        }
        offset += 4;
    }
}
