//! What pins cannot hold: the names of the counters of each generation, and what earlier
//! generations counted. A file that is written whole before each switch, so that after a crash
//! at any point the kernel itself says which generation judges.
//!
//! As pins, it is one version's own: what another version of the datapath wrote down belongs to a
//! datapath that may still judge. Its sums are read, and that file is not written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io, mem};

use foobar_ebpf::abi::DATAPATH_VERSION;
use serde::{Deserialize, Serialize};

use super::error::KernelError;
use super::message::{CounterSample, Named};
use super::pins;
use crate::durable;

/// Names of one generation's counters, by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) number: u64,
    pub(super) rules: Vec<String>,
    pub(super) services: Vec<String>,
    /// Rules with a rate.
    #[serde(default)]
    pub(super) limits: Vec<String>,
}

/// Rows of one generation's counters, or of all.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rules: Vec<Named>,
    pub(super) services: Vec<Named>,
    /// What rules did not match because it was over their rates.
    pub(super) over: Vec<Named>,
}

/// Counts of earlier generations, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carried {
    rules: BTreeMap<String, CounterSample>,
    services: BTreeMap<String, CounterSample>,
    #[serde(default)]
    over: BTreeMap<String, CounterSample>,
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
    /// It was not there when it was opened.
    is_new: bool,
}

/// What the first version's file is called; those of later ones bear their number.
const FIRST: &str = "datapath.json";

/// What comes before and after the number.
const NUMBERED: [&str; 2] = ["datapath-v", ".json"];

fn file_name(version: u32) -> String {
    let [before, after] = NUMBERED;
    if version == 1 { FIRST.to_owned() } else { format!("{before}{version}{after}") }
}

impl Ledger {
    /// Reads the file in `state_dir`; a damaged one is an empty one. Where there is none, sums
    /// go on from those of the latest earlier version, if one has left any.
    pub(super) fn open(state_dir: &Path) -> Result<Self, KernelError> {
        let path = state_dir.join(file_name(DATAPATH_VERSION));
        if let Some(content) = read(&path)? {
            return Ok(Self { path, content, is_new: false });
        }
        let mut content = Content::default();
        for version in (1..DATAPATH_VERSION).rev() {
            if let Some(earlier) = read(&state_dir.join(file_name(version)))? {
                // Its generations are not ours.
                content.carried = earlier.carried;
                break;
            }
        }
        Ok(Self { path, content, is_new: true })
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
    pub(super) fn promote(&mut self, last: Rows) {
        let Some(pending) = self.content.pending.take() else { return };
        let Carried { rules, services, over } = &mut self.content.carried;
        for (named, sums) in [(last.rules, rules), (last.services, services), (last.over, over)] {
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
    pub(super) fn add_carried(&self, rows: &mut Rows) {
        let Carried { rules, services, over } = &self.content.carried;
        for (rows, sums) in [(&mut rows.rules, rules), (&mut rows.services, services), (&mut rows.over, over)]
        {
            for row in rows {
                row.count += sums.get(&row.name).copied().unwrap_or_default();
            }
        }
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
fn read(path: &Path) -> Result<Option<Content>, KernelError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!("{} is damaged ({error}): counters start from zero", path.display());
            Content::default()
        }))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KernelError::io("cannot read", path)(error)),
    }
}

/// Removes the files of every version.
pub(super) fn remove_all(state_dir: &Path) -> Result<(), KernelError> {
    let entries = match fs::read_dir(state_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(KernelError::io("cannot read", state_dir))?,
    };
    let [before, after] = NUMBERED;
    for entry in entries {
        let path = entry.map_err(KernelError::io("cannot read", state_dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == FIRST || (name.starts_with(before) && name.ends_with(after)) {
            pins::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(number: u64, rules: &[&str]) -> Names {
        Names { number, rules: rules.iter().map(ToString::to_string).collect(), ..Names::default() }
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
        ledger.promote(Rows::default());
        ledger.announce(names(2, &["b", "policy"])).unwrap();
        ledger.promote(rules(&[("a", 5), ("b", 7), ("policy", 1)]));
        ledger.announce(names(3, &["policy", "a"])).unwrap();
        ledger.promote(rules(&[("b", 2), ("policy", 1)]));

        let mut rows = rules(&[("a", 100), ("b", 0), ("new", 3)]);
        Ledger::open(folder.path()).unwrap().add_carried(&mut rows);
        assert_eq!(rows.rules, [row("a", 105), row("b", 9), row("new", 3)]);
        assert_eq!(ledger.judging().number, 3);
    }

    #[test]
    fn a_crash_between_announcement_and_promotion_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.announce(names(1, &["policy"])).unwrap();
        ledger.promote(Rows::default());
        ledger.announce(names(2, &["x", "policy"])).unwrap();
        let after_crash = Ledger::open(folder.path()).unwrap();
        assert_eq!(after_crash.judging(), &names(1, &["policy"]));
        assert_eq!(after_crash.pending(), Some(&names(2, &["x", "policy"])));
        assert_eq!(after_crash.next_number(), 3);
    }

    #[test]
    fn a_damaged_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file_name(DATAPATH_VERSION)), "{ no json").unwrap();
        assert_eq!(Ledger::open(folder.path()).unwrap().judging().number, 0);
    }

    /// As an earlier version wrote it, with 5 packets of a generation before its seventh.
    const EARLIER: &str = r#"{"judging":{"number":7,"rules":["a","policy"],"services":[]},"pending":null,
        "carried":{"rules":{"a":{"packets":5,"bytes":0}},"services":{}}}"#;

    #[test]
    fn sums_of_an_earlier_version_go_on_and_its_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (earlier, ours) = (folder.path().join(FIRST), folder.path().join(file_name(DATAPATH_VERSION)));
        fs::write(&earlier, EARLIER).unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!((ledger.judging().number, ledger.next_number()), (0, 1), "its generations are not ours");
        ledger.announce(names(1, &["a", "policy"])).unwrap();
        ledger.promote(Rows::default());
        let mut rows = rules(&[("a", 2)]);
        Ledger::open(folder.path()).unwrap().add_carried(&mut rows);
        assert_eq!(rows.rules, [row("a", 7)]);
        // The start that made it fails after all.
        ledger.remove_new().unwrap();
        assert!(!ours.exists());
        assert_eq!(fs::read_to_string(&earlier).unwrap(), EARLIER);
        remove_all(folder.path()).unwrap();
        assert!(!earlier.exists());
    }

    #[test]
    fn a_start_that_fails_leaves_the_sums_that_it_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file_name(DATAPATH_VERSION)), EARLIER).unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.announce(names(8, &["a", "policy"])).unwrap();
        ledger.promote(Rows::default());
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
