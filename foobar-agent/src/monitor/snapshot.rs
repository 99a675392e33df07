//! One picture of the running agent: plain numbers and words, made by the agent's `run`, read
//! by `/metrics`, the control socket and the CLI. Knows neither maps nor metrics.

use serde::{Deserialize, Serialize};

use super::process::ProcessSnapshot;
use crate::balancer::BalancerSnapshot;
use crate::privileges::Privileges;

/// Everything that can be seen of a running agent at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The host's name, from the configuration.
    pub host: String,
    /// The agent's version.
    pub version: String,
    /// When the agent started, in seconds since the Unix epoch.
    pub started_at_seconds: f64,
    /// Number of the generation that judges packets; 0: none was loaded yet.
    pub generation: u64,
    /// Memory that its rules take in the kernel, in bytes; 0: it judges nothing.
    pub image_bytes: u64,
    /// Where that comes from, what could come back, and what waits for somebody to decide.
    #[serde(default)]
    pub standing: Standing,
    /// The interfaces that the datapath is, or should be, attached to.
    pub interfaces: Vec<InterfaceSnapshot>,
    /// The rules in order of judgement; the last one is [`RuleSnapshot::POLICY`].
    pub rules: Vec<RuleSnapshot>,
    /// What became of the answers to rejected packets. Those that never occurred may be absent.
    pub answers: Vec<AnswerCount>,
    /// What became of samples of packets, for rules with a log and for those who watch.
    #[serde(default)]
    pub samples: SampleCounts,
    /// What the kernel counts by protocol.
    pub services: Vec<ServiceSnapshot>,
    /// The load balancer; `None`: this host balances nothing.
    pub balancer: Option<BalancerSnapshot>,
    /// The last reload, if there was one since the start.
    pub last_reload: Option<ReloadSnapshot>,
    /// What the agent itself takes of the host.
    pub process: Option<ProcessSnapshot>,
    /// What the agent and its kernel process have kept of their privileges.
    pub privileges: Option<Privileges>,
}

/// The configuration in force, and those around it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The file in force; `None`: the agent runs without one.
    pub configuration: Option<String>,
    /// The generation that a rollback would bring back.
    pub before: Option<u64>,
    /// The configuration is on trial.
    pub trial: Option<TrialSnapshot>,
    /// The last one that was not kept, until another one is taken.
    pub refused: Option<RefusedSnapshot>,
}

/// A configuration that judges until a deadline, unless it is confirmed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialSnapshot {
    /// When the datapath goes back, in seconds since the Unix epoch.
    pub ends_at_seconds: f64,
    /// The generation that judges then.
    pub before: u64,
}

/// A configuration that was not kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RefusedSnapshot {
    /// Its file.
    pub configuration: String,
    /// What became of it, to complete "it was …".
    pub why: String,
    /// When, in seconds since the Unix epoch.
    pub at_seconds: f64,
}

/// One interface of the datapath.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceSnapshot {
    /// The kernel's name for it.
    pub name: String,
    /// `native` or `generic`; `None`: not attached.
    pub mode: Option<String>,
    /// What left through the counting exit. Pairs that never occurred may be absent.
    pub counts: Vec<OutcomeCount>,
}

impl InterfaceSnapshot {
    /// Packets with this verdict, for whatever reason.
    pub fn packets(&self, verdict: &str) -> u64 {
        self.with_verdict(verdict).map(|count| count.packets).sum()
    }

    /// Bytes with this verdict, for whatever reason.
    pub fn bytes(&self, verdict: &str) -> u64 {
        self.with_verdict(verdict).map(|count| count.bytes).sum()
    }

    fn with_verdict(&self, verdict: &str) -> impl Iterator<Item = &OutcomeCount> {
        self.counts.iter().filter(move |count| count.verdict == verdict)
    }
}

/// Packets of one interface that left with one verdict for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCount {
    /// A word of `foobar_ebpf::verdict::Verdict`.
    pub verdict: String,
    /// A word of `foobar_ebpf::verdict::Reason`.
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer header included.
    pub bytes: u64,
}

/// One rule's hits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSnapshot {
    /// The rule's name.
    pub name: String,
    /// `allow`, `drop` or `reject`.
    pub action: String,
    /// Packets that it decided.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Its rate; `None`: it has none.
    #[serde(default)]
    pub rate: Option<RateSnapshot>,
}

/// A rule's rate, and what it came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateSnapshot {
    /// In words: `10 packets/minute per source`.
    pub rate: String,
    /// Packets that the rule did not match because they were over it.
    pub over_packets: u64,
    /// Their bytes.
    pub over_bytes: u64,
}

/// What became of samples of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleCounts {
    /// They were given to the agent.
    pub emitted: u64,
    /// The agent did not read fast enough.
    pub lost: u64,
    /// There were more than may be in a second.
    pub withheld: u64,
}

impl RuleSnapshot {
    /// The name under which the default verdict is counted.
    pub const POLICY: &'static str = "policy";
}

/// Rejected packets that came to one end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerCount {
    /// A word of `foobar_ebpf::abi::answer::Outcome`: the answer, or why there was none.
    pub outcome: String,
    /// Packets.
    pub packets: u64,
}

/// What the kernel counted of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSnapshot {
    /// The service's name.
    pub name: String,
    /// Its destination port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: String,
    /// Application messages: requests, queries.
    pub messages: u64,
}

/// How the last reload ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReloadSnapshot {
    /// When it ended, in seconds since the Unix epoch.
    pub at_seconds: f64,
    /// Whether it took effect; otherwise nothing changed.
    pub ok: bool,
    /// What it did, or why it was refused.
    pub message: String,
}
