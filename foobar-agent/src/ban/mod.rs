//! Who is banned, why, and until when. Owns the door through which anything in the agent bans, what may
//! never be banned, and the file in which bans outlast a reboot. The kernel judges; see
//! `foobar_ebpf::ban`.
//!
//! ```text
//! control socket, detection, balancer ─► BanDoor ─► kernel's tables   (at once, on the caller's thread)
//!                                           └─────► bans.jsonl        (later, on a thread of its own)
//! ```
//!
//! The kernel is the truth for who is banned, until when, and for the packets that this dropped; the file for
//! the words around it, and for everything after a reboot.

mod clock;
mod door;
mod journal;
mod keeper;
mod protected;
mod subject;
mod table;

use std::sync::Arc;
use std::time::Duration;

use foobar_ebpf::abi::ban::BanReason;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::door::{BanDoor, Page, Ways};
pub use self::protected::{Protected, Protection};
pub use self::subject::{Subject, SubjectError};
use crate::kernel::KernelError;

/// Longest text of a reason, in bytes: one line.
pub const TEXT_BYTES_MAX: usize = 200;

/// Words around a ban. Many bans may share them.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Who banned, and for what.
    pub reason: BanReason,
    /// What somebody said of it.
    pub text: String,
    /// What was seen, by name: ports, counts, times, a request's id.
    pub evidence: Map<String, Value>,
}

impl Note {
    /// A reason alone.
    pub fn new(reason: BanReason) -> Self {
        Self { reason, text: String::new(), evidence: Map::new() }
    }
}

/// How long a ban lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// So long from now on.
    For(Duration),
    /// Until it is removed.
    Forever,
}

/// What a ban did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Banned {
    /// It is new.
    Added,
    /// There was one; it has this term and these words now.
    Renewed,
    /// There is one that lasts longer, and stays as it is.
    Kept,
}

/// Why somebody is not banned.
#[derive(Debug, thiserror::Error)]
pub enum BanError {
    /// It is not to be banned.
    #[error("{subject} is not banned: {protection}")]
    Protected {
        /// What was to be banned.
        subject: Subject,
        /// Why not.
        protection: Protection,
    },
    /// All of a family would be a policy.
    #[error("{0} is a whole address family: set firewall.default in the place of a ban")]
    Everything(Subject),
    /// The kernel refuses.
    #[error(transparent)]
    Kernel(#[from] Arc<KernelError>),
    /// There is no datapath yet.
    #[error("the datapath is not open yet; try again when the agent has started")]
    NotOpen,
}

impl From<KernelError> for BanError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(Arc::new(error))
    }
}

/// A ban as it is seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BanSeen {
    /// The address, or the prefix with its length.
    pub subject: String,
    /// A word of [`BanReason`].
    pub reason: String,
    /// What somebody said of it.
    #[serde(default)]
    pub text: String,
    /// Since when, in seconds of the Unix epoch.
    pub since_seconds: f64,
    /// How much longer, in seconds; `None`: until it is removed.
    pub left_seconds: Option<f64>,
    /// Packets dropped. A prefix has those of sources in it that no longer prefix is banned or exempt for.
    pub packets: u64,
    /// How long ago the last one was, in seconds; `None`: there was none.
    pub last_packet_seconds: Option<f64>,
    /// What was seen, by name.
    #[serde(default)]
    pub evidence: Map<String, Value>,
}

/// How many there are, and have been since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanTotals {
    /// Addresses.
    pub addresses: u64,
    /// Prefixes.
    pub prefixes: u64,
    /// Bans added since the start, by a word of [`BanReason`].
    pub added: Vec<(String, u64)>,
}
