//! Rules that do nothing: those that earlier rules leave no packet, and those without which every
//! packet would get the same verdict. Exact, by diagrams, as far as a bound on the work allows;
//! what is not found is not claimed.

use std::collections::{BTreeSet, HashSet};

use foobar_ebpf::abi::image::DIAGRAMS_MAX;
use foobar_ebpf::verdict::Verdict;

use super::diagram::{Cut, Forest, Merger, NodeId, Store, TooManyNodes, Which};
use super::numbers::InterfaceNumbers;
use super::ruleset::{Rule, Ruleset};

/// Nodes that the search may make.
const NODES_MAX: usize = 1 << 22;
/// Nodes that the search for redundant rules may make of those.
const REDUNDANCY_NODES_MAX: usize = 1 << 20;
/// Combinations of decisions that are looked at for one rule.
const STEPS_MAX: usize = 1 << 14;
/// … and for all rules.
const STEPS_IN_ALL_MAX: usize = 1 << 22;
/// Rules that are looked for as shadowing one, …
const COLLECTED_MAX: usize = 64;
/// … and of which so many are named.
const NAMED_MAX: usize = 4;

/// Which rules do nothing, as indices of the ruleset's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Rules that no packet reaches.
    pub shadowed: Vec<Shadowed>,
    /// Rules that decide packets, all of which later rules and the policy would decide alike.
    pub redundant: Vec<usize>,
    /// Whether rules from this one on are shadowed was not worked out: it would have taken too long.
    pub unexamined_from: Option<usize>,
    /// Whether rules up to this one are redundant was not worked out, for the same reason.
    pub redundancy_unexamined_to: Option<usize>,
}

/// A rule that no packet reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// The rule.
    pub rule: usize,
    /// Rules that decide its packets, in order of judgement.
    pub by: Vec<usize>,
    /// Whether more rules than those do.
    pub and_more: bool,
}

/// Looks for rules that do nothing.
pub fn find(ruleset: &Ruleset) -> Findings {
    let mut findings = Findings::default();
    let mut numbers = InterfaceNumbers::default();
    for name in ruleset.rules.iter().filter_map(|rule| rule.interfaces.as_ref()).flatten() {
        if numbers.number(name).is_err() {
            return findings;
        }
    }
    // A full store ends the search, not the check: what was found until then is true.
    let mut search = Search { ruleset, numbers, store: Store::new(NODES_MAX) };
    findings.unexamined_from = search.shadowed(&mut findings.shadowed).unwrap_or(Some(0));
    let unreached: BTreeSet<usize> = findings.shadowed.iter().map(|found| found.rule).collect();
    search.store = Store::new(REDUNDANCY_NODES_MAX);
    findings.redundancy_unexamined_to = search.redundant(&mut findings.redundant, &unreached);
    findings.redundant.reverse();
    findings
}

/// A rule's packets, and what each diagram of the ruleset makes of them.
type Together = [NodeId; 1 + DIAGRAMS_MAX];

struct Search<'r> {
    ruleset: &'r Ruleset,
    numbers: InterfaceNumbers,
    store: Store,
}

