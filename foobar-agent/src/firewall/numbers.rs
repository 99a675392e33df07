//! Logical numbers of interfaces. Rules and counters know interfaces by them, so that a
//! ruleset can be judged where an interface does not exist, and so that the counters of one
//! stay its own when it goes and comes back.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use foobar_ebpf::abi::INTERFACES_MAX;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const FILE_NAME: &str = "interfaces.json";

/// More interfaces than a rule can tell apart.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("there are more than {} interfaces to tell apart, among them {name}", INTERFACES_MAX - 1)]
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
    /// What an earlier agent left in its state folder; none where that cannot be read.
    pub fn load(state_dir: &Path) -> Self {
        let text = std::fs::read(state_dir.join(FILE_NAME)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Leaves the numbers for the next agent.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, state_dir: &Path) -> io::Result<()> {
        let next = state_dir.join(FILE_NAME).with_extension("json.next");
        std::fs::write(&next, serde_json::to_vec(self)?)?;
        std::fs::rename(next, state_dir.join(FILE_NAME))
    }

    /// The number of a name, a new one where it has none.
    ///
    /// # Errors
    /// [`TooManyInterfaces`]
    pub fn number(&mut self, name: &str) -> Result<u32, TooManyInterfaces> {
        if let Some(&number) = self.by_name.get(name) {
            return Ok(number);
        }
        let number = u32::try_from(self.by_name.len() + 1).unwrap_or(INTERFACES_MAX);
        if number >= INTERFACES_MAX {
            return Err(TooManyInterfaces { name: name.to_owned() });
        }
        self.by_name.insert(name.to_owned(), number);
        Ok(number)
    }

    /// The number of a name that has one.
    pub fn get(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }
}
