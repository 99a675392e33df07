//! What pins cannot hold: the names of the counters of each generation, and what earlier
//! generations counted. A file that is written whole before each switch, so that after a crash
//! at any point the kernel itself says which generation judges.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io, mem};

use serde::{Deserialize, Serialize};

use super::error::KernelError;
use super::message::{CounterSample, Named};
use crate::durable;

/// Names of one generation's counters, by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) number: u64,
    pub(super) rules: Vec<String>,
    pub(super) services: Vec<String>,
}

/// Counts of earlier generations, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carried {
    rules: BTreeMap<String, CounterSample>,
    services: BTreeMap<String, CounterSample>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    judging: Names,
    /// Announced before the switch and promoted after it.
    pending: Option<Names>,
    carried: Carried,
}

/// The file and what it says.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    content: Content,
}

impl Ledger {
    /// Reads the file; a missing or damaged one is an empty one.
    pub(super) fn open(path: PathBuf) -> Result<Self, KernelError> {
        let content = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!("{} is damaged ({error}): counters start from zero", path.display());
                Content::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(KernelError::io("cannot read", path)(error)),
        };
        Ok(Self { path, content })
    }

    /// The generation that judges; number 0 before the first.
    pub(super) fn judging(&self) -> &Names {
        &self.content.judging
    }

    /// A generation that was announced and not yet promoted: an agent died in between.
    pub(super) fn pending(&self) -> Option<&Names> {
        self.content.pending.as_ref()
    }

    /// The number of the next generation; one that was ever announced is not used again.
    pub(super) fn next_number(&self) -> u64 {
        self.content.judging.number.max(self.content.pending.as_ref().map_or(0, |names| names.number)) + 1
    }

    /// Writes down what is about to judge.
    pub(super) fn announce(&mut self, names: Names) -> Result<(), KernelError> {
        self.content.pending = Some(names);
        self.write()
    }

    /// The announced generation does not judge after all. What stays in the file is resolved by
    /// asking the kernel.
    pub(super) fn withdraw(&mut self) {
        self.content.pending = None;
    }

    /// The announced generation judges: adds what the one before it counted, by name. Must be
    /// called with the last counts of that one.
    pub(super) fn promote(&mut self, rules: Vec<Named>, services: Vec<Named>) {
        let Some(pending) = self.content.pending.take() else { return };
        for (named, sums) in
            [(rules, &mut self.content.carried.rules), (services, &mut self.content.carried.services)]
        {
            for Named { name, count } in named {
                *sums.entry(name).or_default() += count;
            }
        }
        self.content.judging = pending;
        if let Err(error) = self.write() {
            // The next switch writes it again; until then a crash costs the counts of one generation.
            tracing::error!("{error}");
        }
    }

    /// Adds what earlier generations counted to rows of the one that judges.
    pub(super) fn add_carried(&self, rules: &mut [Named], services: &mut [Named]) {
        for (rows, sums) in [(rules, &self.content.carried.rules), (services, &self.content.carried.services)]
        {
            for row in rows {
                row.count += sums.get(&row.name).copied().unwrap_or_default();
            }
        }
    }

    /// Removes the file: what it names is gone.
    pub(super) fn remove(&mut self) -> Result<(), KernelError> {
        mem::take(&mut self.content);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KernelError::io("cannot remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    fn write(&self) -> Result<(), KernelError> {
        let text = serde_json::to_vec(&self.content).map_err(KernelError::bpf("cannot write counters"))?;
        durable::replace(&self.path, &text).map_err(KernelError::io("cannot write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(number: u64, rules: &[&str]) -> Names {
        Names { number, rules: rules.iter().map(ToString::to_string).collect(), services: Vec::new() }
    }

    fn row(name: &str, packets: u64) -> Named {
        Named { name: name.to_owned(), count: CounterSample { packets, bytes: 0 } }
    }

    #[test]
    fn counts_follow_names_over_reorder_removal_and_return() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("ledger.json")).unwrap();
        ledger.announce(names(1, &["a", "b", "policy"])).unwrap();
        ledger.promote(Vec::new(), Vec::new());
        ledger.announce(names(2, &["b", "policy"])).unwrap();
        ledger.promote(vec![row("a", 5), row("b", 7), row("policy", 1)], Vec::new());
        ledger.announce(names(3, &["policy", "a"])).unwrap();
        ledger.promote(vec![row("b", 2), row("policy", 1)], Vec::new());

        let mut rows = [row("a", 100), row("b", 0), row("new", 3)];
        Ledger::open(folder.path().join("ledger.json")).unwrap().add_carried(&mut rows, &mut []);
        assert_eq!(rows, [row("a", 105), row("b", 9), row("new", 3)]);
        assert_eq!(ledger.judging().number, 3);
    }

    #[test]
    fn a_crash_between_announcement_and_promotion_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.json");
        let mut ledger = Ledger::open(path.clone()).unwrap();
        ledger.announce(names(1, &["policy"])).unwrap();
        ledger.promote(Vec::new(), Vec::new());
        ledger.announce(names(2, &["x", "policy"])).unwrap();
        let after_crash = Ledger::open(path).unwrap();
        assert_eq!(after_crash.judging(), &names(1, &["policy"]));
        assert_eq!(after_crash.pending(), Some(&names(2, &["x", "policy"])));
        assert_eq!(after_crash.next_number(), 3);
    }

    #[test]
    fn a_damaged_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.json");
        fs::write(&path, "{ no json").unwrap();
        assert_eq!(Ledger::open(path).unwrap().judging().number, 0);
    }
}
