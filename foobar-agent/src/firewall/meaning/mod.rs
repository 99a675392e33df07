//! What rules and rulesets mean, compared: two texts with the same meaning differ in nothing. By
//! the canonical form of [`diagram`](super::diagram); knows no text.

mod example;
mod possible;
mod ranks;

use std::collections::HashSet;

use foobar_ebpf::abi::image::DIAGRAMS_MAX;
use foobar_ebpf::verdict::Verdict;

pub use self::example::Example;
use self::example::{Known, USUAL};
use self::ranks::Ranks;
use super::diagram::{Cut, Forest, NodeId, Store, TooManyNodes};
use super::numbers::{InterfaceNumbers, TooManyInterfaces};
use super::rate::Rate;
use super::ruleset::{Rule, Ruleset};

/// Nodes that a comparison may make.
const NODES_MAX: usize = 1 << 23;
/// Combinations of decisions that a comparison may look at.
const STEPS_MAX: usize = 1 << 21;

/// What a rule does to packets of IPv4 and of IPv6, as numbers: of one [`Meanings`], equal if and
/// only if it does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meaning {
    packets: [NodeId; 2],
    rate: Option<Rate>,
    log: Option<Rate>,
}

/// Why a meaning cannot be worked out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MeaningError {
    /// More work than a comparison may be.
    #[error("the rules are too many, and differ in too much, to be compared as a whole")]
    TooComplex(#[from] TooManyNodes),
    /// More interfaces than can be told apart.
    #[error(transparent)]
    TooManyInterfaces(#[from] TooManyInterfaces),
}

/// Meanings that can be compared with each other.
#[derive(Debug)]
pub struct Meanings {
    store: Store,
    numbers: InterfaceNumbers,
}

impl Default for Meanings {
    fn default() -> Self {
        Self { store: Store::new(NODES_MAX), numbers: InterfaceNumbers::default() }
    }
}

impl Meanings {
    /// What one rule does to the packets that it matches, wherever it stands and whatever its name.
    ///
    /// # Errors
    /// [`MeaningError`]
    pub fn of_rule(&mut self, rule: &Rule) -> Result<Meaning, MeaningError> {
        self.number_interfaces(std::slice::from_ref(rule))?;
        let rules = std::slice::from_ref(rule);
        let forest = Forest::of_rules(&mut self.store, rules, &self.numbers, |_| rule.action as u32)?;
        let packets = forest.into_single(&mut self.store)?;
        Ok(Meaning { packets, rate: rule.rate, log: rule.log })
    }

    /// A packet that two rulesets judge differently, where their rules differ or their defaults; `None`:
    /// there is none. It is one that no essential lets pass on both sides; those that look at more than
    /// a rule can (hop limit, what an error quotes) do not let every such packet pass, and are taken as off.
    /// Every rate is taken as not exceeded.
    ///
    /// # Errors
    /// When they are too large or differ too much to say.
    pub fn difference(&mut self, old: &Ruleset, new: &Ruleset) -> Result<Option<Example>, MeaningError> {
        self.number_interfaces(&old.rules)?;
        self.number_interfaces(&new.rules)?;
        let ranks = Ranks::of(old, new);
        let [a, b] = [(old, &ranks.old), (new, &ranks.new)].map(|(ruleset, ranks)| {
            Forest::of_rules(&mut self.store, &ruleset.rules, &self.numbers, |slot| ranks[slot])
        });
        let (a, b) = (a?, b?);
        let families = [(true, [a.ipv4, b.ipv4]), (false, [a.ipv6, b.ipv6])];
        for (is_ipv4, trees) in families {
            let state = State {
                sides: trees.map(|trees| padded(&trees)),
                possible: possible::diagram(&mut self.store, is_ipv4)?,
            };
            let passes_dhcp = [old, new].map(|ruleset| ruleset.essentials.dhcp);
            let mut search = Search { ranks: &ranks, passes_dhcp, seen: HashSet::new() };
            if let Some((known, verdicts)) = search.find(&mut self.store, state, Known::default())? {
                return Ok(Some(known.example(is_ipv4, verdicts, &self.numbers)));
            }
        }
        Ok(None)
    }

    fn number_interfaces(&mut self, rules: &[Rule]) -> Result<(), TooManyInterfaces> {
        for name in rules.iter().filter_map(|rule| rule.interfaces.as_ref()).flatten() {
            self.numbers.number(name)?;
        }
        Ok(())
    }
}

/// The diagrams of one side.
type Trees = [NodeId; DIAGRAMS_MAX];

fn padded(trees: &[NodeId]) -> Trees {
    let mut padded = [NodeId::NOTHING; DIAGRAMS_MAX];
    padded.iter_mut().zip(trees).for_each(|(id, tree)| *id = *tree);
    padded
}

/// What is still open about a packet: diagrams behind the decisions that were made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// The rules of both sides.
    sides: [Trees; 2],
    /// Whether there is such a packet.
    possible: NodeId,
}

