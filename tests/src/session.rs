//! What this process has made on the machine and must remove: a journal, one file a process, written
//! before each thing is made and locked while its owner lives. Whoever can take the lock of a journal
//! knows that its owner is dead, however it died, and removes what the journal names.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where the journals lie: a folder that a reboot empties, as it does the things themselves.
const JOURNALS: &str = "/run/foobar-tests";

/// Where `ip netns` looks for the names of network namespaces.
pub(crate) const NETNS_DIR: &str = "/run/netns";

static CURRENT: Mutex<Weak<Session>> = Mutex::new(Weak::new());

/// The things of this process; the last holder's drop ends the journal.
#[derive(Debug)]
pub struct Session {
    path: PathBuf,
    journal: Mutex<Journal>,
}

#[derive(Debug)]
struct Journal {
    file: File,
    names: HashMap<String, u32>,
}

impl Session {
    /// The session of this process; the first call removes what dead processes left.
    pub fn current() -> Result<Arc<Self>> {
        let mut current = lock(&CURRENT);
        if let Some(session) = current.upgrade() {
            return Ok(session);
        }
        sweep()?;
        let path = Path::new(JOURNALS).join(process::id().to_string());
        let file = open_locked(&path)?;
        let journal = Mutex::new(Journal { file, names: HashMap::new() });
        let session = Arc::new(Self { path, journal });
        *current = Arc::downgrade(&session);
        Ok(session)
    }

    /// A name that no other thing on this machine has: prefix, process id, label, and a number from
    /// the second use of the label on.
    pub fn name(&self, label: &str) -> String {
        let mut journal = lock(&self.journal);
        let used = journal.names.entry(label.to_owned()).or_insert(0);
        *used += 1;
        match *used {
            1 => format!("foobar{}-{label}", process::id()),
            n => format!("foobar{}-{label}-{n}", process::id()),
        }
    }

    /// An empty folder below the system's temporary folder, removed when the session ends.
    pub fn directory(&self, label: &str) -> Result<PathBuf> {
        let path = std::env::temp_dir().join(self.name(label));
        self.record(&Leftover::Directory(path.clone()))?;
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Writes what is about to be made, so that it is found should this process be killed.
    pub fn record(&self, leftover: &Leftover) -> Result<()> {
        let mut journal = lock(&self.journal);
        writeln!(journal.file, "{leftover}").with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nothing made by this process is in use any more: the things themselves were held by owners
        // that held the session. What their drops could not remove is tried once more.
        remove_leftovers(&self.path);
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(JOURNALS);
    }
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A network namespace by its name.
    Namespace(String),
    /// A mount point.
    Mount(PathBuf),
    /// A folder with all it holds.
    Directory(PathBuf),
    /// A folder that others may have put something into meanwhile: then it stays.
    EmptyDirectory(PathBuf),
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Mount(path) => write!(f, "mount {}", path.display()),
            Self::Directory(path) => write!(f, "directory {}", path.display()),
            Self::EmptyDirectory(path) => write!(f, "empty-directory {}", path.display()),
        }
    }
}

impl Leftover {
    fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ')? {
            ("namespace", name) => Some(Self::Namespace(name.to_owned())),
            ("mount", path) => Some(Self::Mount(path.into())),
            ("directory", path) => Some(Self::Directory(path.into())),
            ("empty-directory", path) => Some(Self::EmptyDirectory(path.into())),
            _ => None,
        }
    }

    /// Removes it; what is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        match self {
            Self::Namespace(name) => remove_namespace(name),
            Self::Mount(path) => match umount2(path, MntFlags::MNT_DETACH) {
                // EINVAL: not a mount point (any more).
                Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => Ok(()),
                Err(error) => Err(error).with_context(|| format!("cannot unmount {}", path.display())),
            },
            Self::Directory(path) => match fs::remove_dir_all(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("cannot remove {}", path.display()))
                }
                _ => Ok(()),
            },
            Self::EmptyDirectory(path) => match fs::remove_dir(path) {
                Ok(()) => Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                    Ok(())
                }
                Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
            },
        }
    }
}

/// Removes what the journals of dead processes name. Returns those journals' owners.
pub fn sweep() -> Result<Vec<String>> {
    let mut dead = Vec::new();
    let Ok(entries) = fs::read_dir(JOURNALS) else { return Ok(dead) };
    for entry in entries {
        let path = entry?.path();
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        remove_leftovers(&path);
        let _ = fs::remove_file(&path);
        dead.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    // Unless the journal of a living process is in it.
    let _ = fs::remove_dir(JOURNALS);
    Ok(dead)
}

/// Opens and locks a journal of our own. Meanwhile the session of another process may end and remove
/// the empty folder, or another sweep may hold, and then unlink, a file that is not locked yet.
fn open_locked(path: &Path) -> Result<File> {
    loop {
        fs::create_dir_all(JOURNALS).with_context(|| format!("cannot create {JOURNALS} (root is needed)"))?;
        let file = match OpenOptions::new().create(true).append(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file.with_context(|| format!("cannot create {}", path.display()))?,
        };
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        if fs::metadata(path).is_ok_and(|named| file.metadata().is_ok_and(|held| held.ino() == named.ino())) {
            return Ok(file);
        }
    }
}

/// Newest first, because a mount lies in a folder and a process in a namespace.
fn remove_leftovers(journal: &Path) {
    let text = fs::read_to_string(journal).unwrap_or_default();
    for leftover in text.lines().rev().filter_map(Leftover::parse) {
        if let Err(error) = leftover.remove() {
            eprintln!("{}: {error:#}", journal.display());
        }
    }
}

/// Kills what still runs inside, then takes the name away; links end with the last reference.
fn remove_namespace(name: &str) -> Result<()> {
    let path = Path::new(NETNS_DIR).join(name);
    let Ok(namespace) = fs::metadata(&path) else { return Ok(()) };
    for pid in processes_inside(namespace.dev(), namespace.ino()) {
        let _ = kill(pid, Signal::SIGKILL);
    }
    match umount2(&path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot unmount {}", path.display())),
    }
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Processes whose network namespace is the given one, except this one.
fn processes_inside(dev: u64, ino: u64) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let inside = |pid: &i32| {
        let namespace = fs::metadata(format!("/proc/{pid}/ns/net"));
        namespace.is_ok_and(|n| n.dev() == dev && n.ino() == ino) && pid.unsigned_abs() != process::id()
    };
    pids.filter(inside).map(Pid::from_raw).collect()
}

/// A panic elsewhere leaves these data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_line_reads_back_as_written() {
        for leftover in [
            Leftover::Namespace("foobar1-web".into()),
            Leftover::Mount("/tmp/with space/bpf".into()),
            Leftover::Directory("/tmp/x".into()),
            Leftover::EmptyDirectory("/tmp/y".into()),
        ] {
            assert_eq!(Leftover::parse(&leftover.to_string()), Some(leftover));
        }
    }
}
