//! Where maps, programs and links outlive the agent: a folder of its own for each version
//! of the ABI, on a BPF file system.
//!
//! ```text
//! <pin_dir>/datapath-v3/GENERATIONS, CONTROL, …   shared maps
//!                       root                      the program that is attached
//!                       links/2                   one attachment, by ifindex
//!                       generation-7/RULES, …     counters, image and program of a generation: of the one
//!                                                 that judges and of the one before
//!           bans-v1/BAN_ADDRESSES, …            bans, which a new version of the datapath finds again
//! ```

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{io, thread};

use foobar_ebpf::abi::ban::BANS_VERSION;
use foobar_ebpf::abi::{DATAPATH_VERSION, map};

use super::error::KernelError;
use super::{link, sys};

/// Where a BPF file system usually is; the only place where the agent mounts one itself.
const USUAL_MOUNT: &str = "/sys/fs/bpf";

/// How long a lock is waited for: longer than the verifier takes for a generation.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at a lock; the kernel has no lock with a time limit.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The folder of links.
const LINKS: &str = "links";

/// What the folder of one version is called, before its number.
const FOLDER: &str = "datapath-v";

/// What the folder of bans is called, before the number of its version.
const BANS_FOLDER: &str = "bans-v";

/// The pins of one agent. Held, no other agent opens them.
#[derive(Debug)]
pub(super) struct Pins {
    folder: PathBuf,
    /// `pin_dir` itself, locked; not for whoever only looks.
    lock: Option<File>,
}

impl Pins {
    /// Makes `pin_dir`, and mounts a BPF file system at its usual place if it is missing.
    pub(super) fn prepare(pin_dir: &Path) -> Result<(), KernelError> {
        let existing = pin_dir.ancestors().find(|folder| folder.exists()).unwrap_or_else(|| Path::new("/"));
        let is_bpffs = sys::is_bpffs(existing).map_err(KernelError::io("cannot examine", existing))?;
        if !is_bpffs {
            if !pin_dir.starts_with(USUAL_MOUNT) {
                return Err(KernelError::NotBpffs { path: pin_dir.to_owned() });
            }
            let path = PathBuf::from(USUAL_MOUNT);
            sys::mount_bpffs(&path).map_err(|source| KernelError::Mount { path, source })?;
        }
        fs::create_dir_all(pin_dir).map_err(KernelError::io("cannot create", pin_dir))
    }

    /// Makes the folders in it.
    pub(super) fn open(pin_dir: &Path) -> Result<Self, KernelError> {
        Self::prepare(pin_dir)?;
        let folder = pin_dir.join(format!("{FOLDER}{DATAPATH_VERSION}"));
        let links = folder.join(LINKS);
        fs::create_dir_all(&links).map_err(KernelError::io("cannot create", links))?;
        let bans = bans(pin_dir);
        fs::create_dir_all(&bans).map_err(KernelError::io("cannot create", bans))?;
        Ok(Self { folder, lock: Some(lock(pin_dir)?) })
    }

    /// The pins of every version that an agent left, or nothing.
    pub(super) fn left(pin_dir: &Path) -> Result<Vec<Self>, KernelError> {
        if !pin_dir.exists() {
            return Ok(Vec::new());
        }
        of_every_version(pin_dir, Some(&lock(pin_dir)?))
    }

    /// These, and those that agents of other versions left beside them.
    pub(super) fn of_every_version(&self) -> Result<Vec<Self>, KernelError> {
        of_every_version(self.folder.parent().unwrap_or(&self.folder), self.lock.as_ref())
    }

    /// Those that agents of other versions left beside these.
    pub(super) fn of_other_versions(&self) -> Result<Vec<Self>, KernelError> {
        let mut every = self.of_every_version()?;
        every.retain(|pins| pins.folder != self.folder);
        Ok(every)
    }

