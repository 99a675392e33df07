//! Warnings about rules that are well-formed and yet hardly what somebody meant. Nothing here
//! changes a ruleset.

use std::ops::RangeInclusive;

use foobar_ebpf::verdict::Verdict;

use super::model::Interfaces;
use super::protocols::{ICMP, ICMPV6};
use super::reader::Value;
use super::rules::PlacedRule;
use super::source::Report;
use crate::firewall::address::AddressSet;
use crate::firewall::ruleset::{Essentials, IcmpMatch, Rule, TcpFlags};

/// Steps that the search for shadowed rules may take: it compares pairs, and a set may have a
/// million members. Enough for some thousand rules, and below a second.
const MAX_STEPS: usize = 20_000_000;

/// A host that drops by default and has no essentials loses its neighbours, its leases and its path MTU.
/// With no rule that allows, it is silent besides.
pub(super) fn check_default_drop(default: Value<'_>, essentials: Essentials, rules: &[PlacedRule]) {
    if essentials == Essentials::NONE {
        let message =
            "drop by default without essentials: neighbour discovery and ICMP errors are dropped too";
        default.warning(message, "remove `essentials = false`, or allow by rules what this host needs");
    }
    if !rules.iter().any(|(rule, _)| rule.action == Verdict::Allow) {
        let hint = "add a rule that allows how you reach this host, such as ssh";
        default.warning("drop by default, and no rule allows anything", hint);
    }
}

/// Warns of rules that can never match, and of those that an earlier rule leaves nothing.
pub(super) fn check_rules(rules: &[PlacedRule], attached: &Interfaces, report: &Report<'_>) {
    let mut steps = MAX_STEPS;
    for (index, (rule, span)) in rules.iter().enumerate() {
        if let Some((message, hint)) = never_matches(rule, attached) {
            report.warning(span, format!("the rule `{}` can never match: {message}", rule.name), hint);
            continue;
        }
        let shadow = rules[..index].iter().find(|(earlier, _)| covers(earlier, rule, &mut steps));
        if let Some((earlier, _)) = shadow {
            let message = format!("the rule `{}` is shadowed by `{}`", rule.name, earlier.name);
            let hint =
                format!("all that it matches, line {} decides: move it up, or remove it", earlier.line);
            report.warning(span, message, hint);
        }
    }
}

fn never_matches(rule: &Rule, attached: &Interfaces) -> Option<(String, &'static str)> {
    for (key, set) in [("from", &rule.from), ("to", &rule.to)] {
        if set.as_ref().is_some_and(|set| set.is_empty()) {
            return Some((format!("no address is left in `{key}`"), "remove the rule, or fill the list"));
        }
    }
    let allows =
        |is: fn(&AddressSet) -> bool| [&rule.from, &rule.to].into_iter().flatten().all(|set| is(set));
    let icmp =
        |protocol| rule.icmp_types.as_ref().is_none_or(|types| types.iter().any(|t| t.protocol == protocol));
    let (ipv4, ipv6) = (allows(AddressSet::has_ipv4), allows(AddressSet::has_ipv6));
    if !ipv4 && !ipv6 {
        let hint = "name addresses of the same family, or write a rule for each";
        return Some(("`from` and `to` have no family in common".to_owned(), hint));
    }
    if !(ipv4 && icmp(ICMP) || ipv6 && icmp(ICMPV6)) {
        let hint = "icmp types are for IPv4, icmpv6 types for IPv6";
        return Some(("its `icmp_type` belongs to the other address family".to_owned(), hint));
    }
    if let (Interfaces::Named(attached), Some(named)) = (attached, &rule.interfaces)
        && !named.iter().any(|name| attached.contains(name))
    {
        let message = format!("its interface `{}` is not one of the firewall's", named.join("`, `"));
        return Some((message, "add it to `interfaces` of [firewall]"));
    }
    None
}

/// Whether each packet that `later` matches is matched by `earlier` too. Key by key, so that a "no"
/// may be wrong and a "yes" is not; also "no" when `steps` have run out.
fn covers(earlier: &Rule, later: &Rule, steps: &mut usize) -> bool {
    *steps = steps.saturating_sub(1);
    *steps > 0
        && holds(earlier.protocols.as_ref(), later.protocols.as_ref(), |all, some| subset(some, all))
        && holds(earlier.interfaces.as_ref(), later.interfaces.as_ref(), |all, some| subset(some, all))
        && holds(earlier.tcp_flags.as_ref(), later.tcp_flags.as_ref(), |all, some| flags_cover(*all, *some))
        && holds(earlier.icmp_types.as_ref(), later.icmp_types.as_ref(), |all, some| types_cover(all, some))
        && holds(earlier.ports.as_ref(), later.ports.as_ref(), |all, some| ports_cover(all, some))
        && holds(earlier.from_ports.as_ref(), later.from_ports.as_ref(), |all, some| ports_cover(all, some))
        && holds(earlier.from.as_ref(), later.from.as_ref(), |all, some| addresses_cover(all, some, steps))
        && holds(earlier.to.as_ref(), later.to.as_ref(), |all, some| addresses_cover(all, some, steps))
}

/// An absent list matches everything. A present one never covers an absent one, not even
/// if it names every port: a later fragment has none.
fn holds<T>(earlier: Option<&T>, later: Option<&T>, covers: impl FnOnce(&T, &T) -> bool) -> bool {
    match (earlier, later) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => covers(earlier, later),
    }
}

fn subset<T: PartialEq>(some: &[T], all: &[T]) -> bool {
    some.iter().all(|item| all.contains(item))
}

fn flags_cover(all: TcpFlags, some: TcpFlags) -> bool {
    all.of & !some.of == 0 && some.set & all.of == all.set
}

fn types_cover(all: &[IcmpMatch], some: &[IcmpMatch]) -> bool {
    let covers = |a: &IcmpMatch, b: &IcmpMatch| {
        (a.protocol, a.kind) == (b.protocol, b.kind) && (a.code.is_none() || a.code == b.code)
    };
    some.iter().all(|later| all.iter().any(|earlier| covers(earlier, later)))
}

fn ports_cover(all: &[RangeInclusive<u16>], some: &[RangeInclusive<u16>]) -> bool {
    some.iter().all(|later| {
        all.iter().any(|earlier| earlier.start() <= later.start() && later.end() <= earlier.end())
    })
}

fn addresses_cover(all: &AddressSet, some: &AddressSet, steps: &mut usize) -> bool {
    let all = all.ranges();
    for &(first, last) in some.ranges() {
        *steps = steps.saturating_sub(1);
        let after = all.partition_point(|&(start, _)| start <= first);
        if *steps == 0 || after == 0 || all[after - 1].1 < last {
            return false;
        }
    }
    true
}
