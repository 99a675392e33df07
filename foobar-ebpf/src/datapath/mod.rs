//! The way of a packet through the kernel, top-down:
//!
//! ```text
//! interface ─► foobar_root ─► (tail call) foobar_judge ─► parse ─► judge ─► exit ─► (answer)
//!                   └─► (a candidate's foobar_judge, while one shadows, which then does as the root does)
//! ```

mod bans;
mod events;
mod exit;
mod fragments;
mod image;
mod limits;
mod maps;
mod reject;
mod shadow;
mod state;
mod told;
mod trace;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_xdp_get_buff_len};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use foobar_ebpf::abi::{GENERATION_ACTIVE, GENERATION_FALLBACK, GENERATION_SHADOW, control, report, setting};
use foobar_ebpf::packet::reader::AddressReader;
use foobar_ebpf::packet::{self, Status};
use foobar_ebpf::policy::{self, Judgement};
use foobar_ebpf::verdict::{Reason, Verdict};

use image::MapImage;
use state::KernelState;

/// What is attached. It never changes: a ruleset is switched by the slot that it enters.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the macro passes the context so")]
fn foobar_root(ctx: XdpContext) -> u32 {
    if shadow::is_on() {
        enter(&ctx, GENERATION_SHADOW);
    }
    judge_live(&ctx)
}

/// Has the generation in force judge. Until a deadline that is set, that is the active one; from then on
/// it is the one before.
#[inline(always)]
fn judge_live(ctx: &XdpContext) -> u32 {
    let deadline_ns = maps::control(control::CONFIRM_DEADLINE_NS);
    // SAFETY: the helper has no preconditions.
    if deadline_ns != 0 && unsafe { bpf_ktime_get_boot_ns() } >= deadline_ns {
        enter(ctx, GENERATION_FALLBACK);
    }
    enter(ctx, GENERATION_ACTIVE);
    // No generation is loaded: the agent has attached and not yet applied.
    let unarmed = Judgement::without_rule(Verdict::Allow, Reason::Unarmed);
    exit::count(maps::interface(ctx.ingress_ifindex() as u32), &unarmed, length_bytes(ctx));
    xdp_action::XDP_PASS
}

/// Returns only where the slot is empty.
#[inline(always)]
fn enter(ctx: &XdpContext, slot: u32) {
    // SAFETY: nothing here has a destructor that a jump would skip.
    unsafe { maps::GENERATIONS.tail_call(ctx, slot) }
}

/// Judges a packet by this generation's image.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the macro passes the context so")]
fn foobar_judge(ctx: XdpContext) -> u32 {
    let length_bytes = length_bytes(&ctx);
    // SAFETY: the verifier checks each read against `data_end`; the context outlives the reader.
    let reader = unsafe { AddressReader::new(ctx.data(), ctx.data_end(), length_bytes as usize) };
    let interface = maps::interface(ctx.ingress_ifindex() as u32);
    let Some(memory) = maps::memory() else {
        // Never: the map has the entry that is asked for.
        return xdp_action::XDP_ABORTED;
    };
    memory.length_bytes = length_bytes as u32;
    let parsed = packet::parse(&reader, &mut memory.parser);
    let image = MapImage::of_generation();
    let flags = maps::FLAGS.load();
    let judgement = policy::judge(parsed, interface, flags, image.as_ref(), &KernelState, &mut memory.key);
    // A constant for the verifier: programs of no candidate do not hold this, and one of a candidate holds
    // nothing of what comes after it.
    if flags & setting::SHADOW != 0 {
        shadow::leave(&judgement, length_bytes);
        return judge_live(&ctx);
    }
    if judgement.verdict == Verdict::Allow && parsed.status == Status::Packet {
        exit::count_services(&reader, &parsed.packet);
    }
    told::packet(&ctx, &judgement, interface, flags);
    let action = exit::count(interface, &judgement, length_bytes);
    // A constant for the verifier: the program of an interface does not hold this.
    if flags & setting::REPORT != 0 {
        return report::word(&judgement);
    }
    if flags & setting::REJECT != 0 && judgement.verdict == Verdict::Reject {
        return reject::answer(ctx.ctx, &memory.parser, ctx.ingress_ifindex() as u32);
    }
    action
}

/// The least that an XDP program can do: what a benchmark subtracts. Never attached.
#[xdp(frags)]
fn foobar_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Bytes of the whole packet, fragments included.
#[inline(always)]
fn length_bytes(ctx: &XdpContext) -> u64 {
    // SAFETY: the context is the one that the program was given. The helper exists since Linux 5.18.
    unsafe { bpf_xdp_get_buff_len(ctx.ctx) }
}
