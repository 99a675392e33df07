//! A word that CPUs and the agent read and change at once. What it can, the BPF machine can too (compare
//! and exchange since Linux 5.12), but core offers no atomics there, and its compiler takes no atomic load.

use core::sync::atomic::AtomicU64;

/// Such a word.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Shared(AtomicU64);

#[cfg(not(target_arch = "bpf"))]
impl Shared {
    /// What it is, in no order with other words.
    #[inline]
    pub fn load(&self) -> u64 {
        self.0.load(core::sync::atomic::Ordering::Relaxed)
    }

    /// Makes it this, in no order with other words.
    #[inline]
    pub fn store(&self, value: u64) {
        self.0.store(value, core::sync::atomic::Ordering::Relaxed);
    }

    /// Puts `new` in the place of `old`, in order with everything before and after; whether `old` was there.
    #[inline]
    pub fn exchange(&self, old: u64, new: u64) -> bool {
        use core::sync::atomic::Ordering::SeqCst;
        self.0.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
    }
}

#[cfg(target_arch = "bpf")]
impl Shared {
    /// As on the host.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        // SAFETY: valid and aligned; one instruction reads all of it.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    /// As on the host.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        // SAFETY: valid and aligned; one instruction writes all of it.
        unsafe { self.0.as_ptr().write_volatile(value) }
    }

    /// As on the host.
    #[inline(always)]
    pub fn exchange(&self, old: u64, new: u64) -> bool {
        use core::intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg};
        // SAFETY: valid and aligned, and whoever else reads or writes it does so in one instruction.
        let (_, exchanged) =
            unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(self.0.as_ptr(), old, new) };
        exchanged
    }
}
