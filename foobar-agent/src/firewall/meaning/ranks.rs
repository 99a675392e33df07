//! Two rulesets in one order. Knows what rules say, not what they mean.

use std::collections::HashMap;

use foobar_ebpf::verdict::Verdict;

use super::Trees;
use crate::firewall::diagram::NodeId;
use crate::firewall::ruleset::Ruleset;

/// The rules of two rulesets in one order, so that diagrams agree wherever rules do.
pub(super) struct Ranks {
    /// By slot.
    pub(super) old: Vec<u32>,
    /// By slot.
    pub(super) new: Vec<u32>,
    /// By rank.
    verdicts: Vec<Verdict>,
    /// What happens where no rule matches.
    pub(super) defaults: [Verdict; 2],
}

impl Ranks {
    pub(super) fn of(old: &Ruleset, new: &Ruleset) -> Self {
        let mut ranks = Self {
            old: vec![0; old.rules.len()],
            new: vec![0; new.rules.len()],
            verdicts: Vec::with_capacity(old.rules.len() + new.rules.len()),
            defaults: [old.default, new.default],
        };
        let (mut next_old, mut next_new) = (0, 0);
        for (kept_old, kept_new) in kept(old, new).into_iter().chain([(old.rules.len(), new.rules.len())]) {
            for slot in next_old..kept_old {
                ranks.old[slot] = ranks.push(old.rules[slot].action);
            }
            for slot in next_new..kept_new {
                ranks.new[slot] = ranks.push(new.rules[slot].action);
            }
            if let Some(rule) = old.rules.get(kept_old) {
                let rank = ranks.push(rule.action);
                (ranks.old[kept_old], ranks.new[kept_new]) = (rank, rank);
            }
            (next_old, next_new) = (kept_old + 1, kept_new + 1);
        }
        ranks
    }

    fn push(&mut self, verdict: Verdict) -> u32 {
        self.verdicts.push(verdict);
        u32::try_from(self.verdicts.len() - 1).unwrap_or(u32::MAX)
    }

    /// What one side's diagrams, all at their ends, come to.
    pub(super) fn verdict(&self, side: usize, ends: Trees) -> Verdict {
        let rank = ends.iter().filter(|&&end| end != NodeId::NOTHING).filter_map(|end| end.as_end()).min();
        let verdict = rank.and_then(|rank| self.verdicts.get(rank as usize));
        verdict.copied().unwrap_or(self.defaults[side])
    }
}

/// Rules that are in both, word for word but for where they stand, in an order that both have:
/// as many as there can be, by the longest increasing run of places.
fn kept(old: &Ruleset, new: &Ruleset) -> Vec<(usize, usize)> {
    let by_name: HashMap<&str, usize> =
        new.rules.iter().enumerate().map(|(slot, rule)| (rule.name.as_str(), slot)).collect();
    let in_both = old.rules.iter().enumerate().filter_map(|(slot, rule)| {
        let &place = by_name.get(rule.name.as_str())?;
        rule.says_the_same(&new.rules[place]).then_some((slot, place))
    });
    // Patience sorting: of the runs of each length, the one that ends at the least place.
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut before: HashMap<(usize, usize), (usize, usize)> = HashMap::new();
    for pair in in_both {
        let length = runs.partition_point(|&(_, place)| place < pair.1);
        if let Some(&previous) = length.checked_sub(1).and_then(|previous| runs.get(previous)) {
            before.insert(pair, previous);
        }
        if length < runs.len() { runs[length] = pair } else { runs.push(pair) }
    }
    let mut kept: Vec<_> =
        std::iter::successors(runs.last().copied(), |pair| before.get(pair).copied()).collect();
    kept.reverse();
    kept
}
