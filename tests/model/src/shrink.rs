//! A smaller case that still fails, found greedily: a difference is understood by its last rule and
//! its last octet.

use std::fmt::Write as _;

use crate::draft::Draft;

/// A ruleset and what arrives: frames, each with its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The ruleset in words.
    pub draft: Draft,
    /// What arrives, in turn.
    pub arrivals: Vec<(Vec<u8>, &'static str)>,
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

    /// Takes away whatever is not needed for `fails` to hold. A draft that the agent refuses does not
    /// fail in the way that is looked for: `fails` must say no.
    #[must_use]
    pub fn shrink(self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut case = self;
        loop {
            let smaller = candidates(&case).into_iter().find(|candidate| fails(candidate));
            match smaller {
                Some(smaller) => case = smaller,
                None => return case,
            }
        }
    }
}

/// Everything that is one step smaller, the largest steps first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut candidates = Vec::new();
    let mut add = |change: &dyn Fn(&mut Case)| {
        let mut candidate = case.clone();
        change(&mut candidate);
        if candidate != *case {
            candidates.push(candidate);
        }
    };
    if case.arrivals.len() > 1 {
        for arrival in 0..case.arrivals.len() {
            add(&|case| drop(case.arrivals.remove(arrival)));
        }
    }
    let rules = case.draft.rules.len();
    for half in [0..rules / 2, rules / 2..rules] {
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
    add(&|case| case.draft.essentials = "false");
    for (arrival, (frame, _)) in case.arrivals.iter().enumerate() {
        add(&|case| case.arrivals[arrival].0.truncate(frame.len() / 2));
        add(&|case| case.arrivals[arrival].0.truncate(frame.len().saturating_sub(1)));
        for octet in 0..frame.len() {
            add(&|case| case.arrivals[arrival].0[octet] = 0);
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
