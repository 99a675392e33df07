//! `[[firewall.rules]]`: each table becomes a [`Rule`] in which every set is resolved.

use foobar_ebpf::verdict::Verdict;

use super::addresses::{Members, read_prefix};
use super::icmp;
use super::names::{Names, read_interface};
use super::protocols::{read_ports, read_protocols, read_tcp_flags};
use super::reader::{Table, Value};
use super::sets::Sets;
use super::source::Span;
use crate::firewall::address::{AddressSet, Prefix};
use crate::firewall::ruleset::Rule;

/// A rule and where its table begins.
pub(super) type PlacedRule = (Rule, Span);

/// The rules in file order.
pub(super) fn read<'a>(firewall: &mut Table<'a>, sets: &Sets<'a>) -> Vec<PlacedRule> {
    let mut names = Names::new("rule");
    let tables = firewall.tables("rules", "[[firewall.rules]]");
    tables.into_iter().filter_map(|table| rule(table, &mut names, sets)).collect()
}

fn rule<'a>(mut table: Table<'a>, names: &mut Names, sets: &Sets<'a>) -> Option<PlacedRule> {
    let span = table.span().clone();
    let line = table.report().source().line_of(span.start);
    let name = table.required("name", "name = \"ssh\"").and_then(|value| names.take(value));
    let action = table.required("action", "action = \"allow\"").and_then(read_verdict);
    let from = table.optional("from").map(|value| addresses(value, sets));
    let to = table.optional("to").map(|value| addresses(value, sets));
    let protocols = read_protocols(table.optional("protocol"));
    let of = protocols.as_deref();
    let ports = read_ports("port", table.optional("port"), of);
    let from_ports = read_ports("from_port", table.optional("from_port"), of);
    let icmp_types = icmp::read(table.optional("icmp_type"), of);
    let tcp_flags = read_tcp_flags(table.optional("tcp_flags"), of);
    let interfaces = table.optional("interface").map(|value| {
        let values = value.one_or_list();
        values.into_iter().filter_map(read_interface).collect()
    });
    table.refuse("rate", "remove it: the rule then has no limit");
    table.refuse("rate_per", "remove it: the rule then has no limit");
    table.refuse(
        "log",
        "remove it: the metric foobar_firewall_rule_packets_total counts what the rule matches",
    );
    table.finish();
    let (name, action) = (name?, action?);
    let rule = Rule {
        name,
        line,
        action,
        from,
        to,
        protocols,
        ports,
        from_ports,
        icmp_types,
        tcp_flags,
        interfaces,
    };
    Some((rule, span))
}

/// `action` and `default`.
pub(super) fn read_verdict(value: Value<'_>) -> Option<Verdict> {
    if value.as_str() == Some(Verdict::Reject.as_str()) {
        value.error("`reject` comes in a later version, this one sends no answers", "use \"drop\"");
        return None;
    }
    value.word(&[("allow", Verdict::Allow), ("drop", Verdict::Drop)])
}

/// The addresses that a list lets through: in a positive entry, or there is none, and in no negative one.
fn addresses<'a>(value: Value<'a>, sets: &Sets<'a>) -> AddressSet {
    let (mut positive, mut negative) = (Union::default(), Union::default());
    let mut any_positive = false;
    for entry in value.one_or_list() {
        let Some(text) = entry.string() else { continue };
        let negated = text.strip_prefix('!');
        any_positive |= negated.is_none();
        let union = if negated.is_some() { &mut negative } else { &mut positive };
        let text = negated.unwrap_or(text);
        match text.strip_prefix('@') {
            Some(name) => union.add_set(sets.members(name, entry)),
            None => union.add_prefix(read_prefix(entry, text)),
        }
    }
    let included = if any_positive { positive.into_set() } else { AddressSet::all() };
    included.difference(&negative.into_set())
}

/// Prefixes and sets on their way to one set.
#[derive(Default)]
struct Union {
    prefixes: Members,
    sets: AddressSet,
}

impl Union {
    fn add_set(&mut self, set: Option<&AddressSet>) {
        if let Some(set) = set {
            self.sets = self.sets.union(set);
        }
    }

    fn add_prefix(&mut self, prefix: Option<Prefix>) {
        if let Some(prefix) = prefix {
            self.prefixes.push(prefix);
        }
    }

    fn into_set(self) -> AddressSet {
        self.sets.union(&self.prefixes.into_set())
    }
}
