//! What the agent makes of a file, field by field, against a reading of the same words that is as
//! naive as the model: negation, sets, ranges, flags, names.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

use std::net::{IpAddr, Ipv6Addr};

use foobar_agent::firewall::ruleset::{Rule, Ruleset};
use foobar_model::draft::{Draft, DraftRule, load};
use foobar_tests::chance::Chance;

const RULESETS: u64 = 150;
const MOST_ADDRESSES: usize = 500;

/// The values of a key, without the quotes of TOML.
fn words<'a>(rule: &'a DraftRule, key: &str) -> Option<Vec<&'a str>> {
    let (_, values) = rule.fields.iter().find(|(known, _)| *known == key)?;
    Some(values.iter().map(|value| value.trim_matches('"')).collect())
}

/// Whether a prefix in words contains an address: bit by bit.
fn contains(prefix: &str, address: IpAddr) -> bool {
    let (network, length) = prefix.split_once('/').unwrap_or((prefix, "128"));
    let length: usize = length.parse().unwrap();
    let bit = |octets: &[u8], number: usize| octets[number / 8] >> (7 - number % 8) & 1;
    let same =
        |a: &[u8], b: &[u8]| (0..length.min(a.len() * 8)).all(|number| bit(a, number) == bit(b, number));
    match (network.parse().unwrap(), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => same(&network.octets(), &address.octets()),
        (IpAddr::V6(network), IpAddr::V6(address)) => same(&network.octets(), &address.octets()),
        _ => false,
    }
}

fn in_entry(draft: &Draft, entry: &str, address: IpAddr) -> bool {
    let Some(name) = entry.strip_prefix('@') else { return contains(entry, address) };
    let (_, entries) = draft.sets.iter().find(|(known, _)| *known == name).unwrap();
    entries.iter().any(|entry| in_entry(draft, entry.trim_matches('"'), address))
}

fn in_list(draft: &Draft, list: &[&str], address: IpAddr) -> bool {
    let negative = list.iter().filter_map(|entry| entry.strip_prefix('!'));
    let positive: Vec<_> = list.iter().filter(|entry| !entry.starts_with('!')).collect();
    (positive.is_empty() || positive.iter().any(|entry| in_entry(draft, entry, address)))
        && !negative.into_iter().any(|entry| in_entry(draft, entry, address))
}

/// First and last addresses of all prefixes in a ruleset, their neighbours, and some more.
fn addresses(ruleset: &Ruleset, chance: &mut Chance) -> Vec<IpAddr> {
    let sets = ruleset.rules.iter().flat_map(|rule| [&rule.from, &rule.to]).flatten();
    let ranges = sets.flat_map(|set| set.ranges().iter().take(20));
    let mut bits: Vec<u128> = ranges
        .flat_map(|&(first, last)| [first, last, first.wrapping_sub(1), last.wrapping_add(1)])
        .collect();
    for _ in 0..50 {
        let number = u128::from(chance.number());
        bits.extend([number << 64 | u128::from(chance.number()), 0xffff_0000_0000 | (number & 0xffff_ffff)]);
    }
    bits.sort_unstable();
    bits.dedup();
    // Of a ruleset with hundreds of rules, some.
    let step = 1 + bits.len() / MOST_ADDRESSES;
    bits.into_iter()
        .step_by(step)
        .map(|bits| {
            let address = Ipv6Addr::from(bits);
            address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
        })
        .collect()
}

fn check_addresses(draft: &Draft, words: &DraftRule, rule: &Rule, addresses: &[IpAddr]) {
    for (key, set) in [("from", &rule.from), ("to", &rule.to)] {
        let list = self::words(words, key);
        assert_eq!(list.is_some(), set.is_some(), "{key} of {words:?}");
        let (Some(list), Some(set)) = (list, set) else { continue };
        for address in addresses {
            let wanted = in_list(draft, &list, *address);
            assert_eq!(set.contains(*address), wanted, "{address} in {key} = {list:?}\n{}", draft.toml());
        }
    }
}

fn port(word: &str) -> u16 {
    let named = [("domain", 53), ("http", 80), ("ntp", 123)];
    named.iter().find(|(name, _)| *name == word).map_or_else(|| word.parse().unwrap(), |(_, port)| *port)
}

fn check_ports(words: &DraftRule, rule: &Rule) {
    for (key, ranges) in [("port", &rule.ports), ("from_port", &rule.from_ports)] {
        let list = self::words(words, key);
        assert_eq!(list.is_some(), ranges.is_some(), "{key} of {words:?}");
        let (Some(list), Some(ranges)) = (list, ranges) else { continue };
        let bounds: Vec<(u16, u16)> = list
            .iter()
            .map(|range| range.split_once('-').unwrap_or((range, range)))
            .map(|(low, high)| (port(low), port(high)))
            .collect();
        let ends = bounds.iter().flat_map(|(low, high)| [*low, *high]);
        for port in ends.flat_map(|port| [port.wrapping_sub(1), port, port.wrapping_add(1)]) {
            let wanted = bounds.iter().any(|(low, high)| (low..=high).contains(&&port));
            assert_eq!(
                ranges.iter().any(|range| range.contains(&port)),
                wanted,
                "{port} in {key} = {list:?}"
            );
        }
    }
}

