//! The order of judgement of `docs/rules.md`: a linear scan over the validated rules.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use foobar_agent::firewall::ruleset::{Rule, Ruleset};
use foobar_ebpf::verdict::{Reason, Verdict};

use crate::read::{Packet, Part, Transport, Unread, read};

/// How long a first fragment is remembered.
const LIFETIME: Duration = Duration::from_secs(30);

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The decision.
    pub verdict: Verdict,
    /// Why, with what is wrong of a malformed frame.
    pub reason: Reason,
    /// The place of the rule in the file, from 0; of the policy, how many rules there are.
    pub rule: Option<usize>,
}

/// What a later fragment has in common with its first one, and where it arrived.
type Datagram = (IpAddr, IpAddr, u32, u8, String);

/// First fragments that were judged. Without a bound: whoever compares must stay within that of the
/// other.
#[derive(Clone, Debug, Default)]
pub struct Memory(HashMap<Datagram, (Judged, Duration)>);

/// A ruleset that judges frames, or none, which lets all pass.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    ruleset: Option<&'a Ruleset>,
}

impl<'a> Model<'a> {
    /// From what `config::load` made of a file.
    pub fn new(ruleset: Option<&'a Ruleset>) -> Self {
        Self { ruleset }
    }

    /// Judges a frame by itself: no first fragment is remembered.
    pub fn judge(&self, frame: &[u8], interface: &str) -> Judged {
        self.judge_in_turn(frame, interface, &mut Memory::default(), Duration::ZERO)
    }

    /// Judges a frame that arrived after those that the memory knows, `now` after some beginning.
    pub fn judge_in_turn(&self, frame: &[u8], interface: &str, memory: &mut Memory, now: Duration) -> Judged {
        let none = |verdict, reason| Judged { verdict, reason, rule: None };
        let packet = match (read(frame), self.ruleset) {
            (Err(Unread::Foreign), _) => return none(Verdict::Allow, Reason::Foreign),
            (Err(Unread::Malformed(reason)), None) => return none(Verdict::Allow, reason),
            (Err(Unread::Malformed(reason)), Some(_)) => return none(Verdict::Drop, reason),
            (Ok(packet), _) => packet,
        };
        let Some(ruleset) = self.ruleset else {
            return Judged { verdict: Verdict::Allow, reason: Reason::Policy, rule: Some(0) };
        };
        let datagram = |identification, protocol| {
            (packet.source, packet.destination, identification, protocol, interface.to_owned())
        };
        match packet.part {
            Part::Whole => judge(ruleset, &packet, interface),
            Part::First { identification, protocol } => {
                let judged = judge(ruleset, &packet, interface);
                memory.0.insert(datagram(identification, protocol), (judged, now));
                judged
            }
            Part::Later { identification, protocol } => {
                match memory.0.get(&datagram(identification, protocol)) {
                    Some((first, at)) if now.saturating_sub(*at) < LIFETIME => {
                        Judged { reason: Reason::Fragment, ..*first }
                    }
                    _ => judge(ruleset, &packet, interface),
                }
            }
        }
    }
}

/// Essentials, rules, policy.
fn judge(ruleset: &Ruleset, packet: &Packet, interface: &str) -> Judged {
    if is_essential(ruleset, packet) {
        return Judged { verdict: Verdict::Allow, reason: Reason::Essential, rule: None };
    }
    for (place, rule) in ruleset.rules.iter().enumerate() {
        if matches(rule, packet, interface) {
            return Judged { verdict: rule.action, reason: Reason::Rule, rule: Some(place) };
        }
    }
    Judged { verdict: ruleset.default, reason: Reason::Policy, rule: Some(ruleset.rules.len()) }
}

fn is_essential(ruleset: &Ruleset, packet: &Packet) -> bool {
    let (on, is_ipv6) = (ruleset.essentials, packet.source.is_ipv6());
    match &packet.transport {
        Transport::Icmp { kind, rest, .. } if is_ipv6 => match kind {
            133..=136 if packet.hop_limit == 255 => on.neighbour_discovery,
            130..=132 | 143 if packet.hop_limit == 1 => on.multicast_listener,
            1..=4 => on.icmp_errors && quoted_source(rest) == Some(packet.destination),
            _ => false,
        },
        Transport::Icmp { kind: 3 | 11 | 12, rest, .. } => {
            on.icmp_errors && quoted_source(rest) == Some(packet.destination)
        }
        Transport::Ports { from, to, tcp_flags: None } if packet.protocol == 17 => {
            on.dhcp && (*from, *to) == if is_ipv6 { (547, 546) } else { (67, 68) }
        }
        _ => false,
    }
}

/// The source of a quoted packet whose header is there whole.
fn quoted_source(quote: &[u8]) -> Option<IpAddr> {
    match quote.first()? >> 4 {
        4 if quote.len() >= 20 => <[u8; 4]>::try_from(&quote[12..16]).ok().map(IpAddr::from),
        6 if quote.len() >= 40 => <[u8; 16]>::try_from(&quote[8..24]).ok().map(IpAddr::from),
        _ => None,
    }
}

fn matches(rule: &Rule, packet: &Packet, interface: &str) -> bool {
    let (ports, flags, icmp) = match &packet.transport {
        Transport::Ports { from, to, tcp_flags } => (Some((*from, *to)), *tcp_flags, None),
        Transport::Icmp { kind, code, .. } => (None, None, Some((*kind, *code))),
        Transport::Other => (None, None, None),
    };
    rule.from.as_ref().is_none_or(|set| set.contains(packet.source))
        && rule.to.as_ref().is_none_or(|set| set.contains(packet.destination))
        && rule.protocols.as_ref().is_none_or(|list| list.contains(&packet.protocol))
        && rule
            .ports
            .as_ref()
            .is_none_or(|ranges| ports.is_some_and(|(_, to)| ranges.iter().any(|range| range.contains(&to))))
        && rule.from_ports.as_ref().is_none_or(|ranges| {
            ports.is_some_and(|(from, _)| ranges.iter().any(|range| range.contains(&from)))
        })
        && rule.icmp_types.as_ref().is_none_or(|types| {
            icmp.is_some_and(|(kind, code)| {
                types.iter().any(|entry| {
                    entry.protocol == packet.protocol
                        && entry.kind == kind
                        && entry.code.is_none_or(|wanted| wanted == code)
                })
            })
        })
        && rule.tcp_flags.is_none_or(|wanted| flags.is_some_and(|flags| flags & wanted.of == wanted.set))
        && rule.interfaces.as_ref().is_none_or(|names| names.iter().any(|name| name == interface))
}
