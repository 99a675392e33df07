//! `[firewall]` and its rules: each error, each warning, and what negation means.

use std::sync::Arc;

use foobar_ebpf::verdict::Verdict;

use super::*;
use crate::firewall::address::AddressSet;
use crate::firewall::ruleset::{Essentials, IcmpMatch, Ruleset};

/// A firewall with one rule; `keys` begins on line 6.
fn rule(keys: &str) -> String {
    format!("[firewall]\ndefault = 'allow'\n[[firewall.rules]]\nname = 'r'\naction = 'allow'\n{keys}\n")
}

fn check_rules(cases: &[(&str, &[&str])]) {
    let texts: Vec<String> = cases.iter().map(|(keys, _)| rule(keys)).collect();
    let cases: Vec<_> =
        texts.iter().zip(cases).map(|(text, (_, expected))| (text.as_str(), *expected)).collect();
    check(&cases);
}

fn ruleset(text: &str) -> Ruleset {
    read_text(text).unwrap().config.firewall.ruleset.unwrap()
}

#[test]
fn section() {
    check(&[
        ("[firewall]\n", &["1:1 error: [firewall] lacks `default`"]),
        ("[firewall]\ndefault = 'deny'\n", &["2:11 error: `default` knows no `deny`"]),
        ("[firewall]\ndefault = true\n", &["2:11 error: `default` takes a string, not a boolean"]),
        ("[firewall]\ndefault = 'allow'\nmode = 'skb'\n", &["3:8 error: `mode` knows no `skb`"]),
        ("[firewall]\ndefault = 'allow'\ninterfaces = []\n", &["3:14 error: `interfaces` is an empty list"]),
        (
            "[firewall]\ndefault = 'allow'\ninterfaces = ['eth0', 'eth0', 'auto', 'eth*', 'sixteen-letters-']\n",
            &[
                "3:23 error: `eth0` is named twice",
                "3:31 error: `auto` stands alone",
                "3:39 error: `eth*` is no interface name",
                "3:47 error: `sixteen-letters-` is no interface name",
            ],
        ),
        (
            "[firewall]\ndefault = 'allow'\nessentials = ['nd', 'icmp', 3]\n",
            &["3:21 error: `icmp` is no essential", "3:29 error: `essentials` takes a string"],
        ),
        ("[firewall]\ndefault = 'allow'\nessentials = []\n", &["3:14 error: `essentials` is an empty list"]),
        ("[firewall]\ndefault = 'allow'\n[firewall.rules]\n", &["3:1 error: `rules` is a list of tables"]),
        ("[firewall]\ndefault = 'allow'\nrules = ['x']\n", &["3:10 error: `rules` takes a table"]),
        ("[firewall]\ndefault = 'allow'\nrules = 'x'\n", &["3:9 error: `rules` takes a list of tables"]),
    ]);
}

#[test]
fn names_and_actions() {
    let firewall = "[firewall]\ndefault = 'allow'\n[[firewall.rules]]\n";
    let text = |keys: &str| format!("{firewall}{keys}\n");
    let twice = "name = 'a'\naction = 'drop'\nport = 1\n[[firewall.rules]]\nname = 'a'\naction = 'drop'";
    check(&[
        (
            &text(""),
            &["3:1 error: [[firewall.rules]] lacks `name`", "3:1 error: [[firewall.rules]] lacks `action`"],
        ),
        (&text("name = 'SSH'\naction = 'allow'"), &["4:8 error: `SSH` is no name for a rule"]),
        (&text("name = '-a'\naction = 'allow'"), &["4:8 error: `-a` is no name"]),
        (&text(&format!("name = '{}'\naction = 'allow'", "a".repeat(64))), &["4:8 error: `aaa"]),
        (&text("name = 'policy'\naction = 'allow'"), &["4:8 error: `policy` is reserved"]),
        (&text("name = 'a'\naction = 'accept'"), &["5:10 error: `action` knows no `accept`"]),
        (
            &text(twice),
            &["6:8 error: `port` needs `protocol`", "8:8 error: duplicate rule `a`, first on line 4"],
        ),
    ]);
    assert_eq!(ruleset(&text(&format!("name = '{}'\naction = 'drop'", "a".repeat(63)))).rules.len(), 1);
}

