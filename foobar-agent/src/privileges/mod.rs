//! What the agent's processes give up before they do anything: user, capabilities, Landlock, seccomp. Each of
//! these belongs to a thread, so all of it happens while a process has one.
//!
//! ```text
//!                    user            capabilities                    files (Landlock)      calls (seccomp)
//! agent              host.user       none                            its folders; reading  no programs, …
//! kernel process     as it started   BPF, NET_ADMIN, PERFMON,        pins, state; reading  no network, …
//!                                    NET_BIND_SERVICE, DAC_READ_SEARCH
//! ```
//!
//! The kernel may lack Landlock or seccomp; then the rest holds, and log and `status` say so.

mod calls;
mod capabilities;
mod fence;
pub mod folders;
pub mod identity;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::DumpableBehavior;
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

pub use self::identity::Identity;

/// Why privileges cannot be given up. The agent does not run with more than it says.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// No such user.
    #[error(
        "host.user names {0:?}, which is not in /etc/passwd: add it (`useradd --system --no-create-home \
         --shell /usr/sbin/nologin {0}`), or leave host.user out"
    )]
    NoSuchUser(String),
    /// Another user can only be become by root.
    #[error(
        "host.user is {wanted:?}, but the agent was started as {is}, who cannot become another user: start it as \
         root, or leave host.user out"
    )]
    NotRoot {
        /// `host.user`.
        wanted: String,
        /// Who started the agent.
        is: String,
    },
    /// A part could not be given up.
    #[error(
        "cannot give up {what}: {source}; the agent needs CAP_SETUID, CAP_SETGID and CAP_CHOWN to become \
         another user; with host.user = \"root\" it stays root without capabilities"
    )]
    Kept {
        /// What.
        what: &'static str,
        /// The kernel's word.
        source: io::Error,
    },
    /// A process has more threads than one.
    #[error("the process has {0} threads already, and what is given up is given up by one")]
    Threads(usize),
    /// A folder cannot be used.
    #[error("{0}")]
    Folder(#[from] folders::FolderError),
}

/// What a process has kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Name or number of its user.
    pub user: String,
    /// Names of its capabilities.
    pub capabilities: Vec<String>,
    /// Version of Landlock that fences its files; absent, the kernel has none, and nothing does.
    pub landlock: Option<u32>,
    /// Whether a seccomp filter bounds its system calls.
    pub seccomp: bool,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let capabilities = match self.capabilities.as_slice() {
            [] => "none".to_owned(),
            names => names.join(" "),
        };
        let landlock = self.landlock.map_or_else(|| "off".to_owned(), |abi| format!("ABI {abi}"));
        let seccomp = if self.seccomp { "on" } else { "off" };
        let Self { user, .. } = self;
        write!(f, "user {user}, capabilities {capabilities}, Landlock {landlock}, seccomp {seccomp}")
    }
}

/// What both processes have kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges {
    /// The agent: all that reads the network.
    pub agent: Kept,
    /// The kernel process.
    pub kernel: Kept,
}

/// Which files a process may use from now on; what is not there is left out.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Its own folders: anything but running programs and making devices.
    pub own: &'a [&'a Path],
    /// Folders and files to read.
    pub readable: &'a [PathBuf],
}

/// Makes the calling process the agent: without any right but its user's.
///
/// # Errors
/// When something could not be given up that the kernel knows. Nothing can be taken back then.
pub fn become_agent(identity: &Identity, files: Files<'_>) -> Result<Kept, PrivilegeError> {
    expect_one_thread()?;
    capabilities::bound_to(CapabilitySet::empty());
    identity.assume()?;
    capabilities::keep(CapabilitySet::empty())?;
    close(&identity.name, files, calls::Role::Agent)
}

/// Makes the calling process the kernel process: what reaches the kernel's datapath, and no more.
///
/// # Errors
/// As for [`become_agent`].
pub fn become_kernel_process(files: Files<'_>) -> Result<Kept, PrivilegeError> {
    expect_one_thread()?;
    let kept = capabilities::of_the_datapath()?;
    capabilities::bound_to(kept);
    capabilities::keep(kept)?;
    close(&identity::current().name, files, calls::Role::KernelProcess)
}

/// What both do alike, and last: reading the filter of calls, no call can change it again.
fn close(user: &str, files: Files<'_>, role: calls::Role) -> Result<Kept, PrivilegeError> {
    let kept = |what| move |error: rustix::io::Errno| PrivilegeError::Kept { what, source: error.into() };
    rustix::thread::set_no_new_privs(true).map_err(kept("new privileges by programs"))?;
    // Keys of TLS are in memory: no core files, and no other process of this user looks in.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(kept("being looked at by others"))?;
    let landlock = fence::raise(files, role)?;
    let seccomp = calls::filter(role)?;
    Ok(Kept { user: user.to_owned(), capabilities: capabilities::held(), landlock, seccomp })
}

fn expect_one_thread() -> Result<(), PrivilegeError> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads == 1 { Ok(()) } else { Err(PrivilegeError::Threads(threads)) }
}
