//! Compare and exchange of a word that several CPUs write. The core library has none for the kernel's
//! machine, whose first version had no such instruction; that of Linux 5.12 has.

use core::sync::atomic::AtomicU64;
#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::Ordering;

/// Writes `new` where the word is `old`; gives what it was.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn compare_exchange(word: &AtomicU64, old: u64, new: u64) -> u64 {
    match word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(seen) | Err(seen) => seen,
    }
}

/// Writes `new` where the word is `old`; gives what it was.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn compare_exchange(word: &AtomicU64, old: u64, new: u64) -> u64 {
    let seen;
    // SAFETY: the word is valid and aligned, and nothing but it and the register is written. The
    // instruction is ordered against all others.
    unsafe {
        core::arch::asm!(
            "r0 = cmpxchg_64({word} + 0, r0, {new})",
            word = in(reg) word.as_ptr(),
            new = in(reg) new,
            inlateout("r0") old => seen,
        );
    }
    seen
}

/// What the word is now.
#[inline(always)]
pub(crate) fn read(word: &AtomicU64) -> u64 {
    #[cfg(not(target_arch = "bpf"))]
    return word.load(Ordering::Relaxed);
    // SAFETY: valid and aligned; the kernel's machine reads a word whole. Its compiler knows no atomic load.
    #[cfg(target_arch = "bpf")]
    return unsafe { word.as_ptr().read_volatile() };
}

/// What the word is from now on; nobody else writes it at the same time.
#[inline(always)]
pub(crate) fn write(word: &AtomicU64, value: u64) {
    #[cfg(not(target_arch = "bpf"))]
    word.store(value, Ordering::Relaxed);
    // SAFETY: as for `read`.
    #[cfg(target_arch = "bpf")]
    unsafe {
        word.as_ptr().write_volatile(value);
    }
}