impl Search<'_> {
    /// The packets of one rule, by family: `end` where it matches.
    fn packets(&mut self, rule: &Rule, end: u32) -> Result<[NodeId; 2], TooManyNodes> {
        let rules = std::slice::from_ref(rule);
        Forest::of_rules(&mut self.store, rules, &self.numbers, |_| end)?.into_single(&mut self.store)
    }

    /// Gives the first rule that it did not come to.
    fn shadowed(&mut self, found: &mut Vec<Shadowed>) -> Result<Option<usize>, TooManyNodes> {
        let rules = &self.ruleset.rules;
        // A rule with a rate leaves what is over it to others: it shadows nothing.
        let (slots, sure): (Vec<usize>, Vec<Rule>) =
            rules.iter().cloned().enumerate().filter(|(_, rule)| rule.rate.is_none()).unzip();
        let forest = Forest::of_rules(&mut self.store, &sure, &self.numbers, |index| slot(slots[index]))?;
        let mut steps = STEPS_IN_ALL_MAX;
        for (index, rule) in rules.iter().enumerate() {
            if steps == 0 {
                return Ok(Some(index));
            }
            match self.examine(index, rule, &forest, &mut steps) {
                Ok(shadowed) => found.extend(shadowed),
                Err(TooManyNodes(_)) => return Ok(Some(index)),
            }
        }
        Ok(None)
    }

    /// The rule, if no packet reaches it.
    fn examine(
        &mut self,
        index: usize,
        rule: &Rule,
        forest: &Forest,
        steps: &mut usize,
    ) -> Result<Option<Shadowed>, TooManyNodes> {
        let packets = self.packets(rule, slot(index))?;
        if packets == [NodeId::NOTHING; 2] {
            return Ok(None);
        }
        let together = [with_trees(packets[0], &forest.ipv4), with_trees(packets[1], &forest.ipv6)];
        for ids in together {
            let mut look = Look { slot: slot(index), steps: STEPS_MAX, seen: HashSet::new() };
            let is_reached = look.decides(&mut self.store, ids)?;
            *steps = steps.saturating_sub(STEPS_MAX - look.steps);
            if is_reached {
                return Ok(None);
            }
        }
        self.shadowed_by(index, together).map(Some)
    }

    fn shadowed_by(&mut self, rule: usize, together: [Together; 2]) -> Result<Shadowed, TooManyNodes> {
        let mut ends = BTreeSet::new();
        let mut look = Look { slot: slot(rule), steps: STEPS_MAX, seen: HashSet::new() };
        for ids in together {
            look.collect(&mut self.store, ids, &mut ends)?;
        }
        let and_more = ends.len() > NAMED_MAX || look.steps == 0;
        let by = ends.into_iter().take(NAMED_MAX).map(|slot| slot as usize).collect();
        Ok(Shadowed { rule, by, and_more })
    }

    /// From the last rule to the first: a rule that, put before all that follow it, changes no verdict.
    /// Gives the last rule that it did not come to.
    fn redundant(&mut self, found: &mut Vec<usize>, unreached: &BTreeSet<usize>) -> Option<usize> {
        let end = |verdict: Verdict| NodeId::end(verdict as u32);
        let mut below = [end(self.ruleset.default); 2];
        let mut merger = Merger::new(Which::First);
        for (index, rule) in self.ruleset.rules.iter().enumerate().rev() {
            let Ok((with, matches)) = self.above(&mut merger, rule, rule.action as u32, below) else {
                return Some(index);
            };
            if with == below && matches && !unreached.contains(&index) {
                found.push(index);
            }
            below = with;
            if rule.rate.is_some() {
                // What becomes of its packets, no rule above it can say: that is an end of its own.
                let end = Verdict::COUNT + slot(index);
                let Ok((with, _)) = self.above(&mut merger, rule, end, below) else { return Some(index) };
                below = with;
            }
        }
        None
    }

    /// What becomes of packets where a rule comes to this end, and what it leaves comes to what is below;
    /// and whether there is a packet that it matches.
    fn above(
        &mut self,
        merger: &mut Merger,
        rule: &Rule,
        end: u32,
        below: [NodeId; 2],
    ) -> Result<([NodeId; 2], bool), TooManyNodes> {
        let packets = self.packets(rule, end)?;
        let mut with = below;
        for (with, packets) in with.iter_mut().zip(packets) {
            *with = merger.merge(&mut self.store, packets, *with)?;
        }
        Ok((with, packets != [NodeId::NOTHING; 2]))
    }
}

