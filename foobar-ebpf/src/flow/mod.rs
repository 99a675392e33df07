//! Flows that this host started: recorded when they leave, passed when they are answered. Pure; the table's
//! memory is behind [`FlowTable`], what it looks like is [`crate::abi::flow`].
//!
//! Several CPUs search and change a bucket at once, without a lock. A place is changed by exchanging its
//! [`Word`]: whoever begins a flow claims the place, writes the rest and then publishes the word, each by
//! one atomic exchange. What can be seen torn does no harm:
//!
//! - A search may read a word and then the tuple of the flow that replaces it. It finds a flow only where
//!   the word's tag and all five words are those of its packet, so it would have to be looking for a mixture
//!   of two flows with the tag of one; that one packet would pass to where nobody waits for it.
//! - Two CPUs that begin the same flow at once may write it twice. The first place is found from then on,
//!   and the other one runs out.

pub mod shared;
mod tcp;
pub mod tuple;
pub mod word;

use crate::abi::flow::{Bucket, Flow, FlowCount, Header, WAYS};
use crate::packet::{Packet, Parsed, TransportKind};
use shared::Shared;
use tuple::{Place, Tuple, protocol};
use word::{FlowState, Word};

/// Where flows are kept, a bounded number of them.
pub trait FlowTable {
    /// Seconds of a clock that does not go back: in the kernel the coarse monotonic one, which costs a
    /// tenth of an exact one and stands still while the machine sleeps, as conntrack's does.
    fn now_seconds(&self) -> u32;
    /// What the table begins with.
    fn header(&self) -> Option<&Header>;
    /// The bucket of this number.
    fn bucket(&self, bucket: u32) -> Option<&Bucket>;
    /// A word of the caller's own.
    fn scratch(&self) -> Option<&Shared>;
    /// Counts one.
    fn count(&self, count: FlowCount);
}

/// What the table knows about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Known {
    /// No live flow.
    Not = 0,
    /// It belongs to a live flow.
    Live = 1,
    /// It belongs to a flow that an operator has ended.
    Killed = 2,
}

/// Attempts to begin a flow; each fails only where another CPU has changed the same place at that moment.
const ATTEMPTS: u32 = 3;

/// What is known about a packet that arrives. Its flow goes on by it, unless nothing may be `written`
/// (and an ICMP error is about its flow, not of it).
#[inline(never)]
pub fn arrive<T: FlowTable>(parsed: &Parsed, written: bool, table: &T) -> Known {
    let Some(tuple) = Tuple::of_arriving(parsed) else { return Known::Not };
    let now = table.now_seconds();
    let Some((place, word)) = find(&tuple, now, table) else { return Known::Not };
    let transport = &parsed.packet.transport;
    let opens = transport.kind == TransportKind::Tcp && tcp::is_open(transport.tcp_flags);
    if opens && word.state() != FlowState::SynSent as u32 {
        // A connection from the other side between the same ports: rules judge it.
        return Known::Not;
    }
    if written && !transport.quotes_destination {
        go_on(place, word, &parsed.packet, false, now);
    }
    if word.is_killed() { Known::Killed } else { Known::Live }
}

/// What is known about a packet that leaves, whose flow goes on by it.
#[inline(never)]
pub fn leave<T: FlowTable>(packet: &Packet, tuple: &Tuple, table: &T) -> Known {
    let now = table.now_seconds();
    let Some((place, word)) = find(tuple, now, table) else { return Known::Not };
    let transport = &packet.transport;
    let opens = transport.kind == TransportKind::Tcp && tcp::is_open(transport.tcp_flags);
    if word.is_killed() && opens && word.state() != FlowState::SynSent as u32 {
        // The ports are used for another connection. In that state it is the killed one's SYN again.
        return Known::Not;
    }
    go_on(place, word, packet, true, now);
    if word.is_killed() { Known::Killed } else { Known::Live }
}

/// Whether a packet that leaves is one that begins a flow, as far as it can tell itself. Never an answer:
/// whoever can make this host answer could fill the table.
#[inline(always)]
pub fn starts(packet: &Packet) -> bool {
    let starts = match packet.transport.kind {
        TransportKind::Tcp => tcp::is_open(packet.transport.tcp_flags),
        TransportKind::Ports | TransportKind::Icmp => true,
        TransportKind::Opaque => false,
    };
    // Nobody answers from a group's address, or to none.
    starts && packet.source.is_one_host() && packet.destination.is_one_host()
}

/// Begins a flow, in the place of one that is over, or that never was answered, or that was idle longest.
#[inline(never)]
pub fn begin<T: FlowTable>(tuple: &Tuple, interface: u32, table: &T) {
    let (Some(place), now) = (place(tuple, table), table.now_seconds()) else { return };
    let Some(bucket) = table.bucket(place.bucket) else { return };
    let (state, count) = match tuple.protocol() {
        protocol::TCP => (FlowState::SynSent, FlowCount::StartedTcp),
        protocol::UDP => (FlowState::UdpSent, FlowCount::StartedUdp),
        _ => (FlowState::EchoSent, FlowCount::StartedIcmp),
    };
    let own = own(bucket, tuple, place.tag);
    for _ in 0..ATTEMPTS {
        let Some(index) = own.or_else(|| choose(bucket, now, table)) else { return };
        let (Some(word), Some(flow)) = (bucket.words.get(index), bucket.flows.get(index)) else { return };
        let old = Word(word.load());
        let claim = Word::new(place.tag, FlowState::Claimed, now);
        if old.is_claimed() || !word.exchange(old.0, claim.0) {
            continue;
        }
        write(flow, tuple, u64::from(interface) << 32 | u64::from(now));
        // Nobody else changes a claimed place.
        word.exchange(claim.0, Word::new(place.tag, state, now).0);
        table.count(count);
        if own.is_none() && old.is_flow() && !old.is_over(now) {
            table.count(FlowCount::Evicted);
        }
        return;
    }
}