/// As `docs/rules.md` and IANA's registries have them.
fn protocol(word: &str) -> u8 {
    let named = [
        ("icmp", 1),
        ("ipencap", 4),
        ("tcp", 6),
        ("udp", 17),
        ("dccp", 33),
        ("ipv6", 41),
        ("gre", 47),
        ("esp", 50),
        ("ah", 51),
        ("icmpv6", 58),
        ("sctp", 132),
        ("udplite", 136),
    ];
    named.iter().find(|(name, _)| *name == word).map_or_else(|| word.parse().unwrap(), |(_, number)| *number)
}

fn check_flags(words: &DraftRule, rule: &Rule) {
    let bits = |list: &str| {
        let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
        list.split(',')
            .filter(|name| *name != "none")
            .fold(0u8, |bits, name| bits | 1 << names.iter().position(|known| known == &name).unwrap())
    };
    let wanted = self::words(words, "tcp_flags").map(|list| list[0].split_once('/').unwrap());
    let wanted = wanted.map(|(set, of)| (bits(set), bits(of)));
    assert_eq!(rule.tcp_flags.map(|flags| (flags.set, flags.of)), wanted, "{words:?}");
}

/// The message of each family that a name means: type, perhaps code.
fn icmp_type(word: &str, protocol: u8) -> (u8, Option<u8>) {
    let named = [
        ("echo-request", (8, None), (128, None)),
        ("echo-reply", (0, None), (129, None)),
        ("destination-unreachable", (3, None), (1, None)),
        ("port-unreachable", (3, Some(3)), (1, Some(4))),
    ];
    if let Some((_, icmp, icmpv6)) = named.iter().find(|(name, ..)| *name == word) {
        return if protocol == 1 { *icmp } else { *icmpv6 };
    }
    match word.split_once('/') {
        Some((kind, code)) => (kind.parse().unwrap(), Some(code.parse().unwrap())),
        None => (word.parse().unwrap(), None),
    }
}

/// A protocol with a type and perhaps a code of it.
type Message = (u8, (u8, Option<u8>));

fn check_rule(words: &DraftRule, rule: &Rule) {
    assert_eq!((&rule.name, rule.action.as_str()), (&words.name, words.action));
    let mut protocols: Option<Vec<u8>> =
        self::words(words, "protocol").map(|list| list.into_iter().map(protocol).collect());
    let mut types: Option<Vec<Message>> = self::words(words, "icmp_type").map(|list| {
        let of = protocols.iter().flatten().filter(|protocol| [1, 58].contains(*protocol));
        of.flat_map(|&protocol| list.iter().map(move |word| (protocol, icmp_type(word, protocol)))).collect()
    });
    let found = rule.icmp_types.as_ref();
    let mut found: Option<Vec<Message>> =
        found.map(|list| list.iter().map(|entry| (entry.protocol, (entry.kind, entry.code))).collect());
    for list in [&mut types, &mut found].into_iter().flatten() {
        list.sort_unstable();
        list.dedup();
    }
    assert_eq!(found, types, "{words:?}");
    let mut found = rule.protocols.clone();
    for list in [&mut protocols, &mut found].into_iter().flatten() {
        list.sort_unstable();
        list.dedup();
    }
    assert_eq!(found, protocols, "{words:?}");
    let interfaces = self::words(words, "interface");
    let has = |list: &[&str], name: &str| list.contains(&name);
    for name in ["eth0", "eth1", "eth2", "eth3"] {
        let wanted = interfaces.as_ref().map(|list| has(list, name));
        let found = rule.interfaces.as_ref().map(|list| list.iter().any(|known| known == name));
        assert_eq!(found, wanted, "{words:?}");
    }
}

#[test]
fn a_file_means_what_its_words_say() {
    for seed in 0..RULESETS {
        let mut chance = Chance::new(seed);
        let draft = Draft::draw(&mut chance, &["allow", "drop", "reject"]);
        let ruleset =
            load(&draft.toml()).unwrap_or_else(|error| panic!("{error}\n{}", draft.toml())).unwrap();
        assert_eq!(ruleset.default.as_str(), draft.default);
        assert_eq!(ruleset.rules.len(), draft.rules.len());
        let addresses = addresses(&ruleset, &mut chance);
        for (words, rule) in draft.rules.iter().zip(&ruleset.rules) {
            check_addresses(&draft, words, rule, &addresses);
            check_ports(words, rule);
            check_flags(words, rule);
            check_rule(words, rule);
        }
    }
}

#[test]
fn every_example_of_the_page_loads() {
    let page = include_str!("../../../docs/rules.md");
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 3);
    for example in examples {
        assert!(load(example).unwrap_or_else(|error| panic!("{example}\n{error}")).is_some());
    }
}
