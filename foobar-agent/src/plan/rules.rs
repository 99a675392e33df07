//! Rules that are added, removed, renamed, or mean something else. By name first: the name is what
//! counters and people go by.

use std::collections::{HashMap, HashSet};

use foobar_ebpf::verdict::Verdict;

use crate::firewall::meaning::{Example, Meanings};
use crate::firewall::ruleset::{Essentials, Rule, Ruleset};

/// Of so many changed rules an example is looked for.
const EXAMPLES_MAX: usize = 20;

/// What differs between two lists of rules; numbers are slots.
#[derive(Debug, Default)]
pub struct RuleChanges {
    /// Slots of the new list.
    pub added: Vec<usize>,
    /// Slots of the old list.
    pub removed: Vec<usize>,
    /// Rules of both lists that do something else now.
    pub changed: Vec<Changed>,
    /// Rules that do the same under another name.
    pub renamed: Vec<Renamed>,
    /// The first rule, by its new slot, that comes before or after other rules than it did.
    pub reordered: Option<usize>,
}

/// A rule that does something else.
#[derive(Debug)]
pub struct Changed {
    /// Its slot in the old list.
    pub old: usize,
    /// Its slot in the new list.
    pub new: usize,
    /// A packet that only one of the two matches.
    pub example: Option<Example>,
}

/// A rule under another name.
#[derive(Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Its slot in the old list.
    pub old: usize,
    /// Its slot in the new list.
    pub new: usize,
}

impl RuleChanges {
    pub(super) fn of(old: &[Rule], new: &[Rule], meanings: &mut Meanings) -> Self {
        let old_slots = by_name(old);
        let new_slots = by_name(new);
        let mut changes = Self::default();
        for (slot, rule) in new.iter().enumerate() {
            match old_slots.get(rule.name.as_str()) {
                None => changes.added.push(slot),
                Some(&before) if means_the_same(&old[before], rule, meanings) => {}
                Some(&before) => {
                    let wants_example = changes.changed.len() < EXAMPLES_MAX;
                    let example = wants_example.then(|| example(&old[before], rule, meanings)).flatten();
                    changes.changed.push(Changed { old: before, new: slot, example });
                }
            }
        }
        let is_gone = |slot: &usize| !new_slots.contains_key(old[*slot].name.as_str());
        changes.removed = (0..old.len()).filter(is_gone).collect();
        changes.find_renamed(old, new, meanings);
        let mut kept_old = old.iter().filter(|rule| new_slots.contains_key(rule.name.as_str()));
        let mut kept_new =
            new.iter().enumerate().filter(|(_, rule)| old_slots.contains_key(rule.name.as_str()));
        changes.reordered = kept_new
            .find(|(_, rule)| kept_old.next().is_none_or(|old| old.name != rule.name))
            .map(|(slot, _)| slot);
        changes
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let Self { added, removed, changed, renamed, reordered } = self;
        added.is_empty()
            && removed.is_empty()
            && changed.is_empty()
            && renamed.is_empty()
            && reordered.is_none()
    }

    /// Of what is removed and what is added, takes out what is the same: each with the first that it fits.
    fn find_renamed(&mut self, old: &[Rule], new: &[Rule], meanings: &mut Meanings) {
        if self.removed.is_empty() || self.added.is_empty() {
            return;
        }
        let mut candidates: HashMap<_, Vec<usize>> = HashMap::new();
        for &slot in self.removed.iter().rev() {
            if let Ok(meaning) = meanings.of_rule(&old[slot]) {
                candidates.entry(meaning).or_default().push(slot);
            }
        }
        for &slot in &self.added {
            let meaning = meanings.of_rule(&new[slot]).ok();
            let before = meaning.and_then(|meaning| candidates.get_mut(&meaning)?.pop());
            self.renamed.extend(before.map(|old| Renamed { old, new: slot }));
        }
        let slots = |side: fn(&Renamed) -> usize| self.renamed.iter().map(side).collect::<HashSet<_>>();
        let (before, after) = (slots(|pair| pair.old), slots(|pair| pair.new));
        self.removed.retain(|slot| !before.contains(slot));
        self.added.retain(|slot| !after.contains(slot));
    }
}

fn by_name(rules: &[Rule]) -> HashMap<&str, usize> {
    rules.iter().enumerate().map(|(slot, rule)| (rule.name.as_str(), slot)).collect()
}

/// Two rules that say the same do the same; where what they say differs, what they do need not. Where
/// that cannot be told, they count as changed.
fn means_the_same(old: &Rule, new: &Rule, meanings: &mut Meanings) -> bool {
    old.says_the_same(new)
        || matches!((meanings.of_rule(old), meanings.of_rule(new)), (Ok(old), Ok(new)) if old == new)
}

/// A packet about which two rules differ, whatever stands around them. Of rules with different actions
/// that is one that either matches, and needs no example.
fn example(old: &Rule, new: &Rule, meanings: &mut Meanings) -> Option<Example> {
    if old.action != new.action {
        return None;
    }
    let default = if old.action == Verdict::Allow { Verdict::Drop } else { Verdict::Allow };
    let alone = |rule: &Rule| Ruleset {
        default,
        essentials: Essentials::NONE,
        flows: false,
        rules: vec![rule.clone()],
    };
    meanings.difference(&alone(old), &alone(new)).ok().flatten()
}
