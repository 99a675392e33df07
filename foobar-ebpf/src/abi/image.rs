//! The image of a generation: one immutable value that holds a whole ruleset as decision
//! diagrams, made of units of 32 bytes.
//!
//! ```text
//! ┌─────────────────┬────────┬───┬──────┬──────────────┬───┬───────┬───┬───────┬───┐
//! │ Header (2 units)│ Stage  │ … │ Test │ Table (2)    │ … │ Meter │ … │ Notes │ … │
//! └─────────────────┴────────┴───┴──────┴──────────────┴───┴───────┴───┴───────┴───┘
//! ```
//!
//! A rule with a rate has a *stage*: the roots of diagrams of the rules that follow it, where a walk
//! begins anew when the rule is over its rate. Stages, meters and notes are there only if a rule has
//! a rate or a log.
//!
//! An [`Edge`] leads to a node or is an end. A [`Test`] compares any bits of one word of the
//! packet's [`crate::key::Key`]; a table has a child for each value of one nibble of it. Edges
//! lead only to nodes that look at less significant bits, so that every walk ends.

use core::mem::{align_of, size_of};

use super::limit::Meter;
use crate::key;
use crate::verdict::Verdict;

/// First word of every image: "fooB" in memory order on a little-endian machine.
pub const MAGIC: u32 = u32::from_le_bytes(*b"fooB");

/// Bytes of a unit, by which nodes are numbered.
pub const UNIT_BYTES: usize = 32;
/// Children of a table, which takes two units.
pub const TABLE_CHILDREN: u32 = 16;
/// Units of the header.
pub const HEADER_UNITS: usize = size_of::<Header>() / UNIT_BYTES;
/// Units that an edge can number: an image has 512 MiB at most.
pub const UNITS_MAX: usize = 1 << NODE_BITS;
/// Diagrams that one image can hold side by side.
pub const DIAGRAMS_MAX: usize = 4;
/// Rule slots that an edge can number, the policy's included.
pub const RULE_SLOTS_MAX: usize = 1 << NODE_BITS;

const NODE_BITS: u32 = 24;
const NODE_MASK: u32 = (1 << NODE_BITS) - 1;

/// Where a walk goes on, or its end.
///
/// | bits 31–24 | bits 23–0 | |
/// |---|---|---|
/// | `0www ssss` | unit | a table by the nibble of word `www` that lies `4 × ssss` bits up |
/// | `1000 0www` | unit | a test of word `www` |
/// | `1100 0nvv` | slot | a rule's verdict `vv`; `n`: there is more to know of it, a [`Note`] |
/// | `1101 00vv` | slot | no rule matched: the policy's verdict `vv` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Edge(u32);

/// The operation of an [`Edge`], in its highest bits.
mod op {
    pub(super) const TEST: u32 = 0x80 << super::NODE_BITS;
    pub(super) const RULE: u32 = 0xc0 << super::NODE_BITS;
    pub(super) const POLICY: u32 = 0xd0 << super::NODE_BITS;
    pub(super) const POLICY_BIT: u32 = 0x10 << super::NODE_BITS;
    pub(super) const NOTED_BIT: u32 = 0x04 << super::NODE_BITS;
}

impl Edge {
    /// Leads to the header: no edge of a node or an end is this.
    pub const NONE: Self = Self(0);

    /// To a table of the nibble that lies `shift` bits up in a word.
    pub const fn table(word: u32, shift: u32, unit: u32) -> Self {
        Self(((word << 4) | (shift / 4)) << NODE_BITS | unit)
    }

    /// To a test of a word.
    pub const fn test(word: u32, unit: u32) -> Self {
        Self(op::TEST | word << NODE_BITS | unit)
    }

    /// The end at a rule.
    pub const fn rule(verdict: Verdict, slot: u32) -> Self {
        Self(op::RULE | (verdict as u32) << NODE_BITS | slot)
    }

    /// The end without a rule.
    pub const fn policy(verdict: Verdict, slot: u32) -> Self {
        Self(op::POLICY | (verdict as u32) << NODE_BITS | slot)
    }

    /// In the place of an end that an image should have led to: such an image must not open the host.
    pub const UNREADABLE: Self = Self::policy(Verdict::Drop, NODE_MASK);

    /// The end at a rule of which there is a [`Note`].
    #[must_use]
    pub const fn noted(self) -> Self {
        Self(self.0 | op::NOTED_BIT)
    }

    /// Whether there is a [`Note`] of the rule at this end.
    #[inline(always)]
    pub const fn is_noted(self) -> bool {
        self.0 & op::NOTED_BIT != 0
    }

    /// Whether the walk ends here.
    #[inline(always)]
    pub const fn is_end(self) -> bool {
        self.0 >= op::RULE
    }

    /// Whether a test follows; otherwise, a table.
    #[inline(always)]
    pub const fn is_test(self) -> bool {
        self.0 & op::TEST != 0
    }

    /// The unit of the node that follows, or the slot of an end. The policy has the last slot, so
    /// that of several ends the one with the least slot decides.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 & NODE_MASK
    }

    /// The word that the test which follows looks at.
    #[inline(always)]
    pub const fn test_word(self) -> usize {
        (self.0 >> NODE_BITS) as usize % key::WORDS
    }

    /// The word that the table which follows looks at, and how many bits up its nibble lies.
    #[inline(always)]
    pub const fn table_nibble(self) -> (usize, u32) {
        ((self.0 >> (NODE_BITS + 4)) as usize % key::WORDS, (self.0 >> NODE_BITS & 0xf) * 4)
    }

    /// What an end decides.
    #[inline(always)]
    pub const fn verdict(self) -> Verdict {
        const ALLOW: u32 = Verdict::Allow as u32;
        const REJECT: u32 = Verdict::Reject as u32;
        match self.0 >> NODE_BITS & 3 {
            ALLOW => Verdict::Allow,
            REJECT => Verdict::Reject,
            _ => Verdict::Drop,
        }
    }

    /// Whether an end is the policy's.
    #[inline(always)]
    pub const fn is_policy(self) -> bool {
        self.0 & op::POLICY_BIT != 0
    }
}

