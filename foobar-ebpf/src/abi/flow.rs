//! The table of flows: one array map that the programs of all generations share, and that the agent
//! reads as memory. Its first element is the [`Header`], each other one a [`Bucket`].
//!
//! ```text
//! ┌────────┬──────────┬──────────────────────┬────────┬───
//! │ Header │ 8 × word │ 8 × (tuple, started) │ Bucket │ …
//! └────────┴──────────┴──────────────────────┴────────┴───
//!           one cache line: all that a search reads which finds nothing
//! ```
//!
//! A change of anything here changes [`FLOWS_VERSION`], which is the table's own: a datapath of another
//! version goes on with it.

use core::mem::{align_of, size_of};

use crate::flow::shared::Shared;
use crate::flow::tuple::Tuple;

/// Version of the table, in its header and in the name of its pin.
pub const FLOWS_VERSION: u32 = 1;

/// Flows that one bucket holds.
pub const WAYS: usize = 8;
/// Buckets; a power of two.
pub const BUCKETS: u32 = 1 << BUCKET_BITS;
/// Bits of a hash that choose the bucket.
pub const BUCKET_BITS: u32 = 14;
/// Flows that the table holds: 131,072.
#[expect(clippy::cast_possible_truncation, reason = "eight")]
pub const CAPACITY: u32 = BUCKETS * WAYS as u32;
/// Elements of the map: the header and the buckets.
pub const MAP_ENTRIES: u32 = 1 + BUCKETS;

/// Numbers of the keyed hash.
pub const SEEDS: usize = 1 + 2 * Tuple::WORDS;

/// What the table is, and the secret by which flows find their bucket: whoever does not know it cannot
/// choose flows that share one. The agent writes it once, before any program is attached.
#[repr(C)]
pub struct Header {
    /// [`FLOWS_VERSION`]; 0 in a table that no agent has taken up yet.
    pub version: Shared,
    /// Random numbers, see [`crate::flow::tuple::Tuple::hash`].
    pub seeds: [Shared; SEEDS],
}

/// What of a flow does not change.
#[repr(C)]
pub struct Flow {
    /// Addresses, ports, protocol: the words of a [`Tuple`].
    pub tuple: [Shared; Tuple::WORDS],
    /// When it began, in seconds of the coarse monotonic clock; above bit 32, by which logical interface.
    pub started: Shared,
}

/// The flows of one hash value.
#[repr(C, align(64))]
pub struct Bucket {
    /// What changes, and what a search reads first, of all of them: one [`crate::flow::word::Word`] each.
    pub words: [Shared; WAYS],
    /// The rest of each.
    pub flows: [Flow; WAYS],
}
const _: () = assert!(align_of::<Bucket>() == 64);
const _: () = assert!(size_of::<Bucket>() == 448 && size_of::<Header>() <= size_of::<Bucket>());

/// Counters of [`super::map::FLOW_COUNTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FlowCount {
    /// TCP flows that began.
    StartedTcp = 0,
    /// UDP flows that began.
    StartedUdp = 1,
    /// Echo flows that began.
    StartedIcmp = 2,
    /// Live flows that made room for others.
    Evicted = 3,
    /// Outgoing packets of killed flows, dropped.
    KilledOut = 4,
}

impl FlowCount {
    /// How many there are.
    pub const COUNT: u32 = 5;
}
