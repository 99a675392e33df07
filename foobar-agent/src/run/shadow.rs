//! A candidate beside the rules in force: what it would decide, before it decides anything.

use std::collections::HashMap;

use anyhow::{Result, bail};

use super::kept::Origin;
use super::picture::{action_of, actions_of, now_seconds};
use super::reload::Read;
use super::running::Running;
use super::trial::absolute;
use crate::config::{Diagnostics, Document};
use crate::control::{ShadowReport, VerdictCount};
use crate::kernel::ShadowCounts;
use crate::monitor::snapshot::RuleSnapshot;

/// What the agent knows of its candidate.
pub(super) struct Candidate {
    configuration: String,
    since_seconds: f64,
    /// Words for the verdicts of its rules, by name.
    actions: HashMap<String, String>,
}

impl Running {
    /// Has a candidate judge beside the rules, in the place of another one.
    pub(super) async fn start_shadow(&self, candidate: Document) -> Result<ShadowReport> {
        let interfaces = self.interfaces.lock().await;
        if self.detached.get() {
            bail!("the datapath is detached: there are no packets to judge; restart the agent");
        }
        let origin = Origin { document: Some(absolute(candidate)) };
        let configuration = origin.name();
        let Read { config, generation, warnings, .. } = self.read(origin, interfaces.numbers.clone()).await?;
        self.kernel.shadow(generation).await?;
        tracing::info!("{configuration} judges beside the rules in force, and decides about nothing");
        let actions = actions_of(&config);
        self.candidate.replace(Some(Candidate { configuration, since_seconds: now_seconds(), actions }));
        drop(interfaces);
        self.report_shadow(false, warnings).await
    }

    /// What the candidate would have decided.
    pub(super) async fn report_shadow(&self, end: bool, warnings: Diagnostics) -> Result<ShadowReport> {
        let counts = if end { self.kernel.end_shadow().await } else { self.kernel.read_shadow().await };
        let counts = counts?;
        let Some((ShadowCounts { rules, pairs }, candidate)) = counts.zip(self.candidate.borrow_mut().take()) else {
            bail!(
                "no candidate judges beside the rules: `foobar-agent shadow FILE` begins; a reload and whatever else \
                 puts other rules in force ends"
            );
        };
        let rules = rules.into_iter().map(|row| RuleSnapshot {
            action: action_of(&candidate.actions, &row.name),
            name: row.name,
            packets: row.count.packets,
            bytes: row.count.bytes,
        });
        let verdicts = pairs.into_iter().map(|pair| VerdictCount {
            live: pair.live.as_str().to_owned(),
            candidate: pair.candidate.as_str().to_owned(),
            packets: pair.count.packets,
            bytes: pair.count.bytes,
        });
        let report = ShadowReport {
            configuration: candidate.configuration.clone(),
            since_seconds: candidate.since_seconds,
            rules: rules.collect(),
            verdicts: verdicts.collect(),
            warnings,
        };
        if end {
            tracing::info!("{} no longer judges beside the rules", candidate.configuration);
        } else {
            self.candidate.replace(Some(candidate));
        }
        Ok(report)
    }
}
