//! A reload: prepares every part before it changes any, so that it happens whole or not at all.

use std::mem;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::picture::unix_seconds;
use super::running::Running;
use crate::balancer::{Balancer, Prepared as PreparedBalancer};
use crate::config::model::Config;
use crate::config::{Diagnostics, Loaded};
use crate::control::{ReloadReport, describe};
use crate::firewall::compile::compile;
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::monitor::server::Prepared as PreparedMonitor;
use crate::monitor::snapshot::ReloadSnapshot;

/// A file that was read, and what its rules come to.
struct Read {
    config: Config,
    warnings: Diagnostics,
    generation: Generation,
    numbers: InterfaceNumbers,
}

/// Every part of a reload that could have failed.
struct Prepared {
    config: Config,
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
        self.notify.reloading();
        let result = self.try_reload().await;
        self.note_reload(&result);
        self.say_ready().await;
        result
    }

    async fn try_reload(&self) -> Result<ReloadReport> {
        // Before the file is read: of two reloads the later one takes the later file.
        let mut interfaces = self.interfaces.lock().await;
        let Read { config, warnings, generation, numbers } = self.read(interfaces.numbers.clone()).await?;
        if config.host != self.config.borrow().host {
            bail!("[host] has changed: its folders are fixed at the start; restart the agent to move them");
        }
        let Prepared { config, balancer, monitor } = self.prepare(config)?;
        if !self.detached.get() {
            let judged_first = interfaces.attached_names().is_empty();
            let before = mem::replace(&mut interfaces.numbers, numbers);
            let switched =
                self.switch(generation, &config.firewall, &mut interfaces, judged_first, false).await;
            if switched.is_err() {
                interfaces.numbers = before;
            }
            switched?;
        }
        self.commit_balancer(balancer);
        if let Some(server) = self.monitor.get() {
            server.commit(monitor);
        }
        interfaces.keep_only(&config.firewall, &self.kernel).await;
        self.config.replace(config);
        Ok(ReloadReport { generation: self.kernel.counters().await?.generation, warnings })
    }

    /// Reads the file and compiles its rules, which for a large one takes seconds in which this thread
    /// answers others.
    async fn read(&self, mut numbers: InterfaceNumbers) -> Result<Read> {
        let file = self.file.clone();
        let read = move || {
            let Loaded { config, warnings, .. } = file.load()?;
            let ruleset = config.firewall.ruleset.as_ref();
            let generation = compile(ruleset, &config.monitor.services, &mut numbers)
                .map_err(|error| file.refused(&error))?;
            Ok(Read { config, warnings, generation, numbers })
        };
        tokio::task::spawn_blocking(read).await?
    }

    /// Everything that can fail and changes nothing.
    fn prepare(&self, config: Config) -> Result<Prepared> {
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
        let at_seconds = unix_seconds(SystemTime::now());
        self.about.borrow_mut().last_reload = Some(ReloadSnapshot { at_seconds, ok, message });
    }
}
