//! The table of first fragments on the host: as many entries as in the kernel, forgotten in the
//! same order, for as long.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use foobar_ebpf::abi::fragment::{self, FirstFragment, FragmentKey};
use foobar_ebpf::fragment::FragmentTable;
use lru::LruCache;

use super::state::HostState;

/// One generation's table.
#[derive(Debug)]
pub(super) struct HostFragments {
    entries: Mutex<LruCache<FragmentKey, FirstFragment>>,
}

impl HostFragments {
    pub(super) fn new() -> Self {
        const ENTRIES: NonZeroUsize = NonZeroUsize::new(fragment::ENTRIES as usize).unwrap();
        Self { entries: Mutex::new(LruCache::new(ENTRIES)) }
    }
}

impl FragmentTable for HostState {
    fn get(&self, key: &FragmentKey) -> Option<FirstFragment> {
        self.fragments.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn put(&self, key: &FragmentKey, first: FirstFragment) {
        self.fragments.entries.lock().unwrap_or_else(PoisonError::into_inner).put(*key, first);
    }
}
