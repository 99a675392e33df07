//! The way of a packet that leaves: nothing is judged, flows are recorded.
//!
//! ```text
//! stack ─► foobar_egress_root ─► (tail call) foobar_egress ─► parse ─► leave ─► interface
//! ```

use aya_ebpf::bindings::tcx_action_base;
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use foobar_ebpf::abi::flow::FlowCount;
use foobar_ebpf::abi::{GENERATION_ACTIVE, GENERATION_FALLBACK, control};
use foobar_ebpf::flow::FlowTable;
use foobar_ebpf::packet::reader::{AddressReader, PacketReader};
use foobar_ebpf::packet::{self, Status};
use foobar_ebpf::policy;

use super::flows::Flows;
use super::image::MapImage;
use super::maps;

/// What is attached. It never changes, like the root of arriving packets.
#[classifier]
#[expect(clippy::needless_pass_by_value, reason = "the macro passes the context so")]
fn foobar_egress_root(ctx: TcContext) -> i32 {
    let deadline_ns = maps::control(control::CONFIRM_DEADLINE_NS);
    // SAFETY: the helper has no preconditions.
    if deadline_ns != 0 && unsafe { bpf_ktime_get_boot_ns() } >= deadline_ns {
        enter(&ctx, GENERATION_FALLBACK);
    }
    enter(&ctx, GENERATION_ACTIVE);
    // No generation, or one that needs no flows.
    tcx_action_base::TCX_NEXT
}

/// Returns only where the slot is empty.
#[inline(always)]
fn enter(ctx: &TcContext, slot: u32) {
    // SAFETY: nothing here has a destructor that a jump would skip.
    unsafe { maps::EGRESS_SLOTS.tail_call(ctx, slot) }
}

/// Takes note of a packet that leaves. `TCX_NEXT` is what the classic hook knows as `TC_ACT_UNSPEC`:
/// the next program decides; likewise `TCX_DROP` and `TC_ACT_SHOT`.
#[classifier]
#[expect(clippy::needless_pass_by_value, reason = "the macro passes the context so")]
fn foobar_egress(ctx: TcContext) -> i32 {
    let Some(memory) = maps::egress_memory() else { return tcx_action_base::TCX_NEXT };
    // SAFETY: the verifier checks each read against `data_end`; the context outlives the reader.
    let reader = unsafe { AddressReader::new(ctx.data(), ctx.data_end(), ctx.len() as usize) };
    if !is_ethernet(&reader, &ctx) {
        return tcx_action_base::TCX_NEXT;
    }
    let parsed = packet::parse(&reader, &mut memory.parser);
    if matches!(parsed.status, Status::Malformed(_)) {
        return once_more(&ctx);
    }
    // SAFETY: the context is the one that the program was given.
    let interface = maps::interface(unsafe { (*ctx.skb.skb).ifindex });
    let image = MapImage::of_generation();
    let flags = maps::FLAGS.load();
    if policy::leave(parsed, interface, flags, Some(&image), &Flows, &mut memory.key) {
        return tcx_action_base::TCX_NEXT;
    }
    Flows.count(FlowCount::KilledOut);
    tcx_action_base::TCX_DROP
}

/// Bytes from the start of a packet that hold its headers, unless it has more IPv6 extension headers than
/// anybody sends.
const HEADERS_BYTES: u32 = 256;

/// Of a packet that does not lie in one piece, only the first part is read. Where that ended too early for
/// the parser, the headers are put together, and the program begins again.
#[inline(always)]
fn once_more(ctx: &TcContext) -> i32 {
    let wanted = ctx.len().min(HEADERS_BYTES);
    let linear = (ctx.data_end() - ctx.data()) as u32;
    if linear < wanted && ctx.skb.pull_data(wanted).is_ok() {
        enter(ctx, GENERATION_ACTIVE);
    }
    tcx_action_base::TCX_NEXT
}

/// Whether the packet begins with an Ethernet header: a tunnel's begins with its IP header, whose
/// addresses lie where the parser looks for the ethertype. The kernel knows that apart from the bytes (a
/// VLAN tag is in them and called the protocol, or in neither).
#[inline(always)]
fn is_ethernet(reader: &AddressReader, ctx: &TcContext) -> bool {
    const ETHERTYPE_OFFSET: usize = 12;
    // SAFETY: the context is the one that the program was given. `protocol` is in network byte order.
    let protocol = unsafe { (*ctx.skb.skb).protocol } as u16;
    reader.read::<2>(ETHERTYPE_OFFSET).is_some_and(|ethertype| ethertype == protocol.to_ne_bytes())
}
