//! The maps, and safe access to them. Knows no packet.

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf};
use core::sync::atomic::AtomicU64;

use foobar_ebpf::abi::answer::{Allowance, Outcome};
use foobar_ebpf::abi::ban::{self, Ban};
use foobar_ebpf::abi::event::{self, Cause};
use foobar_ebpf::abi::fragment::{self, FirstFragment, FragmentKey};
use foobar_ebpf::abi::image::Header;
use foobar_ebpf::abi::limit::{LIMITS_MAX, SEED_WORDS, SourceSet};
use foobar_ebpf::abi::{
    Counter, GENERATION_SLOTS, INTERFACE_ENTRIES, INTERFACE_PROBES, INTERFACE_UNKNOWN, InterfaceSlot,
    OUTCOME_ENTRIES, SERVICES_MAX, ServicePort, control, shadow,
};
use foobar_ebpf::ban::Octets;
use foobar_ebpf::key::Key;
use foobar_ebpf::packet::Scratch;
use foobar_ebpf::reject::{self, Limit};

use super::limits::Asking;

#[map]
pub(super) static GENERATIONS: ProgramArray = ProgramArray::with_max_entries(GENERATION_SLOTS, 0);

#[map]
static CONTROL: Array<u64> = Array::with_max_entries(control::WORDS, 0);

#[map]
static INTERFACES: Array<InterfaceSlot> = Array::with_max_entries(INTERFACE_ENTRIES, 0);

#[map]
pub(super) static OUTCOMES: PerCpuArray<Counter> = PerCpuArray::with_max_entries(OUTCOME_ENTRIES, 0);

/// The loader gives this map the size of the image before it creates it; what is declared
/// here is the least that every image has. A value that can be mapped begins on a page, so that
/// nodes lie on cache lines.
#[map]
static IMAGE: Array<Header> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The loader gives this map as many entries as there are rule slots.
#[map]
pub(super) static RULES: PerCpuArray<Counter> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(super) static SERVICES: PerCpuArray<Counter> = PerCpuArray::with_max_entries(SERVICES_MAX as u32, 0);

/// The loader makes it small where nothing is judged.
#[map]
pub(super) static FRAGMENTS: LruHashMap<FragmentKey, FirstFragment> =
    LruHashMap::with_max_entries(fragment::ENTRIES, 0);

/// Elements are made when they come: most hosts ban few, some a million.
#[map]
pub(super) static BAN_ADDRESSES: HashMap<Octets, Ban> =
    HashMap::with_max_entries(ban::ADDRESSES_MAX, BPF_F_NO_PREALLOC);

/// A trie is always without elements made ahead.
#[map]
pub(super) static BAN_PREFIXES: LpmTrie<Octets, Ban> = LpmTrie::with_max_entries(ban::PREFIXES_MAX, 0);

#[map]
pub(super) static ANSWERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(Outcome::COUNT, 0);

#[map]
static SHADOWED: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(super) static SHADOW_PAIRS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(shadow::PAIRS, 0);

/// Only who answers needs it, and nobody where nothing is rejected.
#[map]
static ANSWER_LIMIT: PerCpuArray<Limit> = PerCpuArray::with_max_entries(1, 0);

#[map]
static ANSWER: PerCpuArray<reject::Memory> = PerCpuArray::with_max_entries(1, 0);

/// The second of the boot clock in which this CPU last wrote a line, and its lines since.
#[map]
static LOG_BUDGET: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

#[map]
static SCRATCH: PerCpuArray<Memory> = PerCpuArray::with_max_entries(1, 0);

/// The loader gives this map as many entries as there are meters.
#[map]
static METERS: Array<AtomicU64> = Array::with_max_entries(1, 0);

/// The loader gives this map all its sets where a rule has a rate for each source.
#[map]
static SOURCES: Array<SourceSet> = Array::with_max_entries(1, 0);

#[map]
pub(super) static OVER: PerCpuArray<Counter> = PerCpuArray::with_max_entries(LIMITS_MAX as u32, 0);

#[map]
static ASKING: PerCpuArray<Asking> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(super) static EVENTS: RingBuf = RingBuf::with_byte_size(event::RING_BYTES, 0);

#[map]
pub(super) static SAMPLES: PerCpuArray<Counter> = PerCpuArray::with_max_entries(event::Outcome::COUNT, 0);

#[map]
static SAMPLE_METERS: Array<AtomicU64> = Array::with_max_entries(Cause::COUNT, 0);

/// Memory of a CPU for the packet that it judges.
pub(super) struct Memory {
    pub(super) parser: Scratch,
    pub(super) key: Key,
    /// Bytes of the packet, from the Ethernet header on.
    pub(super) length_bytes: u32,
}

#[unsafe(no_mangle)]
pub(super) static FLAGS: Global<u32> = Global::new(0);

#[unsafe(no_mangle)]
static IMAGE_BYTES: Global<u32> = Global::new(0);

#[unsafe(no_mangle)]
static DIAGRAMS: Global<u32> = Global::new(0);

#[unsafe(no_mangle)]
pub(super) static SERVICE_COUNT: Global<u32> = Global::new(0);

/// One constant each, so that a packet reads only those that it needs.
#[unsafe(no_mangle)]
static SERVICE_PORTS: [Global<u32>; SERVICES_MAX] = [const { Global::new(0) }; SERVICES_MAX];

/// Before the loader knows how many CPUs there are.
const ALONE: Allowance = Allowance::of_each(1);

#[unsafe(no_mangle)]
static ANSWER_INTERVAL_NS: Global<u64> = Global::new(ALONE.interval_ns);

#[unsafe(no_mangle)]
static ANSWER_BURST_NS: Global<u64> = Global::new(ALONE.burst_ns);

