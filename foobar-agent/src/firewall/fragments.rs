//! The table of first fragments on the host: as many entries as in the kernel, forgotten in the
//! same order, for as long.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use foobar_ebpf::abi::fragment::{self, FirstFragment, FragmentKey};
use foobar_ebpf::fragment::FragmentTable;
use lru::LruCache;

/// One generation's table.
#[derive(Debug)]
pub(super) struct HostFragments {
    entries: Mutex<LruCache<FragmentKey, FirstFragment>>,
    since: Instant,
}

impl HostFragments {
    pub(super) fn new() -> Self {
        const ENTRIES: NonZeroUsize = NonZeroUsize::new(fragment::ENTRIES as usize).unwrap();
        Self { entries: Mutex::new(LruCache::new(ENTRIES)), since: Instant::now() }
    }
}

impl FragmentTable for HostFragments {
    fn get(&self, key: &FragmentKey) -> Option<FirstFragment> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn put(&self, key: &FragmentKey, first: FirstFragment) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).put(*key, first);
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
