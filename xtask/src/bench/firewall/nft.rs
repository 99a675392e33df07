//! The rules of a corpus as an nftables ruleset, in three ways: one rule after the other, as they stand
//! in the file; and grouped into verdict maps, at the input hook and at the interface.

use std::fmt::Write as _;

use foobar_tests::corpus::{Action, Corpus, From, Rule};

/// How the rules are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A rule for each, at the input hook.
    Linear,
    /// Verdict maps at the input hook.
    Maps,
    /// Verdict maps at the interface's ingress hook, before the stack has looked at the packet.
    Ingress,
}

impl Form {
    /// As the tables call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Linear => "rules, input",
            Self::Maps => "verdict maps, input",
            Self::Ingress => "verdict maps, ingress",
        }
    }
}

/// The whole ruleset. Everything dropped is counted by one rule, in a chain of its own.
pub(super) fn ruleset(corpus: &Corpus, form: Form, interface: &str) -> String {
    let (family, hook) = match form {
        Form::Linear | Form::Maps => ("inet", "type filter hook input priority 0".to_owned()),
        Form::Ingress => ("netdev", format!("type filter hook ingress device \"{interface}\" priority 0")),
    };
    let body = match form {
        Form::Linear => {
            Parts { chain: corpus.rules.iter().filter_map(linear).collect(), maps: String::new() }
        }
        Form::Maps | Form::Ingress => mapped(corpus),
    };
    format!(
        "table {family} bench {{\n{maps}chain dropped {{\ncounter drop\n}}\n\
         chain judge {{\n{hook}; policy accept;\n{chain}goto dropped\n}}\n}}\n",
        maps = body.maps,
        chain = body.chain,
    )
}

struct Parts {
    maps: String,
    chain: String,
}

fn verdict(action: Action) -> &'static str {
    match action {
        Action::Allow => "accept",
        Action::Drop => "goto dropped",
    }
}

fn protocol(number: u8) -> &'static str {
    if number == 17 { "udp" } else { "tcp" }
}

/// One rule with a counter, as ours have. Corpora that are sent over a wire have only such rules.
fn linear(rule: &Rule) -> Option<String> {
    let mut text = String::new();
    match rule.from {
        From::Any => {}
        From::Network(network) => {
            let family = if network.is_ipv6() { "ip6" } else { "ip" };
            let _ = write!(text, "{family} saddr {network} ");
        }
        From::Set => return None,
    }
    if let (Some(number), Some((first, last))) = (rule.protocol, rule.ports) {
        let _ = write!(text, "{} dport {first}-{last} ", protocol(number));
    }
    let _ = writeln!(text, "counter {}", verdict(rule.action));
    Some(text)
}

/// Rules of a kind become elements of one map: hosts, networks with a port, ports. What one map does
/// not decide, the next one looks up; the order among the kinds is lost, as it would be by hand.
fn mapped(corpus: &Corpus) -> Parts {
    let (mut hosts, mut pairs, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for rule in &corpus.rules {
        let verdict = verdict(rule.action);
        let port = rule.protocol.zip(rule.ports);
        match (rule.from, port) {
            (From::Network(network), None) => hosts.push(format!("{network} : {verdict}")),
            (From::Network(network), Some((number, (port, _)))) => {
                pairs.push(format!("{network} . {} . {port} : {verdict}", protocol(number)));
            }
            (From::Any, Some((number, (port, _)))) => {
                ports.push(format!("{} . {port} : {verdict}", protocol(number)));
            }
            _ => {}
        }
    }
    // Networks of one length with one port overlap only where they are the same.
    pairs.sort();
    pairs.dedup_by(|one, other| one.split(" : ").next() == other.split(" : ").next());
    let mut parts = Parts { maps: String::new(), chain: String::new() };
    let kinds = [
        ("hosts", "ipv4_addr", "ip saddr", hosts, false),
        ("pairs", "ipv4_addr . inet_proto . inet_service", "ip saddr . meta l4proto . th dport", pairs, true),
        ("ports", "inet_proto . inet_service", "meta l4proto . th dport", ports, false),
    ];
    for (name, key, lookup, elements, interval) in kinds {
        if elements.is_empty() {
            continue;
        }
        let flags = if interval { "flags interval; " } else { "" };
        let elements = elements.join(",\n").replace("/32", "");
        let _ =
            writeln!(parts.maps, "map {name} {{ type {key} : verdict; {flags}elements = {{ {elements} }} }}");
        let _ = writeln!(parts.chain, "{lookup} vmap @{name}");
    }
    parts
}
