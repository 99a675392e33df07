//! Rulesets written in two ways, and what of them is a change.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config;
use crate::explain::packet::Packet;
use crate::firewall::address::Prefix;
use crate::firewall::compile::compile;
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::ruleset::{IcmpMatch, Rule, TcpFlags};
use crate::firewall::walk::Walk;

fn ruleset(rules: &str) -> Ruleset {
    ruleset_with("default = \"drop\"\n", rules)
}

fn ruleset_with(head: &str, rules: &str) -> Ruleset {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web1.toml");
    std::fs::write(&path, format!("[firewall]\ninterfaces = [\"eth0\"]\n{head}{rules}")).unwrap();
    load(&path)
}

fn load(path: &Path) -> Ruleset {
    config::load(path).unwrap_or_else(|errors| panic!("{errors}")).config.firewall.ruleset.unwrap()
}

fn rule(name: &str, rest: &str) -> String {
    format!("[[firewall.rules]]\nname = \"{name}\"\n{rest}\n")
}

const SSH: &str = "action = \"allow\"\nfrom = \"10.0.0.0/8\"\nprotocol = \"tcp\"\nport = 22";
const WEB: &str = "action = \"allow\"\nprotocol = \"tcp\"\nport = [80, 443]";

fn plan(old: &Ruleset, new: &Ruleset) -> Plan {
    Plan::of(Some(old), Some(new))
}

#[test]
fn two_texts_with_the_same_meaning_differ_in_nothing() {
    let old = ruleset(&(rule("ssh", SSH) + &rule("web", WEB)));
    let ssh = "action = \"allow\"\nfrom = [\"10.128.0.0/9\", \"10.0.0.0/9\", \"10.1.0.0/16\"]\nprotocol = 6\nport = \
               \"22-22\"";
    let web = "action = \"allow\"\nprotocol = [\"tcp\"]\nport = [443, \"80-80\"]";
    let new = ruleset(&(rule("ssh", ssh) + &rule("web", web)));
    let plan = plan(&old, &new);
    assert!(plan.is_empty(), "{plan:?}");
}

#[test]
fn rules_are_told_apart_by_name_and_meaning() {
    let old = ruleset(&(rule("ssh", SSH) + &rule("web", WEB) + &rule("telnet", "action = \"drop\"")));
    let wider = SSH.replace("10.0.0.0/8", "10.0.0.0/7");
    let new = ruleset(&(rule("ssh", &wider) + &rule("www", WEB) + &rule("all", "action = \"reject\"")));
    let changes = plan(&old, &new).rules;
    assert_eq!((changes.added, changes.removed), (vec![2], vec![2]));
    assert_eq!(changes.renamed, [Renamed { old: 1, new: 1 }]);
    assert_eq!(changes.reordered, None);
    let [changed] = changes.changed.as_slice() else { panic!("{:?}", changes.changed) };
    assert_eq!((changed.old, changed.new), (0, 0));
    let example = changed.example.as_ref().unwrap();
    assert!(example.source.to_string().starts_with("11."), "{example:?}");
    assert_eq!(example.verdicts, [Verdict::Drop, Verdict::Allow]);
}

#[test]
fn an_order_that_says_nothing_changes_no_verdict_and_one_that_does_is_shown() {
    let deny = "action = \"drop\"\nfrom = \"10.1.0.0/16\"";
    let (ssh, web, deny) = (rule("ssh", SSH), rule("web", WEB), rule("deny", deny));
    let old = ruleset(&format!("{ssh}{web}{deny}"));
    let harmless = plan(&old, &ruleset(&format!("{web}{ssh}{deny}")));
    assert_eq!(harmless.rules.reordered, Some(0));
    assert!(matches!(harmless.verdicts, Verdicts::Same), "{harmless:?}");
    let harmful = plan(&old, &ruleset(&format!("{ssh}{deny}{web}")));
    assert_eq!(harmful.rules.reordered, Some(1));
    let Verdicts::Differ(example) = harmful.verdicts else { panic!("{harmful:?}") };
    assert_eq!(example.verdicts, [Verdict::Allow, Verdict::Drop]);
}

