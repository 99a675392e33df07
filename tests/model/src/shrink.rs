//! A smaller case that still fails, found greedily: a difference is understood by its last rule and
//! its last octet.

use std::fmt::Write as _;

use crate::draft::Draft;
use crate::pools::Arrival;

/// A ruleset and what arrives: frames, each with its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The ruleset in words.
    pub draft: Draft,
    /// What arrives, in turn.
    pub arrivals: Vec<Arrival>,
}

impl Case {
    /// As somebody would paste it: the file, and a line of hex a frame.
    pub fn describe(&self) -> String {
        let mut text = self.draft.toml();
        for (frame, interface) in &self.arrivals {
            let _ = write!(text, "# on {interface}: ");
            for octet in frame {
                let _ = write!(text, "{octet:02x}");
            }
            text.push('\n');
        }
        text
    }

    /// Takes away whatever is not needed for `fails` to hold: frames, rules, then octets. A draft that
    /// the agent refuses does not fail in the way that is looked for: `fails` must say no.
    #[must_use]
    pub fn shrink(self, fails: impl Fn(&Self) -> bool) -> Self {
        let case = self.shrink_by(fewer_rules, &fails);
        case.shrink_by(fewer_octets, &fails)
    }

    /// As [`Case::shrink`], but leaves the frames as they are: where judging takes long.
    #[must_use]
    pub fn shrink_rules(self, fails: impl Fn(&Self) -> bool) -> Self {
        self.shrink_by(fewer_rules, &fails)
    }

    fn shrink_by(mut self, candidates: impl Fn(&Self) -> Vec<Self>, fails: &impl Fn(&Self) -> bool) -> Self {
        while let Some(smaller) = candidates(&self).into_iter().find(|candidate| fails(candidate)) {
            self = smaller;
        }
        self
    }

    fn with(&self, change: impl Fn(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}

/// One step smaller: fewer frames, fewer rules, fewer words. The largest steps first.
fn fewer_rules(case: &Case) -> Vec<Case> {
    let mut candidates = Vec::new();
    let mut add = |change: &dyn Fn(&mut Case)| candidates.push(case.with(change));
    let arrivals = case.arrivals.len();
    let chunks = [2, 4, 16, arrivals].map(|parts| arrivals.div_ceil(parts.max(1)).max(1));
    for chunk in chunks.into_iter().filter(|_| arrivals > 1) {
        for start in (0..arrivals).step_by(chunk) {
            let end = (start + chunk).min(arrivals);
            add(&|case| drop(case.arrivals.drain(start..end)));
        }
    }
    let rules = case.draft.rules.len();
    for half in [0..rules / 2, rules / 2..rules].into_iter().filter(|half| !half.is_empty()) {
        add(&|case| drop(case.draft.rules.drain(half.clone())));
    }
    for rule in 0..rules {
        add(&|case| drop(case.draft.rules.remove(rule)));
    }
    for (rule, draft) in case.draft.rules.iter().enumerate() {
        for (field, (_, values)) in draft.fields.iter().enumerate() {
            add(&|case| drop(case.draft.rules[rule].fields.remove(field)));
            for value in (0..values.len()).filter(|_| values.len() > 1) {
                add(&|case| drop(case.draft.rules[rule].fields[field].1.remove(value)));
            }
        }
    }
    for (set, (_, entries)) in case.draft.sets.iter().enumerate() {
        add(&|case| drop(case.draft.sets.remove(set)));
        for entry in 0..entries.len() {
            add(&|case| drop(case.draft.sets[set].1.remove(entry)));
        }
    }
    if case.draft.essentials != "false" {
        add(&|case| case.draft.essentials = "false");
    }
    candidates
}

/// One step smaller: shorter frames, fewer octets in them that say anything.
fn fewer_octets(case: &Case) -> Vec<Case> {
    let mut candidates = Vec::new();
    for (arrival, (frame, _)) in case.arrivals.iter().enumerate() {
        for length in [frame.len() / 2, frame.len().saturating_sub(1)] {
            if length < frame.len() {
                candidates.push(case.with(|case| case.arrivals[arrival].0.truncate(length)));
            }
        }
        for octet in (0..frame.len()).filter(|octet| frame[*octet] != 0) {
            candidates.push(case.with(|case| case.arrivals[arrival].0[octet] = 0));
        }
    }
    candidates
}

#[cfg(test)]
mod tests {
    use foobar_tests::chance::Chance;

    use super::*;

    #[test]
    fn what_is_not_needed_goes_and_what_is_needed_stays() {
        let mut chance = Chance::new(3);
        let mut draft = Draft::draw(&mut chance, &["allow", "drop"]);
        while !draft.toml().contains("from_port") {
            draft = Draft::draw(&mut chance, &["allow", "drop"]);
        }
        let case = Case { draft, arrivals: vec![(vec![1, 2, 3, 4], "eth0"), (vec![9; 9], "eth1")] };
        let shrunk = case.shrink(|case| {
            case.draft.toml().contains("from_port")
                && case.arrivals.iter().any(|(frame, _)| frame.get(1) == Some(&2))
        });
        assert_eq!(shrunk.draft.rules.len(), 1);
        assert_eq!(shrunk.draft.rules[0].fields.len(), 1);
        assert_eq!(shrunk.draft.rules[0].fields[0].1.len(), 1);
        assert_eq!(shrunk.arrivals, [(vec![0, 2], "eth0")]);
        assert!(shrunk.describe().ends_with("# on eth0: 0002\n"), "{}", shrunk.describe());
    }
}
