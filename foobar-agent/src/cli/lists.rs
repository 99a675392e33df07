//! `foobar-agent rules` and `backends`: one table each.

use super::print::Style;
use crate::balancer::BackendSnapshot;
use crate::monitor::snapshot::RuleSnapshot;

/// The rules in order of judgement, the policy last, with their rates where any has one.
pub(super) fn rules(rules: &[RuleSnapshot], style: Style) -> String {
    if rules.iter().all(|rule| rule.rate.is_none()) {
        return hits(rules, style);
    }
    let header = ["RULE", "ACTION", ">PACKETS", ">BYTES", "RATE", ">OVER IT"];
    let rows = rules.iter().map(|rule| {
        let (rate, over) = rule
            .rate
            .as_ref()
            .map(|rate| (rate.rate.clone(), style.count(rate.over_packets)))
            .unwrap_or_default();
        row(rule, style).into_iter().chain([rate, over]).collect()
    });
    style.table(&header, rows)
}

/// Rules with the packets that they decided.
pub(super) fn hits<'a>(rules: impl IntoIterator<Item = &'a RuleSnapshot>, style: Style) -> String {
    let rows: Vec<_> = rules.into_iter().map(|rule| row(rule, style)).collect();
    if rows.is_empty() {
        return "no rules: packets are counted and passed\n".to_owned();
    }
    style.table(&["RULE", "ACTION", ">PACKETS", ">BYTES"], rows)
}

fn row(rule: &RuleSnapshot, style: Style) -> Vec<String> {
    vec![rule.name.clone(), rule.action.clone(), style.count(rule.packets), style.count(rule.bytes)]
}

/// The backends, pool by pool.
pub(super) fn backends(backends: &[BackendSnapshot], style: Style) -> String {
    if backends.is_empty() {
        return "no backends: this host balances nothing\n".to_owned();
    }
    let rows = backends.iter().map(|backend| {
        let failures =
            [backend.connect_failures, backend.exchange_failures, backend.timeouts].into_iter().sum();
        vec![
            backend.pool.clone(),
            backend.backend.clone(),
            backend.address.clone(),
            if backend.up { "up" } else { "DOWN" }.to_owned(),
            if backend.backup { "backup" } else { "active" }.to_owned(),
            style.count(backend.requests),
            style.count(failures),
        ]
    });
    style.table(&["POOL", "BACKEND", "ADDRESS", "STATE", "ROLE", ">REQUESTS", ">FAILED"], rows)
}
