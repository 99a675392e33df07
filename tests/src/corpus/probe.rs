//! Packets for a ruleset: such as match a given rule, and such as match none.

use std::net::IpAddr;

use super::network::{self, Network};
use super::{Corpus, From};
use crate::chance::Chance;
use crate::frame::{Frame, Packet, Transport};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// How often a packet by chance is tried before none is found.
const TRIES: usize = 1000;

/// What of a packet the rules of a corpus can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Protocol number.
    pub protocol: u8,
    /// Source port; 0 where the protocol has none.
    pub from_port: u16,
    /// Destination port; 0 where the protocol has none.
    pub port: u16,
}

impl Probe {
    /// Whether it has ports.
    pub fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP)
    }

    /// It as a packet: a SYN, a short datagram, an echo request, or eight bytes of another protocol.
    pub fn packet(&self) -> Packet {
        let transport = match self.protocol {
            TCP => Transport::syn(self.from_port, self.port),
            UDP => Transport::udp(self.from_port, self.port, b"question"),
            ICMP | ICMPV6 if (self.protocol == ICMP) == self.source.is_ipv4() => Transport::Icmp {
                kind: if self.source.is_ipv4() { 8 } else { 128 },
                code: 0,
                body: vec![0; 4],
            },
            protocol => Transport::Raw { protocol, payload: vec![0; 8] },
        };
        Packet::new(self.source, self.destination, transport)
    }

    /// It as a frame between two stations.
    pub fn frame(&self, stations: &Frame) -> Vec<u8> {
        stations.packet(&self.packet())
    }
}

/// The host that the rules protect.
fn host(ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]) } else { IpAddr::from([192, 0, 2, 1]) }
}

impl Corpus {
    /// A packet that matches the rule at a place; one before it may match too. What the rule leaves
    /// open is filled by chance, the destination with a fixed host.
    pub fn matching(&self, place: usize, chance: &mut Chance) -> Probe {
        let rule = &self.rules[place];
        let source_network = match rule.from {
            From::Any => None,
            From::Network(network) => Some(network),
            From::Set => Some(chance.one(&self.set)),
        };
        let named = source_network.or(rule.to);
        // A rule of both families is met in that which its place would have had.
        let ipv6 = named.map_or_else(|| self.families.is_ipv6(place), |network| network.is_ipv6());
        let source = match source_network {
            Some(network) => network.member(chance),
            None => network::public(chance, ipv6),
        };
        let destination = rule.to.map_or_else(|| host(ipv6), |network| network.member(chance));
        let protocol = rule.protocol.unwrap_or_else(|| chance.one(&[TCP, TCP, UDP]));
        let mut probe = Probe { source, destination, protocol, from_port: 0, port: 0 };
        if probe.has_ports() {
            let (first, last) = rule.from_ports.unwrap_or((1024, u16::MAX));
            probe.from_port = chance.port(first, last);
            let (first, last) = rule.ports.unwrap_or((1, 1023));
            probe.port = chance.port(first, last);
        }
        probe
    }

    /// A packet that no rule matches; `None` where none was found.
    pub fn missing(&self, ipv6: bool, chance: &mut Chance) -> Option<Probe> {
        // Addresses that the shapes leave out, and an echo request where every port is taken.
        let quiet = if ipv6 {
            Network::new(IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0]), 48)
        } else {
            Network::new(IpAddr::from([198, 18, 0, 0]), 15)
        };
        let echo = if ipv6 { ICMPV6 } else { ICMP };
        let mut found = None;
        for attempt in 0..TRIES {
            let protocol = if attempt < TRIES / 2 { TCP } else { echo };
            let ports = if protocol == TCP {
                (chance.port(1024, u16::MAX), chance.port(1, u16::MAX))
            } else {
                (0, 0)
            };
            let probe = Probe {
                source: quiet.member(chance),
                destination: host(ipv6),
                protocol,
                from_port: ports.0,
                port: ports.1,
            };
            if self.first_match(&probe).is_none() {
                found = Some(probe);
                break;
            }
        }
        found
    }

    /// A packet of a family that the last rule possible decides.
    pub fn last(&self, ipv6: bool, chance: &mut Chance) -> Option<Probe> {
        self.rules.iter().enumerate().rev().take(TRIES).find_map(|(place, _)| {
            let probe = self.matching(place, chance);
            (probe.source.is_ipv6() == ipv6 && self.first_match(&probe) == Some(place)).then_some(probe)
        })
    }

    /// Packets as a host might see them: nine in ten meet a rule by chance, the others by chance none.
    pub fn traffic(&self, ipv6: bool, count: usize, chance: &mut Chance) -> Vec<Probe> {
        let mut probes = Vec::with_capacity(count);
        let miss = self.missing(ipv6, chance);
        // A family that the ruleset does not have is asked for by nobody's rules.
        let mut tries = count.saturating_mul(20);
        while probes.len() < count && tries > 0 {
            tries -= 1;
            if let Some(mut miss) = miss.filter(|_| chance.percent(10)) {
                if miss.has_ports() {
                    miss.from_port = chance.port(1024, u16::MAX);
                }
                probes.push(miss);
                continue;
            }
            let place = chance.below(self.rules.len());
            let probe = self.matching(place, chance);
            if probe.source.is_ipv6() == ipv6 {
                probes.push(probe);
            }
        }
        probes
    }
}
