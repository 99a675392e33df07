//! The judgement of a packet: bans, essentials, rules, policy. Pure: knows neither bytes nor maps,
//! asks the rules through [`classifier`], so that the kernel, `explain` and the tests of the
//! host run the same walk.

use crate::abi::fragment::NO_RULE;
use crate::abi::setting;
use crate::classifier::{self, Image};
use crate::fragment;
use crate::key::Key;
use crate::packet::{Packet, Parsed, Status, TransportKind};
use crate::state::State;
use crate::verdict::{Reason, Verdict};

/// What was decided about a packet, why, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Judgement {
    /// The decision.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Slot of the deciding rule, or [`NO_RULE`]: an `Option` would be half undefined, see
    /// [`crate::packet::Parsed`].
    slot: u32,
}

impl Judgement {
    /// Decided before the rules were asked.
    #[inline(always)]
    pub const fn without_rule(verdict: Verdict, reason: Reason) -> Self {
        Self { verdict, reason, slot: NO_RULE }
    }

    /// As its first fragment was judged.
    #[inline(always)]
    pub(crate) const fn of_first(verdict: Verdict, slot: u32) -> Self {
        Self { verdict, reason: Reason::Fragment, slot }
    }

    /// Slot of the deciding rule as it is kept, [`NO_RULE`] included.
    #[inline(always)]
    pub(crate) const fn slot(&self) -> u32 {
        self.slot
    }

    /// Slot of the deciding rule, the policy's included.
    #[inline(always)]
    pub const fn rule(&self) -> Option<u32> {
        if self.slot == NO_RULE { None } else { Some(self.slot) }
    }
}

const ICMPV6: u8 = 58;
const UDP: u8 = 17;

/// Judges one frame that arrived on a logical interface; `flags` are those of [`setting`]. `key` is
/// memory for the classifier, which in the kernel must lie in a map: it is read at computed indices.
#[inline(always)]
pub fn judge<I: Image, S: State>(
    parsed: &Parsed,
    interface: u32,
    flags: u32,
    image: Option<&I>,
    state: &S,
    key: &mut Key,
) -> Judgement {
    let judging = flags & setting::JUDGE != 0;
    match parsed.status {
        Status::Foreign => Judgement::without_rule(Verdict::Allow, Reason::Foreign),
        Status::Malformed(reason) => {
            // A host without a ruleset judges nothing, not even this.
            let verdict = if judging { Verdict::Drop } else { Verdict::Allow };
            Judgement::without_rule(verdict, reason)
        }
        Status::Packet if !judging => Judgement::without_rule(Verdict::Allow, Reason::Policy),
        Status::Packet => judge_packet(parsed, interface, flags, image, state, key),
    }
}

#[inline(always)]
fn judge_packet<I: Image, S: State>(
    parsed: &Parsed,
    interface: u32,
    flags: u32,
    image: Option<&I>,
    state: &S,
    key: &mut Key,
) -> Judgement {
    let packet = &parsed.packet;
    // Before all else that could let it pass, so that a ban cuts what was let pass before. A test run that
    // reports leaves no trace in tables that others read.
    if state.is_banned(&packet.source, flags & setting::REPORT == 0) {
        return Judgement::without_rule(Verdict::Drop, Reason::Ban);
    }
    // Essentials come first, and none of them is a later fragment: they are told by their transport.
    if packet.later_fragment
        && let Some(judgement) = fragment::follow(parsed, interface, state)
    {
        return judgement;
    }
    let judgement = if is_essential(packet, flags) {
        Judgement::without_rule(Verdict::Allow, Reason::Essential)
    } else {
        by_rules(parsed, interface, flags, image, state, key)
    };
    if packet.first_fragment {
        fragment::remember(parsed, interface, state, &judgement);
    }
    judgement
}

/// What a host with a default of drop cannot live without.
#[inline(always)]
fn is_essential(packet: &Packet, flags: u32) -> bool {
    let transport = &packet.transport;
    match transport.kind {
        TransportKind::Icmp => {
            let discovery = flags & setting::NEIGHBOUR_DISCOVERY != 0
                && packet.protocol == ICMPV6
                && matches!(transport.icmp_kind, 133..=136)
                // RFC 4861 §6.1, §7.1: anything else came through a router.
                && packet.hop_limit == 255;
            let listener = flags & setting::MULTICAST_LISTENER != 0
                && packet.protocol == ICMPV6
                // RFC 2710, RFC 3810: query, reports of both versions, done.
                && matches!(transport.icmp_kind, 130..=132 | 143)
                && packet.hop_limit == 1;
            let error = flags & setting::ICMP_ERRORS != 0 && transport.quotes_destination;
            discovery || listener || error
        }
        TransportKind::Ports => {
            // RFC 2131 §4.1 (IPv4), RFC 8415 §7.2 (IPv6): server to client.
            let (server, client) = if packet.is_ipv4() { (67, 68) } else { (547, 546) };
            flags & setting::DHCP != 0
                && packet.protocol == UDP
                && transport.source_port == server
                && transport.destination_port == client
        }
        TransportKind::Opaque | TransportKind::Tcp => false,
    }
}

#[inline(always)]
fn by_rules<I: Image, S: State>(
    parsed: &Parsed,
    interface: u32,
    flags: u32,
    image: Option<&I>,
    state: &S,
    key: &mut Key,
) -> Judgement {
    let packet = &parsed.packet;
    key.set(packet, interface);
    let end = image.and_then(|image| {
        let end = classifier::classify(image, key, packet.is_ipv4())?;
        // A report tells what the rules say, and takes from no rate.
        if flags & (setting::LIMITS | setting::REPORT) == setting::LIMITS && end.is_noted() {
            return Some(state.settle(image, parsed, key, end));
        }
        Some(end)
    });
    match end {
        Some(end) => Judgement {
            verdict: end.verdict(),
            reason: if end.is_policy() { Reason::Policy } else { Reason::Rule },
            slot: end.index(),
        },
        // An image that cannot be read must not open the host.
        None => Judgement::without_rule(Verdict::Drop, Reason::Policy),
    }
}
