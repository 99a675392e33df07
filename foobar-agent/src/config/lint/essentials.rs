//! A policy that drops or rejects, and what a host loses by it that nobody thinks of.

use foobar_ebpf::verdict::Verdict;

use super::super::firewall::Places;
use super::super::protocols::{ICMP, ICMPV6};
use super::super::report::Report;
use crate::firewall::ruleset::{Essentials, Ruleset};

/// What a default verdict cuts unless an essential or a rule lets it pass.
struct Need {
    /// In words.
    what: &'static str,
    essential: &'static str,
    is_on: fn(Essentials) -> bool,
    /// Protocol, ICMP type and code of which at least one rule must allow each.
    messages: &'static [(u8, u8, u8)],
}

const NEEDS: [Need; 2] = [
    Need {
        what: "neighbour discovery (ICMPv6 133–136): IPv6 does not work without",
        essential: "nd",
        is_on: |essentials| essentials.neighbour_discovery,
        messages: &[(ICMPV6, 133, 0), (ICMPV6, 134, 0), (ICMPV6, 135, 0), (ICMPV6, 136, 0)],
    },
    Need {
        what: "path-MTU discovery (ICMP 3/4 and ICMPv6 2): large packets get lost without a word",
        essential: "icmp-errors",
        is_on: |essentials| essentials.icmp_errors,
        messages: &[(ICMP, 3, 4), (ICMPV6, 2, 0)],
    },
];

/// Warns of what the default verdict cuts. With no rule that allows, the host is silent besides.
pub(in crate::config) fn check(ruleset: &Ruleset, places: &Places, report: &Report<'_>) {
    if ruleset.default == Verdict::Allow {
        return;
    }
    let default = ruleset.default.as_str();
    for need in NEEDS.iter().filter(|need| !(need.is_on)(ruleset.essentials)) {
        if need.messages.iter().all(|&message| is_allowed(ruleset, message)) {
            continue;
        }
        let message = format!("{default} by default cuts {}", need.what);
        let hint = format!("name `{}` in `essentials`, or allow it by a rule", need.essential);
        report.warning(&places.default, message, hint);
    }
    if !ruleset.rules.iter().any(|rule| rule.action == Verdict::Allow) {
        let hint = "add a rule that allows how you reach this host, such as ssh";
        report.warning(&places.default, format!("{default} by default, and no rule allows anything"), hint);
    }
}

/// Whether some rule allows such a message, from somewhere.
fn is_allowed(ruleset: &Ruleset, (protocol, kind, code): (u8, u8, u8)) -> bool {
    ruleset.rules.iter().any(|rule| {
        let types = rule.icmp_types.as_ref().is_none_or(|types| {
            types.iter().any(|icmp| {
                (icmp.protocol, icmp.kind) == (protocol, kind)
                    && icmp.code.is_none_or(|wanted| wanted == code)
            })
        });
        rule.action == Verdict::Allow
            && types
            && rule.protocols.as_ref().is_none_or(|protocols| protocols.contains(&protocol))
    })
}