#[test]
fn the_default_and_essentials_are_compared() {
    let old = ruleset_with("default = \"drop\"\n", "");
    let new = ruleset_with("default = \"reject\"\nessentials = [\"nd\", \"dhcp\"]\n", "");
    let plan = plan(&old, &new);
    assert_eq!(plan.default, Some([Some(Verdict::Drop), Some(Verdict::Reject)]));
    assert_eq!((plan.essentials_off, plan.essentials_on), (vec!["mld", "icmp-errors"], vec![]));
    assert!(matches!(plan.verdicts, Verdicts::Differ(_)));
    assert!(matches!(Plan::of(None, Some(&new)).verdicts, Verdicts::Begin));
    assert!(matches!(Plan::of(Some(&old), None).verdicts, Verdicts::End));
    assert!(Plan::of(None, None).is_empty());
}

/// The packet of a plan between two rulesets, after both have judged it as the comparison said.
fn checked(old: &str, new: &str) -> Packet {
    let essentials = "default = \"drop\"\nessentials = false\n";
    let (old, new) = (ruleset_with(essentials, old), ruleset_with(essentials, new));
    let Verdicts::Differ(example) = plan(&old, &new).verdicts else { panic!("no difference") };
    judged_as_said(&old, &new, &example);
    packet_of(&example)
}

/// The walk of either side comes to the verdict that the comparison said.
fn judged_as_said(old: &Ruleset, new: &Ruleset, example: &Example) {
    let packet = packet_of(example);
    let mut numbers = InterfaceNumbers::default();
    for (ruleset, expected) in [old, new].into_iter().zip(example.verdicts) {
        let generation = compile(Some(ruleset), &[], &mut numbers).unwrap();
        let interface = example.interface.as_deref().and_then(|name| numbers.get(name)).unwrap_or_default();
        let judgement = Walk::new(&generation).judge(&packet.frame().bytes, interface);
        assert_eq!(judgement.verdict, expected, "{example:?}");
    }
}

#[test]
fn examples_are_packets_that_both_sides_judge_as_is_said() {
    let packet = checked(&rule("ssh", SSH), &rule("web", WEB));
    assert!([22, 80, 443].contains(&packet.destination_port), "{packet:?}");
    let six = "action = \"allow\"\nfrom = \"2001:db8::/32\"\nprotocol = \"udp\"\nfrom_port = 53";
    assert_eq!(checked("", &rule("dns", six)).source_port, 53);
    let ping = "action = \"allow\"\nprotocol = \"icmpv6\"\nicmp_type = \"3/1\"";
    assert_eq!(checked("", &rule("ping", ping)).icmp, (3, 1));
    let flags = "action = \"allow\"\nprotocol = \"tcp\"\ntcp_flags = \"rst/rst\"";
    assert_eq!(checked("", &rule("flags", flags)).tcp_flags & 0x04, 0x04);
    let interface = "action = \"allow\"\ninterface = \"eth0\"\nprotocol = \"gre\"";
    assert_eq!(checked("", &rule("gre", interface)).protocol, 47);
    // Only later fragments have no port.
    let every_port = "action = \"allow\"\nprotocol = \"udp\"\nport = \"0-65535\"";
    let any_port = "action = \"allow\"\nprotocol = \"udp\"";
    for source in ["", "from = \"10.0.0.0/8\"\n", "from = \"2001:db8::/32\"\n"] {
        let (every, any) = (format!("{source}{every_port}"), format!("{source}{any_port}"));
        assert!(checked(&rule("udp", &every), &rule("udp", &any)).is_later_fragment);
    }
}

