//! Rates of rules: whether a packet is within its rule's, and what decides where it is not. Pure; the
//! tables are behind [`LimitTable`].
//!
//! All CPUs take from one meter, by atomic operations: a rate holds for the host. What cannot be settled
//! in a few tries, because others take from the same meter at the same time, counts as over the
//! rate: a limit is never exceeded for that.

use core::sync::atomic::AtomicU64;

use crate::abi::image::{Edge, Note};
use crate::abi::limit::{
    AMOUNT_MAX, LOCKED, Meter, SEED_WORDS, SOURCE_SETS, SOURCE_WAYS, SourceEntry, SourceSet, TICKS_PER_NS,
    counts,
};
use crate::atomic::{compare_exchange, read, write};
use crate::classifier::Image;
use crate::key::{Key, SOURCE};
use crate::packet::{Parsed, TransportKind};
use crate::state::Clock;

/// How often a meter that others take from is tried again.
const TRIES: usize = 8;
/// How often a set that others work on is tried again: they hold it for some tens of instructions.
const LOCK_TRIES: usize = 64;

/// A packet that has come to a rule with a rate.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The packet for the classifier.
    pub key: Key,
    /// Whether it is IPv4.
    pub is_ipv4: bool,
    /// Whether it is a TCP segment with SYN and without ACK.
    pub opens_connection: bool,
    /// Its bytes, from the Ethernet header on.
    pub length_bytes: u32,
}

impl Question {
    /// About a packet that was parsed, and whose key and length are these.
    #[inline(always)]
    pub fn about(parsed: &Parsed, key: &Key, length_bytes: u32) -> Self {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        let transport = &parsed.packet.transport;
        Self {
            key: *key,
            is_ipv4: parsed.packet.is_ipv4(),
            opens_connection: transport.kind == TransportKind::Tcp
                && transport.tcp_flags & (SYN | ACK) == SYN,
            length_bytes,
        }
    }

    /// What a meter charges for it.
    #[inline(always)]
    const fn amount(&self, meter: &Meter) -> u64 {
        match meter.counts & counts::MASK {
            counts::BYTES => self.length_bytes as u64,
            counts::CONNECTIONS => self.opens_connection as u64,
            _ => 1,
        }
    }

    /// The source that is charged: as much of the address as the meter's prefix.
    #[inline(always)]
    const fn source(&self, meter: &Meter) -> [u64; 2] {
        let length = if self.is_ipv4 { meter.prefix_ipv4 } else { meter.prefix_ipv6 };
        let [high, low] = [self.key.words[SOURCE], self.key.words[SOURCE + 1]];
        if length > 64 {
            [high, low & !0 << ((128 - length) & 63)]
        } else if length == 0 {
            [0, 0]
        } else {
            [high & !0 << ((64 - length) & 63), 0]
        }
    }
}

/// Who settles what decides about a packet that has come to a rule with a rate.
pub trait Limits {
    /// The end in the place of one that is noted: itself, where its rule is within its rate or has none.
    fn settle<I: Image>(&self, image: &I, parsed: &Parsed, key: &Key, end: Edge) -> Edge;
}

/// The tables of what is used up.
pub trait LimitTable: Clock {
    /// Up to when a meter is used up, in ticks.
    fn meter(&self, meter: u32) -> Option<&AtomicU64>;
    /// A set of sources.
    fn sources(&self, set: u32) -> Option<&SourceSet>;
    /// A word of the secret that spreads sources over sets.
    fn seed(&self, word: usize) -> u64;
    /// Counts a packet that is over a rate.
    fn count_over(&self, limit: u32, length_bytes: u32);
}

/// What became of a packet's question to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The rule is within its rate, or has none: it decides.
    Stands,
    /// It is over the rate of this number.
    Over(u32),
}

/// Asks the rule at an end; charges what is within its rate, and counts what is over it.
#[inline(always)]
pub fn ask<I: Image, T: LimitTable>(image: &I, table: &T, question: &Question, end: Edge) -> Answer {
    let Some(limit) = image.note(end.index()).and_then(Note::limit) else { return Answer::Stands };
    // An image that cannot be read lets nothing be within a rate.
    if image.meter(limit).is_some_and(|meter| admits(table, limit, meter, question)) {
        return Answer::Stands;
    }
    table.count_over(limit, question.length_bytes);
    Answer::Over(limit)
}

/// Whether a packet is within the rate of a rule that it matches; then it is charged.
#[inline(always)]
fn admits<T: LimitTable>(table: &T, number: u32, meter: &Meter, question: &Question) -> bool {
    let amount = question.amount(meter);
    if amount == 0 {
        return true;
    }
    let now_ticks = table.now_ns() * TICKS_PER_NS;
    if meter.counts & counts::PER_SOURCE == 0 {
        return table.meter(number).is_some_and(|cell| take(cell, meter, amount, now_ticks));
    }
    let source = question.source(meter);
    let set = table.sources(set_of(table, source, number));
    set.is_some_and(|set| take_for(set, (source, number), meter, amount, now_ticks))
}