#[test]
fn rates_and_logs() {
    let of = |rest: &str| {
        let text =
            format!("[firewall]\ndefault = 'drop'\n[[firewall.rules]]\nname = 'a'\naction = 'allow'\n{rest}");
        let rule = ruleset(&text).rules.remove(0);
        (rule.rate.map(|rate| rate.to_string()), rule.log.map(|rate| rate.to_string()))
    };
    for (rest, rate) in [
        ("rate = '10/minute'", "10 packets/minute per source"),
        ("rate = '5K packets/second'\nrate_per = 'rule'", "5K packets/second"),
        ("protocol = 'tcp'\nrate = '1 connections/hour'", "1 connections/hour per source"),
        ("rate = '100000M bytes/second'\nrate_per = 'source'", "100000M bytes/second per source"),
        ("rate = '1500/hour'\nrate_prefix = [24, 48]", "1500 packets/hour per source /24 /48"),
    ] {
        assert_eq!(of(rest), (Some(rate.to_owned()), None), "{rest}");
    }
    assert_eq!(of("log = '5/second'"), (None, Some("5 packets/second".to_owned())));
    check_rules(&[
        ("form = '192.0.2.1'", &["6:1 error: unknown key `form` in [[firewall.rules]]"]),
        ("rate = 10", &["6:8 error: `rate` takes a string, not an integer"]),
        ("rate = '10'", &["6:8 error: `10` has no time"]),
        ("rate = '10/minut'", &["6:8 error: `minut` is no time of a rate"]),
        ("rate = '10/day'", &["6:8 error: `day` is no time of a rate"]),
        ("rate = '10 bits/second'", &["6:8 error: `bits` is no unit of a rate"]),
        ("rate = '10  packets/second'", &["6:8 error: ` packets` is no unit of a rate"]),
        ("rate = '1.5/second'", &["6:8 error: `1.5` is no number"]),
        ("rate = '-1/second'", &["6:8 error: `-1` is no number"]),
        ("rate = 'K/second'", &["6:8 error: `K` is no number"]),
        ("rate = '10k/second'", &["6:8 error: `10k` is no number"]),
        ("rate = '/second'", &["6:8 error: `` is no number"]),
        ("rate = '0/second'", &["6:8 error: a rate of 0"]),
        ("rate = '1001M/second'", &["6:8 error: `1001M/second` is more than any host"]),
        (
            "rate = '99999999999999999999M bytes/hour'",
            &["6:8 error: `99999999999999999999M bytes/hour` is more"],
        ),
        ("rate = '10 connections/minute'", &["6:8 error: connections need `protocol` to be exactly tcp"]),
        (
            "protocol = ['tcp', 'udp']\nrate = '1 connections/hour'",
            &["7:8 error: connections need `protocol`"],
        ),
        ("rate = '1513 bytes/second'", &["6:8 warning: no packet of more than 1513 bytes"]),
        ("rate_per = 'source'", &["6:12 error: there is no `rate`"]),
        ("rate_prefix = [32, 64]", &["6:15 error: there is no `rate`"]),
        ("rate = '1/hour'\nrate_per = 'sources'", &["7:12 error: `rate_per` knows no `sources`"]),
        ("rate = '1/hour'\nrate_prefix = 24", &["7:15 error: `rate_prefix` takes a list"]),
        ("rate = '1/hour'\nrate_prefix = [24]", &["7:15 error: `rate_prefix` takes two lengths"]),
        ("rate = '1/hour'\nrate_prefix = [0, 64]", &["7:16 error: `rate_prefix` is out of range"]),
        ("rate = '1/hour'\nrate_prefix = [32, 129]", &["7:20 error: `rate_prefix` is out of range"]),
        (
            "rate = '1/hour'\nrate_per = 'rule'\nrate_prefix = [32, 64]",
            &["8:15 error: `rate_prefix` is of sources"],
        ),
        ("log = '5 bytes/second'", &["6:7 error: `log` counts packets"]),
        ("log = true", &["6:7 error: `log` takes a string, not a boolean"]),
    ]);
}

