//! Rates, in maps that all CPUs take from. Apart from the path of every packet: who has come to no
//! rule with a rate pays nothing for it.

use core::ffi::c_void;
use core::sync::atomic::AtomicU64;

use aya_ebpf::helpers::bpf_loop;
use foobar_ebpf::abi::image::{DIAGRAMS_MAX, Edge};
use foobar_ebpf::abi::limit::{LIMITS_MAX, SourceSet};
use foobar_ebpf::classifier::{self, Image, STEPS_MAX};
use foobar_ebpf::key::Key;
use foobar_ebpf::limit::{self, Answer, LimitTable, Limits, Question};
use foobar_ebpf::packet::Parsed;

use super::image::MapImage;
use super::maps;
use super::state::KernelState;

impl LimitTable for KernelState {
    #[inline(always)]
    fn meter(&self, meter: u32) -> Option<&AtomicU64> {
        maps::meter(meter)
    }

    #[inline(always)]
    fn sources(&self, set: u32) -> Option<&SourceSet> {
        maps::sources(set)
    }

    #[inline(always)]
    fn seed(&self, word: usize) -> u64 {
        maps::seed(word)
    }

    #[inline(always)]
    fn count_over(&self, limit: u32, length_bytes: u32) {
        maps::add(&maps::OVER, limit, u64::from(length_bytes));
    }
}

/// Asks rule after rule, until one is within its rate or has none.
impl Limits for KernelState {
    #[inline(always)]
    fn settle<I: Image>(&self, _image: &I, parsed: &Parsed, key: &Key, end: Edge) -> Edge {
        settle(parsed, key, end)
    }
}

/// Apart from the path of every packet, which would keep at hand what is asked for here, and the verifier
/// tell its ways apart by that.
#[inline(never)]
fn settle(parsed: &Parsed, key: &Key, end: Edge) -> Edge {
    let Some(asking) = maps::asking() else { return Edge::UNREADABLE };
    asking.question = Question::about(parsed, key, maps::length_bytes());
    asking.edge = end;
    foobar_settle();
    maps::asking().map_or(Edge::UNREADABLE, |asking| asking.settled)
}

/// How far a packet is that has come to a rule with a rate.
pub(super) struct Asking {
    question: Question,
    /// Where the walk through one diagram is.
    edge: Edge,
    /// The first of the ends of the diagrams before it.
    first: Edge,
    diagram: u32,
    /// The rate that the packet was over last: diagrams begin behind its rule.
    limit: u32,
    /// What decides.
    settled: Edge,
}

/// Steps of all walks behind all rates: more than there can be.
const STEPS_IN_ALL_MAX: u32 = (LIMITS_MAX * DIAGRAMS_MAX * (STEPS_MAX + 1)) as u32;

/// A loop that the verifier goes through once (`bpf_loop`, Linux 5.17): unrolled, as it does with
/// others, the walks behind 64 rules would be more than it takes. In a global function, which it goes
/// through once too, and not again for each of the many ways in which a packet can have come here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn foobar_settle() -> u32 {
    let Some(asking) = maps::asking() else { return 0 };
    // As if this were the last diagram, and had just come to its end.
    asking.first = Edge::UNREADABLE;
    asking.diagram = maps::diagrams();
    asking.settled = Edge::UNREADABLE;
    let round: extern "C" fn(u64, *mut c_void) -> i64 = round;
    // Since Linux 6.17 the memory that all rounds share must be on the stack; what they need is in a map.
    let mut nothing = 0u64;
    // SAFETY: the function has the signature that the helper calls, and `nothing` outlives the call.
    unsafe { bpf_loop(STEPS_IN_ALL_MAX, round as *mut c_void, (&raw mut nothing).cast(), 0) };
    0
}

/// One step: of a walk; from one diagram to the next; and behind the last, to the rule that comes first
/// and, if that is over its rate, to the walks behind it. 1 ends the loop.
extern "C" fn round(_index: u64, _nothing: *mut c_void) -> i64 {
    let (Some(asking), Some(image)) = (maps::asking(), MapImage::of_generation()) else { return 1 };
    if !asking.edge.is_end() {
        let Some(next) = classifier::step(&image, &asking.question.key, asking.edge) else { return 1 };
        asking.edge = next;
        return 0;
    }
    if asking.edge.index() < asking.first.index() {
        asking.first = asking.edge;
    }
    asking.diagram += 1;
    if asking.diagram >= image.diagrams() {
        let limit = if asking.first.is_noted() { over() } else { NOT_OVER };
        let Some(asking) = maps::asking() else { return 1 };
        if limit == NOT_OVER {
            asking.settled = asking.first;
            return 1;
        }
        (asking.first, asking.diagram, asking.limit) = (Edge::UNREADABLE, 0, limit);
    }
    let Some(asking) = maps::asking() else { return 1 };
    let Some(roots) = image.stage(asking.limit, asking.diagram) else { return 1 };
    asking.edge = if asking.question.is_ipv4 { roots.ipv4 } else { roots.ipv6 };
    0
}

/// In the place of a rate's number.
const NOT_OVER: u32 = u32::MAX;

/// The rate that the rule is over. A function of its own: to the verifier, all ways through it come to
/// one number.
#[inline(never)]
fn over() -> u32 {
    let (Some(asking), Some(image)) = (maps::asking(), MapImage::of_generation()) else { return NOT_OVER };
    match limit::ask(&image, &KernelState, &asking.question, asking.first) {
        Answer::Stands => NOT_OVER,
        Answer::Over(limit) => limit,
    }
}
