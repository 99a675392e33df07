//! The table of flows, in the map that all generations share.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use foobar_ebpf::abi::flow::{Bucket, FlowCount, Header};
use foobar_ebpf::flow::FlowTable;
use foobar_ebpf::flow::shared::Shared;

use super::maps;

const SECOND_NS: u64 = 1_000_000_000;

/// Stands for the map, of which there is one.
pub(super) struct Flows;

impl FlowTable for Flows {
    #[inline(always)]
    fn now_seconds(&self) -> u32 {
        // SAFETY: the helper has no preconditions (Linux 5.11).
        (unsafe { bpf_ktime_get_coarse_ns() } / SECOND_NS) as u32
    }

    #[inline(always)]
    fn header(&self) -> Option<&Header> {
        // SAFETY: the element is at least as large as the header, aligned as its words are, and atomics
        // are of any bits.
        maps::FLOWS.get_ptr(0).map(|element| unsafe { &*element.cast() })
    }

    #[inline(always)]
    fn bucket(&self, bucket: u32) -> Option<&Bucket> {
        maps::FLOWS.get(1 + bucket)
    }

    #[inline(always)]
    fn scratch(&self) -> Option<&Shared> {
        maps::egress_memory().map(|memory| &memory.best)
    }

    #[inline(always)]
    fn count(&self, count: FlowCount) {
        maps::add_one(&maps::FLOW_COUNTS, count as u32);
    }
}
