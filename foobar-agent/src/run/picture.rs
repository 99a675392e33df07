//! The agent's parts as one snapshot. Reads; changes nothing.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::interfaces::Interfaces;
use crate::balancer::BalancerSnapshot;
use crate::config::model::{Config, ServiceProtocol};
use crate::firewall::compile::POLICY;
use crate::kernel::{CounterSample, Counters, Samples};
use crate::monitor::process::ProcessSnapshot;
use crate::monitor::snapshot::{
    AnswerCount, InterfaceSnapshot, OutcomeCount, RateSnapshot, ReloadSnapshot, RuleSnapshot, SampleCounts,
    ServiceSnapshot, Snapshot, Standing,
};
use crate::privileges::Privileges;

/// What the agent knows beside its parts.
pub(super) struct About {
    pub(super) started_at: SystemTime,
    pub(super) last_reload: Option<ReloadSnapshot>,
    pub(super) privileges: Privileges,
}

/// Seconds since the Unix epoch.
pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// Now, in seconds since the Unix epoch.
pub(super) fn now_seconds() -> f64 {
    unix_seconds(SystemTime::now())
}

pub(super) fn take(
    config: &Config,
    counters: &Counters,
    interfaces: &Interfaces,
    balancer: Option<BalancerSnapshot>,
    about: &About,
    standing: Standing,
) -> Snapshot {
    Snapshot {
        host: config.host.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at_seconds: unix_seconds(about.started_at),
        generation: counters.generation,
        image_bytes: counters.image_bytes,
        standing,
        interfaces: interface_rows(counters, interfaces),
        rules: rule_rows(config, counters),
        answers: answer_rows(counters),
        samples: sample_counts(counters.samples),
        services: service_rows(config, counters),
        balancer,
        last_reload: about.last_reload.clone(),
        process: ProcessSnapshot::read().ok(),
        privileges: Some(about.privileges.clone()),
    }
}

fn interface_rows(counters: &Counters, interfaces: &Interfaces) -> Vec<InterfaceSnapshot> {
    let states = interfaces.states().map(|(name, state)| {
        let logical = interfaces.numbers.get(name);
        let rows = counters.outcomes.iter().filter(|row| Some(row.interface) == logical);
        InterfaceSnapshot {
            name: name.to_owned(),
            mode: state.held.map(|held| held.mode.as_str().to_owned()),
            counts: rows
                .map(|row| OutcomeCount {
                    verdict: row.verdict.as_str().to_owned(),
                    reason: row.reason.as_str().to_owned(),
                    packets: row.count.packets,
                    bytes: row.count.bytes,
                })
                .collect(),
        }
    });
    states.collect()
}

/// Rules of the generation that judges. The configuration of a moment ago may name others: a
/// rule that it does not name is the policy.
fn rule_rows(config: &Config, counters: &Counters) -> Vec<RuleSnapshot> {
    let (mut actions, mut rates) = (HashMap::new(), HashMap::new());
    if let Some(ruleset) = &config.firewall.ruleset {
        actions.extend(ruleset.rules.iter().map(|rule| (rule.name.as_str(), rule.action)));
        actions.insert(POLICY, ruleset.default);
        rates.extend(ruleset.rules.iter().filter_map(|rule| Some((rule.name.as_str(), rule.rate?))));
    }
    let action = |name: &str| actions.get(name).map_or("", |verdict| verdict.as_str());
    let over: HashMap<&str, CounterSample> =
        counters.over.iter().map(|row| (row.name.as_str(), row.count)).collect();
    let rate = |name: &str| {
        let CounterSample { packets, bytes } = over.get(name).copied()?;
        let rate = rates.get(name).map(ToString::to_string).unwrap_or_default();
        Some(RateSnapshot { rate, over_packets: packets, over_bytes: bytes })
    };
    let rows = counters.rules.iter().map(|row| RuleSnapshot {
        rate: rate(&row.name),
        name: row.name.clone(),
        action: action(&row.name).to_owned(),
        packets: row.count.packets,
        bytes: row.count.bytes,
    });
    rows.collect()
}

fn sample_counts(Samples { emitted, lost, withheld }: Samples) -> SampleCounts {
    SampleCounts { emitted, lost, withheld }
}

fn answer_rows(counters: &Counters) -> Vec<AnswerCount> {
    let rows = counters
        .answers
        .iter()
        .map(|row| AnswerCount { outcome: row.outcome.as_str().to_owned(), packets: row.count.packets });
    rows.collect()
}

fn service_rows(config: &Config, counters: &Counters) -> Vec<ServiceSnapshot> {
    let rows = config.monitor.services.iter().map(|service| ServiceSnapshot {
        name: service.name.clone(),
        port: service.port,
        protocol: match service.protocol {
            ServiceProtocol::Http => "http".to_owned(),
        },
        messages: counters
            .services
            .iter()
            .find(|row| row.name == service.name)
            .map_or(0, |row| row.count.packets),
    });
    rows.collect()
}
