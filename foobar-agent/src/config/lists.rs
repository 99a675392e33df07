//! `from` and `to` of a rule: addresses, sets and negations become one set. Equal lists become
//! the same set in memory, because a set of a million prefixes may stand in a thousand rules.

use std::collections::HashMap;
use std::sync::Arc;

use super::addresses::{Members, read_prefix};
use super::reader::Value;
use super::sets::Sets;
use crate::firewall::address::{AddressSet, Prefix};

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
        // What is wrong in a list is said once for each place: a list with an error is never in here.
        if texts.len() == entries.len()
            && let Some(known) = self.seen.get(&texts)
        {
            return Arc::clone(known);
        }
        let mut correct = texts.len() == entries.len();
        let (mut positive, mut negative) = (Union::default(), Union::default());
        let mut any_positive = false;
        for entry in entries {
            let Some(text) = entry.as_str() else { continue };
            let negated = text.strip_prefix('!');
            any_positive |= negated.is_none();
            let union = if negated.is_some() { &mut negative } else { &mut positive };
            correct &= union.add(entry, negated.unwrap_or(text), self.sets);
        }
        let included = if any_positive { positive.into_set() } else { Arc::new(AddressSet::all()) };
        let excluded = negative.into_set();
        let set = if excluded.is_empty() { included } else { Arc::new(included.difference(&excluded)) };
        if correct && !texts.is_empty() {
            self.seen.insert(texts, Arc::clone(&set));
        }
        set
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
            Some(name) => sets.members(name, entry).map(|set| self.sets.push(Arc::clone(set))).is_some(),
            None => read_prefix(entry, text).map(|prefix: Prefix| self.prefixes.push(prefix)).is_some(),
        }
    }

    fn into_set(mut self) -> Arc<AddressSet> {
        if !self.prefixes.is_empty() {
            self.sets.push(Arc::new(self.prefixes.into_set()));
        }
        match self.sets.as_slice() {
            [only] => Arc::clone(only),
            sets => Arc::new(AddressSet::union_of(sets.iter().map(Arc::as_ref))),
        }
    }
}
