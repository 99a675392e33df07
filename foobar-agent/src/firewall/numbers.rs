//! Logical numbers of interfaces. Rules and counters know interfaces by them, so that a
//! ruleset can be judged where an interface does not exist, and so that the counters of one
//! stay its own when it goes and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use foobar_ebpf::abi::INTERFACES_MAX;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::durable;

const FILE_NAME: &str = "interfaces.json";

/// More interfaces than a rule can tell apart.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "no number is left for {name}: {} names of interfaces are told apart, over restarts, too; to begin anew stop the \
     agent, run `foobar-agent detach`, and remove {FILE_NAME} from host.state_dir",
    INTERFACES_MAX - 1
)]
pub struct TooManyInterfaces {
    /// The one without a number.
    pub name: String,
}

/// Numbers by name, from 1. A name keeps its number for as long as the state folder lasts:
/// the counters in the kernel do, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceNumbers {
    by_name: BTreeMap<String, u32>,
}

impl InterfaceNumbers {
    /// What an earlier agent left in its state folder; none, with a warning, where that is damaged.
    pub fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE_NAME);
        let read = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Ok(text) => Self::parse(&text),
            Err(error) => Err(error.to_string()),
        };
        read.unwrap_or_else(|why| {
            tracing::warn!(
                "{}: {why}; interfaces are numbered anew, and their counters may mix",
                path.display()
            );
            Self::default()
        })
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let numbers: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let mut seen = BTreeSet::new();
        for (name, &number) in &numbers.by_name {
            if !(1..INTERFACES_MAX).contains(&number) {
                return Err(format!("{name} has the number {number}, which does not exist"));
            }
            if !seen.insert(number) {
                return Err(format!("{name} has the number {number}, which another has, too"));
            }
        }
        Ok(numbers)
    }

    /// Leaves the numbers for the next agent, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, state_dir: &Path) -> io::Result<()> {
        durable::replace(&state_dir.join(FILE_NAME), &serde_json::to_vec(self)?)
    }

    /// The number of a name, a new one where it has none.
    ///
    /// # Errors
    /// [`TooManyInterfaces`]
    pub fn number(&mut self, name: &str) -> Result<u32, TooManyInterfaces> {
        if let Some(&number) = self.by_name.get(name) {
            return Ok(number);
        }
        let taken: BTreeSet<u32> = self.by_name.values().copied().collect();
        let free = (1..INTERFACES_MAX).find(|number| !taken.contains(number));
        let number = free.ok_or_else(|| TooManyInterfaces { name: name.to_owned() })?;
        self.by_name.insert(name.to_owned(), number);
        Ok(number)
    }

    /// The name of a number that is taken.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.by_name.iter().find(|&(_, &taken)| taken == number).map(|(name, _)| name.as_str())
    }

    /// The names that have a number.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The number of a name that has one.
    pub fn get(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_the_last_one_is_refused_alone() {
        let mut numbers = InterfaceNumbers::default();
        for expected in 1..INTERFACES_MAX {
            assert_eq!(numbers.number(&format!("eth{expected}")), Ok(expected));
        }
        let refused = numbers.number("wan").unwrap_err().to_string();
        assert!(refused.contains("wan") && refused.contains("63 names"), "{refused}");
        assert_eq!(numbers.number("eth7"), Ok(7));
        assert_eq!(numbers.get("wan"), None);
    }

    #[test]
    fn what_was_saved_is_loaded_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(InterfaceNumbers::load(folder.path()), InterfaceNumbers::default());
        let mut numbers = InterfaceNumbers::default();
        numbers.number("eth0").unwrap();
        numbers.save(folder.path()).unwrap();
        assert_eq!(InterfaceNumbers::load(folder.path()), numbers);
        for damaged in [
            r#"{"by_name":{"a":1,"b":1}}"#,
            r#"{"by_name":{"a":0}}"#,
            r#"{"by_name":{"a":64}}"#,
            r#"{"by_na"#,
        ] {
            fs::write(folder.path().join(FILE_NAME), damaged).unwrap();
            assert_eq!(InterfaceNumbers::load(folder.path()), InterfaceNumbers::default(), "{damaged}");
        }
    }

    #[test]
    fn a_gap_is_filled_without_a_collision() {
        let mut numbers = InterfaceNumbers::parse(br#"{"by_name":{"a":2}}"#).unwrap();
        assert_eq!(numbers.number("b"), Ok(1));
        assert_eq!(numbers.number("c"), Ok(3));
    }
}
