//! What crosses between the kernel and the agent: names, sizes and layouts. Integers only,
//! in host byte order, padding named; enums cross as `u32` and come back through `TryFrom`.
//!
//! A change of anything here changes [`DATAPATH_VERSION`]: pins of another version are not
//! adopted by an agent.

pub mod answer;
pub mod ban;
pub mod event;
pub mod fragment;
pub mod image;
pub mod limit;
pub mod report;
pub mod shadow;
pub mod traffic;

use core::mem::size_of;

use crate::verdict::{Reason, Verdict};

/// Version of the programs and of all maps that they share over generations. Flows and
/// bans carry versions of their own, so that an upgrade of one keeps the others.
pub const DATAPATH_VERSION: u32 = 3;

/// Names of the programs in the object.
pub mod program {
    /// XDP: what is attached. Enters the active generation and never changes.
    pub const ROOT: &str = "foobar_root";
    /// XDP: judges by one image; one instance a generation.
    pub const GENERATION: &str = "foobar_judge";
    /// XDP: does nothing; what a benchmark subtracts.
    pub const PASS: &str = "foobar_pass";
}

/// Names of the maps in the object. Those that outlive a generation are pinned under these names.
pub mod map {
    /// Program array: [`super::GENERATION_ACTIVE`], [`super::GENERATION_FALLBACK`],
    /// [`super::GENERATION_SHADOW`]. Shared.
    pub const GENERATIONS: &str = "GENERATIONS";
    /// Array of `u64` words, see [`super::control`]. Shared.
    pub const CONTROL: &str = "CONTROL";
    /// Array of [`super::InterfaceSlot`]. Shared.
    pub const INTERFACES: &str = "INTERFACES";
    /// Per-CPU array of [`super::Counter`] by [`super::outcome_index`]. Shared.
    pub const OUTCOMES: &str = "OUTCOMES";
    /// Ring buffer of the datapath's diagnostics (aya-log's own name). Shared.
    pub const LOGS: &str = "AYA_LOGS";
    /// Array of one value, the image. Each generation has its own, of the size it needs.
    pub const IMAGE: &str = "IMAGE";
    /// Per-CPU array of [`super::Counter`] by rule slot. Each generation has its own.
    pub const RULES: &str = "RULES";
    /// Per-CPU array of [`super::Counter`] by service slot. Each generation has its own.
    pub const SERVICES: &str = "SERVICES";
    /// Hash of [`super::fragment::FirstFragment`] by [`super::fragment::FragmentKey`]. Each generation has its
    /// own: rule slots are its own.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// Per-CPU array of [`super::Counter`] by [`super::answer::Outcome`]: rejected packets, and
    /// the bytes of what was sent to them. Shared.
    pub const ANSWERS: &str = "ANSWERS";
    /// Per-CPU array of one `u64`, a [`crate::reject::Limit`]: up to when, in nanoseconds of the
    /// boot clock, answers are used up.
    pub const ANSWER_LIMIT: &str = "ANSWER_LIMIT";
    /// Array of one `u64` a meter: up to when it is used up, in [`super::limit`]'s ticks. Each generation has
    /// its own.
    pub const METERS: &str = "METERS";
    /// Array of [`super::limit::SourceSet`]. Each generation has its own.
    pub const SOURCES: &str = "SOURCES";
    /// Per-CPU array of [`super::Counter`] by meter of a rate: packets that the rule did not match because
    /// they were over it. Each generation has its own.
    pub const OVER: &str = "OVER";
    /// Ring buffer of [`super::event::Event`]. Shared.
    pub const EVENTS: &str = "EVENTS";
    /// Per-CPU array of [`super::Counter`] by [`super::event::Outcome`]. Shared.
    pub const SAMPLES: &str = "SAMPLES";
    /// Array of one `u64` for each of [`super::event::Cause`], as in [`METERS`]. Shared.
    pub const SAMPLE_METERS: &str = "SAMPLE_METERS";
    /// Per-CPU array of one `u32`, see [`super::shadow::left`]: what the shadow decided about the packet that
    /// the live generation judges next. Shared.
    pub const SHADOWED: &str = "SHADOWED";
    /// Per-CPU array of [`super::Counter`] by [`super::shadow::pair_index`]. Shared.
    pub const SHADOW_PAIRS: &str = "SHADOW_PAIRS";
    /// Hash of [`super::ban::Ban`] by the octets of an address. Shared, in the folder of its own version.
    pub const BAN_ADDRESSES: &str = "BAN_ADDRESSES";
    /// Trie of [`super::ban::Ban`] by the octets of a prefix. Shared, in the folder of its own version.
    pub const BAN_PREFIXES: &str = "BAN_PREFIXES";
}

/// Names of the constants that a generation's program is loaded with. The verifier sees their
/// values, so that what a ruleset does not use is not in its program.
pub mod constant {
    /// `u32`: sum of [`super::setting`] flags.
    pub const FLAGS: &str = "FLAGS";
    /// `u32`: bytes of the image.
    pub const IMAGE_BYTES: &str = "IMAGE_BYTES";
    /// `u32`: diagrams of the image.
    pub const DIAGRAMS: &str = "DIAGRAMS";
    /// `u32`: used entries of [`SERVICES`].
    pub const SERVICE_COUNT: &str = "SERVICE_COUNT";
    /// `[u32; SERVICES_MAX]`: [`super::ServicePort::to_word`] by service slot.
    pub const SERVICES: &str = "SERVICE_PORTS";
    /// `u64`: `interval_ns` of [`super::answer::Allowance`].
    pub const ANSWER_INTERVAL_NS: &str = "ANSWER_INTERVAL_NS";
    /// `u64`: `burst_ns` of [`super::answer::Allowance`].
    pub const ANSWER_BURST_NS: &str = "ANSWER_BURST_NS";
    /// `[u64; SEED_WORDS]`: the secret that spreads sources over [`super::map::SOURCES`].
    pub const SEED: &str = "SEED";
}

