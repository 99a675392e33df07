//! The one exit: every packet leaves through [`count`], which counts it by interface,
//! verdict and reason, and by the rule that decided.

use aya_ebpf::bindings::xdp_action;
use foobar_ebpf::abi::{outcome_index, service_protocol};
use foobar_ebpf::packet::reader::PacketReader;
use foobar_ebpf::packet::{Packet, TransportKind};
use foobar_ebpf::policy::Judgement;
use foobar_ebpf::service;
use foobar_ebpf::verdict::Verdict;

use super::{maps, shadow};

/// Counts a packet and gives its XDP action.
#[inline(always)]
pub(super) fn count(interface: u32, judgement: &Judgement, bytes: u64) -> u32 {
    maps::add(&maps::OUTCOMES, outcome_index(interface, judgement.verdict, judgement.reason), bytes);
    count_rule(judgement, bytes);
    shadow::compare(judgement.verdict, bytes);
    match judgement.verdict {
        Verdict::Allow => xdp_action::XDP_PASS,
        Verdict::Drop | Verdict::Reject => xdp_action::XDP_DROP,
    }
}

/// Counts a packet for the rule that decided.
#[inline(always)]
pub(super) fn count_rule(judgement: &Judgement, bytes: u64) {
    if let Some(rule) = judgement.rule() {
        maps::add(&maps::RULES, rule, bytes);
    }
}

/// Counts an application message on a port that the configuration names.
#[inline(always)]
pub(super) fn count_services<R: PacketReader>(reader: &R, packet: &Packet) {
    let transport = &packet.transport;
    if transport.kind != TransportKind::Tcp {
        return;
    }
    let mut slot = 0;
    while slot < maps::SERVICE_COUNT.load() {
        let Some(service) = maps::service(slot) else { return };
        if service.port == transport.destination_port {
            if service.protocol == service_protocol::HTTP && service::begins_http_request(reader, transport) {
                maps::add(&maps::SERVICES, slot, u64::from(transport.payload_bytes));
            }
            return;
        }
        slot += 1;
    }
}