#[unsafe(no_mangle)]
static SEED: [Global<u64>; SEED_WORDS] = [const { Global::new(0) }; SEED_WORDS];

/// A word of the secret that spreads sources over sets.
#[inline(always)]
pub(super) fn seed(word: usize) -> u64 {
    SEED.get(word).map_or(0, Global::load)
}

/// Up to when a meter is used up.
#[inline(always)]
pub(super) fn meter(meter: u32) -> Option<&'static AtomicU64> {
    METERS.get(meter)
}

/// Up to when the samples of a cause are used up.
#[inline(always)]
pub(super) fn sample_meter(cause: Cause) -> Option<&'static AtomicU64> {
    SAMPLE_METERS.get(cause as u32)
}

/// A set of sources.
#[inline(always)]
pub(super) fn sources(set: u32) -> Option<&'static SourceSet> {
    SOURCES.get(set)
}

/// Memory of this CPU for a packet that has come to a rule with a rate.
#[inline(always)]
pub(super) fn asking() -> Option<&'static mut Asking> {
    // SAFETY: as for `memory`; whoever has one of them hands it to nobody who takes another.
    ASKING.get_ptr_mut(0).map(|asking| unsafe { &mut *asking })
}

/// A word of the control map.
#[inline(always)]
pub(super) fn control(word: u32) -> u64 {
    CONTROL.get(word).copied().unwrap_or(0)
}

/// The logical interface of an ifindex.
#[inline(always)]
pub(super) fn interface(ifindex: u32) -> u32 {
    interface_slot(ifindex).map_or(INTERFACE_UNKNOWN, |slot| slot.interface)
}

/// The hardware address of an ifindex, 0 where none is known.
#[inline(always)]
pub(super) fn station(ifindex: u32) -> u64 {
    interface_slot(ifindex).map_or(0, |slot| slot.station)
}

#[inline(always)]
fn interface_slot(ifindex: u32) -> Option<&'static InterfaceSlot> {
    for probe in 0..INTERFACE_PROBES {
        if let Some(slot) = INTERFACES.get((ifindex + probe) & (INTERFACE_ENTRIES - 1))
            && slot.ifindex == ifindex
        {
            return Some(slot);
        }
    }
    None
}

/// Adds one packet to a counter of this CPU. XDP on one CPU is not preempted by XDP, so a
/// plain addition loses nothing.
#[inline(always)]
pub(super) fn add(counters: &PerCpuArray<Counter>, index: u32, bytes: u64) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: the map gave a valid, aligned pointer to this CPU's own value.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += bytes;
        }
    }
}

/// Leaves what the shadow decided, and gives what was left before.
#[inline(always)]
pub(super) fn swap_shadowed(left: u32) -> u32 {
    let Some(word) = SHADOWED.get_ptr_mut(0) else { return shadow::NOTHING };
    // SAFETY: the map gave a valid, aligned pointer to this CPU's own value.
    core::mem::replace(unsafe { &mut *word }, left)
}

/// Memory of this CPU for the packet that it judges.
#[inline(always)]
pub(super) fn memory() -> Option<&'static mut Memory> {
    // SAFETY: the map gave a valid, aligned pointer to this CPU's own value, and no other
    // packet is judged on this CPU until this one is done. Zeroes, which it begins with, are a
    // value, and the parser writes before it reads.
    SCRATCH.get_ptr_mut(0).map(|memory| unsafe { &mut *memory })
}

/// Bytes of the packet that this CPU judges, for those whom nobody hands the memory in which they stand.
#[inline(always)]
pub(super) fn length_bytes() -> u32 {
    // SAFETY: the map gave a valid, aligned pointer, and nothing else of the value is touched.
    SCRATCH.get_ptr(0).map_or(0, |memory| unsafe { (&raw const (*memory).length_bytes).read() })
}

/// What this CPU answers with: memory to put an answer together, and how many there may be.
#[inline(always)]
pub(super) fn answering() -> Option<(&'static mut reject::Memory, &'static mut Limit)> {
    let (memory, limit) = (ANSWER.get_ptr_mut(0)?, ANSWER_LIMIT.get_ptr_mut(0)?);
    // SAFETY: as for `memory`; the two lie in different maps.
    Some(unsafe { (&mut *memory, &mut *limit) })
}

/// How many answers this CPU may send.
#[inline(always)]
pub(super) fn allowance() -> Allowance {
    Allowance { interval_ns: ANSWER_INTERVAL_NS.load(), burst_ns: ANSWER_BURST_NS.load() }
}

/// Whether this CPU may write one more line in this second.
#[inline(always)]
pub(super) fn take_log_line(second: u64, most: u64) -> bool {
    let Some(budget) = LOG_BUDGET.get_ptr_mut(0) else { return false };
    // SAFETY: the map gave a valid, aligned pointer to this CPU's own value.
    let [since, lines] = unsafe { &mut *budget };
    if *since != second {
        (*since, *lines) = (second, 0);
    }
    *lines += 1;
    *lines <= most
}

/// The port of a service slot.
#[inline(always)]
pub(super) fn service(slot: u32) -> Option<ServicePort> {
    SERVICE_PORTS.get(slot as usize).map(|word| ServicePort::from_word(word.load()))
}

/// The image of this generation; `None` where nothing is judged.
#[inline(always)]
pub(super) fn image() -> Option<*const Header> {
    if image_bytes() == 0 { None } else { IMAGE.get_ptr(0) }
}

/// Bytes of the image: a constant for the verifier.
#[inline(always)]
pub(super) fn image_bytes() -> u32 {
    IMAGE_BYTES.load()
}

/// Diagrams of the image: a constant for the verifier.
#[inline(always)]
pub(super) fn diagrams() -> u32 {
    DIAGRAMS.load()
}