#[test]
fn addresses() {
    check_rules(&[
        ("from = []", &["6:8 error: `from` is an empty list"]),
        ("from = '10.0.0.1/8'", &["6:8 error: `10.0.0.1/8` has host bits set"]),
        ("from = ['!2001:db8::1/32']", &["6:9 error: `2001:db8::1/32` has host bits set"]),
        ("to = '::ffff:192.0.2.0/120'", &["6:6 error: `::ffff:192.0.2.0/120` is an IPv4-mapped"]),
        ("to = '::ffff:192.0.2.1'", &["6:6 error: `::ffff:192.0.2.1` is an IPv4-mapped"]),
        ("to = 'fe80::1%eth0'", &["6:6 error: `fe80::1%eth0` has a zone id"]),
        (
            "to = '10.0.0.0/33'",
            &["6:6 error: `10.0.0.0/33` has a prefix length that is no number from 0 to 32"],
        ),
        ("to = '2001:db8::/129'", &["6:6 error: `2001:db8::/129` has a prefix length"]),
        ("to = '10.0.0.0/+8'", &["6:6 error: `10.0.0.0/+8` has a prefix length"]),
        ("to = '10.0.0.0/'", &["6:6 error: `10.0.0.0/` has a prefix length"]),
        ("to = '10.0.0.0/255.0.0.0'", &["6:6 error: `10.0.0.0/255.0.0.0` has a netmask"]),
        ("to = '10.0.0'", &["6:6 error: `10.0.0` is neither an address nor a prefix"]),
        ("to = '010.0.0.1'", &["6:6 error: `010.0.0.1` is neither"]),
        ("to = 'www.foobar.com'", &["6:6 error: `www.foobar.com` is neither"]),
        ("to = ''", &["6:6 error: `` is neither"]),
        ("to = '!!10.0.0.0/8'", &["6:6 error: `!10.0.0.0/8` is neither"]),
        ("to = [10]", &["6:7 error: `to` takes a string, not an integer"]),
        ("to = { a = 1 }", &["6:6 error: `to` takes a string, not a table"]),
        ("to = '@nosuch'", &["6:6 error: there is no set `nosuch`"]),
        ("to = '!@nosuch'", &["6:6 error: there is no set `nosuch`"]),
    ]);
}

#[test]
fn protocols_and_ports() {
    let needs = "`port` needs `protocol` to be only of tcp, udp, sctp, dccp, udplite";
    check_rules(&[
        ("protocol = 'tpc'", &["6:12 error: `tpc` is no known protocol"]),
        ("protocol = 'Tcp'", &["6:12 error: `Tcp` is no known protocol"]),
        ("protocol = 256", &["6:12 error: `protocol` is out of range"]),
        (
            "protocol = [-1, '256']",
            &["6:13 error: `protocol` is out of range", "6:17 error: `256` is no known"],
        ),
        ("protocol = []", &["6:12 error: `protocol` is an empty list"]),
        ("protocol = 6.0", &["6:12 error: `protocol` takes a protocol's name, or its number, not a float"]),
        ("port = 22", &[&format!("6:8 error: {needs}")]),
        ("protocol = ['tcp', 'icmp']\nport = 22", &[&format!("7:8 error: {needs}")]),
        ("protocol = 47\nfrom_port = 22", &["7:13 error: `from_port` needs `protocol`"]),
        ("protocol = 'tcp'\nport = []", &["7:8 error: `port` is an empty list"]),
        ("protocol = 'tcp'\nport = 65536", &["7:8 error: `port` is out of range"]),
        ("protocol = 'tcp'\nport = 99999999999999999999", &["7:8 error: `port` is out of range"]),
        ("protocol = 'tcp'\nport = [22, '1-65536']", &["7:13 error: `1-65536` is no port"]),
        ("protocol = 'tcp'\nport = '2-1'", &["7:8 error: `2-1` is a range from high to low"]),
        ("protocol = 'tcp'\nport = '+1'", &["7:8 error: `+1` is no port"]),
        ("protocol = 'tcp'\nport = true", &["7:8 error: `port` takes a port"]),
        ("interface = 'a/b'", &["6:13 error: `a/b` is no interface name"]),
        ("interface = []", &["6:13 error: `interface` is an empty list"]),
        // One mistake is one error: ports are not blamed for a protocol that is none.
        ("protocol = 'tpc'\nport = 22", &["6:12 error: `tpc` is no known protocol"]),
    ]);
}

