//! Diagnostics: a line for a packet, where somebody has switched them on. Sampled, so that a
//! flood cannot become a flood of lines.

use core::net::Ipv6Addr;

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use foobar_ebpf::abi::{LOG_LINES_PER_SECOND, control};
use foobar_ebpf::packet::{Address, Packet, Parsed, Status};
use foobar_ebpf::policy::Judgement;
use foobar_ebpf::verdict::Verdict;

use super::maps;

/// aya-log's numbers of the levels.
const LEVEL_DEBUG: u64 = 4;
const LEVEL_TRACE: u64 = 5;

const SECOND_NS: u64 = 1_000_000_000;

/// What a line says, as integers: a function of its own takes it by address.
struct Line {
    judgement: Judgement,
    protocol: u8,
    source: Address,
    destination: Address,
}

/// Writes refused packets at `debug`, every packet at `trace`.
#[inline(always)]
pub(super) fn packet(ctx: &XdpContext, parsed: &Parsed, judgement: &Judgement) {
    let level = maps::control(control::LOG_LEVEL);
    if level < LEVEL_DEBUG || (judgement.verdict == Verdict::Allow && level < LEVEL_TRACE) {
        return;
    }
    let packet = if parsed.status == Status::Packet { &parsed.packet } else { &Packet::NONE };
    let line = Line {
        judgement: *judgement,
        protocol: packet.protocol,
        source: packet.source,
        destination: packet.destination,
    };
    write(ctx, &line);
}

/// Apart from the path of every packet: inlined there, it would cost registers that all pay for.
#[inline(never)]
fn write(ctx: &XdpContext, line: &Line) {
    if !within_budget() {
        return;
    }
    // Numbers, and words for them in the agent: copying a word of one of many lengths into the
    // ring buffer costs the verifier more than all the rest.
    let (verdict, reason) = (line.judgement.verdict as u32, line.judgement.reason as u32);
    let (source, destination) = (printable(line.source), printable(line.destination));
    // A slot of the rules in force, as `foobar-agent rules` lists them from 0; -1: none decided.
    let rule = line.judgement.rule().map_or(-1, i64::from);
    debug!(
        ctx,
        "verdict={} reason={} source={:i} destination={:i} protocol={} rule={}",
        verdict,
        reason,
        source,
        destination,
        line.protocol,
        rule,
    );
}

/// So many lines a second on each CPU; what is over is not written.
#[inline(always)]
fn within_budget() -> bool {
    // SAFETY: the helper has no preconditions.
    let second = unsafe { bpf_ktime_get_boot_ns() } / SECOND_NS;
    maps::take_log_line(second, LOG_LINES_PER_SECOND)
}

#[inline(always)]
fn printable(address: Address) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(address.high) << 64 | u128::from(address.low))
}