fn slot(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn with_trees(packets: NodeId, trees: &[NodeId]) -> Together {
    let mut together = [NodeId::NOTHING; 1 + DIAGRAMS_MAX];
    together[0] = packets;
    together[1..].iter_mut().zip(trees).for_each(|(id, tree)| *id = *tree);
    together
}

/// One look through all decisions about a rule's packets.
struct Look {
    slot: u32,
    /// How many are left; without any the answer is what claims nothing.
    steps: usize,
    seen: HashSet<Together>,
}

impl Look {
    /// Whether there is a packet that no earlier rule decides.
    fn decides(&mut self, store: &mut Store, mut ids: Together) -> Result<bool, TooManyNodes> {
        if ids[0] == NodeId::NOTHING || ids[1..].iter().any(|&tree| store.greatest(tree) < self.slot) {
            return Ok(false);
        }
        for tree in &mut ids[1..] {
            if store.least(*tree) >= self.slot {
                *tree = NodeId::NOTHING;
            }
        }
        if ids[1..].iter().all(|&tree| tree == NodeId::NOTHING) || self.steps == 0 {
            return Ok(true);
        }
        if !self.seen.insert(ids) {
            return Ok(false);
        }
        self.steps -= 1;
        let cut = Cut::of(store, ids)?;
        Ok(self.decides(store, cut.hit)? || self.decides(store, cut.miss)?)
    }

    /// The earlier rules that decide any of the rule's packets.
    fn collect(
        &mut self,
        store: &mut Store,
        ids: Together,
        ends: &mut BTreeSet<u32>,
    ) -> Result<(), TooManyNodes> {
        if ids[0] == NodeId::NOTHING
            || self.steps == 0
            || ends.len() > COLLECTED_MAX
            || !self.seen.insert(ids)
        {
            return Ok(());
        }
        self.steps -= 1;
        let first = ids[1..].iter().map(|&tree| store.least(tree)).min().unwrap_or(u32::MAX);
        // Where one diagram's one end comes before all of the others', nothing else decides.
        if ids[1..].iter().any(|&tree| store.greatest(tree) == first) {
            ends.insert(first);
            return Ok(());
        }
        let cut = Cut::of(store, ids)?;
        self.collect(store, cut.hit, ends)?;
        self.collect(store, cut.miss, ends)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::firewall::address::{AddressSet, Prefix};
    use crate::firewall::rate::{Period, Rate, Unit};
    use crate::firewall::ruleset::Essentials;

    fn rule(action: Verdict, from: &str, ports: Option<(u16, u16)>) -> Rule {
        let (address, length) = from.split_once('/').unwrap();
        let prefix = Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap();
        let from: AddressSet = [prefix].into_iter().collect();
        Rule {
            name: String::new(),
            line: 1,
            action,
            from: Some(Arc::new(from)),
            to: None,
            protocols: ports.map(|_| vec![6]),
            ports: ports.map(|(first, last)| vec![first..=last]),
            from_ports: None,
            icmp_types: None,
            tcp_flags: None,
            interfaces: None,
            rate: None,
            log: None,
        }
    }

    fn found(rules: Vec<Rule>) -> Findings {
        find(&Ruleset { default: Verdict::Drop, essentials: Essentials::ALL, rules })
    }

    #[test]
    fn a_rule_that_several_cover_together_is_shadowed_by_them() {
        let allow = |from, ports| rule(Verdict::Allow, from, ports);
        let findings = found(vec![
            allow("10.0.0.0/9", None),
            allow("192.0.2.0/24", Some((22, 22))),
            rule(Verdict::Drop, "10.128.0.0/9", Some((0, 80))),
            allow("10.128.0.0/9", Some((81, 65_535))),
            allow("10.0.0.0/8", Some((22, 443))),
        ]);
        assert_eq!(findings.shadowed, [Shadowed { rule: 4, by: vec![0, 2, 3], and_more: false }]);
    }

    #[test]
    fn what_the_rest_decides_alike_is_redundant_and_what_it_shields_is_not() {
        let findings = found(vec![
            rule(Verdict::Allow, "10.1.0.0/16", None),
            rule(Verdict::Drop, "10.2.0.0/16", None),
            rule(Verdict::Allow, "10.0.0.0/8", None),
            rule(Verdict::Drop, "192.0.2.0/24", None),
        ]);
        assert_eq!(findings, Findings { redundant: vec![0, 3], ..Findings::default() });
    }

    #[test]
    fn a_rule_with_a_rate_shadows_nothing_and_shields_what_is_over_it() {
        let limited = |verdict, from| Rule {
            rate: Some(Rate { count: 1, unit: Unit::Packets, period: Period::Hour, per_source: None }),
            ..rule(verdict, from, None)
        };
        let findings = found(vec![
            limited(Verdict::Allow, "10.0.0.0/8"),
            rule(Verdict::Drop, "10.0.0.0/9", None),
            limited(Verdict::Allow, "10.0.0.0/16"),
            rule(Verdict::Drop, "10.128.0.0/9", Some((0, 80))),
        ]);
        let shadowed = [Shadowed { rule: 2, by: vec![1], and_more: false }];
        assert_eq!((findings.shadowed, findings.redundant), (shadowed.to_vec(), vec![3]));
        // Without the first rule, what is over the second one's rate would not pass.
        let allow = rule(Verdict::Allow, "10.1.0.0/16", None);
        let findings = found(vec![allow.clone(), limited(Verdict::Allow, "10.0.0.0/8")]);
        assert_eq!(findings, Findings::default());
        // A rate before a rule without one that says the same limits nothing.
        let findings = found(vec![limited(Verdict::Allow, "10.1.2.0/24"), allow]);
        assert_eq!(findings.redundant, [0]);
    }

    #[test]
    fn diagrams_side_by_side_shadow_together() {
        // Sources beside ports: many of each, so that they are not put together.
        let port = |n: u16| rule(Verdict::Drop, "0.0.0.0/0", Some((n, n)));
        let mut rules: Vec<Rule> = (0..2000).map(port).collect();
        for rule in &mut rules {
            rule.from = None;
        }
        let source = |n: u32| rule(Verdict::Allow, &format!("10.{}.{}.7/32", n / 256, n % 256), None);
        rules.extend((0..2000).map(source));
        rules.push(rule(Verdict::Allow, "10.0.5.7/32", Some((80, 90))));
        rules.push(rule(Verdict::Allow, "10.0.5.8/32", Some((1999, 2000))));
        let shadowed = found(rules).shadowed;
        assert_eq!(shadowed, [Shadowed { rule: 4000, by: vec![80, 81, 82, 83], and_more: true }]);
    }
}
