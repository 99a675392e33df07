//! `icmp_type` of a rule. ICMP types exist only for protocol 1 in IPv4 and 58 in IPv6, and
//! the same name has another number in each.

use std::collections::BTreeSet;

use super::protocols::{ICMP, ICMPV6, decimal, protocol_name};
use super::reader::Value;
use super::suggest::quoted;
use crate::firewall::ruleset::IcmpMatch;

/// A name, its type and perhaps its code.
type Name = (&'static str, u8, Option<u8>);

/// IANA's registry "Internet Control Message Protocol (ICMP) Parameters".
const ICMP_NAMES: &[Name] = &[
    ("echo-reply", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("source-quench", 4, None),
    ("redirect", 5, None),
    ("echo-request", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("parameter-problem", 12, None),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
    ("info-request", 15, None),
    ("info-reply", 16, None),
    ("address-mask-request", 17, None),
    ("address-mask-reply", 18, None),
];

/// IANA's registry "Internet Control Message Protocol version 6 (ICMPv6) Parameters".
const ICMPV6_NAMES: &[Name] = &[
    ("destination-unreachable", 1, None),
    ("network-unreachable", 1, Some(0)),
    ("host-unreachable", 1, Some(3)),
    ("port-unreachable", 1, Some(4)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("parameter-problem", 4, None),
    ("echo-request", 128, None),
    ("echo-reply", 129, None),
    ("mld-query", 130, None),
    ("mld-report", 131, None),
    ("mld-done", 132, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbor-advertisement", 136, None),
    ("redirect", 137, None),
    ("router-renumbering", 138, None),
    ("mldv2-report", 143, None),
];

/// What a rule's `icmp_type` matches, each once. `protocols` says of which family; it must name one of the two.
pub(super) fn read(value: Option<Value<'_>>, protocols: Option<&[u8]>) -> Option<Vec<IcmpMatch>> {
    let value = value?;
    let protocols = protocols.unwrap_or_else(|| {
        needs_protocol(value);
        &[]
    });
    let families: Vec<u8> = [ICMP, ICMPV6].into_iter().filter(|family| protocols.contains(family)).collect();
    if families.is_empty() && !protocols.is_empty() {
        needs_protocol(value);
    }
    if let Some(other) =
        protocols.iter().find(|number| !families.contains(number)).filter(|_| !families.is_empty())
    {
        let name = protocol_name(*other);
        let hint = format!("write a rule of its own for `{name}`");
        value.warning(format!("`{name}` has no ICMP type: this rule never matches it"), hint);
    }
    let mut matches = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in value.one_or_list() {
        let of_entry = entry_matches(entry, &families).into_iter();
        matches.extend(of_entry.filter(|icmp| seen.insert((icmp.protocol, icmp.kind, icmp.code))));
    }
    Some(matches)
}

fn needs_protocol(value: Value<'_>) {
    value.error("`icmp_type` needs `protocol` to name icmp or icmpv6", "add: protocol = \"icmp\"");
}

/// Nothing if it is wrong, which is reported, or if the families are, which was.
fn entry_matches(value: Value<'_>, families: &[u8]) -> Vec<IcmpMatch> {
    let number = if value.is_integer() { value.integer(0, 255) } else { None };
    let number = number.map(|number| number.to_string());
    let Some(text) = number.as_deref().or_else(|| value.as_str()) else {
        if !value.is_integer() {
            value.wrong_type("a type's name or number, or a \"type/code\"");
        }
        return Vec::new();
    };
    if value.negates(text) {
        return Vec::new();
    }
    match *families {
        [family] => one_family(value, text, family).into_iter().collect(),
        [_, _] => both_families(value, text),
        _ => Vec::new(),
    }
}

fn one_family(value: Value<'_>, text: &str, family: u8) -> Option<IcmpMatch> {
    if let Some((_, kind, code)) = names(family).iter().find(|(name, ..)| *name == text) {
        return Some(IcmpMatch { protocol: family, kind: *kind, code: *code });
    }
    let octet = |text: &str| decimal(text).and_then(|number| u8::try_from(number).ok());
    let (kind, code) = match text.split_once('/') {
        Some((kind, code)) => (octet(kind), octet(code).map(Some)),
        None => (octet(text), Some(None)),
    };
    if let (Some(kind), Some(code)) = (kind, code) {
        return Some(IcmpMatch { protocol: family, kind, code });
    }
    let hint = value.report().did_you_mean(text, names(family).iter().map(|&(name, ..)| name));
    let hint = hint.unwrap_or_else(|| "write its number, such as 3, or with a code, \"3/4\"".to_owned());
    value.error(format!("{} is no type of {}", quoted(text), protocol_name(family)), hint);
    None
}

fn both_families(value: Value<'_>, text: &str) -> Vec<IcmpMatch> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("{} means another type in icmp than in icmpv6", quoted(text));
        value.error(message, "write its name, or a rule for each protocol");
        return Vec::new();
    }
    let mut matches = Vec::new();
    for family in [ICMP, ICMPV6] {
        let Some((_, kind, code)) = names(family).iter().find(|(name, ..)| *name == text) else {
            let in_icmpv6 = |name: &&str| ICMPV6_NAMES.iter().any(|(known, ..)| known == name);
            let hint = value
                .report()
                .did_you_mean(text, ICMP_NAMES.iter().map(|&(name, ..)| name).filter(in_icmpv6));
            let hint = hint.unwrap_or_else(|| "write a rule for each protocol".to_owned());
            value.error(format!("{} is no type of {}", quoted(text), protocol_name(family)), hint);
            return Vec::new();
        };
        matches.push(IcmpMatch { protocol: family, kind: *kind, code: *code });
    }
    matches
}

pub(super) fn names(family: u8) -> &'static [Name] {
    if family == ICMP { ICMP_NAMES } else { ICMPV6_NAMES }
}

/// Every type's name, for the test of the documentation.
#[cfg(test)]
pub(super) fn all_names() -> impl Iterator<Item = &'static str> {
    ICMP_NAMES.iter().chain(ICMPV6_NAMES).map(|&(name, ..)| name)
}
