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
        until_it_stays(self.shrink_rules(&fails), |case| fewer_octets(case, &fails))
    }

    /// As [`Case::shrink`], but leaves the octets as they are: where judging takes long.
    #[must_use]
    pub fn shrink_rules(self, fails: impl Fn(&Self) -> bool) -> Self {
        until_it_stays(self, |case| fewer_rules(case, &fails))
    }

    /// Changes it, if it fails then as well; whether it does.
    fn try_change(&mut self, fails: &impl Fn(&Self) -> bool, change: impl FnOnce(&mut Self)) -> bool {
        let mut changed = self.clone();
        change(&mut changed);
        let is_better = changed != *self && fails(&changed);
        if is_better {
            *self = changed;
        }
        is_better
    }

    /// Takes pieces out of a list, from halves down to single items.
    fn thin<T>(&mut self, fails: &impl Fn(&Self) -> bool, list: impl Fn(&mut Self) -> &mut Vec<T>) {
        let mut piece = list(self).len();
        while piece > 0 {
            let mut start = 0;
            while start < list(self).len() {
                let end = (start + piece).min(list(self).len());
                if !self.try_change(fails, |case| drop(list(case).drain(start..end))) {
                    start = end;
                }
            }
            piece /= 2;
        }
    }
}

fn until_it_stays(mut case: Case, pass: impl Fn(&mut Case)) -> Case {
    loop {
        let before = case.clone();
        pass(&mut case);
        if case == before {
            return case;
        }
    }
}

/// Fewer frames, fewer rules, fewer words.
fn fewer_rules(case: &mut Case, fails: &impl Fn(&Case) -> bool) {
    case.thin(fails, |case| &mut case.arrivals);
    case.thin(fails, |case| &mut case.draft.rules);
    for rule in 0..case.draft.rules.len() {
        case.thin(fails, |case| &mut case.draft.rules[rule].fields);
        for field in 0..case.draft.rules[rule].fields.len() {
            case.thin(fails, |case| &mut case.draft.rules[rule].fields[field].1);
        }
    }
    case.thin(fails, |case| &mut case.draft.sets);
    for set in 0..case.draft.sets.len() {
        case.thin(fails, |case| &mut case.draft.sets[set].1);
    }
    case.try_change(fails, |case| case.draft.essentials = "false");
}

/// Shorter frames, fewer octets in them that say anything.
fn fewer_octets(case: &mut Case, fails: &impl Fn(&Case) -> bool) {
    for arrival in 0..case.arrivals.len() {
        let mut cut = case.arrivals[arrival].0.len();
        while cut > 0 {
            let length = case.arrivals[arrival].0.len().saturating_sub(cut);
            if !case.try_change(fails, |case| case.arrivals[arrival].0.truncate(length)) {
                cut /= 2;
            }
        }
        for octet in 0..case.arrivals[arrival].0.len() {
            case.try_change(fails, |case| case.arrivals[arrival].0[octet] = 0);
        }
    }
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
            let toml = case.draft.toml();
            let arrives = case.arrivals.iter().any(|(frame, _)| frame.get(1) == Some(&2));
            // An empty list is refused.
            toml.contains("from_port") && !toml.contains("= []") && arrives
        });
        assert_eq!(shrunk.draft.rules.len(), 1);
        assert_eq!(shrunk.draft.rules[0].fields.len(), 1);
        assert_eq!(shrunk.draft.rules[0].fields[0].1.len(), 1);
        assert_eq!(shrunk.arrivals, [(vec![0, 2], "eth0")]);
        assert!(shrunk.describe().ends_with("# on eth0: 0002\n"), "{}", shrunk.describe());
    }
}
