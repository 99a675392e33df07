//! The one exit: every packet leaves through [`count`], which counts it by interface,
//! verdict and reason, and by the rule that decided.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use foobar_ebpf::abi::{Settings, control, outcome_index, service_protocol};
use foobar_ebpf::packet::reader::PacketReader;
use foobar_ebpf::packet::{Packet, Parsed, Transport};
use foobar_ebpf::policy::Judgement;
use foobar_ebpf::service;
use foobar_ebpf::verdict::Verdict;

use super::maps;

/// aya-log's number for `debug`.
const LEVEL_DEBUG: u64 = 4;

/// Counts a packet and gives its XDP action.
#[inline(always)]
pub(super) fn count(interface: u32, judgement: &Judgement, bytes: u64) -> u32 {
    maps::add(&maps::OUTCOMES, outcome_index(interface, judgement.verdict, judgement.reason), bytes);
    if let Some(rule) = judgement.rule {
        maps::add(&maps::RULES, rule, bytes);
    }
    match judgement.verdict {
        Verdict::Allow => xdp_action::XDP_PASS,
        Verdict::Drop | Verdict::Reject => xdp_action::XDP_DROP,
    }
}

/// Counts an application message on a port that the configuration names.
#[inline(always)]
pub(super) fn count_services<R: PacketReader>(reader: &R, packet: &Packet, settings: &Settings) {
    let Transport::Tcp { destination, payload_bytes, .. } = packet.transport else { return };
    let mut slot = 0;
    while slot < settings.service_count {
        let Some(service) = settings.services.get(slot as usize) else { return };
        if service.port == destination {
            if service.protocol == service_protocol::HTTP
                && service::begins_http_request(reader, &packet.transport)
            {
                maps::add(&maps::SERVICES, slot, u64::from(payload_bytes));
            }
            return;
        }
        slot += 1;
    }
}

/// One line of diagnostics for each packet, where somebody has switched them on.
#[inline(always)]
pub(super) fn trace(ctx: &XdpContext, parsed: &Parsed, judgement: &Judgement) {
    if maps::control(control::LOG_LEVEL) < LEVEL_DEBUG {
        return;
    }
    let (verdict, reason) = (judgement.verdict as u32, judgement.reason as u32);
    match parsed {
        Parsed::Packet(packet) => debug!(
            ctx,
            "verdict={} reason={} rule={} protocol={} source={:x}{:x} destination={:x}{:x}",
            verdict,
            reason,
            judgement.rule.unwrap_or(u32::MAX),
            packet.protocol,
            packet.source.high,
            packet.source.low,
            packet.destination.high,
            packet.destination.low,
        ),
        Parsed::Foreign | Parsed::Malformed(_) => debug!(ctx, "verdict={} reason={}", verdict, reason),
    }
}
