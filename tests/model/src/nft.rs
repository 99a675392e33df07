//! A ruleset in the language of nftables, for its ingress hook: the one place where nftables, too, sees
//! every frame before anything else of the kernel does. Text only; runs nothing.
//!
//! Each rule becomes as many nft rules as it takes (one a family, one an ICMP type), all with the same
//! comment and a counter, so that they add up to what our rule counts. `reject` becomes `drop`: which rule
//! decides is what is compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use foobar_agent::firewall::address::AddressSet;
use foobar_agent::firewall::ruleset::{IcmpMatch, Rule, Ruleset};
use foobar_ebpf::verdict::Verdict;

/// The table that [`script`] makes.
pub const TABLE: &str = "netdev model";
/// Comment of the counter that every frame passes.
pub const ALL: &str = "all";
/// Comment of the counter of frames that are not IP.
pub const FOREIGN: &str = "foreign";
/// Comment of the counter of what no rule matched.
pub const POLICY: &str = "policy";

/// What `nft -f` takes. The essentials are not in it.
pub fn script(ruleset: &Ruleset, interfaces: &[&str]) -> String {
    let devices = interfaces.join(", ");
    let mut text = format!(
        "flush ruleset\ntable {TABLE} {{\nchain ingress {{\n\
         type filter hook ingress devices = {{ {devices} }} priority 0; policy accept;\n\
         counter comment \"{ALL}\"\n\
         meta protocol != {{ ip, ip6 }} counter accept comment \"{FOREIGN}\"\n"
    );
    for rule in &ruleset.rules {
        for matches in alternatives(rule) {
            let _ = writeln!(text, "{matches} counter {} comment \"{}\"", verdict(rule.action), rule.name);
        }
    }
    let _ = writeln!(text, "counter {} comment \"{POLICY}\"\n}}\n}}", verdict(ruleset.default));
    text
}

/// Packets by comment, from what `nft -j list ruleset` says.
///
/// # Errors
/// Where that is not the JSON of such a listing.
pub fn counters(listing: &str) -> Result<BTreeMap<String, u64>, String> {
    let listing: serde_json::Value = serde_json::from_str(listing).map_err(|error| error.to_string())?;
    let items = listing["nftables"].as_array().ok_or("no list `nftables`")?;
    let mut packets = BTreeMap::new();
    for rule in items.iter().filter_map(|item| item.get("rule")) {
        let comment = rule["comment"].as_str().ok_or("a rule without a comment")?;
        let parts = rule["expr"].as_array().into_iter().flatten();
        let count: u64 = parts.filter_map(|part| part["counter"]["packets"].as_u64()).sum();
        *packets.entry(comment.to_owned()).or_default() += count;
    }
    Ok(packets)
}

fn verdict(verdict: Verdict) -> &'static str {
    if verdict == Verdict::Allow { "accept" } else { "drop" }
}

/// The ways in which a rule can match, each a conjunction.
fn alternatives(rule: &Rule) -> Vec<String> {
    let mut common = Vec::new();
    if let Some(names) = &rule.interfaces {
        common.push(format!("meta iifname {{ {} }}", quoted(names)));
    }
    // An ICMP type names its protocol, and nft refuses to hear of another beside it.
    if let (Some(protocols), None) = (&rule.protocols, &rule.icmp_types) {
        common.push(format!("meta l4proto {{ {} }}", listed(protocols.iter())));
    }
    for (key, ranges) in [("sport", &rule.from_ports), ("dport", &rule.ports)] {
        if let Some(ranges) = ranges {
            common.push(format!("th {key} {{ {} }}", listed(disjoint(ranges).iter())));
        }
    }
    if let Some(flags) = rule.tcp_flags {
        common.push(format!("tcp flags & {:#x} == {:#x}", flags.of, flags.set));
    }
    let Some(types) = &rule.icmp_types else {
        return FAMILIES
            .iter()
            .filter_map(|family| ends(rule, family))
            .map(|ends| join(&ends, &common))
            .collect();
    };
    let one = |entry: &IcmpMatch| {
        let family = FAMILIES.iter().find(|family| family.icmp == entry.protocol)?;
        Some(join(&ends(rule, family)?, &[&common[..], &icmp(family, *entry)].concat()))
    };
    types.iter().filter_map(one).collect()
}

