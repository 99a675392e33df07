//! Rulesets by chance, as a person would write them: drawn from small pools of things that overlap,
//! touch and contradict each other, and put into the words of the configuration.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foobar_agent::config;
use foobar_agent::firewall::ruleset::Ruleset;
use foobar_tests::chance::Chance;

/// Where packets arrive in these tests.
pub const INTERFACES: [&str; 3] = ["eth0", "eth1", "eth2"];

/// Prefixes that lie in each other, beside each other, and at the ends of their family. Some IPv6
/// prefixes lie around, before and behind the block in which IPv4 addresses are held.
const PREFIXES: [&str; 34] = [
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.0/25",
    "10.1.2.128/25",
    "10.1.2.200",
    "10.1.2.201/32",
    "192.0.2.0/24",
    "192.0.2.1",
    "198.51.100.0/24",
    "198.51.100.7",
    "203.0.113.64/26",
    "224.0.0.0/4",
    "255.255.255.255",
    "0.0.0.0",
    "::/0",
    "::/1",
    "8000::/1",
    "::/80",
    "::/95",
    "::fffe:0:0/96",
    "0:0:0:0:1::/96",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "2001:db8:1:2::/64",
    "2001:db8:1:2::200",
    "2001:db8::1",
    "fe80::/10",
    "ff00::/8",
    "::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const WITH_PORTS: [&str; 5] = ["\"tcp\"", "\"udp\"", "\"sctp\"", "\"dccp\"", "\"udplite\""];
const OTHERS: [&str; 16] = [
    "\"tcp\"",
    "\"udp\"",
    "\"icmp\"",
    "\"icmpv6\"",
    "\"gre\"",
    "\"esp\"",
    "\"ah\"",
    "\"ipencap\"",
    "\"ipv6\"",
    "0",
    "6",
    "44",
    "58",
    "59",
    "60",
    "255",
];
const PORTS: [u16; 14] = [0, 1, 22, 53, 67, 68, 79, 80, 81, 443, 1023, 1024, 65_534, 65_535];
const TYPES: [&str; 8] =
    ["\"echo-request\"", "\"echo-reply\"", "\"port-unreachable\"", "3", "\"3/4\"", "0", "\"128/0\"", "255"];
const TYPES_OF_BOTH: [&str; 4] =
    ["\"echo-request\"", "\"echo-reply\"", "\"destination-unreachable\"", "\"port-unreachable\""];
const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
const ESSENTIALS: [&str; 6] = [
    "true",
    "false",
    "\"nd\"",
    "[\"mld\", \"dhcp\"]",
    "\"icmp-errors\"",
    "[\"nd\", \"mld\", \"icmp-errors\", \"dhcp\"]",
];

/// A ruleset in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The value of `default`.
    pub default: &'static str,
    /// The value of `essentials`, as TOML.
    pub essentials: &'static str,
    /// Names and entries, as TOML.
    pub sets: Vec<(&'static str, Vec<String>)>,
    /// In file order.
    pub rules: Vec<DraftRule>,
}

/// One rule in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftRule {
    /// Unique.
    pub name: String,
    /// The value of `action`.
    pub action: &'static str,
    /// Keys with the values of their lists, as TOML.
    pub fields: Vec<(&'static str, Vec<String>)>,
}

impl Draft {
    /// A ruleset by chance, with actions from a list.
    pub fn draw(chance: &mut Chance, actions: &[&'static str]) -> Self {
        let first = (0..=chance.below(3)).map(|_| quoted(&prefix(chance))).collect();
        let mut second: Vec<_> = (0..=chance.below(3)).map(|_| quoted(&prefix(chance))).collect();
        if chance.once_in(2) {
            second.push("\"@first\"".to_owned());
        }
        let most = chance.one(&[3, 10, 10, 10, 10, 10, 10, 10, 10, 40, 40, 300]);
        let rules = 1 + chance.below(most);
        Self {
            default: chance.one(actions),
            essentials: chance.one(&ESSENTIALS),
            sets: vec![("first", first), ("second", second)],
            rules: (0..rules).map(|number| rule(chance, number, actions)).collect(),
        }
    }

    /// The file that says this.
    pub fn toml(&self) -> String {
        let mut toml = format!(
            "[firewall]\ninterfaces = [\"{}\"]\ndefault = \"{}\"\nessentials = {}\n",
            INTERFACES.join("\", \""),
            self.default,
            self.essentials
        );
        for (number, (name, entries)) in self.sets.iter().enumerate() {
            let header = if number == 0 { "[firewall.sets]\n" } else { "" };
            let _ = writeln!(toml, "{header}{name} = [{}]", entries.join(", "));
        }
        for DraftRule { name, action, fields } in &self.rules {
            let _ = writeln!(toml, "[[firewall.rules]]\nname = \"{name}\"\naction = \"{action}\"");
            for (key, values) in fields {
                // One value may stand alone; that is another way through the reader.
                let _ = match values.as_slice() {
                    [one] => writeln!(toml, "{key} = {one}"),
                    many => writeln!(toml, "{key} = [{}]", many.join(", ")),
                };
            }
        }
        toml
    }
}

/// What the agent makes of a file.
///
/// # Errors
/// What it says of a file that it refuses.
pub fn load(toml: &str) -> Result<Option<Ruleset>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("foobar.toml");
    fs::write(&path, toml).map_err(|error| error.to_string())?;
    let loaded = config::load(&path).map_err(|errors| errors.to_string())?;
    Ok(loaded.config.firewall.ruleset)
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// One of the pool, or any prefix around one.
fn prefix(chance: &mut Chance) -> String {
    let text = chance.one(&PREFIXES);
    if !chance.once_in(4) {
        return text.to_owned();
    }
    let address = text.split('/').next().unwrap_or_default();
    let flipped = |bits: u128, bit: usize, length: usize, width: usize| {
        // Aligned at the top, so that both families are cut alike.
        let bits = (bits << (128 - width)) ^ (1 << (127 - bit));
        let kept = if length == 0 { 0 } else { bits >> (128 - length) << (128 - length) };
        kept >> (128 - width)
    };
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            let (bit, length) = (chance.below(32), chance.below(33));
            let bits = flipped(u32::from(address).into(), bit, length, 32);
            format!("{}/{length}", Ipv4Addr::from(u32::try_from(bits).unwrap_or_default()))
        }
        Ok(IpAddr::V6(address)) => {
            let (bit, length) = (chance.below(128), chance.below(129));
            let address = Ipv6Addr::from(flipped(address.into(), bit, length, 128));
            // In the block of IPv4 addresses a prefix is refused.
            if address.to_ipv4_mapped().is_some() { text.to_owned() } else { format!("{address}/{length}") }
        }
        Err(_) => text.to_owned(),
    }
}

