//! Configurations put in force by somebody who is there: at once or on trial, and back again. The datapath
//! goes back by itself, also without this agent; what is left to the agent is the rest: balancer, monitor,
//! interfaces.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::choice::NOT_CONFIRMED;
use super::interfaces::Interfaces;
use super::kept::Origin;
use super::picture::now_seconds;
use super::reload::Read;
use super::running::Running;
use crate::config::model::Config;
use crate::config::{Diagnostics, Document};
use crate::control::{ApplyReport, ApplyRequest, ConfirmReport, RollbackReport, describe};
use crate::kernel::{Confirmed, KernelError, Manner, Trial, boot_now_ns};

/// A suspended host does not wake a timer; the datapath's clock goes on.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A day: who needs longer does not look.
const LIMIT_MAX: Duration = Duration::from_hours(24);

/// A configuration, and where it is from. What could not be read again is known by its origin alone.
pub(super) struct Known {
    pub(super) origin: Origin,
    pub(super) config: Option<Config>,
}

impl Known {
    fn config(&self) -> Result<Config, Diagnostics> {
        match &self.config {
            Some(config) => Ok(config.clone()),
            None => self.origin.load().map(|loaded| loaded.config),
        }
    }
}

impl Running {
    /// Puts a configuration in force, all of it or nothing.
    pub(super) async fn apply_whole(self: &Rc<Self>, request: ApplyRequest) -> Result<ApplyReport> {
        let ApplyRequest { document, confirm_within_seconds } = request;
        let limit = confirm_within_seconds.map(limit_of).transpose()?;
        let mut interfaces = self.interfaces.lock().await;
        self.expect_no_trial()?;
        if limit.is_some() && self.detached.get() {
            bail!("the datapath is detached: there is nothing to go back to; restart the agent first");
        }
        let origin = Origin { document: Some(document) };
        let read = self.read(origin.clone(), interfaces.numbers.clone()).await?;
        let warnings = read.warnings.clone();
        let report = match limit {
            None => {
                let generation = self.take(origin.clone(), read, Manner::Anew, &mut interfaces).await?.0;
                ApplyReport { generation, before: None, confirm_within_seconds: None, warnings }
            }
            Some(limit) => self.try_out(origin.clone(), read, limit, &mut interfaces).await?,
        };
        let on_trial = if limit.is_some() { ", on trial" } else { "" };
        tracing::info!("applied {}: generation {}{on_trial}", origin.name(), report.generation);
        Ok(report)
    }

