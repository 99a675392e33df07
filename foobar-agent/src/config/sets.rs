//! `[firewall.sets]`: named sets of addresses, written out, read from files, or made of each other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::addresses::{Members, read_prefix};
use super::host::path;
use super::names::Names;
use super::prefix_file;
use super::reader::{Table, Value};
use super::source::{Report, Span};
use super::suggest::{did_you_mean, quoted};
use crate::firewall::address::AddressSet;

/// Every set by name, resolved, and which of them the rules use.
#[derive(Default)]
pub(super) struct Sets<'a> {
    by_name: BTreeMap<&'a str, Set<'a>>,
    used: RefCell<BTreeSet<&'a str>>,
}

struct Set<'a> {
    /// Of its name.
    span: Span,
    members: Arc<AddressSet>,
    /// The sets that it is made of, each where it is named.
    parts: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Sets<'a> {
    /// Reads the table of sets, and puts sets that are made of others together.
    pub(super) fn read(table: Table<'a>) -> Self {
        let report = table.report();
        let mut names = Names::new("set");
        let mut sets = Self::default();
        for (name, span, value) in table.into_entries() {
            names.take_text(name, &span, value);
            let (members, parts) = definition(value);
            sets.by_name.insert(name, Set { span, members: Arc::new(members), parts });
        }
        sets.check_parts();
        sets.unite(report);
        sets
    }

    /// The members of a set that a rule names.
    pub(super) fn members(&self, name: &'a str, value: Value<'a>) -> Option<&Arc<AddressSet>> {
        let Some(set) = self.by_name.get(name) else {
            self.report_unknown(name, value);
            return None;
        };
        self.used.borrow_mut().insert(name);
        Some(&set.members)
    }

    /// Warns of sets that no rule uses, directly or through another set, and of empty ones.
    pub(super) fn check_use(&self, report: &Report<'_>) {
        let mut used = self.used.borrow().clone();
        let mut ahead: Vec<&str> = used.iter().copied().collect();
        while let Some(name) = ahead.pop() {
            for (part, _) in self.by_name.get(name).iter().flat_map(|set| &set.parts) {
                if used.insert(part) {
                    ahead.push(part);
                }
            }
        }
        for (name, set) in &self.by_name {
            if !used.contains(name) {
                let message = format!("no rule uses the set `{name}`");
                report.warning(
                    &set.span,
                    message,
                    format!("name it in a rule, as \"@{name}\", or remove it"),
                );
            }
            if set.members.is_empty() {
                let message = format!("the set `{name}` is empty");
                report.warning(&set.span, message, "a rule that asks for it alone can never match");
            }
        }
    }

    fn report_unknown(&self, name: &str, value: Value<'_>) {
        let hint = did_you_mean(name, self.by_name.keys().copied());
        let hint = hint.unwrap_or_else(|| "define it in [firewall.sets]".to_owned());
        value.error(format!("there is no set {}", quoted(name)), hint);
    }

    /// Reports parts that are no set, and forgets them.
    fn check_parts(&mut self) {
        let unknown = |part: &str| !self.by_name.contains_key(part);
        for set in self.by_name.values() {
            for (part, value) in set.parts.iter().filter(|(part, _)| unknown(part)) {
                self.report_unknown(part, *value);
            }
        }
        let known: BTreeSet<&str> = self.by_name.keys().copied().collect();
        for set in self.by_name.values_mut() {
            set.parts.retain(|(part, _)| known.contains(part));
        }
    }

    /// Adds to each set the members of its parts, parts first (Kahn's algorithm: a chain of any
    /// length needs no recursion). What remains lies in a cycle or waits for one.
    fn unite(&mut self, report: &Report<'_>) {
        let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
        let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, set) in &self.by_name {
            waiting.insert(name, set.parts.len());
            for (part, _) in &set.parts {
                users.entry(part).or_default().push(name);
            }
        }
        let mut ready: Vec<&str> =
            waiting.iter().filter(|(_, parts)| **parts == 0).map(|(name, _)| *name).collect();
        while let Some(name) = ready.pop() {
            waiting.remove(name);
            let Some(members) = self.by_name.get(name).map(|set| set.members.clone()) else { continue };
            for user in users.get(name).into_iter().flatten() {
                if let Some(set) = self.by_name.get_mut(user) {
                    set.members = Arc::new(set.members.union(&members));
                }
                if let Some(parts) = waiting.get_mut(user) {
                    *parts -= 1;
                    if *parts == 0 {
                        ready.push(user);
                    }
                }
            }
        }
        self.report_cycles(&waiting.into_keys().collect(), report);
    }

    /// Every set in `waiting` has a part in `waiting`: following them ends in a cycle.
    fn report_cycles(&self, waiting: &BTreeSet<&str>, report: &Report<'_>) {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for start in waiting {
            let mut walk: Vec<&str> = Vec::new();
            let mut name = *start;
            while seen.insert(name) {
                walk.push(name);
                let Some(set) = self.by_name.get(name) else { break };
                let Some((part, _)) = set.parts.iter().find(|(part, _)| waiting.contains(part)) else {
                    break;
                };
                name = part;
            }
            let Some(begin) = walk.iter().position(|step| *step == name) else { continue };
            let mut cycle: Vec<String> = walk[begin..].iter().map(|step| format!("@{step}")).collect();
            cycle.push(format!("@{name}"));
            if let Some(set) = self.by_name.get(name) {
                let message = format!("sets are made of each other: {}", cycle.join(" → "));
                report.error(&set.span, message, "remove one of these references");
            }
        }
    }
}

/// A list of prefixes and @sets, or a file of prefixes.
fn definition(value: Value<'_>) -> (AddressSet, Vec<(&str, Value<'_>)>) {
    if value.is_table() {
        return (from_file(value).unwrap_or_default(), Vec::new());
    }
    let (mut members, mut parts) = (Members::default(), Vec::new());
    for entry in value.list().unwrap_or_default() {
        let Some(text) = entry.string() else { continue };
        if text.starts_with('!') {
            let hint = "negate in a rule: from = [\"@set\", \"!192.0.2.7\"]";
            entry.error(format!("{} negates, which a set cannot", quoted(text)), hint);
        } else if let Some(part) = text.strip_prefix('@') {
            parts.push((part, entry));
        } else if let Some(prefix) = read_prefix(entry, text) {
            members.push(prefix);
        }
    }
    (members.into_set(), parts)
}

fn from_file(value: Value<'_>) -> Option<AddressSet> {
    let mut table = value.table("the set")?;
    let file = table.required("file", "file = \"blocklist.txt\"");
    table.finish();
    let file = file?;
    prefix_file::read(&path(file)?, file)
}
