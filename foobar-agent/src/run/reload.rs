//! A reload: prepares every part before it changes any, so that it happens whole or not at all.

use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::picture::unix_seconds;
use super::running::Running;
use crate::balancer::{Balancer, Prepared as PreparedBalancer};
use crate::config::Loaded;
use crate::config::model::Config;
use crate::control::{ReloadReport, describe};
use crate::firewall::compile::compile;
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::monitor::server::Prepared as PreparedMonitor;
use crate::monitor::snapshot::ReloadSnapshot;

/// Every part of a reload that could have failed.
struct Prepared {
    config: Config,
    generation: Generation,
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
        let Loaded { config, warnings, .. } = self.file.load()?;
        if config.host != self.config.borrow().host {
            bail!("[host] has changed: its folders are fixed at the start; restart the agent to move them");
        }
        let Prepared { config, generation, balancer, monitor } =
            self.prepare(config, &mut interfaces.numbers)?;
        if !self.detached.get() {
            let judged_first = interfaces.attached_names().is_empty();
            self.switch(generation, &config.firewall, &mut interfaces, judged_first, false).await?;
        }
        self.commit_balancer(balancer);
        if let Some(server) = self.monitor.get() {
            server.commit(monitor);
        }
        interfaces.keep_only(&config.firewall, &self.kernel).await;
        self.config.replace(config);
        Ok(ReloadReport { generation: self.kernel.counters().await?.generation, warnings })
    }

    /// Everything that can fail and changes nothing.
    fn prepare(&self, config: Config, numbers: &mut InterfaceNumbers) -> Result<Prepared> {
        let generation = compile(config.firewall.ruleset.as_ref(), &config.monitor.services, numbers)
            .map_err(|error| self.file.refused(&error))?;
        let server = self.monitor.get().context("the monitoring endpoint was never started")?;
        let monitor = server.prepare(&config.monitor.listen)?;
        let balancer = match (self.balancer.borrow().as_ref(), &config.balancer) {
            (None, None) => BalancerChange::None,
            (None, Some(wanted)) => BalancerChange::Start(Balancer::start(wanted)?),
            (Some(running), Some(wanted)) => BalancerChange::Change(running.prepare(wanted)?),
            (Some(_), None) => BalancerChange::Stop,
        };
        Ok(Prepared { config, generation, balancer, monitor })
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
