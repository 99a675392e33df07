//! The control socket as a file: one agent per `run_dir`, who may connect, and what a dead
//! agent left behind. Knows no message.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::privileges::Identity;

use super::SOCKET_NAME;

/// Locked as long as an agent lives; says whose it is. Never removed: a lock on a removed file
/// would not keep the next agent out.
pub const LOCK_NAME: &str = "agent.lock";
/// Members of this group may ask the agent, where the host has such a group.
const GROUP: &str = "foobar";
/// Owner and group may connect: connecting needs the permission to write.
const SOCKET_MODE: u32 = 0o660;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The lock is held.
    #[error(
        "another agent runs with {} (process {process})\n  hint: stop it, or give this agent its own \
         host.run_dir, host.state_dir and host.pin_dir",
        folder.display()
    )]
    AnotherAgent {
        /// The folder that both want.
        folder: PathBuf,
        /// The other agent's process id, as it wrote it.
        process: String,
    },
    /// A file or folder cannot be used.
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
}

/// A bound control socket. Dropped, it removes the file and frees `run_dir` for the next agent.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: Option<StdListener>,
    /// Locked until this process closes it.
    _lock: File,
}

impl ControlSocket {
    /// Claims `run_dir`, made if need be, and binds the socket in it, for `owner` to remove.
    ///
    /// # Errors
    /// Where another agent holds `run_dir`, or a file or folder cannot be made.
    pub fn bind(run_dir: &Path, owner: Option<&Identity>) -> Result<Self, SocketError> {
        let lock = claim(run_dir, LOCK_NAME)?;
        let path = run_dir.join(SOCKET_NAME);
        // Whoever bound it no longer lives: the lock is ours.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("remove the old socket", &path)(error));
            }
            _ => {}
        }
        let listener = StdListener::bind(&path).map_err(at("listen on", &path))?;
        listener.set_nonblocking(true).map_err(at("listen on", &path))?;
        let socket = Self { path, listener: Some(listener), _lock: lock };
        socket.admit(owner)?;
        Ok(socket)
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, once; the file and the claim stay with `self`. Must be called within a tokio runtime.
    pub(super) fn take_listener(&mut self) -> Option<UnixListener> {
        let listener = UnixListener::from_std(self.listener.take()?);
        listener.inspect_err(|error| tracing::error!("the control socket is not served: {error}")).ok()
    }

    /// Its owner comes last: from then on, the file is his.
    fn admit(&self, owner: Option<&Identity>) -> Result<(), SocketError> {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(SOCKET_MODE))
            .map_err(at("set the permissions of", &self.path))?;
        let group = group_id(&fs::read_to_string("/etc/group").unwrap_or_default(), GROUP);
        chown(&self.path, owner.map(|owner| owner.uid), group)
            .map_err(at("give to its owner and the group foobar", &self.path))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "cannot remove the control socket");
        }
    }
}

/// Makes a folder and locks it by a file of this name. The kernel frees the lock however its
/// holder ends, so it tells a live agent from a dead one without a race.
///
/// # Errors
/// Where another agent holds the folder, or a file or folder cannot be made.
pub fn claim(folder: &Path, lock_name: &str) -> Result<File, SocketError> {
    fs::create_dir_all(folder).map_err(at("make the folder", folder))?;
    let path = folder.join(lock_name);
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // The agent's user may write in the folder: a link is not followed, nor another's file written.
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(at("open", &path))?;
    let found = lock.metadata().map_err(at("examine", &path))?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(at("lock", &path)(io::Error::other("it is not a file of its own; remove it")));
    }
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Only for the message; an agent that has just started may not have written it yet.
            let read = lock.take(20).read_to_string(&mut process);
            let process = if read.is_ok() && !process.is_empty() { process.trim() } else { "unknown" };
            return Err(SocketError::AnotherAgent { folder: folder.to_owned(), process: process.to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(at("lock", &path)(source)),
    }
    let write = |lock: &mut File| -> io::Result<()> {
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    };
    write(&mut lock).map_err(at("write", &path))?;
    Ok(lock)
}

/// The number of a group in a file of the form of group(5). Groups of a directory service are not
/// looked up: the agent starts before the network is there.
fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nfoobars:x:7:\nfoobar:x:991:ann,bob\n";
        assert_eq!(group_id(groups, "foobar"), Some(991));
        assert_eq!(group_id(groups, "foo"), None);
    }
}
