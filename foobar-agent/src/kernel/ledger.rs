//! What pins cannot hold: the names of the counters of each generation that is loaded, and what those
//! before them counted. A file that is written whole; which of its generations judges is what the kernel
//! says.
//!
//! As pins, it is one version's own. What another version of the datapath wrote down is added when that
//! one's last interface has been taken over, once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use std::{fs, io, mem};

use foobar_ebpf::abi::DATAPATH_VERSION;
use serde::{Deserialize, Serialize};

use super::error::KernelError;
use super::loader::Make;
use super::message::{CounterSample, Named};
use super::pins;
use crate::durable;

/// Names of one generation's counters, by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) number: u64,
    pub(super) rules: Vec<String>,
    pub(super) services: Vec<String>,
    /// Rules with a rate, by its number.
    #[serde(default)]
    pub(super) limits: Vec<String>,
    /// What its program was made of, and with.
    #[serde(default)]
    pub(super) make: Option<Make>,
}

/// What is counted by name.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Hits by rule.
    pub(super) rules: Vec<Named>,
    /// Messages by service.
    pub(super) services: Vec<Named>,
    /// By rule, what was over its rate.
    pub(super) over: Vec<Named>,
}

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carried {
    rules: BTreeMap<String, CounterSample>,
    services: BTreeMap<String, CounterSample>,
    #[serde(default)]
    over: BTreeMap<String, CounterSample>,
}

impl Carried {
    /// Adds counts under their names.
    pub(super) fn add(&mut self, rows: Rows) {
        let Self { rules, services, over } = self;
        for (named, sums) in [(rows.rules, rules), (rows.services, services), (rows.over, over)] {
            for Named { name, count } in named {
                *sums.entry(name).or_default() += count;
            }
        }
    }

    /// Adds these counts to rows of the same names.
    pub(super) fn add_to(&self, rows: &mut Rows) {
        let Self { rules, services, over } = self;
        for (rows, sums) in [(&mut rows.rules, rules), (&mut rows.services, services), (&mut rows.over, over)]
        {
            for row in rows {
                row.count += sums.get(&row.name).copied().unwrap_or_default();
            }
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// Written down before they judge, and until their counts are in the sums.
    #[serde(default)]
    loaded: Vec<Names>,
    #[serde(default)]
    last_number: u64,
    /// Of generations that are loaded no more.
    #[serde(default)]
    carried: Carried,
    /// The file of another version whose counts are among the sums already.
    #[serde(default)]
    absorbed: Option<Stamp>,
}

/// Which writing of a file is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    name: String,
    written_ns: u64,
}

/// The file and what it says.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    content: Content,
    /// It was not there when it was opened.
    is_new: bool,
}

/// What another version's file says, as far as every version writes it.
#[derive(Debug, Default, Deserialize)]
struct Foreign {
    /// Up to version 2: the one that judges, and one that was about to.
    #[serde(default)]
    judging: Option<Names>,
    #[serde(default)]
    pending: Option<Names>,
    #[serde(default)]
    loaded: Vec<Names>,
    #[serde(default)]
    carried: Carried,
}

/// The file of another version.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) version: u32,
    path: PathBuf,
    stamp: Stamp,
    content: Foreign,
}

impl Other {
    /// Its generations whose counters may still be pinned.
    pub(super) fn generations(&self) -> impl Iterator<Item = &Names> {
        let Foreign { judging, pending, loaded, .. } = &self.content;
        loaded.iter().chain(judging).chain(pending).filter(|names| names.number != 0)
    }
}

/// What the first version's file is called; those of later ones bear their number.
const FIRST: &str = "datapath.json";

/// What comes before and after the number.
const NUMBERED: [&str; 2] = ["datapath-v", ".json"];

fn file_name(version: u32) -> String {
    let [before, after] = NUMBERED;
    if version == 1 { FIRST.to_owned() } else { format!("{before}{version}{after}") }
}

fn version_of(file_name: &str) -> Option<u32> {
    let [before, after] = NUMBERED;
    if file_name == FIRST {
        return Some(1);
    }
    file_name.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
}

impl Ledger {
    /// Reads the file in `state_dir`; a damaged one is an empty one.
    pub(super) fn open(state_dir: &Path) -> Result<Self, KernelError> {
        let path = state_dir.join(file_name(DATAPATH_VERSION));
        let content = read(&path)?;
        Ok(Self { path, is_new: content.is_none(), content: content.unwrap_or_default() })
    }