#[test]
fn what_an_essential_passes_before_the_rules_changes_no_verdict() {
    let dhcp = "action = \"allow\"\nfrom = \"10.0.0.0/8\"\nprotocol = \"udp\"\nfrom_port = 67\nport = 68";
    let with = rule("dhcp", dhcp);
    let only = plan(&ruleset(""), &ruleset(&with));
    assert_eq!(only.rules.added, [0]);
    assert!(matches!(only.verdicts, Verdicts::Same), "{only:?}");
    // Of another port the essential knows nothing.
    let wider = rule("dhcp", &dhcp.replace("port = 68", "port = [68, 69]"));
    let Verdicts::Differ(example) = plan(&ruleset(""), &ruleset(&wider)).verdicts else { panic!("same") };
    assert_eq!((example.from_port, example.port), (67, 69));
    // Where the other side has no such essential, its rules count.
    let off = "default = \"drop\"\nessentials = [\"nd\"]\n";
    let gone = plan(&ruleset(&with), &ruleset_with(off, ""));
    let Verdicts::Differ(example) = gone.verdicts else { panic!("same") };
    assert_eq!((example.port, example.verdicts), (68, [Verdict::Allow, Verdict::Drop]));
    let taken_over = plan(&ruleset(""), &ruleset_with(off, &with));
    assert!(matches!(taken_over.verdicts, Verdicts::Same), "{taken_over:?}");
}

#[test]
fn an_example_of_icmp_is_none_that_an_essential_passes() {
    for types in
        ["\"icmp\"\nicmp_type = 11", "\"icmpv6\"\nicmp_type = 3", "\"icmpv6\"\nicmp_type = [135, 143]"]
    {
        let new = ruleset(&rule("icmp", &format!("action = \"allow\"\nprotocol = {types}")));
        let Verdicts::Differ(example) = plan(&ruleset(""), &new).verdicts else { panic!("same") };
        judged_as_said(&ruleset(""), &new, &example);
    }
}

#[test]
fn a_rule_for_a_header_that_is_passed_over_matches_its_later_fragments_only() {
    for (protocol, from) in [(51, ""), (51, "from = \"2001:db8::/32\""), (60, "from = \"2001:db8::/32\"")] {
        let text = format!("action = \"allow\"\nprotocol = {protocol}\n{from}");
        let packet = checked("", &rule("header", &text));
        assert_eq!((packet.protocol, packet.is_later_fragment), (protocol, true));
    }
    let opaque = checked("", &rule("header", "action = \"allow\"\nprotocol = 60\nfrom = \"10.0.0.0/8\""));
    assert!(!opaque.is_later_fragment);
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let mapped = Prefix::from_mapped(0xfffe_ffff_ffff, 128);
    let prefixes = ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::/32", "::/0"].map(|text| {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    });
    let prefixes: Vec<Prefix> = prefixes.into_iter().chain([mapped]).collect();
    let set = prop::option::of(
        prop::sample::select(prefixes).prop_map(|one| Arc::new([one].into_iter().collect())),
    );
    let port =
        || prop::option::of(prop::sample::select(vec![67..=67, 68..=68, 546..=547, 0..=65_535, 22..=80]));
    let about = prop_oneof![
        prop::option::of(prop::sample::select(vec![0, 1, 6, 17, 43, 44, 47, 51, 58, 60, 132, 135, 140]))
            .prop_map(|protocol| (protocol, None, None, None, None)),
        (prop::sample::select(vec![6, 17, 136]), port(), port()).prop_map(|(protocol, port, from_port)| (
            Some(protocol),
            port,
            from_port,
            None,
            None
        )),
        (0..=255u8).prop_map(|set| (Some(6), None, None, Some(TcpFlags { set: set & 0x12, of: 0x12 }), None)),
        (prop::bool::ANY, prop::sample::select(vec![1, 3, 8, 11, 130, 135]), prop::option::of(0..2u8))
            .prop_map(|(is_ipv4, kind, code)| {
                let protocol = if is_ipv4 { 1 } else { 58 };
                (Some(protocol), None, None, None, Some(vec![IcmpMatch { protocol, kind, code }]))
            }),
    ];
    let action = prop::sample::select(Verdict::ALL.to_vec());
    let interface = prop::option::of(prop::sample::select(vec!["eth0", "eth1"]));
    (action, set.clone(), set, about, interface).prop_map(|(action, from, to, about, interface)| {
        let (protocol, port, from_port, tcp_flags, icmp_types) = about;
        Rule {
            name: String::new(),
            line: 1,
            action,
            from,
            to,
            protocols: protocol.map(|protocol| vec![protocol]),
            ports: port.map(|port| vec![port]),
            from_ports: from_port.map(|port| vec![port]),
            icmp_types,
            tcp_flags,
            rate: None,
            log: None,
            interfaces: interface.map(|name| vec![name.to_owned()]),
        }
    })
}

