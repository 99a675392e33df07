//! The XDP programs: what is attached to an interface, and what judges by one generation.
//! Owns the order of a packet's way through the datapath; the maps are in `datapath::maps`.
//!
//! On any target but `bpf` this is an empty program, so that plain `cargo build --workspace`
//! works with a stable host toolchain.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[expect(clippy::cast_possible_truncation, reason = "addresses and sizes are compared by the verifier")]
mod datapath;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here panics; if that ever changes, the verifier refuses this loop.
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
