//! A configuration put in force: every part is prepared before any is changed, so that it happens whole or
//! not at all.

use std::mem;

use anyhow::{Context, Result, bail};

use super::interfaces::Interfaces;
use super::kept::Origin;
use super::picture::now_seconds;
use super::running::{Order, Running, protected};
use super::trial::Known;
use crate::balancer::{Balancer, Prepared as PreparedBalancer};
use crate::config::model::Config;
use crate::config::{Diagnostics, Loaded};
use crate::control::{ReloadReport, describe};
use crate::firewall::compile::compile;
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::{Manner, Trial};
use crate::monitor::server::Prepared as PreparedMonitor;
use crate::monitor::snapshot::ReloadSnapshot;

/// A configuration that was read, and what its rules come to.
pub(super) struct Read {
    config: Config,
    pub(super) warnings: Diagnostics,
    generation: Generation,
    numbers: InterfaceNumbers,
}

/// Every part of a change that could have failed.
pub(super) struct Prepared {
    pub(super) config: Config,
    balancer: BalancerChange,
    monitor: PreparedMonitor,
}

enum BalancerChange {
    None,
    /// The first one accepts from its start on. Prepared last, that is a moment before the
    /// generation switches; a reload that is refused then closes what it had accepted.
    Start(Balancer),
    Change(PreparedBalancer),
    Stop,
}

impl Running {
    pub(super) async fn reload_whole(&self) -> Result<ReloadReport> {
        let result = self.try_reload().await;
        self.note_reload(&result);
        result
    }

    async fn try_reload(&self) -> Result<ReloadReport> {
        // Before the file is read: of two reloads the later one takes the later file.
        let mut interfaces = self.interfaces.lock().await;
        self.expect_no_trial()?;
        let origin = self.file.read()?;
        if let Some(refused) = self.kept.borrow().objection(&origin) {
            bail!(
                "{} says what was {}: a reload does not take it; change it, or put it in force with \
                 `foobar-agent apply`",
                origin.name(),
                refused.why
            );
        }
        let read = self.read(origin.clone(), interfaces.numbers.clone()).await?;
        let warnings = read.warnings.clone();
        let (generation, _) = self.take(origin, read, Manner::Anew, &mut interfaces).await?;
        Ok(ReloadReport { generation, warnings })
    }

    /// Reads what a document names and compiles its rules, which for a large one takes seconds in which this
    /// thread answers others.
    pub(super) async fn read(&self, origin: Origin, mut numbers: InterfaceNumbers) -> Result<Read> {
        let read = move || {
            let Loaded { config, warnings, .. } = origin.load()?;
            let ruleset = config.firewall.ruleset.as_ref();
            let generation = compile(ruleset, &config.monitor.services, &mut numbers)
                .map_err(|error| super::refused(&origin, &error))?;
            Ok(Read { config, warnings, generation, numbers })
        };
        tokio::task::spawn_blocking(read).await?
    }

    /// Puts a configuration in force; on trial, nothing is taken off that the one before needs. Gives the
    /// generation that judges, and its trial.
    pub(super) async fn take(
        &self,
        origin: Origin,
        read: Read,
        manner: Manner,
        interfaces: &mut Interfaces,
    ) -> Result<(u64, Option<Trial>)> {
        let Read { config, generation, numbers, .. } = read;
        if config.host != self.config.borrow().host {
            bail!("[host] has changed: its folders are fixed at the start; restart the agent to move them");
        }
        let prepared = self.prepare(config)?;
        let firewall = prepared.config.firewall.clone();
        if !self.detached.get() {
            let judged_first = interfaces.attached_names().is_empty();
            let before = mem::replace(&mut interfaces.numbers, numbers);
            let order = Order { judged_first, strict: false, manner: Some(manner) };
            let switched = self.switch(generation, &firewall, interfaces, order).await;
            if switched.is_err() {
                interfaces.numbers = before;
            }
            switched?;
        }
        let config = Some(self.commit(prepared));
        self.commit_bans().await;
        let before = self.origin.replace(origin.clone());
        self.before.replace(Some(Known { origin: before, config }));
        self.rules_unknown.set(false);
        if !matches!(manner, Manner::Trial(_)) {
            self.kept.borrow_mut().take(origin);
            interfaces.keep_only(&firewall, &self.kernel).await;
        }
        let standing = self.kernel.counters().await?.standing;
        Ok((standing.generation, standing.trial))
    }

    /// Changes everything that was prepared; gives the configuration before.
    pub(super) fn commit(&self, prepared: Prepared) -> Config {
        let Prepared { config, balancer, monitor } = prepared;
        self.commit_balancer(balancer);
        if let Some(server) = self.monitor.get() {
            server.commit(monitor);
        }
        self.config.replace(config)
    }

    /// Everything that can fail and changes nothing.
    pub(super) fn prepare(&self, config: Config) -> Result<Prepared> {
        let server = self.monitor.get().context("the monitoring endpoint was never started")?;
        let monitor = server.prepare(&config.monitor.listen)?;
        let balancer = match (self.balancer.borrow().as_ref(), &config.balancer) {
            (None, None) => BalancerChange::None,
            (None, Some(wanted)) => BalancerChange::Start(Balancer::start(wanted)?),
            (Some(running), Some(wanted)) => BalancerChange::Change(running.prepare(wanted)?),
            (Some(_), None) => BalancerChange::Stop,
        };
        Ok(Prepared { config, balancer, monitor })
    }

    /// Lifts the bans that the configuration forbids now.
    pub(super) async fn commit_bans(&self) {
        let (door, protected) = (self.bans.clone(), protected(&self.config.borrow().firewall));
        match tokio::task::spawn_blocking(move || door.protect(protected)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(lifted)) => {
                tracing::warn!("{lifted} bans were lifted: firewall.never_ban forbids them now");
            }
            Ok(Err(error)) => tracing::error!("firewall.never_ban could not be carried out in full: {error}"),
            Err(error) => tracing::error!("firewall.never_ban could not be carried out: {error}"),
        }
    }

    fn commit_balancer(&self, change: BalancerChange) {
        match change {
            BalancerChange::None => {}
            BalancerChange::Start(balancer) => {
                self.balancer.replace(Some(balancer));
            }
            BalancerChange::Change(prepared) => {
                if let Some(balancer) = self.balancer.borrow().as_ref() {
                    balancer.commit(prepared);
                }
            }
            BalancerChange::Stop => {
                if let Some(balancer) = self.balancer.replace(None) {
                    tokio::task::spawn_blocking(move || balancer.shutdown(super::DRAIN_LIMIT));
                }
            }
        }
    }

    fn note_reload(&self, result: &Result<ReloadReport>) {
        let (ok, message) = match result {
            Ok(report) => {
                for warning in &report.warnings {
                    tracing::warn!("{warning}");
                }
                (true, format!("generation {}", report.generation))
            }
            Err(error) => (false, describe(error)),
        };
        if ok {
            tracing::info!("reloaded: {message}");
        } else {
            tracing::error!("reload refused, nothing changed: {message}");
        }
        let at_seconds = now_seconds();
        self.about.borrow_mut().last_reload = Some(ReloadSnapshot { at_seconds, ok, message });
    }
}
