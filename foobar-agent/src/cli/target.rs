//! Which agent a command means: where several run on one machine, each has its own `run_dir`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use toml::de::{DeTable, DeValue};

use super::Output;
use super::arguments::{DEFAULT_CONFIG, Look};
use crate::control::client::{Client, ClientError};
use crate::kernel::Places;
use crate::monitor::snapshot::Snapshot;

/// Folders unless a configuration says otherwise.
const DEFAULT_RUN_DIR: &str = "/run/foobar";
const DEFAULT_STATE_DIR: &str = "/var/lib/foobar";
const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/foobar";

/// Names one running agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(super) struct Target {
    /// Ask the agent that runs with this configuration [default: /etc/foobar/foobar.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask the agent whose control socket is in this folder [default: where the configuration has it]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    run_dir: Option<PathBuf>,
}

impl Target {
    /// The agent of a folder, or the default one.
    pub(super) fn of_run_dir(run_dir: Option<PathBuf>) -> Self {
        Self { config: None, run_dir }
    }

    /// The agent of a folder, or else the one that runs with a configuration.
    pub(super) fn of(config: PathBuf, run_dir: Option<PathBuf>) -> Self {
        Self { config: Some(config), run_dir }
    }

    /// This one, or where none is named the one that runs with a configuration.
    pub(super) fn or_of(self, config: &Path) -> Self {
        if self == Self::default() { Self::of(config.to_owned(), None) } else { self }
    }

    /// Asks the agent one thing and waits for the answer.
    pub(super) fn ask<T>(
        &self,
        question: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
    ) -> anyhow::Result<T> {
        let client = Client::new(&self.run_dir()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(question(client))?)
    }

    fn run_dir(&self) -> io::Result<PathBuf> {
        match &self.run_dir {
            Some(run_dir) => Ok(run_dir.clone()),
            None => self.host_folder("run_dir", DEFAULT_RUN_DIR),
        }
    }

    /// Where the agent has what outlives it; nothing where only its `run_dir` is known.
    pub(super) fn places(&self) -> io::Result<Option<Places>> {
        if self.run_dir.is_some() {
            return Ok(None);
        }
        let pin_dir = self.host_folder("pin_dir", DEFAULT_PIN_DIR)?;
        let state_dir = self.host_folder("state_dir", DEFAULT_STATE_DIR)?;
        Ok(Some(Places { pin_dir, state_dir }))
    }

    /// A folder of `[host]`. A file that is named must be readable; the default one need not exist.
    fn host_folder(&self, key: &str, default: &str) -> io::Result<PathBuf> {
        let path = self.config.as_deref().unwrap_or_else(|| Path::new(DEFAULT_CONFIG));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(_) if self.config.is_none() => return Ok(default.into()),
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display())));
            }
        };
        let folder = std::path::absolute(path)?.parent().unwrap_or_else(|| Path::new("/")).to_owned();
        Ok(folder.join(host_key(&text, key).unwrap_or_else(|| default.to_owned())))
    }
}

/// A text of `[host]` in a configuration, which need not be valid otherwise: an agent must be reachable
/// while its file is being repaired.
fn host_key(text: &str, key: &str) -> Option<String> {
    let (document, _errors) = DeTable::parse_recoverable(text);
    let host = document.get_ref().get("host")?.get_ref();
    match host.get(key)?.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    }
}

impl Look {
    /// One list of the snapshot, as a JSON array or as text.
    pub(super) fn list<T: serde::Serialize>(
        &self,
        part: impl FnOnce(&Snapshot) -> &[T],
        text: impl FnOnce(&[T]) -> String,
    ) -> Output {
        let snapshot = self.target.ask(async |client| client.snapshot().await)?;
        let items = part(&snapshot);
        if self.json { super::print::json(&items) } else { Ok(text(items)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_dir_is_found_in_a_broken_file() {
        let broken = "[host]\nrun_dir = \"/run/lb\"\nnonsense = 1\n[firewall\ndefault = drop\n";
        assert_eq!(host_key(broken, "run_dir").as_deref(), Some("/run/lb"));
        assert_eq!(host_key("[firewall]\ndefault = \"drop\"\n", "run_dir"), None);
    }

    #[test]
    fn a_named_file_decides_and_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lb.toml");
        let target = Target { config: Some(file.clone()), run_dir: None };
        assert!(target.run_dir().unwrap_err().to_string().contains("lb.toml"));

        std::fs::write(&file, "[host]\nrun_dir = \"run\"\n").unwrap();
        assert_eq!(target.run_dir().unwrap(), folder.path().join("run"));
        std::fs::write(&file, "").unwrap();
        assert_eq!(target.run_dir().unwrap(), Path::new(DEFAULT_RUN_DIR));

        std::fs::write(&file, "[host]\npin_dir = \"/sys/fs/bpf/lb\"\n").unwrap();
        let places = target.places().unwrap().unwrap();
        assert_eq!(places.pin_dir, Path::new("/sys/fs/bpf/lb"));
        assert_eq!(places.state_dir, Path::new(DEFAULT_STATE_DIR));
    }

    #[test]
    fn a_named_folder_needs_no_file() {
        let target = Target { config: None, run_dir: Some("/run/web1".into()) };
        assert_eq!(target.run_dir().unwrap(), Path::new("/run/web1"));
        assert_eq!(target.places().unwrap(), None);
    }
}