/// Looks for a packet about which two sides differ.
struct Search<'r> {
    ranks: &'r Ranks,
    /// Which sides let DHCP pass as an essential.
    passes_dhcp: [bool; 2],
    /// Where there is none.
    seen: HashSet<State>,
}

impl Search<'_> {
    fn find(
        &mut self,
        store: &mut Store,
        state: State,
        known: Known,
    ) -> Result<Option<(Known, [Verdict; 2])>, MeaningError> {
        let State { sides, possible } = state;
        let is_same = sides[0] == sides[1] && self.ranks.defaults[0] == self.ranks.defaults[1];
        if is_same || possible == NodeId::NOTHING {
            return Ok(None);
        }
        if sides.iter().flatten().all(|id| id.as_end().is_some()) {
            let ends = [possible::DHCP, possible::ORDINARY].map(NodeId::end);
            if ends.iter().all(|&end| self.verdicts(sides, end).is_none()) {
                return Ok(None);
            }
            let usual = USUAL.iter().find_map(|usual| {
                let whole = known.filled(usual);
                let verdicts = self.verdicts(sides, whole.end(store, possible))?;
                Some((whole, verdicts))
            });
            if usual.is_some() || possible.as_end().is_some() {
                return Ok(usual);
            }
        }
        if self.seen.len() >= STEPS_MAX {
            return Err(MeaningError::TooComplex(TooManyNodes(STEPS_MAX)));
        }
        if !self.seen.insert(state) {
            return Ok(None);
        }
        let mut all = [possible; 2 * DIAGRAMS_MAX + 1];
        all[..DIAGRAMS_MAX].copy_from_slice(&sides[0]);
        all[DIAGRAMS_MAX..2 * DIAGRAMS_MAX].copy_from_slice(&sides[1]);
        let cut = Cut::of(store, all)?;
        for (is_hit, ids) in [(true, cut.hit), (false, cut.miss)] {
            let mut behind = [[NodeId::NOTHING; DIAGRAMS_MAX]; 2];
            behind[0].copy_from_slice(&ids[..DIAGRAMS_MAX]);
            behind[1].copy_from_slice(&ids[DIAGRAMS_MAX..2 * DIAGRAMS_MAX]);
            let sides = behind.map(|trees| pruned(store, trees));
            let state = State { sides, possible: ids[2 * DIAGRAMS_MAX] };
            if let Some(found) = self.find(store, state, known.decided(&cut, is_hit))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What both sides, all at their ends, make of a packet, if they differ and there is such a packet.
    fn verdicts(&self, sides: [Trees; 2], possible: NodeId) -> Option<[Verdict; 2]> {
        let verdicts = [0, 1].map(|side| {
            let is_essential = self.passes_dhcp[side] && possible == NodeId::end(possible::DHCP);
            if is_essential { Verdict::Allow } else { self.ranks.verdict(side, sides[side]) }
        });
        (possible != NodeId::NOTHING && verdicts[0] != verdicts[1]).then_some(verdicts)
    }
}

/// Without the diagrams that others come before, whatever the packet.
fn pruned(store: &Store, mut trees: Trees) -> Trees {
    let greatest = trees.iter().map(|&tree| store.greatest(tree)).min().unwrap_or(u32::MAX);
    for tree in &mut trees {
        if store.least(*tree) > greatest {
            *tree = NodeId::NOTHING;
        }
    }
    trees.sort_unstable();
    trees
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::firewall::address::{AddressSet, Prefix};
    use crate::firewall::ruleset::Essentials;

    fn from(text: &str) -> Arc<AddressSet> {
        let (address, length) = text.split_once('/').unwrap();
        let prefix = Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap();
        Arc::new([prefix].into_iter().collect())
    }

    fn rule(action: Verdict, set: impl Into<Option<Arc<AddressSet>>>, port: Option<u16>) -> Rule {
        Rule {
            name: String::new(),
            line: 1,
            action,
            from: set.into(),
            to: None,
            protocols: port.map(|_| vec![6]),
            ports: port.map(|port| vec![port..=port]),
            from_ports: None,
            icmp_types: None,
            tcp_flags: None,
            interfaces: None,
            rate: None,
            log: None,
        }
    }

    fn difference(a: &[Rule], b: &[Rule]) -> Option<Example> {
        let ruleset = |rules: &[Rule]| Ruleset {
            default: Verdict::Drop,
            essentials: Essentials::ALL,
            rules: rules.to_vec(),
        };
        Meanings::default().difference(&ruleset(a), &ruleset(b)).unwrap()
    }

    #[test]
    fn other_words_for_the_same_differ_in_nothing() {
        let allow = |set: Arc<AddressSet>, port| rule(Verdict::Allow, set, port);
        let halves = [allow(from("10.0.0.0/9"), Some(22)), allow(from("10.128.0.0/9"), Some(22))];
        let whole = [allow(from("10.0.0.0/8"), Some(22))];
        assert_eq!(difference(&halves, &whole), None);
        // A drop that nothing passes but the policy would have dropped.
        let with_drop = [allow(from("10.0.0.0/8"), Some(22)), rule(Verdict::Drop, None, Some(23))];
        assert_eq!(difference(&with_drop, &whole), None);
    }

    #[test]
    fn what_differs_is_shown_by_a_packet() {
        let office = from("203.0.113.0/24");
        let a = [rule(Verdict::Allow, office.clone(), Some(22))];
        let b = [rule(Verdict::Allow, office, Some(23))];
        let example = difference(&a, &b).unwrap();
        assert_eq!(example.source.to_string(), "203.0.113.0");
        assert_eq!((example.protocol, example.has_transport), (6, true));
        let expected = match example.port {
            22 => [Verdict::Allow, Verdict::Drop],
            23 => [Verdict::Drop, Verdict::Allow],
            port => panic!("port {port}"),
        };
        assert_eq!(example.verdicts, expected);
    }

    #[test]
    fn a_rule_means_the_same_wherever_it_stands() {
        let mut meanings = Meanings::default();
        let a = meanings.of_rule(&rule(Verdict::Allow, from("10.0.0.0/8"), Some(22))).unwrap();
        let b = meanings.of_rule(&rule(Verdict::Allow, from("10.0.0.0/8"), Some(22))).unwrap();
        let c = meanings.of_rule(&rule(Verdict::Drop, from("10.0.0.0/8"), Some(22))).unwrap();
        assert!(a == b && a != c);
    }

    #[test]
    fn a_rule_among_thousands_that_cannot_be_one_diagram_is_found_and_a_move_that_says_nothing_is_not() {
        let mut rules = Vec::new();
        for n in 0..3000u16 {
            let action = if n % 2 == 0 { Verdict::Allow } else { Verdict::Drop };
            rules.push(rule(action, from(&format!("10.{}.{}.0/24", n / 256, n % 256)), None));
            rules.push(rule(action, None, Some(n + 1)));
        }
        for (slot, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{slot}");
        }
        let mut moved = rules.clone();
        let last = moved.pop().unwrap();
        moved.insert(3, last);
        assert_eq!(difference(&rules, &rules), None);
        let example = difference(&rules, &moved).unwrap();
        assert_eq!((example.protocol, example.port), (6, 3000), "{example:?}");
        let mut split = rules.clone();
        let [mut lower, mut upper] = [rules[4000].clone(), rules[4000].clone()];
        (lower.from, lower.name) = (Some(from("10.7.208.0/25")), "lower".to_owned());
        (upper.from, upper.name) = (Some(from("10.7.208.128/25")), "upper".to_owned());
        split.splice(4000..4001, [lower, upper]);
        assert_eq!(difference(&rules, &split), None);
    }
}