/// What there is to know of a rule beside its verdict. By slot of the rule, eight in a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Note(u32);

impl Note {
    /// The meters of its rate and of its log.
    pub fn new(limit: Option<u16>, log: Option<u16>) -> Self {
        let word = |meter: Option<u16>| meter.map_or(0, |meter| u32::from(meter) + 1);
        Self(word(limit) | word(log) << 16)
    }

    /// The meter of the rule's rate, which has the stage of the same number.
    #[inline(always)]
    pub const fn limit(self) -> Option<u32> {
        (self.0 & 0xffff).checked_sub(1)
    }

    /// The meter of the rule's samples.
    #[inline(always)]
    pub const fn log(self) -> Option<u32> {
        (self.0 >> 16).checked_sub(1)
    }
}

/// Notes of a unit.
pub const NOTES_A_UNIT: usize = UNIT_BYTES / size_of::<Note>();

/// One diagram's starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Roots {
    /// For IPv4 packets.
    pub ipv4: Edge,
    /// For IPv6 packets.
    pub ipv6: Edge,
}

/// The image's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`super::DATAPATH_VERSION`].
    pub version: u32,
    /// How many of `roots` are in use; a load-time constant of the program too.
    pub diagrams: u32,
    /// Rule slots, the policy's included, which is the last.
    pub rule_slots: u32,
    /// By diagram.
    pub roots: [Roots; DIAGRAMS_MAX],
    /// The unit where meters begin: those of rates first, then those of logs.
    pub meters: u32,
    /// The unit where notes begin.
    pub notes: u32,
    /// The generation's number, written when it is installed.
    pub generation: u64,
}
const _: () = assert!(size_of::<Header>() == 64 && size_of::<[Roots; DIAGRAMS_MAX]>() == UNIT_BYTES);

/// Where the number of the generation lies in an image, in bytes.
pub const GENERATION_OFFSET: usize = core::mem::offset_of!(Header, generation);

/// A node with two children: what a run of single-bit decisions with a common way out comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Test {
    /// Bits of the word that are compared.
    pub mask: u64,
    /// What they must be.
    pub value: u64,
    /// Where they are.
    pub hit: Edge,
    /// Where they are not.
    pub miss: Edge,
    /// Zero.
    pub padding: u64,
}
const _: () = assert!(size_of::<Test>() == UNIT_BYTES);

/// 32 bytes of an image: a test, half a table, half of the header, a stage, a meter, eight notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Unit(pub [Edge; 8]);
const _: () = assert!(size_of::<Unit>() == UNIT_BYTES && align_of::<Unit>() == align_of::<Test>());

impl Unit {
    /// A test as it lies in an image.
    pub const fn of_test(test: Test) -> Self {
        // SAFETY: same size, plain integers, and no byte of the value is implicit padding.
        unsafe { core::mem::transmute(test) }
    }

    /// A stage as it lies in an image.
    pub const fn of_stage(stage: [Roots; DIAGRAMS_MAX]) -> Self {
        // SAFETY: as in `of_test`.
        unsafe { core::mem::transmute(stage) }
    }

    /// The unit as a stage.
    pub const fn as_stage(&self) -> &[Roots; DIAGRAMS_MAX] {
        // SAFETY: as in `as_test`.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// A meter as it lies in an image.
    pub const fn of_meter(meter: Meter) -> Self {
        // SAFETY: as in `of_test`.
        unsafe { core::mem::transmute(meter) }
    }

    /// The unit as a meter.
    pub const fn as_meter(&self) -> &Meter {
        // SAFETY: as in `as_test`.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// Notes as they lie in an image.
    pub const fn of_notes(notes: [Note; NOTES_A_UNIT]) -> Self {
        // SAFETY: as in `of_test`.
        unsafe { core::mem::transmute(notes) }
    }

    /// The unit as notes.
    pub const fn as_notes(&self) -> &[Note; NOTES_A_UNIT] {
        // SAFETY: as in `as_test`.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// The unit as a test.
    pub const fn as_test(&self) -> &Test {
        // SAFETY: same size and alignment, and any bit pattern is a value.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// A header as it lies in an image.
    pub const fn of_header(header: Header) -> [Self; HEADER_UNITS] {
        // SAFETY: as in `of_test`.
        unsafe { core::mem::transmute(header) }
    }

    /// The units as a header.
    pub const fn as_header(units: &[Self; HEADER_UNITS]) -> &Header {
        // SAFETY: as in `as_test`.
        unsafe { &*units.as_ptr().cast() }
    }

    /// A unit of its bytes as they lie in an image; any are one.
    pub const fn of_bytes(bytes: [u8; UNIT_BYTES]) -> Self {
        // SAFETY: same size, and any bit pattern is a value.
        unsafe { core::mem::transmute(bytes) }
    }

    /// The units as bytes.
    pub const fn bytes(units: &[Self]) -> &[u8] {
        // SAFETY: the same memory; units have no padding, and bytes need no alignment.
        unsafe { core::slice::from_raw_parts(units.as_ptr().cast(), size_of_val(units)) }
    }
}
