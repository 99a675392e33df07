//! What one ruleset would change against another: rules by name and meaning, not by text, and whether
//! any packet is judged differently. Reads rulesets only; knows no kernel and no agent.

mod example;
mod rules;
#[cfg(test)]
mod tests;

use foobar_ebpf::verdict::Verdict;

pub use self::example::packet_of;
pub use self::rules::{Changed, Renamed, RuleChanges};
use crate::firewall::meaning::{Example, MeaningError, Meanings};
use crate::firewall::ruleset::{Essentials, Ruleset};

/// All that differs.
#[derive(Debug)]
pub struct Plan {
    /// Rule by rule.
    pub rules: RuleChanges,
    /// The default before and after, where it changes; a host without `[firewall]` has none.
    pub default: Option<[Option<Verdict>; 2]>,
    /// Names of essentials that pass no more.
    pub essentials_off: Vec<&'static str>,
    /// Names of essentials that pass now.
    pub essentials_on: Vec<&'static str>,
    /// Whether any packet is judged differently because rules or default differ; of one that an essential
    /// passes on both sides they decide nothing.
    pub verdicts: Verdicts,
}

/// Whether verdicts differ.
#[derive(Debug)]
pub enum Verdicts {
    /// Of no packet.
    Same,
    /// Of this one, for example.
    Differ(Box<Example>),
    /// There is no ruleset on one side: all that the other one refuses differs.
    Begin,
    /// There is no ruleset on the other side.
    End,
    /// It cannot be told.
    Unknown(MeaningError),
}

impl Plan {
    /// Compares what judges with what would; `None` judges nothing.
    pub fn of(old: Option<&Ruleset>, new: Option<&Ruleset>) -> Self {
        let mut meanings = Meanings::default();
        let [before, after] = [old, new].map(|ruleset| ruleset.map_or(&[][..], |ruleset| &ruleset.rules));
        let changes = RuleChanges::of(before, after, &mut meanings);
        let defaults = [old, new].map(|ruleset| ruleset.map(|ruleset| ruleset.default));
        let essentials = [old, new].map(|ruleset| names(ruleset.map(|ruleset| ruleset.essentials)));
        let without = |these: &[&'static str], those: &[&'static str]| {
            these.iter().copied().filter(|name| !those.contains(name)).collect()
        };
        // A host without rules lets everything pass: no essential is turned on or off by that.
        let both = old.is_some() && new.is_some();
        let [before, after] = if both { essentials } else { [Vec::new(), Vec::new()] };
        Self {
            verdicts: match (old, new) {
                (Some(old), Some(new)) if changes.is_empty() && old.default == new.default => Verdicts::Same,
                (Some(old), Some(new)) => verdicts(&mut meanings, old, new),
                (None, None) => Verdicts::Same,
                (None, Some(_)) => Verdicts::Begin,
                (Some(_), None) => Verdicts::End,
            },
            rules: changes,
            default: (defaults[0] != defaults[1]).then_some(defaults),
            essentials_off: without(&before, &after),
            essentials_on: without(&after, &before),
        }
    }

    /// Whether nothing differs at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
            && self.default.is_none()
            && self.essentials_off.is_empty()
            && self.essentials_on.is_empty()
            && matches!(self.verdicts, Verdicts::Same)
    }
}

fn verdicts(meanings: &mut Meanings, old: &Ruleset, new: &Ruleset) -> Verdicts {
    let exceeded = |ruleset: &Ruleset| {
        let rules = ruleset.rules.iter().filter(|rule| rule.rate.is_none()).cloned().collect();
        Ruleset { rules, ..*ruleset }
    };
    let difference = match meanings.difference(old, new) {
        // A rule behind one with a rate may differ for packets that are over it.
        Ok(None) if [old, new].iter().any(|side| side.rules.iter().any(|rule| rule.rate.is_some())) => {
            meanings.difference(&exceeded(old), &exceeded(new))
        }
        difference => difference,
    };
    match difference {
        Ok(None) => Verdicts::Same,
        Ok(Some(example)) => Verdicts::Differ(Box::new(example)),
        Err(error) => Verdicts::Unknown(error),
    }
}

/// The essentials that are on, as the configuration calls them.
fn names(essentials: Option<Essentials>) -> Vec<&'static str> {
    let Some(essentials) = essentials else { return Vec::new() };
    let all = [
        (essentials.neighbour_discovery, "nd"),
        (essentials.multicast_listener, "mld"),
        (essentials.icmp_errors, "icmp-errors"),
        (essentials.dhcp, "dhcp"),
    ];
    all.into_iter().filter_map(|(on, name)| on.then_some(name)).collect()
}
