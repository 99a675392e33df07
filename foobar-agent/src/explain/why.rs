//! Why a rule did not match: the first of its fields, in the order of a rule's keys, that the packet
//! does not have. Says nothing about verdicts; those are the program's.

use std::ops::RangeInclusive;

use foobar_ebpf::packet::{Packet, TransportKind};

use super::describe::address;
use crate::config::lookup;
use crate::firewall::ruleset::Rule;

/// A field of a rule that a packet does not have, and what it has there.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mismatch {
    /// The rule's key.
    pub field: &'static str,
    /// What the packet has in its place.
    pub packet: String,
}

/// The first field of a rule that a packet on an interface does not match; `None` where it matches all.
pub fn first_mismatch(rule: &Rule, packet: &Packet, interface: Option<&str>) -> Option<Mismatch> {
    let transport = &packet.transport;
    let has_ports = matches!(transport.kind, TransportKind::Ports | TransportKind::Tcp);
    let (source, destination) = (address(packet.source), address(packet.destination));
    let mismatch = |field, packet| Some(Mismatch { field, packet });
    if rule.from.as_ref().is_some_and(|set| !set.contains(source)) {
        return mismatch("from", source.to_string());
    }
    if rule.to.as_ref().is_some_and(|set| !set.contains(destination)) {
        return mismatch("to", destination.to_string());
    }
    if rule.protocols.as_ref().is_some_and(|protocols| !protocols.contains(&packet.protocol)) {
        return mismatch("protocol", lookup::protocol_name(packet.protocol));
    }
    let port = |ranges: &Option<Vec<RangeInclusive<u16>>>, port: u16| match ranges {
        None => None,
        Some(_) if !has_ports => Some(missing(packet)),
        Some(ranges) if ranges.iter().any(|range| range.contains(&port)) => None,
        Some(_) => Some(port.to_string()),
    };
    if let Some(found) = port(&rule.ports, transport.destination_port) {
        return mismatch("port", found);
    }
    if let Some(found) = port(&rule.from_ports, transport.source_port) {
        return mismatch("from_port", found);
    }
    if let Some(found) = icmp_mismatch(rule, packet) {
        return mismatch("icmp_type", found);
    }
    if let Some(flags) = rule.tcp_flags
        && (transport.kind != TransportKind::Tcp || transport.tcp_flags & flags.of != flags.set)
    {
        let is_tcp = transport.kind == TransportKind::Tcp;
        let found = if is_tcp { lookup::tcp_flag_names(transport.tcp_flags) } else { missing(packet) };
        return mismatch("tcp_flags", found);
    }
    match (&rule.interfaces, interface) {
        (Some(names), Some(interface)) if !names.iter().any(|name| name == interface) => {
            mismatch("interface", interface.to_owned())
        }
        (Some(_), None) => mismatch("interface", "not said: name one with --interface".to_owned()),
        _ => None,
    }
}

fn icmp_mismatch(rule: &Rule, packet: &Packet) -> Option<String> {
    let types = rule.icmp_types.as_ref()?;
    let transport = &packet.transport;
    if transport.kind != TransportKind::Icmp {
        return Some(missing(packet));
    }
    let matches = types.iter().any(|wanted| {
        wanted.protocol == packet.protocol
            && wanted.kind == transport.icmp_kind
            && wanted.code.is_none_or(|code| code == transport.icmp_code)
    });
    (!matches).then(|| format!("{}/{}", transport.icmp_kind, transport.icmp_code))
}

/// In the place of a field of the transport header where there is none.
fn missing(packet: &Packet) -> String {
    if packet.later_fragment {
        "a later fragment has none".to_owned()
    } else {
        format!("{} has none", lookup::protocol_name(packet.protocol))
    }
}
