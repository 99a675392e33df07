//! The kernel's [`State`](foobar_ebpf::state::State): tables are maps, each in a module of its own.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use foobar_ebpf::abi::flow::{Bucket, FlowCount, Header};
use foobar_ebpf::flow::FlowTable;
use foobar_ebpf::flow::shared::Shared;
use foobar_ebpf::state::Clock;

use super::flows::Flows;

/// Stands for the maps, of which there is one of each, and for the host as a packet sees it.
pub(super) struct KernelState {
    /// Of the packet that is judged.
    pub(super) ctx: *mut xdp_md,
}

impl KernelState {
    /// Where no packet is at hand: only the maps can be asked.
    pub(super) const OF_NO_PACKET: Self = Self { ctx: core::ptr::null_mut() };
}

impl Clock for KernelState {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_boot_ns() }
    }
}

impl FlowTable for KernelState {
    #[inline(always)]
    fn now_seconds(&self) -> u32 {
        Flows.now_seconds()
    }

    #[inline(always)]
    fn header(&self) -> Option<&Header> {
        Flows.header()
    }

    #[inline(always)]
    fn bucket(&self, bucket: u32) -> Option<&Bucket> {
        Flows.bucket(bucket)
    }

    #[inline(always)]
    fn scratch(&self) -> Option<&Shared> {
        Flows.scratch()
    }

    #[inline(always)]
    fn count(&self, count: FlowCount) {
        Flows.count(count);
    }
}
