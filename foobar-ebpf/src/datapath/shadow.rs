//! A candidate beside the live rules. It judges each packet first, leaves its verdict in memory of the
//! CPU, and hands the packet on; the live generation's exit counts the pair. While nobody shadows,
//! that is one word of the control map in the root and one in the exit.

use foobar_ebpf::abi::{control, shadow};
use foobar_ebpf::policy::Judgement;
use foobar_ebpf::verdict::Verdict;

use super::{exit, maps};

/// Whether a candidate judges too.
#[inline(always)]
pub(super) fn is_on() -> bool {
    maps::control(control::SHADOW) != 0
}

/// What is left of a packet that the candidate has judged: nothing but counts of its own.
#[inline(always)]
pub(super) fn leave(judgement: &Judgement, bytes: u64) {
    exit::count_rule(judgement, bytes);
    maps::swap_shadowed(shadow::left(judgement.verdict));
}

/// Counts what the live rules decided beside what the candidate did. What was left is taken: a packet
/// that was on its way when the candidate came has no pair.
#[inline(always)]
pub(super) fn compare(live: Verdict, bytes: u64) {
    if is_on()
        && let Some(pair) = shadow::pair_index(maps::swap_shadowed(shadow::NOTHING), live)
    {
        maps::add(&maps::SHADOW_PAIRS, pair, bytes);
    }
}
