//! The table of first fragments, in a map that forgets the least recently used.

use foobar_ebpf::abi::fragment::{FirstFragment, FragmentKey};
use foobar_ebpf::fragment::FragmentTable;

use super::maps;
use super::state::KernelState;

/// This generation's table.
impl FragmentTable for KernelState {
    #[inline(always)]
    fn get(&self, key: &FragmentKey) -> Option<FirstFragment> {
        // SAFETY: integers, of which any bits are a value. An entry that is evicted while it is
        // read may have become another datagram's: its fragments then come without a first one that
        // passed, or without theirs, and the host's stack keeps neither.
        unsafe { maps::FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn put(&self, key: &FragmentKey, first: FirstFragment) {
        // Fails where another CPU has just taken the last free entry. The later fragments are then
        // judged by themselves, like those that come before their first one.
        let _ = maps::FRAGMENTS.insert(key, first, 0);
    }
}
