//! Rules that do nothing, because of others. What is compared are meanings, not texts: that is
//! the firewall's affair, and only the words are here.

use super::super::firewall::Places;
use super::super::report::Report;
use crate::firewall::findings::{self, Shadowed};
use crate::firewall::ruleset::Ruleset;

/// Warns of rules that no packet reaches, and of those without which nothing would change.
pub(in crate::config) fn check(ruleset: &Ruleset, places: &Places, report: &Report<'_>) {
    let found = findings::find(ruleset);
    let rule = |index: usize| Some((ruleset.rules.get(index)?, places.rules.get(index)?));
    for shadowed in &found.shadowed {
        let Some((rule, place)) = rule(shadowed.rule) else { continue };
        let message = format!("the rule `{}` is shadowed by {}", rule.name, names(ruleset, shadowed));
        report.warning(place, message, "no packet reaches it: move it up, or remove it");
    }
    let unexamined = [
        (found.unexamined_from, "and the rules below it are shadowed"),
        (found.redundancy_unexamined_to, "and the rules above it are redundant"),
    ];
    for (index, what) in unexamined {
        if let Some((rule, place)) = index.and_then(rule) {
            let message = format!("whether `{}` {what} was not worked out", rule.name);
            report.warning(place, message, "there are too many rules, or they overlap in too many ways");
        }
    }
    for (rule, place) in found.redundant.into_iter().filter_map(rule) {
        let message =
            format!("the rule `{}` is redundant: without it, each packet is judged alike", rule.name);
        report.warning(
            place,
            message,
            "later rules or the default say the same: remove it, unless it is to count",
        );
    }
}

/// "`a` (line 3) and `b` (line 7)".
fn names(ruleset: &Ruleset, shadowed: &Shadowed) -> String {
    let rules = shadowed.by.iter().filter_map(|&index| ruleset.rules.get(index));
    let mut names: Vec<String> = rules.map(|rule| format!("`{}` (line {})", rule.name, rule.line)).collect();
    if shadowed.and_more {
        names.push("others".to_owned());
    }
    let last = names.pop().unwrap_or_else(|| "earlier rules".to_owned());
    if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) }
}
