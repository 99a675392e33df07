//! Interfaces that a configuration names and this host does not have. It may be meant for
//! another host, or for an interface that comes later: nothing here is an error.

use std::collections::{BTreeMap, BTreeSet};

use super::super::firewall::Places;
use super::super::here::Here;
use super::super::model::{Firewall, Interfaces};
use super::super::report::Report;
use super::super::suggest::quoted;
use crate::firewall::ruleset::Ruleset;

/// Warns of each absent interface once, where it is first named.
pub(in crate::config) fn check(
    firewall: &Firewall,
    ruleset: &Ruleset,
    places: &Places,
    here: &Here,
    report: &Report<'_>,
) {
    let Some(interfaces) = &here.interfaces else { return };
    let present: BTreeSet<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let mut attached: BTreeSet<&str> = BTreeSet::new();
    if let Interfaces::Named(names) = &firewall.interfaces {
        for name in names.iter().filter(|name| !present.contains(name.as_str())) {
            attached.insert(name);
            let message = format!("this host has no interface {}", quoted(name));
            report.warning(&places.interfaces, message, "`run` waits for it, `run --strict` does not start");
        }
    }
    // By name: the rules that name it, of which the first is pointed at.
    let mut absent: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, rule) in ruleset.rules.iter().enumerate() {
        for name in rule.interfaces.iter().flatten() {
            if !present.contains(name.as_str()) && !attached.contains(name.as_str()) {
                absent.entry(name).or_default().push(index);
            }
        }
    }
    for (name, rules) in absent {
        let first =
            rules.first().and_then(|&index| Some((ruleset.rules.get(index)?, places.rules.get(index)?)));
        let Some((rule, place)) = first else { continue };
        let others = match rules.len() - 1 {
            0 => String::new(),
            1 => ", and of another one".to_owned(),
            others => format!(", and of {others} others"),
        };
        let message = format!(
            "this host has no interface {}, which is that of the rule `{}`{others}",
            quoted(name),
            rule.name
        );
        report.warning(place, message, "mend the name, unless the file is for another host");
    }
}
