//! From an example of the comparison to a packet that can be judged and written in words.

use crate::config::lookup;
use crate::explain::packet::Packet;
use crate::firewall::meaning::Example;

/// The packet that an example describes.
pub fn packet_of(example: &Example) -> Packet {
    let [kind, code] = example.port.to_be_bytes();
    let has_ports = lookup::has_ports(example.protocol);
    let port = |port| if has_ports { port } else { 0 };
    let mut packet = Packet {
        protocol: example.protocol,
        source: example.source,
        destination: example.destination,
        source_port: port(example.from_port),
        destination_port: port(example.port),
        tcp_flags: if example.protocol == lookup::TCP { example.tcp_flags } else { 0 },
        icmp: (kind, code),
        hop_limit: 64,
        is_later_fragment: false,
        // An error that quotes its receiver passes as an essential, whatever rules say.
        quotes_receiver: false,
    };
    let has_type = packet.has_icmp_type();
    if !has_type {
        packet.icmp = (0, 0);
    }
    // Only fragments hide a header that the protocol has, and keep one that is passed over.
    let is_passed_over = is_extension(example.protocol, example.source.is_ipv4());
    packet.is_later_fragment = !example.has_transport && (has_ports || has_type || is_passed_over);
    packet
}

/// Whether a packet goes by what is behind a header of this number: AH, and in IPv6 extension headers.
fn is_extension(protocol: u8, is_ipv4: bool) -> bool {
    match protocol {
        51 => true,
        0 | 43 | 44 | 60 | 135 | 139 | 140 => !is_ipv4,
        _ => false,
    }
}
