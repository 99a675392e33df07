//! What a ruleset makes interesting: the borders of everything that its rules name, so that packets by
//! chance hit them, and miss them by one.

use std::net::{Ipv4Addr, Ipv6Addr};

use foobar_agent::firewall::address::AddressSet;
use foobar_agent::firewall::ruleset::{Rule, Ruleset};
use foobar_tests::chance::Chance;
use foobar_tests::chance::frames::{self, Pools};

use crate::draft::INTERFACES;

/// Borders taken from one list of addresses; sets may have many more.
const MOST_BORDERS: usize = 64;

/// How many frames lie between one and a later fragment of it at most.
const LOOK_BACK: usize = 10;

/// A frame, and the interface on which it arrives.
pub type Arrival = (Vec<u8>, &'static str);

/// Draws frames for one ruleset.
#[derive(Clone, Debug)]
pub struct Aim {
    /// What is special to every host.
    usual: Pools,
    /// One rule's borders each.
    rules: Vec<Pools>,
}

impl Aim {
    /// At the rules of a ruleset.
    pub fn new(ruleset: Option<&Ruleset>) -> Self {
        let rules = ruleset.map(|ruleset| ruleset.rules.as_slice()).unwrap_or_default();
        Self { usual: Pools::usual(), rules: rules.iter().map(pools).collect() }
    }

    /// Frames in turn, each with where it arrives. Three of four are meant for one of the rules, and some
    /// are later fragments of an earlier one.
    pub fn arrivals(&self, chance: &mut Chance, count: usize) -> Vec<Arrival> {
        let mut arrivals: Vec<Arrival> = Vec::with_capacity(count);
        while arrivals.len() < count {
            let earlier = arrivals.len().saturating_sub(1 + chance.below(LOOK_BACK));
            let later = match arrivals.get(earlier) {
                Some((frame, interface)) if chance.once_in(4) => {
                    frames::later_part(chance, frame).map(|later| (later, *interface))
                }
                _ => None,
            };
            arrivals.push(later.unwrap_or_else(|| (self.frame(chance), chance.one(&INTERFACES))));
        }
        arrivals
    }

    fn frame(&self, chance: &mut Chance) -> Vec<u8> {
        if self.rules.is_empty() || chance.once_in(4) {
            return frames::frame(chance, &self.usual);
        }
        let rule = chance.below(self.rules.len());
        frames::frame(chance, &self.rules[rule])
    }
}

/// What a rule names replaces the usual, so that a frame has a chance to match it in every field.
fn pools(rule: &Rule) -> Pools {
    let mut pools = Pools::usual();
    for (side, set) in [(0, &rule.from), (1, &rule.to)] {
        let Some(set) = set else { continue };
        let (ipv4, ipv6) = borders(set);
        if !ipv4.is_empty() {
            pools.ipv4[side] = ipv4;
        }
        if !ipv6.is_empty() {
            pools.ipv6[side] = ipv6;
        }
    }
    for (side, ranges) in [(0, &rule.from_ports), (1, &rule.ports)] {
        if let Some(ranges) = ranges {
            let around = |port: u16| [port.saturating_sub(1), port, port.saturating_add(1)];
            let ends = ranges.iter().flat_map(|range| [*range.start(), *range.end()]);
            pools.ports[side] = ends.flat_map(around).collect();
        }
    }
    if let Some(protocols) = &rule.protocols {
        pools.protocols = [protocols.as_slice(), protocols, &[6, 17]].concat();
    }
    if let Some(types) = &rule.icmp_types {
        let around = |kind: u8| [kind, kind, kind.wrapping_add(1)];
        let kinds =
            types.iter().flat_map(|entry| around(entry.kind).map(|kind| (kind, entry.code.unwrap_or(0))));
        pools.icmp_types = kinds.collect();
    }
    if let Some(flags) = rule.tcp_flags {
        let others = !flags.of;
        pools.tcp_flags = vec![flags.set, flags.set | others, flags.set ^ flags.of, flags.of, others];
        pools.tcp_flags.extend((0..8).map(|bit| flags.set ^ (1 << bit)));
    }
    pools
}

/// First and last addresses of the ranges, and those just outside, by family.
fn borders(set: &AddressSet) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for &(first, last) in set.ranges().iter().take(MOST_BORDERS) {
        for bits in [first, last, first.wrapping_sub(1), last.wrapping_add(1), first + (last - first) / 2] {
            let address = Ipv6Addr::from(bits);
            match address.to_ipv4_mapped() {
                Some(address) => ipv4.push(address),
                None => ipv6.push(address),
            }
        }
    }
    (ipv4, ipv6)
}