#[test]
fn an_empty_list_is_an_error_for_every_key() {
    let keys = ["from", "to", "protocol", "port", "from_port", "icmp_type", "interface"];
    for key in keys {
        let errors = read_text(&rule(&format!("{key} = []"))).unwrap_err();
        let expected = format!("`{key}` is an empty list");
        assert!(errors.iter().any(|error| error.message == expected), "{errors}");
    }
}

#[test]
fn only_addresses_are_negated() {
    let negates = "6:12 error: `!tcp` negates, which only `from` and `to` can";
    check_rules(&[
        ("protocol = '!tcp'", &[negates]),
        ("protocol = 'tcp'\nport = '!22'", &["7:8 error: `!22` negates"]),
        ("protocol = 'tcp'\nport = [80, '!ssh']", &["7:13 error: `!ssh` negates"]),
        ("protocol = 'tcp'\nfrom_port = '!1-2'", &["7:13 error: `!1-2` negates"]),
        ("protocol = 'icmp'\nicmp_type = '!echo-request'", &["7:13 error: `!echo-request` negates"]),
        ("interface = '!eth0'", &["6:13 error: `!eth0` negates"]),
    ]);
}

#[test]
fn ports_exist_for_five_protocols() {
    for protocol in ["tcp", "udp", "sctp", "dccp", "udplite"] {
        let ruleset = ruleset(&rule(&format!("protocol = '{protocol}'\nport = 22\nfrom_port = '1-9'")));
        assert_eq!(ruleset.rules[0].from_ports.as_deref(), Some([1..=9].as_slice()), "{protocol}");
    }
    for protocol in ["icmp", "icmpv6", "gre", "esp", "ah", "0", "255"] {
        let errors = read_text(&rule(&format!("protocol = ['tcp', '{protocol}']\nport = 22"))).unwrap_err();
        assert!(
            errors.iter().any(|e| e.message.starts_with("`port` needs `protocol` to be only of")),
            "{errors}"
        );
    }
}

