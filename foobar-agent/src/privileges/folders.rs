//! The agent's own folders, which it writes as a user without rights. They belong to root and to the agent's
//! group, with the sticky bit, as `/tmp` does: the agent makes files and replaces its own, and can neither
//! remove nor fake what root keeps there.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::Identity;

/// Owner and group write; of others' files, only their owners.
const MODE: u32 = 0o1775;
/// Everybody's, each only for what is his own.
const SHARED: u32 = 0o1002;
/// What files of the kernel process begin with; they stay root's.
const OF_THE_KERNEL_PROCESS: &str = "datapath";
/// What files end with that keep a second agent out; they stay root's.
const LOCK: &str = ".lock";

/// Why a folder cannot be the agent's.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// It holds what is not the agent's.
    #[error(
        "{} is not the agent's own: {user} (host.user) cannot write there, and it holds other files, so its \
         owner stays; name a folder of its own for host.{key}",
        path.display()
    )]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Who is to write.
        user: String,
        /// Key of the configuration.
        key: &'static str,
    },
    /// The agent's user does not get there.
    #[error(
        "{user} (host.user) cannot write in {}: {source}; let it pass through every folder above \
         (`namei -l {}` shows them), or name another folder for host.{key}",
        path.display(), path.display()
    )]
    OutOfReach {
        /// The folder.
        path: PathBuf,
        /// Who is to write.
        user: String,
        /// Key of the configuration.
        key: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::File { action, path, source }
}

/// Makes a folder of the agent, or takes over one that an earlier agent has left. `mark` is a file by which
/// such a folder is known.
///
/// # Errors
/// When it cannot be made, or is somebody else's.
pub fn prepare(folder: &Path, key: &'static str, mark: &str, agent: &Identity) -> Result<(), FolderError> {
    let is_new = !folder.exists();
    fs::create_dir_all(folder).map_err(at("make the folder", folder))?;
    let found = fs::metadata(folder).map_err(at("examine", folder))?;
    let is_shared = found.mode() & SHARED == SHARED;
    if agent.is_root() || !super::identity::current().is_root() || is_shared {
        return Ok(());
    }
    let names = || fs::read_dir(folder).map_err(at("read", folder));
    if !is_new && !folder.join(mark).exists() && names()?.next().is_some() {
        return Err(FolderError::NotOurs { path: folder.to_owned(), user: agent.name.clone(), key });
    }
    chown(folder, Some(0), Some(agent.gid)).map_err(at("give to the agent's group", folder))?;
    fs::set_permissions(folder, Permissions::from_mode(MODE)).map_err(at("set the mode of", folder))?;
    for entry in names()? {
        let path = entry.map_err(at("read", folder))?.path();
        hand_over(&path, agent).map_err(at("give to the agent", &path))?;
    }
    Ok(())
}

/// A file that an agent has written, as another user. Not one that has another name elsewhere.
fn hand_over(path: &Path, agent: &Identity) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let found = fs::symlink_metadata(path)?;
    let is_roots = name.starts_with(OF_THE_KERNEL_PROCESS) || name.ends_with(LOCK);
    if is_roots || !found.is_file() || found.nlink() != 1 || found.uid() == agent.uid {
        return Ok(());
    }
    lchown(path, Some(agent.uid), Some(agent.gid))
}

/// Whether the calling process, who has become the agent, can write in a folder.
///
/// # Errors
/// When it cannot.
pub fn expect_reach(folder: &Path, key: &'static str, agent: &Identity) -> Result<(), FolderError> {
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| FolderError::OutOfReach {
        path: folder.to_owned(),
        user: agent.name.clone(),
        key,
        source: error.into(),
    })
}
