//! Traffic for measurements: XDP programs that make each packet another one, out of a table, before
//! the program under test judges it, or onto a wire. Part of no agent; never attached.
//!
//! On any target but `bpf` this is an empty program, like the datapath.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an XDP action, and a counter that is masked"
)]
#[expect(clippy::needless_pass_by_value, reason = "the macro passes the context so")]
mod traffic {
    use aya_ebpf::Global;
    use aya_ebpf::bindings::xdp_action;
    use aya_ebpf::helpers::bpf_redirect;
    use aya_ebpf::macros::{map, xdp};
    use aya_ebpf::maps::{Array, ProgramArray};
    use aya_ebpf::programs::XdpContext;
    use foobar_ebpf::abi::traffic::{HEAD_OFFSET, Head};

    /// The loader gives this map as many entries as there are frames, a power of two.
    #[map]
    static HEADS: Array<Head> = Array::with_max_entries(1, 0);

    /// The frame whose turn it is, without bound. Measurements run on one CPU.
    #[map]
    static NEXT: Array<u64> = Array::with_max_entries(1, 0);

    /// The program under test.
    #[map]
    static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

    /// As `TARGET`, for programs that do not take frames of several buffers: a program array holds one
    /// kind only.
    #[map]
    static TARGET_PLAIN: ProgramArray = ProgramArray::with_max_entries(1, 0);

    #[unsafe(no_mangle)]
    static HEADS_MASK: Global<u32> = Global::new(0);

    #[unsafe(no_mangle)]
    static OUT_IFINDEX: Global<u32> = Global::new(0);

    #[xdp(frags)]
    fn traffic_vary(ctx: XdpContext) -> u32 {
        if put_next_head(&ctx).is_some() {
            // SAFETY: nothing here has a destructor that a jump would skip.
            unsafe { TARGET.tail_call(&ctx, 0) }
        }
        xdp_action::XDP_ABORTED
    }

    #[xdp]
    fn traffic_vary_plain(ctx: XdpContext) -> u32 {
        if put_next_head(&ctx).is_some() {
            // SAFETY: nothing here has a destructor that a jump would skip.
            unsafe { TARGET_PLAIN.tail_call(&ctx, 0) }
        }
        xdp_action::XDP_ABORTED
    }

    /// What [`traffic_vary_plain`] enters to be measured alone.
    #[xdp]
    fn traffic_pass_plain(_ctx: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    #[xdp(frags)]
    fn traffic_send(ctx: XdpContext) -> u32 {
        if put_next_head(&ctx).is_none() {
            return xdp_action::XDP_ABORTED;
        }
        // SAFETY: the helper has no preconditions; it answers XDP_REDIRECT or XDP_ABORTED.
        unsafe { bpf_redirect(OUT_IFINDEX.load(), 0) as u32 }
    }

    /// Writes the next head of the table over that of the frame.
    #[inline(always)]
    fn put_next_head(ctx: &XdpContext) -> Option<()> {
        let next = NEXT.get_ptr_mut(0)?;
        // SAFETY: the map gave a valid, aligned pointer; nobody else writes it meanwhile.
        let turn = unsafe {
            let turn = *next;
            *next = turn + 1;
            turn
        };
        let head = HEADS.get(turn as u32 & HEADS_MASK.load())?;
        let start = ctx.data() + HEAD_OFFSET;
        if start + size_of::<Head>() > ctx.data_end() {
            return None;
        }
        for (place, word) in head.0.iter().enumerate() {
            // SAFETY: the frame reaches beyond the head, as was compared above.
            unsafe { ((start + place * size_of::<u64>()) as *mut u64).write_unaligned(*word) };
        }
        Some(())
    }

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        // Nothing here panics; if that ever changes, the verifier refuses this loop.
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
