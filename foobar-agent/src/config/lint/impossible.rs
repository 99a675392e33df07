//! Rules that can never match.

use std::collections::BTreeSet;

use super::super::firewall::Places;
use super::super::model::Interfaces;
use super::super::protocols::{ICMP, ICMPV6};
use super::super::report::Report;
use super::super::suggest::quoted;
use crate::firewall::address::AddressSet;
use crate::firewall::ruleset::{Rule, Ruleset};

/// Interfaces that one message names.
const MAX_NAMED: usize = 4;

/// Warns of rules that can never match.
pub(in crate::config) fn check(
    ruleset: &Ruleset,
    places: &Places,
    attached: &Interfaces,
    report: &Report<'_>,
) {
    let attached: Option<BTreeSet<&str>> = match attached {
        Interfaces::Auto => None,
        Interfaces::Named(names) => Some(names.iter().map(String::as_str).collect()),
    };
    for (rule, place) in ruleset.rules.iter().zip(&places.rules) {
        if let Some((why, hint)) = never_matches(rule, attached.as_ref()) {
            report.warning(place, format!("the rule `{}` can never match: {why}", rule.name), hint);
        }
    }
}

fn never_matches(rule: &Rule, attached: Option<&BTreeSet<&str>>) -> Option<(String, &'static str)> {
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
    if let (Some(attached), Some(named)) = (attached, &rule.interfaces)
        && !named.iter().any(|name| attached.contains(name.as_str()))
    {
        let shown: Vec<String> = named.iter().take(MAX_NAMED).map(|name| quoted(name)).collect();
        let message = format!("its interface {} is not one of the firewall's", shown.join(", "));
        return Some((message, "add it to `interfaces` of [firewall]"));
    }
    None
}
