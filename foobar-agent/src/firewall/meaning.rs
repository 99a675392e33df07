//! What rules and rulesets mean, compared: two texts with the same meaning differ in nothing. By
//! the canonical form of [`diagram`](super::diagram); knows no text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foobar_ebpf::key::{DESTINATION, META, SOURCE, WORDS, meta};
use foobar_ebpf::verdict::Verdict;

use super::diagram::{Cut, Forest, NodeId, Store, TooManyNodes};
use super::numbers::{InterfaceNumbers, TooManyInterfaces};
use super::ruleset::{Rule, Ruleset};

/// Nodes that a comparison may make.
const NODES_MAX: usize = 1 << 23;

/// What packets of IPv4 and of IPv6 get, as numbers: of one [`Meanings`], equal if and only if no
/// packet is judged differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meaning([NodeId; 2]);

/// Why a meaning cannot be worked out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MeaningError {
    /// The rules multiply each other.
    #[error("the rules are too many, and too much entangled, to be compared as a whole ({0})")]
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
        Ok(Meaning(forest.into_single(&mut self.store)?))
    }

    /// The verdict that each packet gets by the rules and the policy; essentials not included.
    ///
    /// # Errors
    /// [`MeaningError`]
    pub fn of_ruleset(&mut self, ruleset: &Ruleset) -> Result<Meaning, MeaningError> {
        self.number_interfaces(&ruleset.rules)?;
        // Within a run of rules with one action, their order says nothing: they share an end.
        let mut runs: Vec<Verdict> = Vec::new();
        let mut run_of = Vec::with_capacity(ruleset.rules.len());
        for rule in &ruleset.rules {
            if runs.last() != Some(&rule.action) {
                runs.push(rule.action);
            }
            run_of.push(u32::try_from(runs.len() - 1).unwrap_or(u32::MAX));
        }
        let forest = Forest::of_rules(&mut self.store, &ruleset.rules, &self.numbers, |slot| run_of[slot])?;
        let single = forest.into_single(&mut self.store)?;
        let verdict = |id: NodeId| {
            let run = id.as_end().filter(|_| id != NodeId::NOTHING);
            let verdict = run.and_then(|run| runs.get(run as usize)).unwrap_or(&ruleset.default);
            NodeId::end(*verdict as u32)
        };
        let [ipv4, ipv6] = single.map(|root| self.store.with_ends(root, verdict));
        Ok(Meaning([ipv4?, ipv6?]))
    }

    /// A packet that is judged differently; `None` where there is none.
    ///
    /// # Errors
    /// When the store is full.
    pub fn difference(&mut self, a: Meaning, b: Meaning) -> Result<Option<Example>, MeaningError> {
        for (is_ipv4, (mut a, mut b)) in [true, false].into_iter().zip(a.0.into_iter().zip(b.0)) {
            if a == b {
                continue;
            }
            // In a canonical form, what differs as a whole differs on one side of each decision.
            let mut known = Known::default();
            while a.as_end().is_none() || b.as_end().is_none() {
                let cut = Cut::of(&mut self.store, a, b)?;
                let is_hit = cut.hit.0 != cut.hit.1;
                known.decide(&cut, is_hit);
                (a, b) = if is_hit { cut.hit } else { cut.miss };
            }
            return Ok(Some(known.example(is_ipv4, [a, b].map(verdict_of), &self.numbers)));
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

/// The verdict that an end stands for; `None` where a rule does not match.
fn verdict_of(end: NodeId) -> Option<Verdict> {
    end.as_end().and_then(|value| Verdict::try_from(value).ok())
}

/// A packet, as far as rules can tell one from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Where it arrives; `None`: an interface that no rule names.
    pub interface: Option<String>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol number.
    pub protocol: u8,
    /// Whether its transport header can be read; a later fragment has none.
    pub has_transport: bool,
    /// Source port, where the protocol has ports.
    pub from_port: u16,
    /// Destination port; for ICMP, type and code.
    pub port: u16,
    /// TCP flags.
    pub tcp_flags: u8,
    /// What both make of it; `None`: a rule that does not match.
    pub verdicts: [Option<Verdict>; 2],
}

/// What decisions have said about a packet so far.
#[derive(Default)]
struct Known {
    mask: [u64; WORDS],
    value: [u64; WORDS],
}

impl Known {
    fn decide(&mut self, cut: &Cut, is_hit: bool) {
        // Not all of these bits: then all but the last.
        let last = cut.mask & cut.mask.wrapping_neg();
        let value = if is_hit { cut.value } else { cut.value ^ last };
        let word = cut.word as usize;
        self.mask[word] |= cut.mask;
        self.value[word] |= value;
    }

    /// A field of the meta word, if anything is known of it.
    fn field(&self, field: meta::Field) -> Option<u64> {
        let ones = (1 << field.bits) - 1;
        let known = self.mask[META] >> field.shift & ones != 0;
        known.then_some(self.value[META] >> field.shift & ones)
    }

    fn address(&self, is_ipv4: bool, word: usize, otherwise: (Ipv4Addr, Ipv6Addr)) -> IpAddr {
        let bits = u128::from(self.value[word]) << 64 | u128::from(self.value[word + 1]);
        let is_known = self.mask[word] | self.mask[word + 1] != 0;
        match (is_ipv4, is_known) {
            (true, false) => otherwise.0.into(),
            (false, false) => otherwise.1.into(),
            #[expect(clippy::cast_possible_truncation, reason = "an IPv4 address")]
            (true, true) => Ipv4Addr::from(bits as u32).into(),
            (false, true) => Ipv6Addr::from(bits).into(),
        }
    }

    /// What nothing is known of is what a packet usually has.
    fn example(&self, is_ipv4: bool, verdicts: [Option<Verdict>; 2], numbers: &InterfaceNumbers) -> Example {
        #[expect(clippy::cast_possible_truncation, reason = "fields of 8 and of 16 bits")]
        let (octet, port) = (
            |field, usual: u8| self.field(field).map_or(usual, |value| value as u8),
            |field, usual: u16| self.field(field).map_or(usual, |value| value as u16),
        );
        let protocol = octet(meta::PROTOCOL, TCP);
        let readable =
            matches!(protocol, 6 | 17 | 33 | 132 | 136) || protocol == if is_ipv4 { 1 } else { 58 };
        let interface = self.field(meta::INTERFACE).and_then(|number| u32::try_from(number).ok());
        Example {
            interface: interface.and_then(|number| numbers.name(number)).map(str::to_owned),
            source: self.address(is_ipv4, SOURCE, EXAMPLE_CLIENT),
            destination: self.address(is_ipv4, DESTINATION, EXAMPLE_HOST),
            protocol,
            has_transport: self.field(meta::HAS_TRANSPORT).map_or(readable, |value| value != 0),
            from_port: port(meta::FROM_PORT, 40_000),
            port: port(meta::PORT, 0),
            tcp_flags: octet(meta::TCP_FLAGS, SYN),
            verdicts,
        }
    }
}

const TCP: u8 = 6;
const SYN: u8 = 0x02;
/// Addresses for documentation (RFC 5737, RFC 3849).
const EXAMPLE_CLIENT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 51, 100, 7), Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 7));
const EXAMPLE_HOST: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::firewall::address::{AddressSet, Prefix};
    use crate::firewall::ruleset::Essentials;

    fn from(text: &str) -> Option<Arc<AddressSet>> {
        let (address, length) = text.split_once('/').unwrap();
        let prefix = Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap();
        Some(Arc::new([prefix].into_iter().collect()))
    }

    fn rule(action: Verdict, set: Option<Arc<AddressSet>>, port: Option<u16>) -> Rule {
        Rule {
            name: String::new(),
            line: 1,
            action,
            from: set,
            to: None,
            protocols: port.map(|_| vec![6]),
            ports: port.map(|port| vec![port..=port]),
            from_ports: None,
            icmp_types: None,
            tcp_flags: None,
            interfaces: None,
        }
    }

    fn difference(a: &[Rule], b: &[Rule]) -> Option<Example> {
        let mut meanings = Meanings::default();
        let mut of = |rules: &[Rule]| {
            let ruleset =
                Ruleset { default: Verdict::Drop, essentials: Essentials::ALL, rules: rules.to_vec() };
            meanings.of_ruleset(&ruleset).unwrap()
        };
        let (a, b) = (of(a), of(b));
        meanings.difference(a, b).unwrap()
    }

    #[test]
    fn other_words_for_the_same_differ_in_nothing() {
        let allow = |set, port| rule(Verdict::Allow, set, port);
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
            22 => [Some(Verdict::Allow), Some(Verdict::Drop)],
            23 => [Some(Verdict::Drop), Some(Verdict::Allow)],
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
}