    /// Generations whose counters are not in the sums.
    pub(super) fn loaded(&self) -> &[Names] {
        &self.content.loaded
    }

    /// The number of the next generation; one that was ever announced is not used again.
    pub(super) fn next_number(&self) -> u64 {
        self.content.last_number + 1
    }

    /// Writes down what is about to judge.
    pub(super) fn announce(&mut self, names: Names) -> Result<(), KernelError> {
        self.content.last_number = self.content.last_number.max(names.number);
        self.content.loaded.push(names);
        self.write()
    }

    /// Adds the last counts of a generation that judges no more, and forgets its names: in one
    /// writing, so that they are never counted twice.
    pub(super) fn retire(&mut self, number: u64, last: Rows) {
        self.content.loaded.retain(|names| names.number != number);
        self.content.carried.add(last);
        if let Err(error) = self.write() {
            // The next switch writes it again; until then a crash costs the counts of one generation.
            tracing::error!("{error}");
        }
    }

    /// Adds what earlier generations counted to rows of the one that judges.
    pub(super) fn add_carried(&self, rows: &mut Rows) {
        self.content.carried.add_to(rows);
    }

    /// The files that other versions have left beside this one.
    pub(super) fn others(&self) -> Result<Vec<Other>, KernelError> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("/"));
        let mut others = Vec::new();
        for (version, path) in files(folder)? {
            if version == DATAPATH_VERSION {
                continue;
            }
            let metadata = fs::metadata(&path).map_err(KernelError::io("cannot examine", &path))?;
            let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let written_ns = written.map_or(0, |since| since.as_nanos().try_into().unwrap_or(u64::MAX));
            let stamp = Stamp { name: file_name(version), written_ns };
            others.push(Other { version, content: read(&path)?.unwrap_or_default(), path, stamp });
        }
        Ok(others)
    }

    /// Adds what another version counted: its sums, and `live`, what its generations counted since. Once:
    /// a crash before its file is gone does not count it again.
    pub(super) fn absorb(&mut self, other: &Other, live: &Carried) -> Result<(), KernelError> {
        if self.content.absorbed.as_ref() == Some(&other.stamp) {
            return Ok(());
        }
        let named = |sums: &BTreeMap<String, CounterSample>| {
            let rows = sums.iter().map(|(name, count)| Named { name: name.clone(), count: *count });
            rows.collect()
        };
        for sums in [&other.content.carried, live] {
            let (rules, services, over) = (named(&sums.rules), named(&sums.services), named(&sums.over));
            self.content.carried.add(Rows { rules, services, over });
        }
        self.content.absorbed = Some(other.stamp.clone());
        self.write()
    }

    /// Removes the file of another version, whose counts have been added.
    pub(super) fn remove(other: &Other) -> Result<(), KernelError> {
        pins::remove_file(&other.path)
    }

    /// Forgets all; the file stays.
    pub(super) fn clear(&mut self) {
        mem::take(&mut self.content);
    }

    /// Removes the file, unless it was there before: sums of earlier generations are in it then.
    pub(super) fn remove_new(&mut self) -> Result<(), KernelError> {
        self.clear();
        if self.is_new { pins::remove_file(&self.path) } else { Ok(()) }
    }

    fn write(&self) -> Result<(), KernelError> {
        let text = serde_json::to_vec(&self.content).map_err(KernelError::bpf("cannot write counters"))?;
        durable::replace(&self.path, &text).map_err(KernelError::io("cannot write", &self.path))
    }
}

/// What a file says, or nothing where there is none.
fn read<T: Default + for<'text> Deserialize<'text>>(path: &Path) -> Result<Option<T>, KernelError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!("{} is damaged ({error}): counters start from zero", path.display());
            T::default()
        }))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KernelError::io("cannot read", path)(error)),
    }
}

