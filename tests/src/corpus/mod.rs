//! Corpora: rulesets of every size in shapes that rulesets have, made by chance from a seed, so that
//! every run and every machine measures and tests the same ones.
//!
//! A [`Corpus`] knows its own meaning by a linear scan over its rules, which shares no code with the
//! firewall; it writes itself as a configuration of the agent ([`Corpus::toml`]) and makes packets
//! that match a rule, or none ([`Corpus::matching`], [`Corpus::missing`]).

mod classes;
mod draw;
mod network;
mod probe;
mod shapes;
mod text;

pub use network::{Families, Network};
pub use probe::Probe;

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Lets it pass.
    Allow,
    /// Drops it.
    Drop,
}

/// One rule: all that it names must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What happens then.
    pub action: Action,
    /// Sources.
    pub from: From,
    /// Destinations.
    pub to: Option<Network>,
    /// Protocol number; ports need 6 or 17.
    pub protocol: Option<u8>,
    /// Source ports, first and last.
    pub from_ports: Option<(u16, u16)>,
    /// Destination ports, first and last.
    pub ports: Option<(u16, u16)>,
}

/// The sources of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum From {
    /// Every one.
    Any,
    /// Those of a network.
    Network(Network),
    /// Those of the corpus's set.
    Set,
}

/// What a ruleset looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Every rule drops another source.
    Sources,
    /// Every rule allows another port, of TCP and of UDP.
    Ports,
    /// A source, a port, a source network with a port, in turn; half of them drop.
    Mixed,
    /// Networks of few times ports of few: the rules are pairs of them.
    Pairs,
    /// Networks from /8 to hosts that lie in one another, each with a port.
    Overlap,
    /// An access control list in the manner of `ClassBench`.
    Acl,
    /// A firewall in the manner of `ClassBench`: more wildcards, and source ports.
    Firewall,
    /// An IP chain in the manner of `ClassBench`, between the two.
    Chain,
    /// A few rules, one of which uses a set of as many prefixes as are asked for.
    Set,
}

impl Shape {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Sources,
        Self::Ports,
        Self::Mixed,
        Self::Pairs,
        Self::Overlap,
        Self::Acl,
        Self::Firewall,
        Self::Chain,
        Self::Set,
    ];

    /// Its name in tables and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Ports => "ports",
            Self::Mixed => "mixed",
            Self::Pairs => "pairs",
            Self::Overlap => "overlap",
            Self::Acl => "acl",
            Self::Firewall => "firewall",
            Self::Chain => "chain",
            Self::Set => "set",
        }
    }
}

/// A ruleset. What no rule matches is dropped.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// What it looks like.
    pub shape: Shape,
    /// Of which families its addresses are.
    pub families: Families,
    /// In the order of judgement.
    pub rules: Vec<Rule>,
    /// The members of the set that [`From::Set`] means, ordered.
    pub set: Vec<Network>,
}

impl Corpus {
    /// The ruleset of this shape and size. For [`Shape::Set`] the size is that of the set.
    pub fn new(shape: Shape, families: Families, size: usize) -> Self {
        shapes::generate(shape, families, size)
    }

    /// The place of the first rule that matches, found by looking at one after the other.
    pub fn first_match(&self, probe: &Probe) -> Option<usize> {
        self.rules.iter().position(|rule| self.matches(rule, probe))
    }

    /// What the ruleset does with a packet.
    pub fn action(&self, probe: &Probe) -> Action {
        self.first_match(probe).map_or(Action::Drop, |place| self.rules[place].action)
    }

    fn matches(&self, rule: &Rule, probe: &Probe) -> bool {
        let within = |ports: Option<(u16, u16)>, port: u16| {
            ports.is_none_or(|(first, last)| probe.has_ports() && first <= port && port <= last)
        };
        let from = match rule.from {
            From::Any => true,
            From::Network(network) => network.contains(probe.source),
            From::Set => self.in_set(probe.source),
        };
        from && rule.to.is_none_or(|to| to.contains(probe.destination))
            && rule.protocol.is_none_or(|protocol| protocol == probe.protocol)
            && within(rule.from_ports, probe.from_port)
            && within(rule.ports, probe.port)
    }

    /// Whether any prefix of the set holds the address: each length that there is, is looked up.
    fn in_set(&self, address: std::net::IpAddr) -> bool {
        let most = if address.is_ipv4() { 32 } else { 128 };
        (0..=most).any(|length| self.set.binary_search(&Network::new(address, length)).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::chance::Chance;

    #[test]
    fn every_shape_has_the_size_that_was_asked_for_and_is_the_same_each_time() {
        for shape in Shape::ALL {
            for families in Families::ALL {
                let corpus = Corpus::new(shape, families, 1000);
                let size = if shape == Shape::Set { corpus.set.len() } else { corpus.rules.len() };
                assert_eq!(size, 1000, "{shape:?} {families:?}");
                let again = Corpus::new(shape, families, 1000);
                assert_eq!((corpus.rules, corpus.set), (again.rules, again.set));
            }
        }
    }

    #[test]
    fn rules_of_a_distinct_shape_are_distinct() {
        for shape in [Shape::Sources, Shape::Ports, Shape::Mixed] {
            let rules = Corpus::new(shape, Families::Both, 100_000).rules;
            assert_eq!(rules.len(), 100_000);
            assert_eq!(rules.iter().collect::<HashSet<_>>().len(), 100_000, "{shape:?}");
        }
    }

    #[test]
    fn a_packet_made_for_a_rule_matches_it_and_a_miss_matches_none() {
        for shape in Shape::ALL {
            let corpus = Corpus::new(shape, Families::Both, 500);
            let mut chance = Chance::new(7);
            for (place, rule) in corpus.rules.iter().enumerate() {
                let probe = corpus.matching(place, &mut chance);
                assert!(corpus.matches(rule, &probe), "{shape:?} {rule:?} {probe:?}");
                assert!(corpus.first_match(&probe).is_some_and(|first| first <= place));
            }
            for ipv6 in [false, true] {
                let probe = corpus.missing(ipv6, &mut chance);
                assert!(probe.is_none_or(|probe| corpus.first_match(&probe).is_none()), "{shape:?}");
            }
        }
    }
}