#[inline(always)]
fn place<T: FlowTable>(tuple: &Tuple, table: &T) -> Option<Place> {
    table.header().map(|header| tuple.hash(header))
}

#[inline(always)]
fn write(flow: &Flow, tuple: &Tuple, started: u64) {
    let mut index = 0;
    while index < Tuple::WORDS {
        flow.tuple[index].store(tuple.words[index]);
        index += 1;
    }
    flow.started.store(started);
}

/// The place of a flow that is not over, and its word.
#[inline(always)]
fn find<'t, T: FlowTable>(tuple: &Tuple, now: u32, table: &'t T) -> Option<(&'t Shared, Word)> {
    let place = place(tuple, table)?;
    let bucket = table.bucket(place.bucket)?;
    let at = bucket.words.get(own(bucket, tuple, place.tag)?)?;
    let word = Word(at.load());
    let lives = word.is_flow() && word.tag() == place.tag && !word.is_over(now);
    if lives { Some((at, word)) } else { None }
}

/// The place of a flow, over or not.
#[inline(always)]
fn own(bucket: &Bucket, tuple: &Tuple, tag: u32) -> Option<usize> {
    let mut hits = hits(bucket, tag);
    for _ in 0..WAYS {
        if hits == 0 {
            return None;
        }
        let index = lowest(hits);
        if tuple.is(&bucket.flows.get(index)?.tuple) {
            return Some(index);
        }
        hits &= hits - 1;
    }
    None
}

/// The places whose flow has this tag, one bit each. Without a branch: the verifier would follow both ways
/// of each, and so would the processor.
#[inline(always)]
fn hits(bucket: &Bucket, tag: u32) -> u32 {
    let mut hits = 0;
    let mut index = 0;
    while index < WAYS {
        let difference = Word(bucket.words[index].load()).tag() ^ tag;
        // 24 bits, so that only 0 goes below 0.
        hits |= (difference.wrapping_sub(1) >> 31) << index;
        index += 1;
    }
    hits
}

/// The number of the lowest of eight bits; without a branch, as above. A bit times a de Bruijn sequence
/// (00010111) has another three bits on top for each bit; the digits of the constant undo their order.
#[inline(always)]
const fn lowest(bits: u32) -> usize {
    let one = bits & bits.wrapping_neg();
    let place = (one.wrapping_mul(0b1_0111) >> 5) & 7;
    (0x5637_4210_u32 >> (4 * place) & 7) as usize
}

/// The place that a new flow takes: one without a live flow, one whose flow is unproven, any; of several the
/// one that was idle longest. `None` where others write to all of them.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lowest bits")]
fn choose<T: FlowTable>(bucket: &Bucket, now: u32, table: &T) -> Option<usize> {
    /// Above 32 bits of the time and 8 of the place.
    const RANK_SHIFT: u32 = 40;
    const VACANT: u64 = 1;
    const UNPROVEN: u64 = 2;
    const PROVEN: u64 = 3;
    // In memory: of a register the verifier would follow every value that it may have come to.
    let best = table.scratch()?;
    best.store(u64::MAX);
    let mut index = 0;
    while index < WAYS {
        let word = Word(bucket.words[index].load());
        let rank = if !word.is_flow() || word.is_over(now) {
            VACANT
        } else if word.is_unproven() {
            UNPROVEN
        } else {
            PROVEN
        };
        let rank = rank << RANK_SHIFT | u64::from(word.seen()) << 8 | index as u64;
        if rank < best.load() && !word.is_claimed() {
            best.store(rank);
        }
        index += 1;
    }
    let best = best.load();
    if best == u64::MAX { None } else { Some(best as usize % WAYS) }
}

/// Moves a flow on by one of its packets. Writes only what changed, so that the CPUs that read the line
/// keep it. Where another CPU was faster, that one's packet has moved it.
#[inline(always)]
fn go_on(place: &Shared, word: Word, packet: &Packet, leaves: bool, now: u32) {
    const UDP_SENT: u32 = FlowState::UdpSent as u32;
    const ECHO_SENT: u32 = FlowState::EchoSent as u32;
    let state = word.state();
    let next = match packet.transport.kind {
        TransportKind::Tcp => tcp::next(state, packet.transport.tcp_flags, leaves),
        _ if leaves => state,
        _ => match state {
            UDP_SENT => FlowState::UdpAnswered as u32,
            ECHO_SENT => FlowState::EchoAnswered as u32,
            _ => state,
        },
    };
    // A killed flow stays what it was.
    let next = word.at(if word.is_killed() { state } else { next }, now);
    if next != word {
        place.exchange(word.0, next.0);
    }
}
