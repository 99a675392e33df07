//! A ruleset as diagrams. One where that is small; several side by side where putting them
//! together would multiply them: rules that name sources, beside rules that name ports, have a
//! diagram for each source. The kernel walks all and takes the first rule.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foobar_ebpf::abi::image::DIAGRAMS_MAX;

use super::merge::{Merger, Which};
use super::space::{self, Family};
use super::store::{NodeId, Store, TooManyNodes};
use crate::firewall::address::AddressSet;
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::ruleset::Rule;

/// Two diagrams are put together where the result has at most so many nodes for each that they had…
const GROWTH_MAX: usize = 2;
/// … and so many more.
const GROWTH_FREE: usize = 4_096;

/// Nodes that a rule makes on the way, roughly: room for them at once spares making it again and again.
const NODES_A_RULE: usize = 16;

/// The diagrams of one family: at least one, at most [`DIAGRAMS_MAX`].
pub type Trees = Vec<NodeId>;

/// The diagrams of a ruleset. Ends are slots; [`NodeId::NOTHING`] is the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forest {
    /// For IPv4 packets.
    pub ipv4: Trees,
    /// For IPv6 packets.
    pub ipv6: Trees,
}

impl Forest {
    /// The diagrams of rules, whose ends are what `end_of` says of a rule's slot.
    ///
    /// # Errors
    /// When the store cannot hold them.
    pub fn of_rules(
        store: &mut Store,
        rules: &[Rule],
        numbers: &InterfaceNumbers,
        end_of: impl Fn(usize) -> u32,
    ) -> Result<Self, TooManyNodes> {
        let mut merger = Merger::new(Which::Least);
        store.reserve(rules.len().saturating_mul(NODES_A_RULE));
        let mut trees = |family| {
            let rules = rules.iter().enumerate().map(|(slot, rule)| (NodeId::end(end_of(slot)), rule));
            let parts = Parts::of_rules(store, &mut merger, family, rules, numbers)?;
            plant(store, &mut merger, parts)
        };
        let [ipv4, ipv6] = Family::BOTH.map(&mut trees);
        Ok(Self { ipv4: ipv4?, ipv6: ipv6? })
    }
}

impl Forest {
    /// The diagrams of the rules that follow each of these, which are in their order; what `end_of` says is
    /// of the slot among all rules. Each rule becomes diagrams once.
    ///
    /// # Errors
    /// When the store cannot hold them.
    pub fn of_rules_behind(
        store: &mut Store,
        rules: &[Rule],
        slots: &[usize],
        numbers: &InterfaceNumbers,
        end_of: impl Fn(usize) -> u32,
    ) -> Result<Vec<Self>, TooManyNodes> {
        let mut merger = Merger::new(Which::Least);
        let mut families = Vec::with_capacity(Family::BOTH.len());
        for family in Family::BOTH {
            let mut forests = Vec::with_capacity(slots.len());
            let (mut behind, mut end) = (Parts::default(), rules.len());
            for &slot in slots.iter().rev() {
                let between = rules[..end].iter().enumerate().skip(slot + 1);
                let between = between.map(|(slot, rule)| (NodeId::end(end_of(slot)), rule));
                let mut parts = Parts::of_rules(store, &mut merger, family, between, numbers)?;
                parts.join(store, &mut merger, behind)?;
                behind = parts.clone();
                end = slot + 1;
                forests.push(plant(store, &mut merger, parts)?);
            }
            forests.reverse();
            families.push(forests);
        }
        let [ipv4, ipv6] = <[Vec<Trees>; 2]>::try_from(families).unwrap_or_default();
        Ok(ipv4.into_iter().zip(ipv6).map(|(ipv4, ipv6)| Self { ipv4, ipv6 }).collect())
    }

    /// As one diagram a family, however large.
    ///
    /// # Errors
    /// When the store cannot hold them.
    pub fn into_single(self, store: &mut Store) -> Result<[NodeId; 2], TooManyNodes> {
        let mut merger = Merger::new(Which::Least);
        Ok([merger.all(store, self.ipv4)?, merger.all(store, self.ipv6)?])
    }
}

/// A rule's addresses in one family, as what is equal among many rules.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Anywhere,
    /// By identity: rules that name the same set share it.
    Within(*const AddressSet),
}

impl Place {
    fn of(set: Option<&Arc<AddressSet>>) -> Self {
        set.map_or(Self::Anywhere, |set| Self::Within(Arc::as_ptr(set)))
    }
}

/// What belongs to equal keys, in the order in which the keys first came: the same rules make the same
/// nodes in the same order, however a hash map orders its keys in this run.
struct Groups<K, V> {
    places: HashMap<K, usize>,
    groups: Vec<V>,
}

impl<K: Eq + Hash, V> Groups<K, V> {
    fn new() -> Self {
        Self { places: HashMap::new(), groups: Vec::new() }
    }

    fn of(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let groups = &mut self.groups;
        let place = *self.places.entry(key).or_insert_with(|| {
            groups.push(make());
            groups.len() - 1
        });
        &mut groups[place]
    }
}

/// Diagrams by whether their rules name sources, and whether they name destinations.
#[derive(Clone, Default)]
struct Parts([[Vec<NodeId>; 2]; 2]);

