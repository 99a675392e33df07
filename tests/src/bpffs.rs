//! A bpf file system of its own for each user, because pins of several agents on one machine must not
//! meet, and none must outlive the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::session::{Leftover, Session};

/// A mounted bpf file system; unmounted when dropped, with all its pins.
#[derive(Debug)]
pub struct Bpffs {
    path: PathBuf,
    _session: Arc<Session>,
}

impl Bpffs {
    /// Mounts one on a folder, which is made if need be.
    pub fn mount(path: &Path) -> Result<Self> {
        let session = Session::current()?;
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
        session.record(&Leftover::Mount(path.to_owned()))?;
        mount(Some("bpf"), path, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount a bpf file system on {}", path.display()))?;
        Ok(Self { path: path.to_owned(), _session: session })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        if let Err(error) = Leftover::Mount(self.path.clone()).remove() {
            eprintln!("{error:#}");
        }
    }
}