fn join(ends: &[String], rest: &[String]) -> String {
    [ends, rest].concat().join(" ")
}

struct Family {
    keyword: &'static str,
    addresses: fn() -> AddressSet,
    /// Number and keyword of its ICMP.
    icmp: u8,
    icmp_keyword: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family { keyword: "ip", addresses: AddressSet::ipv4, icmp: 1, icmp_keyword: "icmp" },
    Family { keyword: "ip6", addresses: AddressSet::ipv6, icmp: 58, icmp_keyword: "icmpv6" },
];

fn icmp(family: &Family, entry: IcmpMatch) -> Vec<String> {
    let keyword = family.icmp_keyword;
    let mut parts = vec![format!("{keyword} type {}", entry.kind)];
    parts.extend(entry.code.map(|code| format!("{keyword} code {code}")));
    parts
}

/// What the addresses ask for in a family; nothing where none of it is left.
fn ends(rule: &Rule, family: &Family) -> Option<Vec<String>> {
    let (keyword, everything) = (family.keyword, (family.addresses)());
    let other_family = AddressSet::all().difference(&everything);
    let mut parts = vec![format!("meta protocol {keyword}")];
    for (side, set) in [("saddr", &rule.from), ("daddr", &rule.to)] {
        let Some(set) = set else { continue };
        let members = set.difference(&other_family);
        if members.is_empty() {
            return None;
        }
        if members != everything {
            let ranges = members.ranges().iter().map(|&(first, last)| range(first, last));
            parts.push(format!("{keyword} {side} {{ {} }}", listed(ranges)));
        }
    }
    Some(parts)
}

fn range(first: u128, last: u128) -> String {
    let address = |bits| {
        let address = Ipv6Addr::from(bits);
        address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
    };
    if first == last { address(first).to_string() } else { format!("{}-{}", address(first), address(last)) }
}

/// nft refuses a set whose intervals overlap.
fn disjoint(ranges: &[RangeInclusive<u16>]) -> Vec<String> {
    let mut ranges: Vec<(u16, u16)> = ranges.iter().map(|range| (*range.start(), *range.end())).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if u32::from(low) <= u32::from(last.1) + 1 => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    merged
        .iter()
        .map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") })
        .collect()
}

fn listed<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn quoted(names: &[String]) -> String {
    listed(names.iter().map(|name| format!("\"{name}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::load;

    #[test]
    fn a_rule_becomes_one_of_each_family_and_type() {
        let toml = r#"
[firewall]
interfaces = ["eth0"]
default = "reject"
[[firewall.rules]]
name = "web"
action = "allow"
from = ["10.0.0.0/8", "!10.0.0.7", "::/0"]
protocol = ["tcp", "udp"]
port = [80, "80-90", 91, 443]
interface = "eth0"
[[firewall.rules]]
name = "echo"
action = "reject"
protocol = ["icmp", "icmpv6"]
icmp_type = ["echo-request", "port-unreachable"]
[[firewall.rules]]
name = "first"
action = "drop"
protocol = "tcp"
tcp_flags = "syn/syn,ack"
"#;
        let ruleset = load(toml).unwrap().unwrap();
        let script = script(&ruleset, &["eth0"]);
        let rules: Vec<&str> = script.lines().skip(6).take_while(|line| *line != "}").collect();
        let web = "meta iifname { \"eth0\" } meta l4proto { 6, 17 } th dport { 80-91, 443 } counter accept comment \"web\"";
        assert_eq!(
            rules,
            [
                &format!("meta protocol ip ip saddr {{ 10.0.0.0-10.0.0.6, 10.0.0.8-10.255.255.255 }} {web}"),
                &format!("meta protocol ip6 {web}"),
                "meta protocol ip icmp type 8 counter drop comment \"echo\"",
                "meta protocol ip6 icmpv6 type 128 counter drop comment \"echo\"",
                "meta protocol ip icmp type 3 icmp code 3 counter drop comment \"echo\"",
                "meta protocol ip6 icmpv6 type 1 icmpv6 code 4 counter drop comment \"echo\"",
                "meta protocol ip meta l4proto { 6 } tcp flags & 0x12 == 0x2 counter drop comment \"first\"",
                "meta protocol ip6 meta l4proto { 6 } tcp flags & 0x12 == 0x2 counter drop comment \"first\"",
                "counter drop comment \"policy\"",
            ]
        );
    }
}