#[test]
fn a_rule_keeps_its_line_and_each_thing_once() {
    let keys = "protocol = ['icmp', 'ICMP', 1]\nicmp_type = [8, 'echo-request', '8', '3/4']\ninterface = ['b', 'a', 'b']";
    let rule = ruleset(&rule(keys)).rules.remove(0);
    assert_eq!((rule.line, rule.protocols.as_deref()), (3, Some([1].as_slice())));
    let icmp = |kind, code| IcmpMatch { protocol: 1, kind, code };
    assert_eq!(rule.icmp_types, Some(vec![icmp(8, None), icmp(3, Some(4))]));
    assert_eq!(rule.interfaces, Some(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn protocols_and_ports_that_are_fine() {
    let keys = "protocol = ['tcp', 'udp', 132, '33', 'udplite', 6]\nport = [0, 65535, '7', '8-8', 0x50]";
    let rule = &ruleset(&rule(keys)).rules[0];
    assert_eq!(rule.protocols.as_deref(), Some([6, 17, 132, 33, 136].as_slice()));
    assert_eq!(rule.ports.as_deref(), Some([0..=0, 7..=8, 80..=80, 65535..=65535].as_slice()));
}

#[test]
fn icmp_types() {
    let both = "protocol = ['icmp', 'icmpv6']\n";
    check_rules(&[
        ("icmp_type = 'echo-request'", &["6:13 error: `icmp_type` needs `protocol` to name icmp or icmpv6"]),
        ("protocol = 'tcp'\nicmp_type = 8", &["7:13 error: `icmp_type` needs `protocol`"]),
        ("protocol = 'icmp'\nicmp_type = []", &["7:13 error: `icmp_type` is an empty list"]),
        (
            "protocol = 'icmp'\nicmp_type = 'packet-too-big'",
            &["7:13 error: `packet-too-big` is no type of icmp"],
        ),
        (
            "protocol = 'icmpv6'\nicmp_type = 'source-quench'",
            &["7:13 error: `source-quench` is no type of icmpv6"],
        ),
        ("protocol = 'icmp'\nicmp_type = 256", &["7:13 error: `icmp_type` is out of range"]),
        ("protocol = 'icmp'\nicmp_type = '3/256'", &["7:13 error: `3/256` is no type of icmp"]),
        ("protocol = 'icmp'\nicmp_type = '3/'", &["7:13 error: `3/` is no type of icmp"]),
        ("protocol = 'icmp'\nicmp_type = true", &["7:13 error: `icmp_type` takes a type's name"]),
        (&format!("{both}icmp_type = 8"), &["7:13 error: `8` means another type in icmp than in icmpv6"]),
        (&format!("{both}icmp_type = '3/4'"), &["7:13 error: `3/4` means another type"]),
        (
            &format!("{both}icmp_type = 'packet-too-big'"),
            &["7:13 error: `packet-too-big` is no type of icmp"],
        ),
        (
            &format!("{both}icmp_type = 'source-quench'"),
            &["7:13 error: `source-quench` is no type of icmpv6"],
        ),
        (
            "protocol = ['tcp', 'icmp']\nicmp_type = 8",
            &["7:13 warning: `tcp` has no ICMP type: this rule never matches it"],
        ),
    ]);
}

#[test]
fn tcp_flags() {
    let tcp = |flags: &str| format!("protocol = 'tcp'\ntcp_flags = {flags}");
    check_rules(&[
        ("tcp_flags = 'syn/syn'", &["6:13 error: `tcp_flags` needs `protocol` to be exactly tcp"]),
        ("protocol = ['tcp', 'udp']\ntcp_flags = 'syn/syn'", &["7:13 error: `tcp_flags` needs `protocol`"]),
        (&tcp("'syn'"), &["7:13 error: `syn` lacks the flags to look at"]),
        (&tcp("'syn/ack'"), &["7:13 error: `syn/ack` wants a flag that it does not look at"]),
        (&tcp("'sin/syn'"), &["7:13 error: `sin` is no TCP flag"]),
        (&tcp("'none/none'"), &["7:13 error: `none` is no TCP flag"]),
        (&tcp("'/syn'"), &["7:13 error: `` is no TCP flag"]),
        (&tcp("['syn/syn']"), &["7:13 error: `tcp_flags` takes a string, not a list"]),
    ]);
    let flags = |text: &str| ruleset(&rule(&tcp(text))).rules[0].tcp_flags.unwrap();
    assert_eq!((flags("'none/fin,cwr'").set, flags("'none/fin,cwr'").of), (0, 0x81));
    assert_eq!((flags("'rst,psh/rst,psh,urg,ece'").set, flags("'rst/rst,psh,urg,ece'").of), (0x0c, 0x6c));
}

#[test]
fn negation() {
    let members = |from: &str| {
        let sets = "[firewall.sets]\nin = ['192.0.2.0/24', '2001:db8::/32']\nnone = []\n";
        let ruleset = ruleset(&format!("{}{sets}", rule(&format!("from = {from}"))));
        AddressSet::clone(ruleset.rules[0].from.as_ref().unwrap())
    };
    let contains = |from: &str, address: &str| members(from).contains(address.parse().unwrap());
    // With negatives alone the other family matches.
    assert!(contains("'!192.0.2.0/24'", "198.51.100.1"));
    assert!(contains("'!192.0.2.0/24'", "2001:db8::1"));
    assert!(!contains("'!192.0.2.0/24'", "192.0.2.1"));
    // `!@set` negates the union of the set.
    assert!(!contains("['!@in']", "192.0.2.1") && !contains("['!@in']", "2001:db8::1"));
    assert!(contains("['!@in']", "2001:db9::1"));
    assert_eq!(members("'!@none'"), AddressSet::all());
    // A positive entry and no negative one, in whatever order.
    let mixed = "['!192.0.2.64/26', '@in', '!2001:db8:1::/48']";
    assert!(contains(mixed, "192.0.2.1") && contains(mixed, "2001:db8::1"));
    assert!(!contains(mixed, "192.0.2.65") && !contains(mixed, "2001:db8:1::1"));
    assert!(!contains(mixed, "198.51.100.1"));
    // Every IPv6 address is none of IPv4, and the other way round.
    assert_eq!(members("'::/0'"), AddressSet::ipv6());
    assert_eq!(members("'0.0.0.0/0'"), AddressSet::ipv4());
    assert_eq!(members("'!::/0'"), AddressSet::ipv4());
    assert!(
        !contains("['::/1', '192.0.2.1']", "192.0.2.2") && contains("['::/1', '192.0.2.1']", "192.0.2.1")
    );
}

#[test]
fn equal_lists_are_one_set_in_memory() {
    let rules = |froms: &[&str]| {
        let rule = |(index, from)| {
            format!("[[firewall.rules]]\nname = 'r{index}'\naction = 'drop'\nfrom = {from}\nto = '@in'\n")
        };
        let sets = "[firewall.sets]\nin = ['192.0.2.0/24']\nout = ['@in']\n";
        let rules: String = froms.iter().enumerate().map(rule).collect();
        ruleset(&format!("[firewall]\ndefault = 'allow'\n{sets}{rules}")).rules
    };
    let rules = rules(&[
        "'@in'",
        "['@in']",
        "['@in', '10.0.0.1']",
        "['@in', '10.0.0.1']",
        "'192.0.2.0/24'",
        "'!@in'",
    ]);
    let from = |index: usize| rules[index].from.as_ref().unwrap();
    assert!(Arc::ptr_eq(from(0), from(1)) && Arc::ptr_eq(from(0), rules[0].to.as_ref().unwrap()));
    assert!(Arc::ptr_eq(from(2), from(3)) && !Arc::ptr_eq(from(0), from(2)));
    assert_eq!(from(0), from(4));
    assert!(
        !from(5).contains("192.0.2.1".parse().unwrap()) && from(5).contains("192.0.3.1".parse().unwrap())
    );
}

#[test]
fn every_verdict_is_an_action_and_a_default() {
    for (word, verdict) in [("allow", Verdict::Allow), ("drop", Verdict::Drop), ("reject", Verdict::Reject)] {
        let text = format!(
            "[firewall]\ndefault = '{word}'\n[[firewall.rules]]\nname = 'r'\nprotocol = 6\naction = '{word}'\n"
        );
        let ruleset = ruleset(&text);
        assert_eq!((ruleset.default, ruleset.rules[0].action), (verdict, verdict));
    }
}

#[test]
fn essentials_by_name() {
    let essentials =
        |value: &str| ruleset(&format!("[firewall]\ndefault = 'allow'\nessentials = {value}\n")).essentials;
    assert_eq!(essentials("true"), Essentials::ALL);
    assert_eq!(essentials("false"), Essentials::NONE);
    assert_eq!(essentials("['nd', 'mld', 'icmp-errors', 'dhcp']"), Essentials::ALL);
    assert_eq!(essentials("'mld'"), Essentials { multicast_listener: true, ..Essentials::NONE });
}
