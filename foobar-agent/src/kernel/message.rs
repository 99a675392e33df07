//! What the agent and the kernel process say to each other. Plain, owned data that crosses a socket: no
//! aya type. Descriptors travel beside a message (`Answer`).

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use foobar_ebpf::abi::answer::Outcome;
use foobar_ebpf::verdict::{Reason, Verdict};
use serde::{Deserialize, Serialize};

use super::wire::code;
use crate::config::model::AttachMode;
use crate::firewall::generation::Generation;
use crate::net::Interface;
use crate::privileges::Kept;

/// What the kernel process is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Make ready what takes more privileges, and give those up. Comes first.
    Settle(Settlement),
    /// Open what an earlier agent left, or make it. Comes before all that follows here.
    Open(Places),
    /// Make this the generation that judges.
    Install { generation: Generation, manner: Manner },
    /// What was installed for a time judges for good.
    Confirm,
    /// The generation before judges again.
    RollBack,
    /// Look whether what was installed for a time has not been confirmed in time.
    ReturnOverdue,
    /// Everything is attached that should be: remove what is left of other versions.
    FinishUpgrade,
    /// Attach the datapath to an interface.
    Attach { interface: Interface, logical: u32, mode: AttachMode, replace: bool },
    /// Take the datapath off an interface.
    Release { ifindex: u32 },
    /// The interface is gone: forget its pin.
    Forget { ifindex: u32 },
    /// Read every counter.
    Read,
    /// Emit diagnostics down to this level.
    SetLogLevel(LogLevel),
    /// Remove the datapath from the host.
    Detach,
    /// Remove what [`Request::Open`] made where it found nothing: the start failed.
    Undo,
    /// The descriptor of a map that the agent may use by itself, by the map's name.
    Map(String),
    /// Say that you are there.
    Ping,
    /// The names of a generation's rules by slot, the policy's included.
    RuleNames(u64),
    /// Sample this for those who watch: a value of `abi::event::watch`.
    Sample(u64),
}

/// What the kernel process answers. Errors cross the socket as their text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Done,
    Settled(Kept),
    Opened(Found),
    Attached(Attached),
    Counters(Counters),
    Installed(Installed),
    Confirmed(Confirmed),
    /// The generation that judges now.
    Judges(u64),
    /// The generation that judges again, where one was not confirmed.
    Returned(Option<u64>),
    Names(Vec<String>),
}

/// A reply with the descriptors that come beside it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self { reply, descriptors: Vec::new() }
    }
}

/// How the datapath is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// In the stack, after a socket buffer was made.
    Generic,
}

impl AttachedMode {
    /// The word in logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    /// Whether a configuration that asks for `wanted` is content with it.
    pub fn satisfies(self, wanted: AttachMode) -> bool {
        AttachMode::Auto == wanted || self.asked_for() == wanted
    }

    /// What a configuration says to get exactly this.
    pub fn asked_for(self) -> AttachMode {
        match self {
            Self::Native => AttachMode::Native,
            Self::Generic => AttachMode::Generic,
        }
    }
}

/// Folders of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Pins, on a BPF file system.
    pub pin_dir: PathBuf,
    /// What must last over a restart.
    pub state_dir: PathBuf,
}

/// All that the kernel process may know of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// What it writes.
    pub places: Places,
    /// What it opens for the agent to read, and no more.
    pub readable: Vec<PathBuf>,
    /// Programs of others will be replaced.
    pub replace: bool,
}

/// What an earlier agent left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Nothing: all that is there now was made by this opening.
    pub fresh: bool,
    /// Interfaces that the datapath was attached to, of whatever version, by ifindex; some may be gone.
    pub links: Vec<u32>,
    /// A generation of this version judges on some of them.
    pub judging: bool,
    /// A trial had not been confirmed in time: the generation that judges again.
    pub returned: Option<u64>,
    /// What judges.
    pub standing: Standing,
}

