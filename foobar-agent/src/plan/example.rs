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
    };
    let has_type = packet.has_icmp_type();
    if !has_type {
        packet.icmp = (0, 0);
    }
    // Only fragments hide a header that the protocol has.
    packet.is_later_fragment = !example.has_transport && (has_ports || has_type);
    packet
}
