//! Where maps, programs and links outlive the agent: a folder of its own for each version
//! of the ABI, on a BPF file system.
//!
//! ```text
//! <pin_dir>/datapath-v1/GENERATIONS, CONTROL, …   shared maps
//!                       root                      the program that is attached
//!                       links/2                   one attachment, by ifindex
//!                       generation-7/RULES, …     counters of the judging generation
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use foobar_ebpf::abi::DATAPATH_VERSION;

use super::error::KernelError;
use super::sys;

/// Where a BPF file system usually is; the only place where the agent mounts one itself.
const USUAL_MOUNT: &str = "/sys/fs/bpf";

#[derive(Clone, Debug)]
pub(super) struct Pins {
    folder: PathBuf,
}

impl Pins {
    /// Makes the folders, and mounts a BPF file system at its usual place if it is missing.
    pub(super) fn open(pin_dir: &Path) -> Result<Self, KernelError> {
        let existing = pin_dir.ancestors().find(|folder| folder.exists()).unwrap_or_else(|| Path::new("/"));
        let is_bpffs = sys::is_bpffs(existing).map_err(KernelError::io("cannot examine", existing))?;
        if !is_bpffs {
            if !pin_dir.starts_with(USUAL_MOUNT) {
                return Err(KernelError::NotBpffs { path: pin_dir.to_owned() });
            }
            sys::mount_bpffs(Path::new(USUAL_MOUNT))
                .map_err(KernelError::io("cannot mount a BPF file system at", USUAL_MOUNT))?;
        }
        let pins = Self { folder: pin_dir.join(format!("datapath-v{DATAPATH_VERSION}")) };
        let links = pins.links();
        fs::create_dir_all(&links).map_err(KernelError::io("cannot create", links))?;
        Ok(pins)
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    fn links(&self) -> PathBuf {
        self.folder.join("links")
    }

    /// Named by number: names on a BPF file system must not hold a dot, names of interfaces
    /// may. An interface that went and came back has another number, its old link is dead.
    pub(super) fn link(&self, ifindex: u32) -> PathBuf {
        self.links().join(ifindex.to_string())
    }

    /// Whether any attachment is pinned.
    pub(super) fn has_links(&self) -> Result<bool, KernelError> {
        let links = self.links();
        let mut entries = fs::read_dir(&links).map_err(KernelError::io("cannot read", links))?;
        Ok(entries.next().is_some())
    }

    pub(super) fn generation(&self, number: u64) -> PathBuf {
        self.folder.join(format!("generation-{number}"))
    }

    /// Removes the counters of every generation but one.
    pub(super) fn keep_generation(&self, number: Option<u64>) -> Result<(), KernelError> {
        let keep = number.map(|number| self.generation(number));
        for entry in fs::read_dir(&self.folder).map_err(KernelError::io("cannot read", &self.folder))? {
            let path = entry.map_err(KernelError::io("cannot read", &self.folder))?.path();
            let is_generation =
                path.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.starts_with("generation-"));
            if is_generation && keep.as_ref() != Some(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes everything; links without a holder detach.
    pub(super) fn remove_all(&self) -> Result<(), KernelError> {
        remove(&self.folder)
    }
}

/// Removes a folder of pins, or nothing where it is not there.
pub(super) fn remove(folder: &Path) -> Result<(), KernelError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(KernelError::io("cannot remove", folder)(error))
        }
        _ => Ok(()),
    }
}