    /// Interfaces with a pinned link, by ifindex.
    pub(super) fn linked(&self) -> Result<Vec<u32>, KernelError> {
        let links = self.links();
        let entries = match fs::read_dir(&links) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(KernelError::io("cannot read", &links))?,
        };
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(numbers.collect())
    }

    /// A shared map. Bans are of another version than the rest.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        match name {
            map::BAN_ADDRESSES | map::BAN_PREFIXES => {
                bans(self.folder.parent().unwrap_or(&self.folder)).join(name)
            }
            _ => self.folder.join(name),
        }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    fn links(&self) -> PathBuf {
        self.folder.join(LINKS)
    }

    /// Named by number: names on a BPF file system must not hold a dot, names of interfaces
    /// may. An interface that went and came back has another number, its old link is dead.
    pub(super) fn link(&self, ifindex: u32) -> PathBuf {
        self.links().join(ifindex.to_string())
    }

    pub(super) fn generation(&self, number: u64) -> PathBuf {
        generation(&self.folder, number)
    }

    /// The version of the datapath that pinned here.
    pub(super) fn version(&self) -> Option<u32> {
        self.folder.file_name()?.to_str()?.strip_prefix(FOLDER)?.parse().ok()
    }

    /// Removes what is pinned of every generation but these.
    pub(super) fn keep_generations(&self, numbers: &[u64]) -> Result<(), KernelError> {
        let keep: Vec<PathBuf> = numbers.iter().map(|number| self.generation(*number)).collect();
        for entry in fs::read_dir(&self.folder).map_err(KernelError::io("cannot read", &self.folder))? {
            let path = entry.map_err(KernelError::io("cannot read", &self.folder))?.path();
            let is_generation =
                path.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.starts_with("generation-"));
            if is_generation && !keep.contains(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// See [`remove_bans`].
    pub(super) fn remove_bans(&self) -> Result<(), KernelError> {
        remove_bans(self.folder.parent().unwrap_or(&self.folder))
    }

    /// Takes the datapath off every interface, then removes every pin. Returns the interfaces by
    /// ifindex.
    pub(super) fn remove_all(&self) -> Result<Vec<u32>, KernelError> {
        let linked = self.linked()?;
        for &ifindex in &linked {
            link::release(&self.link(ifindex))?;
        }
        remove(&self.folder)?;
        Ok(linked)
    }
}

/// The folder of bans, of this version.
fn bans(pin_dir: &Path) -> PathBuf {
    pin_dir.join(format!("{BANS_FOLDER}{BANS_VERSION}"))
}

/// Removes the tables of bans, of every version. What the agent wrote down of them stays.
pub(super) fn remove_bans(pin_dir: &Path) -> Result<(), KernelError> {
    for folder in folders(pin_dir, BANS_FOLDER)? {
        remove(&folder)?;
    }
    Ok(())
}

/// The folders whose names begin so.
fn folders(pin_dir: &Path, name: &str) -> Result<Vec<PathBuf>, KernelError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(pin_dir).map_err(KernelError::io("cannot read", pin_dir))? {
        let folder = entry.map_err(KernelError::io("cannot read", pin_dir))?.path();
        let is_one = folder.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.starts_with(name));
        found.extend(is_one.then_some(folder));
    }
    Ok(found)
}

fn of_every_version(pin_dir: &Path, lock: Option<&File>) -> Result<Vec<Pins>, KernelError> {
    let pins = |folder| {
        let lock = lock.map(File::try_clone).transpose().map_err(KernelError::io("cannot lock", pin_dir))?;
        Ok(Pins { folder, lock })
    };
    folders(pin_dir, FOLDER)?.into_iter().map(pins).collect()
}

/// The pins of every version below a folder, for whoever only looks: holds no lock.
pub(super) fn without_lock(pin_dir: &Path) -> Result<Vec<Pins>, KernelError> {
    if pin_dir.exists() { of_every_version(pin_dir, None) } else { Ok(Vec::new()) }
}

/// A pinned map of a generation, for whoever only looks: holds no lock.
pub(super) fn of_generation(pin_dir: &Path, number: u64, map: &str) -> PathBuf {
    generation(&pin_dir.join(format!("{FOLDER}{DATAPATH_VERSION}")), number).join(map)
}

fn generation(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("generation-{number}"))
}

/// Locks a folder until the file is dropped; the kernel frees it however its holder ends. The kernel
/// process of an agent that was killed ends what it has begun, and then lets go.
fn lock(folder: &Path) -> Result<File, KernelError> {
    let file = File::open(folder).map_err(KernelError::io("cannot open", folder))?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if since.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(KernelError::PinsHeld { path: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(KernelError::io("cannot lock", folder)(error)),
        }
    }
}

/// Removes a pin, or nothing where it is not there.
pub(super) fn remove_file(pin: &Path) -> Result<(), KernelError> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(KernelError::io("cannot remove", pin)(error))
        }
        _ => Ok(()),
    }
}

/// Removes a folder of pins, or nothing where it is not there.
pub(super) fn remove(folder: &Path) -> Result<(), KernelError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(KernelError::io("cannot remove", folder)(error))
        }
        _ => Ok(()),
    }
}