/// Slot of [`map::GENERATIONS`] that packets are judged by. Writing it is the one write that
/// switches generations.
pub const GENERATION_ACTIVE: u32 = 0;
/// Slot of [`map::GENERATIONS`] that takes over when a confirmation is overdue.
pub const GENERATION_FALLBACK: u32 = 1;
/// Slot of [`map::GENERATIONS`] of the candidate that judges beside the live rules, see [`control::SHADOW`].
pub const GENERATION_SHADOW: u32 = 2;
/// Slots of [`map::GENERATIONS`].
pub const GENERATION_SLOTS: u32 = 3;

/// Indices of the words of [`map::CONTROL`]; each is written alone.
pub mod control {
    /// Nanoseconds of the boot clock from which on the fallback judges; 0: never.
    pub const CONFIRM_DEADLINE_NS: u32 = 0;
    /// Most detailed level of diagnostics to emit: 0 none, 1 error … 5 trace.
    pub const LOG_LEVEL: u32 = 1;
    /// Sum of [`super::ban::kind`] bits: which tables of bans are to be asked.
    pub const BANS: u32 = 2;
    /// 1: the candidate in [`super::GENERATION_SHADOW`] judges every packet too, first; 0: it does not.
    pub const SHADOW: u32 = 3;
    /// What is sampled for those who watch: 0 nothing, 1 packets that do not pass, 2 every packet.
    pub const EVENTS: u32 = 6;
    /// How many words there are.
    pub const WORDS: u32 = 8;
}

/// Lines of diagnostics that one CPU writes in a second at most.
pub const LOG_LINES_PER_SECOND: u64 = 50;

/// Packets and bytes (from the Ethernet header on, without FCS) on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}
const _: () = assert!(size_of::<Counter>() == 16);

/// Which logical interface an ifindex is. Rules and counters know interfaces by their
/// logical number only, so that a ruleset can be judged where the interface does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct InterfaceSlot {
    /// The kernel's number; 0 marks a free entry.
    pub ifindex: u32,
    /// Logical number, below [`INTERFACES_MAX`].
    pub interface: u32,
    /// Its hardware address: six octets, the first one in bits 47–40; 0 where it has none. Frames
    /// for another station, which it takes while somebody listens on it, get no answer.
    pub station: u64,
}
const _: () = assert!(size_of::<InterfaceSlot>() == 16);

/// Logical interfaces, [`INTERFACE_UNKNOWN`] included: one bit each in a rule.
pub const INTERFACES_MAX: u32 = 64;
/// The logical interface of an ifindex that has no entry.
pub const INTERFACE_UNKNOWN: u32 = 0;
/// Entries of [`map::INTERFACES`]; a power of two.
pub const INTERFACE_ENTRIES: u32 = 1024;
/// How many entries from `ifindex % INTERFACE_ENTRIES` on may hold an ifindex.
pub const INTERFACE_PROBES: u32 = 4;

const OUTCOMES_PER_INTERFACE: u32 = Verdict::COUNT * Reason::COUNT;
/// Entries of [`map::OUTCOMES`].
pub const OUTCOME_ENTRIES: u32 = INTERFACES_MAX * OUTCOMES_PER_INTERFACE;

/// Index in [`map::OUTCOMES`].
#[inline(always)]
pub const fn outcome_index(interface: u32, verdict: Verdict, reason: Reason) -> u32 {
    interface * OUTCOMES_PER_INTERFACE + verdict as u32 * Reason::COUNT + reason as u32
}

/// Services that one generation can count.
pub const SERVICES_MAX: usize = 16;

/// A port whose application messages are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// TCP destination port.
    pub port: u16,
    /// What is spoken there, see [`service_protocol`].
    pub protocol: u16,
}

impl ServicePort {
    /// As one word: the port in the high half.
    pub const fn to_word(self) -> u32 {
        (self.port as u32) << 16 | self.protocol as u32
    }

    /// From one word.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
    pub const fn from_word(word: u32) -> Self {
        Self { port: (word >> 16) as u16, protocol: word as u16 }
    }
}

/// Values of [`ServicePort::protocol`].
pub mod service_protocol {
    /// HTTP/1.x: segments that begin with a request line are counted.
    pub const HTTP: u16 = 1;
}

/// Flags of [`constant::FLAGS`].
pub mod setting {
    /// There is a ruleset; without it everything passes, malformed packets too.
    pub const JUDGE: u32 = 1;
    /// Neighbour discovery passes before the rules.
    pub const NEIGHBOUR_DISCOVERY: u32 = 1 << 1;
    /// Multicast listener discovery passes before the rules.
    pub const MULTICAST_LISTENER: u32 = 1 << 2;
    /// ICMP errors about packets of this host pass before the rules.
    pub const ICMP_ERRORS: u32 = 1 << 3;
    /// Answers to a DHCP client pass before the rules.
    pub const DHCP: u32 = 1 << 4;
    /// A rule or the policy rejects: senders are told.
    pub const REJECT: u32 = 1 << 5;
    /// A rule has a rate.
    pub const LIMITS: u32 = 1 << 7;
    /// A rule has a log.
    pub const LOG: u32 = 1 << 8;
    /// A candidate beside the live rules: it counts hits in maps of its own, leaves its verdict for the live
    /// generation, and hands the packet on to that one.
    pub const SHADOW: u32 = 1 << 10;
    /// The program returns [`super::report::word`] in the place of an XDP action, and answers nobody. Only
    /// for test runs: attached, it would pass no packet.
    pub const REPORT: u32 = 1 << 31;
}
