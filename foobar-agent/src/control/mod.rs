//! What a running agent can be asked by the host's administrator, as JSON over HTTP on a unix
//! socket in the agent's `run_dir`. Owns the socket, its lock and the messages; what an answer
//! means to the agent is the part of whoever implements [`Agent`].
//!
//! | request                  | answer            |
//! | ------------------------ | ----------------- |
//! | `GET /v1/snapshot`       | `Snapshot`        |
//! | `GET /v1/generation`     | [`InForce`]       |
//! | `GET /v1/ruleset`        | [`RulesetInForce`] |
//! | `GET /v1/watch/SCOPE`    | a stream of [`Line`](crate::samples::Line)s, see [`Scope`] |
//! | `POST /v1/reload`        | [`ReloadReport`]  |
//! | `POST /v1/apply`         | [`ApplyReport`], for [`ApplyRequest`] |
//! | `POST /v1/confirm`       | [`ConfirmReport`] |
//! | `POST /v1/rollback`      | [`RollbackReport`] |
//! | `POST /v1/detach`        | [`DetachReport`]  |
//! | `POST /v1/datapath-log`  | `{}`, for [`DatapathLog`] |
//!
//! A refusal is [`Refusal`], with status 422 where the configuration is at fault.

use std::path::PathBuf;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

pub use self::refusal::{Refusal, describe};
pub use self::ruleset::{NotARuleset, RuleText, RulesetInForce, RulesetText};
use crate::config::{Diagnostics, Document};
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::rate::Rate;
use crate::kernel::LogLevel;
use crate::monitor::Source;
use crate::samples::{Scope, Watching};

pub mod client;
mod refusal;
mod ruleset;
pub mod server;
pub mod socket;
#[cfg(test)]
mod tests;

/// Name of the socket in `run_dir`.
pub const SOCKET_NAME: &str = "control.sock";

/// The running agent. All of it lives on one thread.
pub trait Agent: Source {
    /// Takes the configuration anew: all of it or, refused, nothing.
    fn reload(&self) -> impl Future<Output = Result<ReloadReport, Refusal>>;

    /// Puts a configuration in force, at once or on trial: all of it or, refused, nothing.
    fn apply(self: Rc<Self>, request: ApplyRequest) -> impl Future<Output = Result<ApplyReport, Refusal>>;

    /// Keeps what is on trial.
    fn confirm(&self) -> impl Future<Output = Result<ConfirmReport, Refusal>>;

    /// Ends a trial, or goes back to the configuration before.
    fn roll_back(&self) -> impl Future<Output = Result<RollbackReport, Refusal>>;

    /// Removes the datapath from every interface; the agent itself goes on.
    fn detach(&self) -> impl Future<Output = Result<DetachReport, Refusal>>;

    /// The rules that judge, and where they are.
    fn in_force(&self) -> impl Future<Output = Result<InForce, Refusal>>;

    /// The rules that judge, with all that they say.
    fn ruleset(&self) -> impl Future<Output = Result<RulesetInForce, Refusal>>;

    /// Watches packets from now on.
    fn watch(&self, scope: Scope) -> Result<Watching, Refusal>;

    /// How much the datapath says in the agent's log.
    fn set_datapath_log(&self, level: LogLevel) -> impl Future<Output = Result<(), Refusal>>;
}

/// A reload that took effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The generation that judges packets now.
    pub generation: u64,
    /// What is odd about the file and no error.
    #[serde(default)]
    pub warnings: Diagnostics,
}

/// The body of `POST /v1/apply`. The text crosses, not the file's name alone: the agent need not be able to
/// read what its administrator can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The configuration.
    pub document: Document,
    /// How long it judges unless it is confirmed; `None`: for good.
    pub confirm_within_seconds: Option<u64>,
}

/// A configuration that was put in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyReport {
    /// The generation that judges packets now.
    pub generation: u64,
    /// On trial: the generation that judges again without a confirmation.
    pub before: Option<u64>,
    /// On trial: how long.
    pub confirm_within_seconds: Option<u64>,
    /// What is odd about the file and no error.
    #[serde(default)]
    pub warnings: Diagnostics,
}

/// A trial that ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmReport {
    /// The generation that judges packets for good.
    pub generation: u64,
}

/// A configuration that came back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackReport {
    /// The generation that judges packets again.
    pub generation: u64,
    /// Whether balancer, monitor and interfaces came back, too.
    pub whole: bool,
}

/// A datapath that was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachReport {
    /// The interfaces that it was attached to.
    pub interfaces: Vec<String>,
}

/// The rules that judge packets now: what an image in the kernel does not tell of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The generation that judges.
    pub generation: u64,
    /// Where it is pinned.
    pub pin_dir: PathBuf,
    /// What its program was told, see `foobar_ebpf::abi::setting`.
    pub flags: u32,
    /// The configuration that it was made from; `None`: the agent runs without one.
    pub file: Option<PathBuf>,
    /// The interfaces that the configuration names.
    pub interfaces: Vec<String>,
    /// Logical numbers of interfaces by name.
    pub numbers: InterfaceNumbers,
    /// The rules by slot, without the policy.
    pub rules: Vec<RuleInForce>,
}

/// A rule, as people find it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleInForce {
    /// Its name.
    pub name: String,
    /// Its line in the configuration.
    pub line: u32,
    /// Its rate.
    #[serde(default)]
    pub rate: Option<Rate>,
}

/// The body of `POST /v1/datapath-log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatapathLog {
    /// The least important message that is still written.
    pub level: LogLevel,
}