impl Meter {
    /// Ticks that an amount takes: to the nearest, and one at least.
    #[inline(always)]
    pub const fn cost_ticks(&self, amount: u64) -> u64 {
        let amount = if amount > AMOUNT_MAX { AMOUNT_MAX } else { amount };
        let shift = self.shift & 63;
        let ticks = (amount * self.scale + ((1 << shift) >> 1)) >> shift;
        if ticks == 0 { 1 } else { ticks }
    }

    /// Up to when the meter is used up with this cost more; `None`: that is over the rate.
    #[inline(always)]
    const fn with(&self, used_until_ticks: u64, cost_ticks: u64, now_ticks: u64) -> Option<u64> {
        let since = if used_until_ticks > now_ticks { used_until_ticks } else { now_ticks };
        let next = since + cost_ticks;
        if next > now_ticks + self.burst_ticks { None } else { Some(next) }
    }
}

/// Takes an amount from a meter, if it has so much.
#[inline(always)]
pub fn take(cell: &AtomicU64, meter: &Meter, amount: u64, now_ticks: u64) -> bool {
    let cost_ticks = meter.cost_ticks(amount);
    // A cost beyond the burst would be over it in any case, and may be too large to be added.
    if cost_ticks > meter.burst_ticks {
        return false;
    }
    let mut used_until_ticks = read(cell);
    for _ in 0..TRIES {
        let Some(next) = meter.with(used_until_ticks, cost_ticks, now_ticks) else { return false };
        let seen = compare_exchange(cell, used_until_ticks, next);
        if seen == used_until_ticks {
            return true;
        }
        used_until_ticks = seen;
    }
    false
}

/// The set in which a source has its place, by multilinear hashing with a secret: strongly universal
/// (D. Lemire, O. Kaser, *Strongly universal string hashing is fast*, 2014), so that nobody who does not
/// know the secret can aim at a set.
#[inline(always)]
fn set_of<T: LimitTable>(table: &T, [high, low]: [u64; 2], meter: u32) -> u32 {
    const _: () = assert!(SEED_WORDS == 6);
    let half = |word: u64| word & 0xffff_ffff;
    let sum = table
        .seed(0)
        .wrapping_add(table.seed(1).wrapping_mul(high >> 32))
        .wrapping_add(table.seed(2).wrapping_mul(half(high)))
        .wrapping_add(table.seed(3).wrapping_mul(low >> 32))
        .wrapping_add(table.seed(4).wrapping_mul(half(low)))
        .wrapping_add(table.seed(5).wrapping_mul(u64::from(meter)));
    (sum >> 32) as u32 & (SOURCE_SETS - 1)
}

/// Takes an amount from a source's own meter, if it has so much.
///
/// A source that has no entry gets the one that is used up the least: a free one, where there is
/// any, or that of whoever has taken least beyond the present. Sources that have taken more keep
/// theirs, and nobody is charged for another.
#[inline(always)]
fn take_for(
    set: &SourceSet,
    (source, number): ([u64; 2], u32),
    meter: &Meter,
    amount: u64,
    now_ticks: u64,
) -> bool {
    let cost_ticks = meter.cost_ticks(amount);
    if cost_ticks > meter.burst_ticks || !lock(set) {
        return false;
    }
    let (mut way, mut is_known) = (0, false);
    let mut least = u64::MAX;
    for candidate in 0..SOURCE_WAYS {
        let entry = &set.ways[candidate];
        let used_until_ticks = read(&entry.used_until_ticks);
        if is(entry, source, number) {
            (way, is_known, least) = (candidate, true, used_until_ticks);
            break;
        }
        if used_until_ticks < least {
            (way, least) = (candidate, used_until_ticks);
        }
    }
    let entry = &set.ways[way % SOURCE_WAYS];
    let next = meter.with(if is_known { least } else { 0 }, cost_ticks, now_ticks);
    if let Some(next) = next {
        if !is_known {
            write(&entry.source[0], source[0]);
            write(&entry.source[1], source[1]);
            // The lock is one for all entries; here it is kept, or written where nobody looks for it.
            write(&entry.meter, u64::from(number) | LOCKED);
        }
        write(&entry.used_until_ticks, next);
    }
    unlock(set);
    next.is_some()
}

#[inline(always)]
fn is(entry: &SourceEntry, [high, low]: [u64; 2], number: u32) -> bool {
    read(&entry.source[1]) == low
        && read(&entry.source[0]) == high
        && read(&entry.meter) & !LOCKED == u64::from(number)
}

/// Takes the lock of a set; in the kernel nothing that holds one can be interrupted by another packet
/// of its CPU.
#[inline(always)]
fn lock(set: &SourceSet) -> bool {
    let word = &set.ways[0].meter;
    for _ in 0..LOCK_TRIES {
        let free = read(word) & !LOCKED;
        if compare_exchange(word, free, free | LOCKED) == free {
            return true;
        }
    }
    false
}

/// Lets go of it. An exchange, because the kernel's machine has no weaker operation that is ordered.
#[inline(always)]
fn unlock(set: &SourceSet) {
    let word = &set.ways[0].meter;
    let held = read(word);
    compare_exchange(word, held, held & !LOCKED);
}
