//! What is told of a packet beside its counters: diagnostics and samples. Nearly always nothing, which
//! costs every packet one comparison.

use aya_ebpf::programs::XdpContext;
use foobar_ebpf::abi::{control, setting};
use foobar_ebpf::policy::Judgement;

use super::{events, maps, trace};

/// What became of a packet, as integers: a function of its own takes it by address.
pub(super) struct About {
    pub(super) judgement: Judgement,
    pub(super) interface: u32,
    pub(super) flags: u32,
}

/// Tells of a packet, if anybody asks.
#[inline(always)]
pub(super) fn packet(ctx: &XdpContext, judgement: &Judgement, interface: u32, flags: u32) {
    // A report's caller has no use for it, and its maps are nobody's.
    if flags & setting::REPORT != 0 {
        return;
    }
    let asked = maps::control(control::LOG_LEVEL) | maps::control(control::EVENTS);
    if asked == 0 && flags & setting::LOG == 0 {
        return;
    }
    tell(ctx, &About { judgement: *judgement, interface, flags });
}

/// Apart from the path of every packet: inlined there, it would cost registers that all pay for.
#[inline(never)]
fn tell(ctx: &XdpContext, about: &About) {
    if let Some(memory) = maps::memory() {
        trace::packet(ctx, memory.parser.parsed(), &about.judgement);
    }
    events::sample(ctx.ctx, about);
}
