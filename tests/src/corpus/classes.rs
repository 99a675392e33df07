//! Rules in the manner of `ClassBench` (Taylor and Turner, 2007): its classes of ports (wildcard, high,
//! low, arbitrary range, exact), of protocols and of prefix lengths, with shares that are like those
//! published for access control lists, firewalls and IP chains. Not its seed files and not its output.

use super::network::{Families, Network, public, scaled};
use super::{Action, From, Rule};
use crate::chance::Chance;

/// A class of ports.
#[derive(Clone, Copy)]
enum Ports {
    Wildcard,
    /// 1024 to 65,535.
    High,
    /// 0 to 1023.
    Low,
    Range,
    Exact,
}

/// Shares of each class.
pub(super) struct Classes {
    protocols: &'static [(usize, Option<u8>)],
    from_ports: &'static [(usize, Ports)],
    ports: &'static [(usize, Ports)],
    /// 0 is the wildcard.
    from: &'static [(usize, u8)],
    to: &'static [(usize, u8)],
    /// Of a hundred addresses, how many lie in a network that was there before.
    shared: usize,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const GRE: u8 = 47;

pub(super) const ACL: Classes = Classes {
    protocols: &[(75, Some(TCP)), (15, Some(UDP)), (4, Some(ICMP)), (6, None)],
    from_ports: &[(99, Ports::Wildcard), (1, Ports::High)],
    ports: &[
        (20, Ports::Wildcard),
        (6, Ports::High),
        (1, Ports::Low),
        (11, Ports::Range),
        (62, Ports::Exact),
    ],
    from: &[(12, 0), (4, 8), (10, 16), (6, 20), (28, 24), (10, 28), (30, 32)],
    to: &[(2, 0), (3, 16), (5, 20), (20, 24), (10, 28), (60, 32)],
    shared: 70,
};

pub(super) const FIREWALL: Classes = Classes {
    protocols: &[(55, Some(TCP)), (28, Some(UDP)), (5, Some(ICMP)), (2, Some(GRE)), (10, None)],
    from_ports: &[(78, Ports::Wildcard), (8, Ports::High), (1, Ports::Range), (13, Ports::Exact)],
    ports: &[(38, Ports::Wildcard), (8, Ports::High), (2, Ports::Low), (7, Ports::Range), (45, Ports::Exact)],
    from: &[(45, 0), (3, 8), (5, 16), (17, 24), (5, 28), (25, 32)],
    to: &[(40, 0), (2, 8), (5, 16), (13, 24), (5, 28), (35, 32)],
    shared: 80,
};

pub(super) const CHAIN: Classes = Classes {
    protocols: &[(60, Some(TCP)), (25, Some(UDP)), (5, Some(ICMP)), (10, None)],
    from_ports: &[
        (75, Ports::Wildcard),
        (12, Ports::High),
        (1, Ports::Low),
        (2, Ports::Range),
        (10, Ports::Exact),
    ],
    ports: &[(45, Ports::Wildcard), (7, Ports::High), (1, Ports::Low), (7, Ports::Range), (40, Ports::Exact)],
    from: &[(8, 0), (3, 8), (8, 16), (6, 20), (25, 24), (10, 28), (40, 32)],
    to: &[(6, 0), (2, 8), (7, 16), (5, 20), (25, 24), (10, 28), (45, 32)],
    shared: 75,
};

/// Ports that rules name more than others.
const SERVICES: [u16; 16] = [20, 21, 22, 23, 25, 53, 80, 110, 123, 143, 161, 389, 443, 445, 3389, 8080];

impl Classes {
    pub(super) fn rules(&self, families: Families, size: usize, chance: &mut Chance) -> Vec<Rule> {
        let (mut sources, mut destinations) = (Vec::new(), Vec::new());
        let rule = |place| {
            let ipv6 = families.is_ipv6(place);
            let mut from = self.network(self.from, ipv6, &mut sources, chance);
            let to = self.network(self.to, ipv6, &mut destinations, chance);
            let mut protocol = chance.weighted(self.protocols);
            if ipv6 && protocol == Some(ICMP) {
                protocol = Some(58);
            }
            let has_ports = matches!(protocol, Some(TCP | UDP));
            let from_ports = ports(chance.weighted(self.from_ports), chance).filter(|_| has_ports);
            let ports = ports(chance.weighted(self.ports), chance).filter(|_| has_ports);
            if (from, to, protocol, ports) == (None, None, None, None) {
                // A rule of wildcards alone would be the last one that is ever met.
                from = Some(Network::new(public(chance, ipv6), scaled(24, ipv6)));
            }
            Rule {
                action: if chance.percent(60) { Action::Allow } else { Action::Drop },
                from: from.map_or(From::Any, From::Network),
                to,
                protocol,
                from_ports,
                ports,
            }
        };
        let mut rules: Vec<Rule> = (0..size).map(rule).collect();
        // Such lists end with what is allowed to all, not with what only a network may.
        rules.sort_by_key(|rule| rule.from == From::Any && rule.to.is_none());
        rules
    }

    fn network(
        &self,
        shares: &[(usize, u8)],
        ipv6: bool,
        before: &mut Vec<Network>,
        chance: &mut Chance,
    ) -> Option<Network> {
        let length = match chance.weighted(shares) {
            0 => return None,
            length => scaled(length, ipv6),
        };
        let mut near = None;
        if chance.percent(self.shared) && !before.is_empty() {
            near = Some(chance.one(before)).filter(|network| network.is_ipv6() == ipv6);
        }
        let address = match near {
            Some(network) => network.member(chance),
            None => public(chance, ipv6),
        };
        let network = Network::new(address, length);
        before.push(network);
        Some(network)
    }
}

fn ports(class: Ports, chance: &mut Chance) -> Option<(u16, u16)> {
    match class {
        Ports::Wildcard => None,
        Ports::High => Some((1024, u16::MAX)),
        Ports::Low => Some((0, 1023)),
        Ports::Range => {
            let (one, other) = (chance.port(1, 49_151), chance.port(1, 49_151));
            Some((one.min(other), one.max(other)))
        }
        Ports::Exact if chance.percent(50) => {
            let port = chance.one(&SERVICES);
            Some((port, port))
        }
        Ports::Exact => {
            let port = chance.port(1, 49_151);
            Some((port, port))
        }
    }
}
