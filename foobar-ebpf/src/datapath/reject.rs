//! Answers to rejected packets: out again where they came in (`XDP_TX`), or dropped. Counts both.

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::{
    bpf_ktime_get_boot_ns, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
    bpf_xdp_load_bytes, bpf_xdp_store_bytes,
};
use foobar_ebpf::packet::Scratch;
use foobar_ebpf::reject::{self, Frame};

use super::maps;

/// The frame of a rejected packet. Its helpers (Linux 5.18) reach behind the first buffer of a
/// large frame too, so that it is answered like any other.
struct XdpFrame {
    ctx: *mut xdp_md,
    length_bytes: u32,
}

/// Answers a rejected packet, if it may; gives the XDP action. Apart from the path of every
/// packet, which would pay for its registers.
#[inline(never)]
pub(super) fn answer(ctx: *mut xdp_md, scratch: &Scratch, ifindex: u32) -> u32 {
    let Some((memory, limit)) = maps::answering() else { return xdp_action::XDP_DROP };
    // SAFETY: the context is the one that the program was given.
    let length_bytes = unsafe { bpf_xdp_get_buff_len(ctx) } as u32;
    let mut frame = XdpFrame { ctx, length_bytes };
    // SAFETY: the helper has no preconditions.
    let may_answer = || limit.take(maps::allowance(), unsafe { bpf_ktime_get_boot_ns() });
    let outcome = reject::answer(&mut frame, scratch, maps::station(ifindex), may_answer, memory);
    if outcome.is_sent() {
        maps::add(&maps::ANSWERS, outcome as u32, u64::from(frame.length_bytes));
        return xdp_action::XDP_TX;
    }
    maps::add(&maps::ANSWERS, outcome as u32, 0);
    xdp_action::XDP_DROP
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn length_bytes(&self) -> u32 {
        self.length_bytes
    }

    #[inline(always)]
    fn load<const WORDS: usize>(&self, offset: u32, bytes: u32, to: &mut [u32; WORDS]) -> bool {
        let Some(bytes) = within::<WORDS>(bytes) else { return false };
        // SAFETY: `to` has room for `bytes`, and the helper checks the frame.
        unsafe { bpf_xdp_load_bytes(self.ctx, offset, to.as_mut_ptr().cast(), bytes) == 0 }
    }

    #[inline(always)]
    fn store<const WORDS: usize>(&mut self, offset: u32, bytes: u32, from: &[u32; WORDS]) -> bool {
        let Some(bytes) = within::<WORDS>(bytes) else { return false };
        // SAFETY: `from` has `bytes`, which the helper only reads, and the helper checks the frame.
        unsafe { bpf_xdp_store_bytes(self.ctx, offset, from.as_ptr().cast_mut().cast(), bytes) == 0 }
    }

    /// Shorter at the end; longer at the beginning, where every driver leaves room for XDP
    /// (`XDP_PACKET_HEADROOM`), which it need not do at the end.
    #[inline(always)]
    fn resize(&mut self, length_bytes: u32) -> bool {
        let growth = length_bytes.wrapping_sub(self.length_bytes).cast_signed();
        // SAFETY: the context is the one that the program was given, and no pointer into the frame
        // is used afterwards.
        let failure = unsafe {
            if growth > 0 {
                bpf_xdp_adjust_head(self.ctx, -growth)
            } else {
                bpf_xdp_adjust_tail(self.ctx, growth)
            }
        };
        self.length_bytes = length_bytes;
        failure == 0
    }
}

/// So many bytes, if there are so many in so many words, and one at least.
#[inline(always)]
fn within<const WORDS: usize>(bytes: u32) -> Option<u32> {
    let last = bytes.wrapping_sub(1);
    // SAFETY: a variable of this function. The compiler, which knows where the number comes from,
    // would check its origin instead, and the verifier asks for a check of the number itself. It is
    // one less than what is asked for, so that one comparison does: the compiler would make one of two,
    // of a copy, from which the verifier of Linux 6.1 learns nothing of the number.
    let last = unsafe { (&raw const last).read_volatile() };
    if last < WORDS as u32 * 4 { Some(last + 1) } else { None }
}