/// The entries of `from` or `to`.
fn addresses(chance: &mut Chance) -> Vec<String> {
    let count = 1 + chance.below(4);
    (0..count)
        .map(|_| {
            let negation = if chance.once_in(4) { "!" } else { "" };
            let entry = match chance.below(8) {
                0 => "@first".to_owned(),
                1 => "@second".to_owned(),
                _ => prefix(chance),
            };
            quoted(&format!("{negation}{entry}"))
        })
        .collect()
}

/// Names only where TCP and UDP are meant.
fn ports(chance: &mut Chance, names: bool) -> Vec<String> {
    let count = 1 + chance.below(3);
    (0..count)
        .map(|_| {
            if names && chance.once_in(8) {
                return quoted(chance.one(&["domain", "http", "ntp"]));
            }
            let port = if chance.once_in(6) { chance.word() } else { chance.one(&PORTS) };
            if chance.once_in(2) {
                return port.to_string();
            }
            let other = if chance.once_in(2) { chance.word() } else { chance.one(&PORTS) };
            quoted(&format!("{}-{}", port.min(other), port.max(other)))
        })
        .collect()
}

fn some(chance: &mut Chance, of: &[&str], most: usize) -> Vec<String> {
    let count = 1 + chance.below(most);
    (0..count).map(|_| chance.one(of).to_owned()).collect()
}

fn tcp_flags(chance: &mut Chance) -> String {
    let (mut set, mut of) = (Vec::new(), Vec::new());
    for flag in FLAGS {
        match chance.below(5) {
            0 => of.push(flag),
            1 => {
                of.push(flag);
                set.push(flag);
            }
            _ => {}
        }
    }
    if of.is_empty() {
        of.push("syn");
    }
    quoted(&format!("{}/{}", if set.is_empty() { "none".to_owned() } else { set.join(",") }, of.join(",")))
}

fn rule(chance: &mut Chance, number: usize, actions: &[&'static str]) -> DraftRule {
    let mut fields = Vec::new();
    if chance.once_in(2) {
        fields.push(("from", addresses(chance)));
    }
    if chance.once_in(3) {
        fields.push(("to", addresses(chance)));
    }
    match chance.below(8) {
        0..4 => {
            let protocols = some(chance, &WITH_PORTS, 2);
            let names = protocols.iter().all(|protocol| WITH_PORTS[..2].contains(&protocol.as_str()));
            let is_tcp = protocols.iter().all(|protocol| protocol == WITH_PORTS[0]);
            fields.push(("protocol", protocols));
            if !chance.once_in(4) {
                fields.push(("port", ports(chance, names)));
            }
            if chance.once_in(3) {
                fields.push(("from_port", ports(chance, names)));
            }
            if is_tcp && chance.once_in(2) {
                fields.push(("tcp_flags", vec![tcp_flags(chance)]));
            }
        }
        4 => {
            let protocol = chance.one(&["\"icmp\"", "\"icmpv6\""]).to_owned();
            fields.push(("protocol", vec![protocol]));
            fields.push(("icmp_type", some(chance, &TYPES, 3)));
        }
        5 => {
            fields.push(("protocol", vec!["\"icmpv6\"".to_owned(), "1".to_owned()]));
            fields.push(("icmp_type", some(chance, &TYPES_OF_BOTH, 2)));
        }
        6 => fields.push(("protocol", some(chance, &OTHERS, 3))),
        _ => {}
    }
    if chance.once_in(4) {
        let names = some(chance, &INTERFACES, 2).iter().map(|name| quoted(name)).collect();
        fields.push(("interface", names));
    }
    // A rate that no test exceeds, on no more rules than may have one.
    if number.is_multiple_of(5) && number < 5 * 64 && chance.once_in(3) {
        fields.push(("rate", vec![quoted(chance.one(&["1000M/second", "1000000M bytes/second"]))]));
        if chance.once_in(2) {
            fields.push(("rate_per", vec![quoted(chance.one(&["source", "rule"]))]));
        }
    }
    if chance.once_in(16) {
        fields.push(("log", vec![quoted("1/hour")]));
    }
    DraftRule { name: format!("r{number}"), action: chance.one(actions), fields }
}
