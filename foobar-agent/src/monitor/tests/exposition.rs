//! The exposition as text: golden output, closed sets, and that every family moves.

use std::collections::BTreeSet;

use foobar_ebpf::verdict::Reason;
use prometheus::Registry;
use prometheus::proto::MetricType;

use crate::monitor::collector::{Exposition, can_refuse};
use crate::monitor::fixture::scenario;
use crate::monitor::metrics::FAMILIES;
use crate::monitor::snapshot::{InterfaceSnapshot, RuleSnapshot, Snapshot};

fn render(snapshot: Snapshot) -> String {
    Exposition::new(Registry::new()).unwrap().render(snapshot).unwrap()
}

/// The samples of one family: name, labels and value.
fn samples_of<'a>(text: &'a str, family: &str) -> Vec<&'a str> {
    let of_family = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap();
        let suffix = name.strip_prefix(family);
        suffix.is_some_and(|suffix| matches!(suffix, "" | "_bucket" | "_sum" | "_count"))
    };
    text.lines().filter(of_family).collect()
}

fn value(text: &str, sample: &str) -> f64 {
    let prefix = format!("{sample} ");
    let line = text.lines().find(|line| line.starts_with(&prefix));
    line.unwrap_or_else(|| panic!("no {sample} in\n{text}"))[prefix.len()..].parse().unwrap()
}

#[test]
fn the_whole_scenario_renders_as_agreed() {
    let golden = include_str!("metrics.txt").replace("@ARCHITECTURE@", std::env::consts::ARCH);
    let text = render(scenario());
    assert!(text == golden, "where the change is meant, metrics.txt becomes:\n{text}");
}

#[test]
fn the_scenario_moves_every_family() {
    let (idle, busy) = (render(Snapshot::default()), render(scenario()));
    for family in FAMILIES {
        let before = samples_of(&idle, family.name);
        let moved = |line: &&str| {
            // A sample that is new and zero tells nothing: it was only initialised.
            !before.contains(line) && (!before.is_empty() || !line.ends_with(" 0"))
        };
        assert!(samples_of(&busy, family.name).iter().any(moved), "nothing moves {}", family.name);
    }
}

#[test]
fn each_family_is_declared_and_stands_together_below_its_help_and_type() {
    let text = render(scenario());
    assert!(text.ends_with('\n'));
    let mut seen = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(help) = lines.next() {
        let name =
            help.strip_prefix("# HELP ").expect("a family starts with HELP").split(' ').next().unwrap();
        let family = FAMILIES.iter().find(|family| family.name == name).expect("declared");
        assert!(seen.insert(name), "{name} comes twice");
        let kind = format!("{:?}", family.kind).to_lowercase();
        assert_eq!(lines.next(), Some(format!("# TYPE {name} {kind}").as_str()));
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            assert_eq!(samples_of(line, name), [line], "{line} stands below {name}");
        }
    }
    assert_eq!(seen.len(), FAMILIES.len());
}

#[test]
fn names_follow_the_conventions() {
    for family in FAMILIES {
        let name = family.name;
        assert!(name.starts_with("foobar_"), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == MetricType::COUNTER, "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert!(
            !family.help.ends_with('.') && family.help.starts_with(char::is_uppercase),
            "{}",
            family.help
        );
    }
}

#[test]
fn label_values_are_escaped() {
    let name = "a\\b\"c\nd";
    let rule = RuleSnapshot { name: name.to_owned(), packets: 3, ..RuleSnapshot::default() };
    let text = render(Snapshot { rules: vec![rule], ..Snapshot::default() });
    assert!(value(&text, r#"foobar_firewall_rule_packets_total{rule="a\\b\"c\nd"}"#) > 2.9, "{text}");
    assert!(!text.lines().any(|line| line.starts_with('d')), "{text}");
}

#[test]
fn closed_sets_start_at_zero() {
    let interface = InterfaceSnapshot { name: "eth0".to_owned(), ..InterfaceSnapshot::default() };
    let text = render(Snapshot { interfaces: vec![interface], ..Snapshot::default() });
    let zero = |sample: &str| assert!(value(&text, sample).abs() < f64::EPSILON, "{sample}");
    for verdict in ["allow", "drop", "reject"] {
        zero(&format!(r#"foobar_xdp_packets_total{{interface="eth0",verdict="{verdict}"}}"#));
        zero(&format!(r#"foobar_xdp_bytes_total{{interface="eth0",verdict="{verdict}"}}"#));
    }
    for mode in ["native", "generic"] {
        zero(&format!(r#"foobar_xdp_attached{{interface="eth0",mode="{mode}"}}"#));
    }
    for reason in Reason::ALL.iter().copied().filter(|reason| can_refuse(*reason)) {
        zero(&format!(r#"foobar_firewall_drops_total{{reason="{}"}}"#, reason.as_str()));
    }
}

#[test]
fn drops_by_reason_add_up_to_what_did_not_pass() {
    let text = render(scenario());
    let sum = |prefix: &str, with: &[&str]| -> f64 {
        samples_of(&text, prefix)
            .iter()
            .filter(|line| with.iter().any(|with| line.contains(with)))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    };
    let refused = sum("foobar_xdp_packets_total", &["verdict=\"drop\"", "verdict=\"reject\""]);
    let by_reason = sum("foobar_firewall_drops_total", &["reason="]);
    assert!((refused - 1_017.0).abs() < f64::EPSILON);
    assert!((refused - by_reason).abs() < f64::EPSILON);
}

#[test]
fn nothing_is_mirrored_between_scrapes() {
    let exposition = Exposition::new(Registry::new()).unwrap();
    exposition.render(scenario()).unwrap();
    let text = exposition.render(Snapshot::default()).unwrap();
    assert!(samples_of(&text, "foobar_xdp_packets_total").is_empty());
}

#[test]
fn two_agents_cannot_share_a_registry() {
    let registry = Registry::new();
    let _first = Exposition::new(registry.clone()).unwrap();
    assert!(Exposition::new(registry).is_err());
}
