//! `[firewall.sets]`: named sets of addresses, written out, read from files, or made of each
//! other. A set that is made of others is put together when a rule asks for it, once.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::addresses::read_prefix;
use super::members::Members;
use super::names::Names;
use super::prefix_file;
use super::reader::{Table, Value};
use super::report::Report;
use super::source::Span;
use super::suggest::quoted;
use crate::firewall::address::AddressSet;

/// Ranges of addresses that all sets and lists of one configuration hold at most: a GiB of them.
/// A set is held once, however many rules name it; a list that mixes it with others is another.
const MAX_RANGES: usize = 1 << 25;
/// Sets of a cycle that a message names.
const MAX_CYCLE_SHOWN: usize = 8;

/// Every set by name, and which of them the rules use.
#[derive(Default)]
pub(super) struct Sets<'a> {
    by_name: BTreeMap<&'a str, Set<'a>>,
    used: RefCell<BTreeSet<&'a str>>,
    ranges: Cell<usize>,
}

struct Set<'a> {
    /// Of its name.
    span: Span,
    /// Without its parts'.
    own: Arc<AddressSet>,
    /// The sets that it is made of, each where it is named.
    parts: Vec<(&'a str, Value<'a>)>,
    /// With its parts', once a rule has asked.
    whole: OnceCell<Arc<AddressSet>>,
    empty: bool,
}

impl<'a> Sets<'a> {
    /// Reads the table of sets.
    pub(super) fn read(table: Table<'a>) -> Self {
        let report = table.report();
        let mut names = Names::new("set");
        let mut sets = Self::default();
        for (name, span, value) in table.into_entries() {
            names.take_text(name, &span, value);
            let (members, parts) = definition(value);
            let own = Arc::new(members.into_set());
            sets.take_up(own.ranges().len(), value);
            let empty = own.is_empty();
            sets.by_name.insert(name, Set { span, own, parts, whole: OnceCell::new(), empty });
        }
        sets.check_parts();
        sets.check_cycles(report);
        sets
    }

    /// The members of a set that a rule names.
    pub(super) fn members(&self, name: &'a str, value: Value<'a>) -> Option<Arc<AddressSet>> {
        let Some(set) = self.by_name.get(name) else {
            self.report_unknown(name, value);
            return None;
        };
        self.used.borrow_mut().insert(name);
        Some(Arc::clone(set.whole.get_or_init(|| self.whole(name, value))))
    }

    /// The members of all of these, which are new in memory only if there are several.
    pub(super) fn unite(&self, mut sets: Vec<Arc<AddressSet>>, value: Value<'_>) -> Arc<AddressSet> {
        sets.sort_unstable_by_key(Arc::as_ptr);
        sets.dedup_by(|a, b| Arc::ptr_eq(a, b));
        if let [only] = sets.as_slice() {
            return Arc::clone(only);
        }
        if !self.take_up(sets.iter().map(|set| set.ranges().len()).sum(), value) {
            return Arc::default();
        }
        Arc::new(AddressSet::union_of(sets.iter().map(Arc::as_ref)))
    }

    /// Counts ranges that are about to be held; false, and reported, where they are too many.
    pub(super) fn take_up(&self, ranges: usize, value: Value<'_>) -> bool {
        let total = self.ranges.get().saturating_add(ranges);
        if total > MAX_RANGES {
            let message = format!("sets and lists hold more than {MAX_RANGES} ranges of addresses in all");
            value.error(message, "name large sets alone, as \"@set\": such rules share them in memory");
            return false;
        }
        self.ranges.set(total);
        true
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
                let hint = format!("name it in a rule, as \"@{name}\", or remove it");
                report.warning(&set.span, format!("no rule uses the set `{name}`"), hint);
            }
            if set.empty {
                let message = format!("the set `{name}` is empty");
                report.warning(&set.span, message, "a rule that asks for it alone can never match");
            }
        }
    }

    /// The set with the members of everything that it is made of.
    fn whole(&self, name: &'a str, value: Value<'a>) -> Arc<AddressSet> {
        let (mut seen, mut ahead, mut own) = (BTreeSet::from([name]), vec![name], Vec::new());
        while let Some(name) = ahead.pop() {
            let Some(set) = self.by_name.get(name) else { continue };
            own.push(Arc::clone(&set.own));
            ahead.extend(set.parts.iter().map(|&(part, _)| part).filter(|part| seen.insert(part)));
        }
        self.unite(own, value)
    }

    fn report_unknown(&self, name: &str, value: Value<'_>) {
        let hint = value.report().did_you_mean(name, self.by_name.keys().copied());
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

    /// Goes through the sets, parts first (Kahn's algorithm: a chain of any length needs no
    /// recursion), and finds which are empty. What remains lies in a cycle or waits for one.
    fn check_cycles(&mut self, report: &Report<'_>) {
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
            let empty = self.by_name.get(name).is_none_or(|set| set.empty);
            for user in users.get(name).into_iter().flatten() {
                if let Some(set) = self.by_name.get_mut(user) {
                    set.empty &= empty;
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
            let Some(set) = self.by_name.get(name) else { continue };
            let cycle = &walk[begin..];
            let mut shown: Vec<String> =
                cycle.iter().take(MAX_CYCLE_SHOWN).map(|step| format!("@{step}")).collect();
            if cycle.len() > MAX_CYCLE_SHOWN {
                shown.push("…".to_owned());
            }
            shown.push(format!("@{name}"));
            let message = format!("sets are made of each other: {}", shown.join(" → "));
            report.error(&set.span, message, "remove one of these references");
        }
    }
}

/// A list of prefixes and @sets, or files of prefixes.
fn definition(value: Value<'_>) -> (Members, Vec<(&str, Value<'_>)>) {
    let (mut members, mut parts) = (Members::default(), Vec::new());
    if value.is_table() {
        from_files(value, &mut members);
        return (members, parts);
    }
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
    (members, parts)
}

fn from_files(value: Value<'_>, members: &mut Members) {
    let Some(mut table) = value.table("the set") else { return };
    let files = table.required("file", "file = \"blocklist.txt\"");
    table.finish();
    for file in files.map(Value::one_or_list).unwrap_or_default() {
        if let Some(path) = super::host::file(file) {
            prefix_file::read(&path, file, members);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use toml::de::DeTable;

    use super::super::host_names::HostNames;
    use super::super::source::Source;
    use super::*;

    #[test]
    fn what_would_fill_memory_is_refused_before_it_does() {
        let text = "a = ['192.0.2.1', '192.0.2.3']\n";
        let source = Source::new(PathBuf::new(), PathBuf::new(), text.to_owned(), HostNames::default());
        let (report, document) = (Report::new(&source), DeTable::parse(text).unwrap());
        let value = Table::root(&report, &document).optional("a").unwrap();
        let sets = Sets::default();
        let one = |address: &str| {
            let mut members = Members::default();
            members.push_range(address.parse().unwrap(), address.parse().unwrap());
            Arc::new(members.into_set())
        };
        assert!(sets.take_up(MAX_RANGES - 3, value));
        assert_eq!(sets.unite(vec![one("192.0.2.1"), one("192.0.2.3")], value).ranges().len(), 2);
        let same = one("192.0.2.5");
        assert_eq!(sets.unite(vec![Arc::clone(&same), same], value).ranges().len(), 1);
        assert!(!report.has_errors());
        assert!(sets.unite(vec![one("192.0.2.1"), one("192.0.2.3")], value).is_empty());
        assert!(report.finish().to_string().contains("hold more than 33554432 ranges of addresses in all"));
    }
}
