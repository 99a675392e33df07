//! Ports that manage a host, or hold its data, and that a rule opens to the whole world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use foobar_ebpf::verdict::Verdict;

use super::super::firewall::Places;
use super::super::model::{Firewall, Interfaces};
use super::super::protocols::TCP;
use super::super::report::Report;
use super::Judge;
use super::frame::{SYN, Segment};
use crate::firewall::address::AddressSet;
use crate::firewall::ruleset::{Rule, Ruleset};

/// TCP ports by which a host is managed or its data read, which the world has no need to reach.
const PORTS: [(u16, &str); 26] = [
    (22, "SSH"),
    (23, "Telnet"),
    (111, "RPC"),
    (135, "Windows RPC"),
    (139, "SMB"),
    (445, "SMB"),
    (512, "rexec"),
    (513, "rlogin"),
    (514, "rsh"),
    (1433, "SQL Server"),
    (1521, "Oracle"),
    (2049, "NFS"),
    (2222, "SSH, by habit"),
    (2375, "Docker"),
    (2379, "etcd"),
    (3306, "MySQL"),
    (3389, "RDP"),
    (5432, "PostgreSQL"),
    (5900, "VNC"),
    (5985, "WinRM"),
    (6379, "Redis"),
    (6443, "Kubernetes"),
    (9200, "Elasticsearch"),
    (10250, "Kubernetes"),
    (11211, "memcached"),
    (27017, "MongoDB"),
];
/// Ports that one warning names.
const MAX_NAMED: usize = 4;
/// Rules that are tried; beyond, a file is no work of hand.
const MAX_RULES: usize = 1000;
/// Addresses of each family that stand for the world.
const PROBES: u64 = 16;

/// Warns of rules that let most of the world connect to such a port. Judged by the compiled rules:
/// what an earlier one keeps away is not open.
pub(in crate::config) fn check(
    firewall: &Firewall,
    ruleset: &Ruleset,
    places: &Places,
    judge: &Judge,
    report: &Report<'_>,
) {
    let candidates = ruleset.rules.iter().zip(&places.rules).enumerate().filter(|(_, (rule, _))| {
        rule.action == Verdict::Allow
            && opens_connections(rule)
            && !is_kept_to_some(rule, &firewall.interfaces)
            && rule.from.as_ref().is_none_or(|from| is_most_of_the_world(from))
    });
    for (slot, (rule, place)) in candidates.take(MAX_RULES) {
        let open: Vec<String> = PORTS
            .iter()
            .filter(|&&(port, _)| names_port(rule, port) && is_open(rule, slot, port, judge))
            .map(|(port, what)| format!("{port} ({what})"))
            .collect();
        if open.is_empty() {
            continue;
        }
        let more = if open.len() > MAX_NAMED { " and more" } else { "" };
        let named = open[..open.len().min(MAX_NAMED)].join(", ");
        let message = format!("the rule `{}` opens port {named}{more} to the world", rule.name);
        report.warning(place, message, "name in `from` who needs it");
    }
}

/// Whether most addresses of either family are members.
fn is_most_of_the_world(from: &AddressSet) -> bool {
    let most = |address: fn(u64) -> IpAddr| {
        (0..PROBES).filter(|&number| from.contains(address(number))).count() as u64 > PROBES / 2
    };
    most(|number| world_ipv4(number).into()) || most(|number| world_ipv6(number).into())
}

/// Whether the rule matches the first packet of a TCP connection.
fn opens_connections(rule: &Rule) -> bool {
    rule.icmp_types.is_none()
        && rule.protocols.as_ref().is_none_or(|protocols| protocols.contains(&TCP))
        && rule.tcp_flags.is_none_or(|flags| SYN & flags.of == flags.set)
}

/// Whether the rule is for some of the firewall's interfaces only, which may lead elsewhere.
fn is_kept_to_some(rule: &Rule, attached: &Interfaces) -> bool {
    match (&rule.interfaces, attached) {
        (Some(named), Interfaces::Named(attached)) => attached.iter().any(|name| !named.contains(name)),
        // `auto` attaches where the world is.
        (Some(_), Interfaces::Auto) | (None, _) => false,
    }
}

fn names_port(rule: &Rule, port: u16) -> bool {
    rule.ports.as_ref().is_none_or(|ports| ports.iter().any(|range| range.contains(&port)))
}

/// Whether most of the world, in one family, gets in by this rule.
fn is_open(rule: &Rule, slot: usize, port: u16, judge: &Judge) -> bool {
    let from_port =
        rule.from_ports.as_ref().and_then(|ports| ports.first()).map_or(40_000, |range| *range.end());
    let interface = rule.interfaces.as_ref().and_then(|names| names.first()).map_or("", String::as_str);
    [to_ipv4(rule), to_ipv6(rule)].into_iter().flatten().any(|to| {
        let let_in = |number: &u64| {
            let from = if to.is_ipv4() { world_ipv4(*number).into() } else { world_ipv6(*number).into() };
            let (from, to) = (SocketAddr::new(from, from_port), SocketAddr::new(to, port));
            let judgement = judge.judge(&Segment { from, to, flags: SYN }, interface);
            judgement.rule().map(|rule| rule as usize) == Some(slot)
        };
        let count = (0..PROBES).filter(let_in).count() as u64;
        count > PROBES / 2
    })
}

/// An address that the rule lets packets be for; any will do where it names none.
fn to_ipv4(rule: &Rule) -> Option<IpAddr> {
    let Some(to) = &rule.to else { return Some(Ipv4Addr::new(192, 0, 2, 1).into()) };
    Some(to.first_ipv4()?.into())
}

fn to_ipv6(rule: &Rule) -> Option<IpAddr> {
    let Some(to) = &rule.to else { return Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()) };
    Some(to.first_ipv6()?.into())
}

/// Scattered over 1.0.0.0 to 223.255.255.255.
fn world_ipv4(number: u64) -> Ipv4Addr {
    let first = 1 + number * 222 / (PROBES - 1);
    let [.., b, c, d] = scattered(number).to_be_bytes();
    Ipv4Addr::new(u8::try_from(first).unwrap_or(1), b, c, d)
}

/// Scattered over `2000::/3`.
fn world_ipv6(number: u64) -> Ipv6Addr {
    let network = 0x2000_0000_0000_0000 | (scattered(number) >> 3);
    Ipv6Addr::from((u128::from(network) << 64) | u128::from(scattered(network)))
}

/// Bits that look random and are the same each time (`SplitMix64`).
fn scattered(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
