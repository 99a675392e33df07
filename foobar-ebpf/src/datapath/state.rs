//! The kernel's [`State`](foobar_ebpf::state::State): tables are maps, each in a module of its own.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use foobar_ebpf::state::Clock;

/// Stands for the maps, of which there is one of each.
pub(super) struct KernelState;

impl Clock for KernelState {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_boot_ns() }
    }
}
