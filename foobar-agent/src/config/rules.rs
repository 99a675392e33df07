//! `[[firewall.rules]]`: each table becomes a [`Rule`] in which every set is resolved.

use foobar_ebpf::verdict::Verdict;

use super::lists::Lists;
use super::names::{Names, read_interface};
use super::reader::{Table, Value};
use super::sets::Sets;
use super::source::Span;
use super::{icmp, ports, protocols, rate, tcp_flags};
use crate::firewall::ruleset::Rule;

/// The rules in file order, and where the table of each begins.
pub(super) fn read<'a>(firewall: &mut Table<'a>, sets: &Sets<'a>) -> (Vec<Rule>, Vec<Span>) {
    let mut names = Names::new("rule");
    let mut lists = Lists::new(sets);
    let tables = firewall.tables("rules", "[[firewall.rules]]");
    tables.into_iter().filter_map(|table| rule(table, &mut names, &mut lists)).collect()
}

fn rule<'a>(mut table: Table<'a>, names: &mut Names, lists: &mut Lists<'a, '_>) -> Option<(Rule, Span)> {
    let span = table.span().clone();
    let line = table.report().source().line_of(span.start);
    let name = table.required("name", "name = \"ssh\"").and_then(|value| names.take(value));
    let action = table.required("action", "action = \"allow\"").and_then(read_verdict);
    let from = table.optional("from").map(|value| lists.read(value));
    let to = table.optional("to").map(|value| lists.read(value));
    let protocols = protocols::read(table.optional("protocol"));
    let of = protocols.as_deref();
    let ports = ports::read("port", table.optional("port"), of);
    let from_ports = ports::read("from_port", table.optional("from_port"), of);
    let icmp_types = icmp::read(table.optional("icmp_type"), of);
    let tcp_flags = tcp_flags::read(table.optional("tcp_flags"), of);
    let interfaces = table.optional("interface").map(|value| {
        let mut names: Vec<String> = value.one_or_list().into_iter().filter_map(read_interface).collect();
        names.sort_unstable();
        names.dedup();
        names
    });
    let rate = rate::read(&mut table, of);
    let log = rate::read_log(table.optional("log"));
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
        rate,
        log,
    };
    Some((rule, span))
}

/// `action` and `default`.
pub(super) fn read_verdict(value: Value<'_>) -> Option<Verdict> {
    value.word(&[("allow", Verdict::Allow), ("drop", Verdict::Drop), ("reject", Verdict::Reject)])
}