/// The files of every version, by version.
fn files(state_dir: &Path) -> Result<Vec<(u32, PathBuf)>, KernelError> {
    let entries = match fs::read_dir(state_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(KernelError::io("cannot read", state_dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(KernelError::io("cannot read", state_dir))?.path();
        let version = path.file_name().and_then(|name| name.to_str()).and_then(version_of);
        found.extend(version.map(|version| (version, path)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes the files of every version.
pub(super) fn remove_all(state_dir: &Path) -> Result<(), KernelError> {
    for (_, path) in files(state_dir)? {
        pins::remove_file(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(number: u64, rules: &[&str]) -> Names {
        let rules = rules.iter().map(ToString::to_string).collect();
        Names { number, rules, ..Names::default() }
    }

    fn row(name: &str, packets: u64) -> Named {
        Named { name: name.to_owned(), count: CounterSample { packets, bytes: 0 } }
    }

    fn rules(rows: &[(&str, u64)]) -> Rows {
        Rows { rules: rows.iter().map(|&(name, packets)| row(name, packets)).collect(), ..Rows::default() }
    }

    #[test]
    fn counts_follow_names_over_reorder_removal_and_return() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.announce(names(1, &["a", "b", "policy"])).unwrap();
        ledger.announce(names(2, &["b", "policy"])).unwrap();
        ledger.retire(1, rules(&[("a", 5), ("b", 7), ("policy", 1)]));
        ledger.announce(names(3, &["policy", "a"])).unwrap();
        ledger.retire(2, rules(&[("b", 2), ("policy", 1)]));

        let mut rows = rules(&[("a", 100), ("b", 0), ("new", 3)]);
        let ledger = Ledger::open(folder.path()).unwrap();
        ledger.add_carried(&mut rows);
        assert_eq!(rows.rules, [row("a", 105), row("b", 9), row("new", 3)]);
        assert_eq!(ledger.loaded(), [names(3, &["policy", "a"])]);
        assert_eq!(ledger.next_number(), 4);
    }

    #[test]
    fn a_number_that_was_announced_is_not_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.announce(names(1, &["policy"])).unwrap();
        ledger.announce(names(2, &["x", "policy"])).unwrap();
        ledger.retire(2, Rows::default());
        let after_crash = Ledger::open(folder.path()).unwrap();
        assert_eq!(after_crash.loaded(), [names(1, &["policy"])]);
        assert_eq!(after_crash.next_number(), 3);
    }

    #[test]
    fn a_damaged_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file_name(DATAPATH_VERSION)), "{ no json").unwrap();
        assert!(Ledger::open(folder.path()).unwrap().loaded().is_empty());
    }

    /// As an earlier version wrote it, with 5 packets of a generation before its seventh.
    const EARLIER: &str = r#"{"judging":{"number":7,"rules":["a","policy"],"services":[]},"pending":null,
        "carried":{"rules":{"a":{"packets":5,"bytes":0}},"services":{}}}"#;

    #[test]
    fn counts_of_another_version_are_added_once_whatever_comes_between() {
        let folder = tempfile::tempdir().unwrap();
        for earlier in [FIRST.to_owned(), file_name(DATAPATH_VERSION + 1)] {
            let earlier = folder.path().join(earlier);
            fs::write(&earlier, EARLIER).unwrap();
            let mut ledger = Ledger::open(folder.path()).unwrap();
            let others = ledger.others().unwrap();
            let numbers: Vec<_> = others[0].generations().map(|names| names.number).collect();
            assert_eq!(numbers, [7]);
            let mut live = Carried::default();
            live.add(rules(&[("a", 2)]));
            ledger.absorb(&others[0], &live).unwrap();
            // As after a crash before the other file was removed.
            let mut ledger = Ledger::open(folder.path()).unwrap();
            let others = ledger.others().unwrap();
            ledger.absorb(&others[0], &live).unwrap();
            let mut rows = rules(&[("a", 0)]);
            ledger.add_carried(&mut rows);
            assert_eq!(rows.rules, [row("a", 7)]);
            Ledger::remove(&others[0]).unwrap();
            assert!(!earlier.exists());
            fs::remove_file(folder.path().join(file_name(DATAPATH_VERSION))).unwrap();
        }
    }

    #[test]
    fn a_start_that_fails_leaves_the_sums_that_it_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file_name(DATAPATH_VERSION)), EARLIER).unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.announce(names(8, &["a", "policy"])).unwrap();
        ledger.remove_new().unwrap();
        let mut rows = rules(&[("a", 0)]);
        Ledger::open(folder.path()).unwrap().add_carried(&mut rows);
        assert_eq!(rows.rules, [row("a", 5)]);
        fs::write(folder.path().join("interfaces.json"), "{}").unwrap();
        remove_all(folder.path()).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["interfaces.json"]);
    }
}