fn any_ruleset() -> impl Strategy<Value = Ruleset> {
    let essentials = prop::array::uniform4(prop::bool::ANY);
    let default = prop::sample::select(vec![Verdict::Drop, Verdict::Allow]);
    (default, essentials, prop::collection::vec(any_rule(), 0..4)).prop_map(|(default, on, mut rules)| {
        for (slot, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{slot}");
        }
        let [neighbour_discovery, multicast_listener, icmp_errors, dhcp] = on;
        let essentials = Essentials { neighbour_discovery, multicast_listener, icmp_errors, dhcp };
        Ruleset { default, essentials, rules }
    })
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let addresses = ["10.1.2.3", "10.9.9.9", "192.0.2.1", "2001:db8::1", "2001:db9::1", "::fffe:ffff:ffff"];
    let address = || prop::sample::select(addresses.map(|text| text.parse::<IpAddr>().unwrap()).to_vec());
    let port = || prop::sample::select(vec![22, 67, 68, 546, 547, 4000]);
    let icmp = (prop::sample::select(vec![1, 3, 8, 11, 130, 135]), 0..2u8);
    let protocol = prop::sample::select(vec![0, 1, 6, 17, 44, 47, 51, 58, 60, 132, 136]);
    let fields = (address(), address(), protocol, port(), port(), icmp, 0..=255u8, prop::bool::ANY);
    fields.prop_map(
        |(source, destination, protocol, source_port, destination_port, icmp, tcp_flags, later)| {
            let is_one_family = source.is_ipv4() == destination.is_ipv4();
            Packet {
                protocol,
                source,
                destination: if is_one_family { destination } else { source },
                source_port,
                destination_port,
                tcp_flags,
                icmp,
                hop_limit: 64,
                is_later_fragment: later,
                quotes_receiver: false,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_example_is_judged_as_is_said(old in any_ruleset(), new in any_ruleset()) {
        if let Verdicts::Differ(example) = plan(&old, &new).verdicts {
            judged_as_said(&old, &new, &example);
        }
    }

    #[test]
    fn where_no_verdict_changes_every_packet_is_judged_alike(
        old in any_ruleset(),
        new in any_rule(),
        at in any::<prop::sample::Index>(),
        packets in prop::collection::vec(any_packet(), 50),
    ) {
        let mut with = old.clone();
        with.rules.insert(at.index(old.rules.len() + 1), Rule { name: "new".to_owned(), ..new });
        if matches!(plan(&old, &with).verdicts, Verdicts::Same) {
            let mut numbers = InterfaceNumbers::default();
            let walks = [&old, &with].map(|side| Walk::new(&compile(Some(side), &[], &mut numbers).unwrap()));
            for (packet, interface) in packets.iter().zip((0..3).cycle()) {
                let frame = packet.frame();
                let verdicts = walks.each_ref().map(|walk| walk.judge(&frame.bytes, interface).verdict);
                assert_eq!(verdicts[0], verdicts[1], "{packet:?}");
            }
        }
    }
}