/// How a generation is put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// In the place of what judges, which can come back.
    Anew,
    /// As [`Manner::Anew`], unless what judges is the same, program included.
    UnlessTheSame,
    /// For so long; then the datapath itself goes back, unless it is confirmed.
    Trial(Duration),
}

/// A generation that was put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Its number.
    pub generation: u64,
    /// It judged already.
    pub unchanged: bool,
    /// For a trial: nanoseconds of the boot clock from which on the one before judges again.
    pub deadline_ns: Option<u64>,
}

/// A generation that judges until a deadline, unless it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number.
    pub generation: u64,
    /// The one that judges again from the deadline on.
    pub before: u64,
    /// In nanoseconds of the boot clock.
    pub deadline_ns: u64,
}

/// What a confirmation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmed {
    /// This generation judges for good.
    Kept(u64),
    /// The deadline had passed: this generation, of before, judges again.
    TooLate(u64),
    /// Nothing was on trial.
    NoTrial,
}

/// What judges, as the kernel says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Number of the generation; 0: none.
    pub generation: u64,
    /// The generation that a rollback would bring back.
    pub before: Option<u64>,
    /// What waits for a confirmation.
    pub trial: Option<Trial>,
}

/// The result of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The kernel's number of the program, by which a later look tells whether it is still there.
    pub program: u32,
    /// How.
    pub mode: AttachedMode,
    /// Why native was not possible, where it was tried first.
    pub native_refused: Option<String>,
    /// How the datapath was attached before; for an earlier agent's in the same mode, which goes
    /// on, that mode.
    pub before: Option<AttachedMode>,
}

/// Every counter of the datapath, summed over CPUs, and over generations where counters
/// follow a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Number of the generation that judges; 0: none.
    pub generation: u64,
    /// What a rollback would bring back, and what waits for a confirmation.
    pub standing: Standing,
    /// Bytes of its rules in the kernel.
    pub image_bytes: u64,
    /// What happened to packets, by logical interface; rows of zero are left out.
    pub outcomes: Vec<InterfaceOutcome>,
    /// What became of the answers to rejected packets; rows of zero are left out.
    pub answers: Vec<AnswerOutcome>,
    /// By rule of the judging generation, in order of judgement; the last one is the policy.
    pub rules: Vec<Named>,
    /// By service.
    pub services: Vec<Named>,
    /// By rule with a rate: packets that it did not match because they were over it.
    pub over: Vec<Named>,
    /// What became of samples of packets.
    pub samples: Samples,
}

/// What became of samples of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// They are on their way to the agent, or were read.
    pub emitted: u64,
    /// Nobody read fast enough.
    pub lost: u64,
    /// There were more than may be.
    pub withheld: u64,
}

/// One row of [`Counters::outcomes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceOutcome {
    /// Logical interface.
    pub interface: u32,
    /// The decision.
    #[serde(with = "code")]
    pub verdict: Verdict,
    /// Why.
    #[serde(with = "code")]
    pub reason: Reason,
    /// How often.
    pub count: CounterSample,
}

/// One row of [`Counters::answers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerOutcome {
    /// The answer that was sent, or why there was none.
    #[serde(with = "code")]
    pub outcome: Outcome,
    /// How often, and bytes of what was sent.
    pub count: CounterSample,
}

/// A counter that follows a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Name of a rule or service.
    pub name: String,
    /// How often.
    pub count: CounterSample,
}

/// Packets (for services: messages) and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterSample {
    /// Packets, or messages of a service.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl std::ops::AddAssign for CounterSample {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// How much the datapath says; a level includes those before it. The discriminants are those of
/// aya-log, with 0 for silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum LogLevel {
    /// Nothing: the default.
    Off = 0,
    /// What should never happen.
    Error = 1,
    /// What deserves a look.
    Warn = 2,
    /// Rare events.
    Info = 3,
    /// Every refused packet, sampled.
    Debug = 4,
    /// Every packet, sampled.
    Trace = 5,
}
