//! A word that CPUs and the agent read and change at once.

use core::sync::atomic::AtomicU64;

use crate::atomic::{compare_exchange, read, write};

/// Such a word.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Shared(AtomicU64);

impl Shared {
    /// What it is, in no order with other words.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        read(&self.0)
    }

    /// Makes it this, in no order with other words.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        write(&self.0, value);
    }

    /// Puts `new` in the place of `old`, in order with everything before and after; whether `old` was there.
    #[inline(always)]
    pub fn exchange(&self, old: u64, new: u64) -> bool {
        compare_exchange(&self.0, old, new) == old
    }
}
