//! The shapes: how the rules of each are drawn.

use std::collections::BTreeSet;

use super::network::{Families, Network, public, scaled};
use super::{Action, Corpus, From, Rule, Shape, classes};
use crate::chance::Chance;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A rule that allows everything, to be narrowed.
pub(super) const ANY: Rule =
    Rule { action: Action::Allow, from: From::Any, to: None, protocol: None, from_ports: None, ports: None };

pub(super) fn generate(shape: Shape, families: Families, size: usize) -> Corpus {
    // Each shape, family and size has numbers of its own, so that one does not begin like another.
    let seed = (shape as u64) << 40 | (families as u64) << 32 | size as u64;
    let mut chance = Chance::new(seed);
    let mut set = Vec::new();
    let rules = match shape {
        Shape::Sources => sources(families, size, &mut chance),
        Shape::Ports => (0..size).map(port).collect(),
        Shape::Mixed => mixed(families, size, &mut chance),
        Shape::Pairs => pairs(families, size, &mut chance),
        Shape::Overlap => overlap(families, size, &mut chance),
        Shape::Acl => classes::ACL.rules(families, size, &mut chance),
        Shape::Firewall => classes::FIREWALL.rules(families, size, &mut chance),
        Shape::Chain => classes::CHAIN.rules(families, size, &mut chance),
        Shape::Set => {
            set = blocklist(families, size, &mut chance);
            around_a_set()
        }
    };
    Corpus { shape, families, rules, set }
}

/// As many different hosts, the first by place.
fn hosts(families: Families, size: usize, chance: &mut Chance) -> Vec<Network> {
    let mut seen = BTreeSet::new();
    let mut hosts = Vec::with_capacity(size);
    while hosts.len() < size {
        let ipv6 = families.is_ipv6(hosts.len());
        let host = Network::new(public(chance, ipv6), scaled(32, ipv6));
        if seen.insert(host) {
            hosts.push(host);
        }
    }
    hosts
}

fn sources(families: Families, size: usize, chance: &mut Chance) -> Vec<Rule> {
    let hosts = hosts(families, size, chance);
    hosts.into_iter().map(|host| Rule { action: Action::Drop, from: From::Network(host), ..ANY }).collect()
}

/// Rule `place` of up to 131,072: a port that no other has, of TCP and UDP in turn. An odd factor
/// brings every port once, and neighbours far apart.
fn port(place: usize) -> Rule {
    let port = u16::try_from((place / 2 * 40_503 + 22) % 65_536).unwrap_or(0);
    let protocol = if place.is_multiple_of(2) { TCP } else { UDP };
    Rule { protocol: Some(protocol), ports: Some((port, port)), ..ANY }
}

fn mixed(families: Families, size: usize, chance: &mut Chance) -> Vec<Rule> {
    let hosts = hosts(families, size, chance);
    let mut rules = Vec::with_capacity(size);
    for (place, host) in hosts.into_iter().enumerate() {
        let action = if chance.percent(50) { Action::Allow } else { Action::Drop };
        let rule = match place % 3 {
            0 => Rule { from: From::Network(host), ..ANY },
            1 => port(place / 3),
            _ => {
                let ipv6 = host.is_ipv6();
                let network = Network::new(host.member(chance), scaled(24, ipv6));
                let port = chance.port(1, u16::MAX);
                Rule {
                    from: From::Network(network),
                    protocol: Some(chance.one(&[TCP, UDP])),
                    ports: Some((port, port)),
                    ..ANY
                }
            }
        };
        rules.push(Rule { action, ..rule });
    }
    rules
}

fn pairs(families: Families, size: usize, chance: &mut Chance) -> Vec<Rule> {
    let networks: Vec<Network> = hosts(families, size.div_ceil(10).max(2), chance)
        .into_iter()
        .map(|host| Network::new(host.member(chance), scaled(24, host.is_ipv6())))
        .collect();
    let ports: Vec<u16> = (0..(size / 10).clamp(4, 1000)).map(|_| chance.port(1, 49_151)).collect();
    let rule = |_| {
        let port = chance.one(&ports);
        Rule {
            action: if chance.percent(80) { Action::Allow } else { Action::Drop },
            from: From::Network(chance.one(&networks)),
            protocol: Some(TCP),
            ports: Some((port, port)),
            ..ANY
        }
    };
    (0..size).map(rule).collect()
}

fn overlap(families: Families, size: usize, chance: &mut Chance) -> Vec<Rule> {
    // Few hosts, whose networks lie in one another.
    let hosts = hosts(families, size.div_ceil(8).max(2), chance);
    let ports: Vec<u16> = (0..200).map(|_| chance.port(1, 49_151)).collect();
    let rule = |_| {
        let host = chance.one(&hosts);
        let length = u8::try_from(8 + chance.below(25)).unwrap_or(32);
        let from = Network::new(host.member(chance), scaled(length, host.is_ipv6()));
        let action = if chance.percent(50) { Action::Allow } else { Action::Drop };
        let port = chance.one(&ports);
        // One in five speaks of the network as a whole; none of them wider than /16, or few others would be met.
        if chance.percent(20) && length > 16 {
            return Rule { action, from: From::Network(from), ..ANY };
        }
        Rule {
            action,
            from: From::Network(from),
            protocol: Some(chance.one(&[TCP, UDP])),
            ports: Some((port, port)),
            ..ANY
        }
    };
    (0..size).map(rule).collect()
}

/// Shares of prefix lengths in a list of attackers: hosts above all, networks of all sizes beside them.
const BLOCKLIST: [(usize, u8); 17] = [
    (640, 32),
    (15, 31),
    (15, 30),
    (20, 29),
    (20, 28),
    (20, 27),
    (20, 26),
    (20, 25),
    (130, 24),
    (20, 23),
    (20, 22),
    (15, 21),
    (15, 20),
    (10, 19),
    (10, 18),
    (5, 17),
    (5, 16),
];

fn blocklist(families: Families, size: usize, chance: &mut Chance) -> Vec<Network> {
    let mut set = BTreeSet::new();
    while set.len() < size {
        let ipv6 = families.is_ipv6(set.len());
        let length = scaled(chance.weighted(&BLOCKLIST), ipv6);
        set.insert(Network::new(public(chance, ipv6), length));
    }
    set.into_iter().collect()
}

/// What a host might have beside its blocklist.
fn around_a_set() -> Vec<Rule> {
    let tcp = |port| Rule { protocol: Some(TCP), ports: Some((port, port)), ..ANY };
    let blocked = Rule { action: Action::Drop, from: From::Set, ..ANY };
    let dns = Rule { protocol: Some(UDP), ports: Some((53, 53)), ..ANY };
    vec![blocked, tcp(22), tcp(80), tcp(443), dns]
}