    async fn try_out(
        self: &Rc<Self>,
        origin: Origin,
        read: Read,
        limit: Duration,
        interfaces: &mut Interfaces,
    ) -> Result<ApplyReport> {
        let warnings = read.warnings.clone();
        // First, so that a start knows of it whatever comes.
        self.kept.borrow_mut().content.trial = Some(origin.clone());
        let saved = self.kept.borrow().save();
        let taken = match saved {
            Ok(()) => self.take(origin, read, Manner::Trial(limit), interfaces).await,
            Err(error) => Err(anyhow!("cannot write down that there is a trial: {error}")),
        };
        let (generation, trial) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                self.kept.borrow_mut().content.trial = None;
                self.kept.borrow().save_or_say();
                return Err(error);
            }
        };
        let Some(trial) = trial else { bail!("the datapath has set no deadline") };
        self.watch(trial);
        let before = Some(trial.before);
        Ok(ApplyReport { generation, before, confirm_within_seconds: Some(limit.as_secs()), warnings })
    }

    /// Has an end of the trial noticed.
    pub(super) fn watch(self: &Rc<Self>, trial: Trial) {
        self.trial.set(Some(trial));
        let agent = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while agent.trial.get() == Some(trial) {
                match trial.deadline_ns.checked_sub(boot_now_ns()) {
                    Some(left @ 1..) => {
                        tokio::time::sleep(Duration::from_nanos(left).min(LOOK_EVERY)).await;
                    }
                    _ => agent.notice_return().await,
                }
            }
        });
    }

    async fn notice_return(&self) {
        let mut interfaces = self.interfaces.lock().await;
        if self.trial.get().is_none() {
            return;
        }
        match self.kernel.return_overdue().await {
            Ok(Some(generation)) => {
                self.give_up_trial(NOT_CONFIRMED, generation, &mut interfaces).await;
            }
            Ok(None) => self.trial.set(None),
            Err(error) => {
                tracing::error!("the datapath has gone back, and that cannot be made to last: {error}");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// The rules before the trial judge again: the rest follows them.
    async fn give_up_trial(&self, why: &str, generation: u64, interfaces: &mut Interfaces) {
        self.trial.set(None);
        let refused = self.origin.borrow().name();
        self.kept.borrow_mut().refuse_trial(why, now_seconds());
        let before = self.before.borrow_mut().take();
        let whole = match before {
            Some(before) => self.put_back(before, interfaces).await,
            None => false,
        };
        let rest = if whole { "" } else { "; balancer and monitor stay as they are" };
        tracing::warn!("{refused} was {why}: generation {generation} judges again{rest}");
    }

    /// Puts everything but the rules back to what a configuration says. Whether all of it could be.
    async fn put_back(&self, known: Known, interfaces: &mut Interfaces) -> bool {
        let prepared = known.config().map_err(anyhow::Error::from).and_then(|config| self.prepare(config));
        self.origin.replace(known.origin);
        match prepared {
            Ok(prepared) => {
                let firewall = prepared.config.firewall.clone();
                self.commit(prepared);
                self.commit_bans().await;
                if let Err(error) = interfaces.follow(&firewall, &self.kernel).await {
                    tracing::error!("cannot follow the interfaces: {}", describe(&error));
                }
                interfaces.keep_only(&firewall, &self.kernel).await;
                true
            }
            Err(error) => {
                self.rules_unknown.set(true);
                tracing::error!("only the rules go back: {}", describe(&error));
                false
            }
        }
    }

    /// Keeps what is on trial.
    pub(super) async fn confirm_trial(&self) -> Result<ConfirmReport> {
        let interfaces = &mut self.interfaces.lock().await;
        let origin = self.origin.borrow().clone();
        let kept = self.kept.borrow().content.clone();
        // First, so that a start knows of it whatever comes.
        if self.trial.get().is_some() {
            self.kept.borrow_mut().take(origin);
        }
        let confirmed = self.kernel.confirm().await;
        if !matches!(confirmed, Ok(Confirmed::Kept(_))) {
            self.kept.borrow_mut().content = kept;
            self.kept.borrow().save_or_say();
        }
        match confirmed? {
            Confirmed::Kept(generation) => {
                self.trial.set(None);
                let firewall = self.config.borrow().firewall.clone();
                interfaces.keep_only(&firewall, &self.kernel).await;
                tracing::info!("confirmed: generation {generation} judges for good");
                Ok(ConfirmReport { generation })
            }
            Confirmed::TooLate(generation) => {
                self.give_up_trial(NOT_CONFIRMED, generation, interfaces).await;
                bail!(
                    "too late: nobody confirmed in time, and the datapath has gone back to generation {generation}, \
                     which judges packets now"
                )
            }
            Confirmed::NoTrial => bail!("nothing waits for a confirmation"),
        }
    }

    /// Ends a trial, or goes back to what was in force before.
    pub(super) async fn roll_back_whole(&self) -> Result<RollbackReport> {
        let interfaces = &mut self.interfaces.lock().await;
        if self.detached.get() {
            bail!("the datapath is detached: nothing judges; restart the agent");
        }
        let generation = self.kernel.roll_back().await?;
        if self.trial.get().is_some() {
            self.give_up_trial("rolled back", generation, interfaces).await;
            return Ok(RollbackReport { generation, whole: !self.rules_unknown.get() });
        }
        let left = Known { origin: self.origin.borrow().clone(), config: Some(self.config.borrow().clone()) };
        self.kept.borrow_mut().roll_back(now_seconds());
        let before = self.before.borrow_mut().replace(left);
        let whole = if let Some(before) = before {
            self.put_back(before, interfaces).await
        } else {
            self.rules_unknown.set(true);
            false
        };
        let rest = if whole { "" } else { "; balancer and monitor stay as they are" };
        tracing::warn!("rolled back: generation {generation} judges again{rest}");
        Ok(RollbackReport { generation, whole })
    }

    pub(super) fn expect_no_trial(&self) -> Result<()> {
        if let Some(Trial { generation, .. }) = self.trial.get() {
            return Err(KernelError::OnTrial { generation }.into());
        }
        Ok(())
    }
}

fn limit_of(seconds: u64) -> Result<Duration> {
    let limit = Duration::from_secs(seconds);
    if limit.is_zero() || limit > LIMIT_MAX {
        bail!("a trial takes from 1 second to {} hours, not {seconds} s", LIMIT_MAX.as_secs() / 3600);
    }
    Ok(limit)
}

/// The document that a request names, as it may be kept.
pub(super) fn absolute(document: Document) -> Document {
    let path = std::path::absolute(&document.path).unwrap_or(document.path);
    Document { path, text: document.text }
}
