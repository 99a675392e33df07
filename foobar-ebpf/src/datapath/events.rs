//! Samples: packets with what became of them, for the agent to read, where a rule asks for them or
//! somebody watches. Never more than so many: see [`event`].

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use foobar_ebpf::abi::event::{self, Cause, Event, FRAME_BYTES_MAX, Outcome, watch};
use foobar_ebpf::abi::fragment::NO_RULE;
use foobar_ebpf::abi::image::Note;
use foobar_ebpf::abi::limit::TICKS_PER_NS;
use foobar_ebpf::abi::{control, setting};
use foobar_ebpf::classifier::Image;
use foobar_ebpf::limit;
use foobar_ebpf::verdict::Verdict;

use super::image::MapImage;
use super::maps;
use super::told::About;

/// Samples a packet, if it is to be.
#[inline(always)]
pub(super) fn sample(ctx: *mut xdp_md, about: &About) {
    let About { judgement, interface, flags } = about;
    let watched = maps::control(control::EVENTS);
    let is_watched =
        watched >= watch::ALL || (watched == watch::REFUSED && judgement.verdict != Verdict::Allow);
    let rule = judgement.rule().unwrap_or(NO_RULE);
    // SAFETY: the helper has no preconditions.
    let at_ns = unsafe { bpf_ktime_get_boot_ns() };
    let cause = if flags & setting::LOG != 0 && rule != NO_RULE && is_logged(rule, at_ns) {
        Cause::Log
    } else if is_watched {
        Cause::Watch
    } else {
        return;
    };
    let Some(cell) = maps::sample_meter(cause) else { return };
    if !limit::take(cell, &event::METER, 1, at_ns * TICKS_PER_NS) {
        maps::add(&maps::SAMPLES, Outcome::Withheld as u32, 0);
        return;
    }
    // SAFETY: the context is the one that the program was given.
    let length_bytes = unsafe { bpf_xdp_get_buff_len(ctx) } as u32;
    let Some(mut entry) = maps::EVENTS.reserve::<Event>(0) else {
        maps::add(&maps::SAMPLES, Outcome::Lost as u32, u64::from(length_bytes));
        return;
    };
    let captured_bytes =
        if length_bytes > FRAME_BYTES_MAX as u32 { FRAME_BYTES_MAX as u32 } else { length_bytes };
    let event = entry.as_mut_ptr();
    // SAFETY: the reservation has room for an event, and each field is written; of the frame, what is
    // not captured may keep what samples before it have left.
    unsafe {
        (*event).at_ns = at_ns;
        (*event).generation = MapImage::of_generation().map_or(0, |image| image.generation());
        (*event).length_bytes = length_bytes;
        (*event).captured_bytes = captured_bytes;
        (*event).interface = *interface;
        (*event).rule = rule;
        (*event).verdict = judgement.verdict as u32;
        (*event).reason = judgement.reason as u32;
        (*event).cause = cause as u32;
        (*event).padding = 0;
    }
    // The verifier asks for a check of the number itself, which the compiler would leave out: it knows
    // where it comes from.
    // SAFETY: a variable of this function.
    let bytes = unsafe { (&raw const captured_bytes).read_volatile() };
    if bytes == 0 || bytes > FRAME_BYTES_MAX as u32 {
        entry.discard(0);
        return;
    }
    // SAFETY: the frame has room for so many bytes, and the helper checks the packet.
    let failure = unsafe { bpf_xdp_load_bytes(ctx, 0, (&raw mut (*event).frame).cast(), bytes) };
    if failure == 0 {
        maps::add(&maps::SAMPLES, Outcome::Emitted as u32, u64::from(length_bytes));
        entry.submit(0);
    } else {
        entry.discard(0);
    }
}

/// Whether a rule wants a sample, and has not had so many as it asks for.
#[inline(always)]
fn is_logged(rule: u32, at_ns: u64) -> bool {
    let Some(image) = MapImage::of_generation() else { return false };
    let Some(number) = image.note(rule).and_then(Note::log) else { return false };
    let (Some(meter), Some(cell)) = (image.meter(number), maps::meter(number)) else { return false };
    limit::take(cell, meter, 1, at_ns * TICKS_PER_NS)
}