impl Parts {
    fn of_rules<'r>(
        store: &mut Store,
        merger: &mut Merger,
        family: Family,
        rules: impl Iterator<Item = (NodeId, &'r Rule)>,
        numbers: &InterfaceNumbers,
    ) -> Result<Self, TooManyNodes> {
        // Rules of the same addresses first: a set of a million prefixes becomes nodes once.
        let mut by_places: Groups<(Place, Place), (Place, &Rule, Vec<NodeId>)> = Groups::new();
        for (end, rule) in rules {
            let places = (Place::of(rule.from.as_ref()), Place::of(rule.to.as_ref()));
            let conditions = space::conditions(store, family, rule, numbers, end)?;
            by_places.of(places, || (places.0, rule, Vec::new())).2.push(conditions);
        }
        let mut by_source: Groups<Place, (&Rule, [Vec<NodeId>; 2])> = Groups::new();
        for (from, rule, conditions) in by_places.groups {
            let met = merger.all(store, conditions)?;
            let (to, names_destination) = match &rule.to {
                None => (met, 0),
                Some(set) => (space::destination(store, family, &family.part(set), met)?, 1),
            };
            by_source.of(from, || (rule, Default::default())).1[names_destination].push(to);
        }
        let mut parts = Self::default();
        let mut placed = Vec::new();
        for (rule, by_destination) in by_source.groups {
            let ranges = rule.from.as_ref().map(|set| family.part(set));
            let first = ranges.as_ref().and_then(|ranges| ranges.first()).copied();
            placed.push((first, ranges, by_destination));
        }
        // Neighbours in the order of addresses have least in common. Stable: the same order in every run.
        placed.sort_by_key(|&(first, ..)| first);
        for (_, ranges, by_destination) in placed {
            for (names_destination, ids) in by_destination.into_iter().enumerate() {
                let met = merger.all(store, ids)?;
                let (from, names_source) = match &ranges {
                    None => (met, 0),
                    Some(ranges) => (space::source(store, family, ranges, met)?, 1),
                };
                if from != NodeId::NOTHING {
                    parts.0[names_source][names_destination].push(from);
                }
            }
        }
        Ok(parts)
    }
}

impl Parts {
    /// Takes in others, and makes each kind one diagram.
    fn join(&mut self, store: &mut Store, merger: &mut Merger, others: Self) -> Result<(), TooManyNodes> {
        for (ids, others) in self.0.iter_mut().flatten().zip(others.0.into_iter().flatten()) {
            ids.extend(others);
            if !ids.is_empty() {
                *ids = vec![merger.all(store, std::mem::take(ids))?];
            }
        }
        Ok(())
    }
}

/// Puts parts together as far as that does not multiply them.
fn plant(store: &mut Store, merger: &mut Merger, parts: Parts) -> Result<Trees, TooManyNodes> {
    let mut trees = Trees::new();
    for ids in parts.0.into_iter().flatten() {
        if !ids.is_empty() {
            trees.push(merger.all(store, ids)?);
        }
    }
    let mut sizes: Vec<usize> = trees.iter().map(|&tree| size(store, tree)).collect();
    'again: loop {
        for second in 1..trees.len() {
            for first in 0..second {
                let room = (sizes[first] + sizes[second]) * GROWTH_MAX + GROWTH_FREE;
                let limit = store.set_limit(store.limit().min(store.len() + room));
                let merged = merger.merge(store, trees[first], trees[second]);
                store.set_limit(limit);
                if let Ok(merged) = merged {
                    trees.remove(second);
                    sizes.remove(second);
                    (trees[first], sizes[first]) = (merged, size(store, merged));
                    continue 'again;
                }
            }
        }
        break;
    }
    debug_assert!(trees.len() <= DIAGRAMS_MAX, "four parts at most");
    if trees.is_empty() {
        trees.push(NodeId::NOTHING);
    }
    Ok(trees)
}

/// How many nodes a diagram has.
pub(super) fn size(store: &Store, root: NodeId) -> usize {
    let mut seen = vec![0u64; store.len().div_ceil(64)];
    let (mut ahead, mut size) = (vec![root], 0);
    while let Some(id) = ahead.pop() {
        if id.as_end().is_some() {
            continue;
        }
        let (word, bit) = (id.number() as usize / 64, 1 << (id.number() % 64));
        if seen[word] & bit == 0 {
            seen[word] |= bit;
            size += 1;
            let node = store.node(id);
            ahead.extend([node.hit, node.miss]);
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::address::Prefix;
    use foobar_ebpf::verdict::Verdict;

    fn rule(from: Option<&Arc<AddressSet>>, to: Option<&Arc<AddressSet>>, port: u16) -> Rule {
        Rule {
            name: String::new(),
            line: 1,
            action: Verdict::Allow,
            from: from.cloned(),
            to: to.cloned(),
            protocols: Some(vec![6]),
            ports: Some(vec![port..=port]),
            from_ports: None,
            icmp_types: None,
            tcp_flags: None,
            interfaces: None,
            rate: None,
            log: None,
        }
    }

    #[test]
    fn the_same_rules_make_the_same_nodes_in_the_same_order() {
        // The same first address in all, so that only the rules tell them apart.
        let sets: Vec<Arc<AddressSet>> = (8..=24)
            .map(|length| {
                Arc::new([Prefix::new("10.0.0.0".parse().unwrap(), length).unwrap()].into_iter().collect())
            })
            .collect();
        let mut rules = Vec::new();
        for (port, set) in (1..).zip(&sets) {
            let other = &sets[usize::from(port) * 7 % sets.len()];
            rules.extend([
                rule(Some(set), None, port),
                rule(Some(set), Some(other), 100),
                rule(None, Some(set), port),
            ]);
        }
        let made = || {
            let mut store = Store::new(1 << 20);
            let slot = |slot| u32::try_from(slot).unwrap();
            let forest = Forest::of_rules(&mut store, &rules, &InterfaceNumbers::default(), slot).unwrap();
            (forest, store.len())
        };
        let first = made();
        assert!((0..4).all(|_| made() == first));
    }
}
