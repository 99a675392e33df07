//! `from` and `to` of a rule: addresses, sets and negations become one set. Equal lists become
//! the same set in memory, because a set of a million prefixes may stand in a thousand rules.

use std::collections::HashMap;
use std::sync::Arc;

use super::addresses::read_prefix;
use super::members::Members;
use super::reader::Value;
use super::sets::Sets;
use super::suggest::quoted;
use crate::firewall::address::AddressSet;

/// The lists that were read, by what is written in them.
pub(super) struct Lists<'a, 's> {
    sets: &'s Sets<'a>,
    seen: HashMap<Vec<&'a str>, Arc<AddressSet>>,
}

impl<'a, 's> Lists<'a, 's> {
    pub(super) fn new(sets: &'s Sets<'a>) -> Self {
        Self { sets, seen: HashMap::new() }
    }

    /// The addresses that a list lets through: in a positive entry, or there is none, and in no
    /// negative one.
    pub(super) fn read(&mut self, value: Value<'a>) -> Arc<AddressSet> {
        let entries = value.one_or_list();
        let texts: Vec<&str> = entries.iter().filter_map(|entry| entry.string()).collect();
        let mut correct = !texts.is_empty() && texts.len() == entries.len();
        // A list with an error is never among these: what is wrong is said at each place.
        if let Some(known) = self.seen.get(&texts).filter(|_| correct) {
            return Arc::clone(known);
        }
        let (mut positive, mut negative) = (Union::default(), Union::default());
        let mut any_positive = false;
        for entry in entries {
            let Some(text) = entry.as_str() else { continue };
            let negated = text.strip_prefix('!');
            any_positive |= negated.is_none();
            let union = if negated.is_some() { &mut negative } else { &mut positive };
            correct &= union.add(entry, negated.unwrap_or(text), self.sets);
        }
        let included =
            if any_positive { positive.unite(value, self.sets) } else { Arc::new(AddressSet::all()) };
        let excluded = negative.unite(value, self.sets);
        let set = if excluded.is_empty() { included } else { self.difference(&included, &excluded, value) };
        if correct {
            self.seen.insert(texts, Arc::clone(&set));
        }
        set
    }

    /// The addresses of a list in which nothing can be negated; an empty list has none.
    pub(super) fn read_positive(&self, value: Value<'a>) -> Arc<AddressSet> {
        if value.is_empty_list() {
            return Arc::default();
        }
        let mut union = Union::default();
        for entry in value.one_or_list() {
            let Some(text) = entry.string() else { continue };
            if text.starts_with('!') {
                let message = format!("{} negates, which `never_ban` cannot", quoted(text));
                entry.error(message, "name what may never be banned, and nothing else");
            } else {
                union.add(entry, text, self.sets);
            }
        }
        union.unite(value, self.sets)
    }

    fn difference(&self, included: &AddressSet, excluded: &AddressSet, value: Value<'a>) -> Arc<AddressSet> {
        // Each range that is cut out leaves at most one more.
        if self.sets.take_up(included.ranges().len() + excluded.ranges().len(), value) {
            Arc::new(included.difference(excluded))
        } else {
            Arc::default()
        }
    }
}

/// Prefixes and sets on their way to one set.
#[derive(Default)]
struct Union {
    prefixes: Members,
    sets: Vec<Arc<AddressSet>>,
}

impl Union {
    /// False if the entry is wrong, which is reported.
    fn add<'a>(&mut self, entry: Value<'a>, text: &'a str, sets: &Sets<'a>) -> bool {
        match text.strip_prefix('@') {
            Some(name) => sets.members(name, entry).map(|set| self.sets.push(set)).is_some(),
            None => read_prefix(entry, text).map(|prefix| self.prefixes.push(prefix)).is_some(),
        }
    }

    fn unite(mut self, value: Value<'_>, sets: &Sets<'_>) -> Arc<AddressSet> {
        if !self.prefixes.is_empty() {
            self.sets.push(Arc::new(self.prefixes.into_set()));
        }
        sets.unite(self.sets, value)
    }
}
