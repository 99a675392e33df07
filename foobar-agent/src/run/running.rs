//! The running agent: what the control socket, the monitor and signals ask of it.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow};
use foobar_ebpf::abi::map;
use prometheus::Registry;
use tokio::sync::Mutex;
use tokio::task;

use super::ConfigFile;
use super::interfaces::Interfaces;
use super::kept::{Kept, Origin, Refused};
use super::picture::{self, About, now_seconds};
use super::trial::{self, Known};
use crate::balancer::Balancer;
use crate::cli::RunOptions;
use crate::config::model::{Config, Firewall, Interfaces as Wanted};
use crate::control::{
    Agent, ApplyReport, ApplyRequest, ConfirmReport, DetachReport, InForce, Refusal, ReloadReport,
    RollbackReport, RuleInForce, RulesetInForce, RulesetText, describe,
};
use crate::firewall::compile;
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::{Counters, Found, Handle, Installed, LogLevel, Manner, Trial, boot_now_ns};
use crate::monitor::Source;
use crate::monitor::server::{Prepared as PreparedMonitor, Server};
use crate::monitor::snapshot::{RefusedSnapshot, Snapshot, Standing, TrialSnapshot};
use crate::privileges::Privileges;
use crate::samples::{Hub, Scope, Watching};

/// What the agent is made of at its start.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) kernel: Handle,
    pub(super) balancer: Option<Balancer>,
    pub(super) numbers: InterfaceNumbers,
    pub(super) origin: Origin,
    pub(super) kept: Kept,
    pub(super) privileges: Privileges,
}

/// In which order the generation and the interfaces come.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// Nothing judges yet: the generation comes first.
    pub(super) judged_first: bool,
    /// Nothing may be missing.
    pub(super) strict: bool,
    /// How the generation is put in force; `None`: it is already.
    pub(super) manner: Option<Manner>,
}

/// The agent. All of it lives on the control thread.
pub(super) struct Running {
    /// What it was started with, and what a reload takes.
    pub(super) file: ConfigFile,
    /// Where the configuration in force is from.
    pub(super) origin: RefCell<Origin>,
    /// What a rollback goes back to.
    pub(super) before: RefCell<Option<Known>>,
    pub(super) trial: Cell<Option<Trial>>,
    pub(super) kept: RefCell<Kept>,
    /// The rules that judge are not those of the configuration: a rollback could not read theirs.
    pub(super) rules_unknown: Cell<bool>,
    pub(super) kernel: Handle,
    /// Set once, by [`Running::bind_monitor`]: the endpoint asks the agent for snapshots.
    pub(super) monitor: OnceCell<Server<Self>>,
    pub(super) config: RefCell<Config>,
    pub(super) balancer: RefCell<Option<Balancer>>,
    pub(super) about: RefCell<About>,
    pub(super) detached: Cell<bool>,
    /// Set once the datapath is open.
    pub(super) samples: OnceCell<Hub>,
    /// Held across waiting: reloads, changes of the network and looks come one after the other.
    pub(super) interfaces: Mutex<Interfaces>,
}

impl Running {
    pub(super) fn new(file: ConfigFile, parts: Parts) -> Self {
        let Parts { config, kernel, balancer, numbers, origin, kept, privileges } = parts;
        let interfaces = Interfaces::new(numbers, config.host.state_dir.clone());
        Self {
            file,
            before: RefCell::new(None),
            trial: Cell::new(None),
            rules_unknown: Cell::new(false),
            origin: RefCell::new(origin),
            kept: RefCell::new(kept),
            kernel,
            monitor: OnceCell::new(),
            config: RefCell::new(config),
            balancer: RefCell::new(balancer),
            about: RefCell::new(About { started_at: SystemTime::now(), last_reload: None, privileges }),
            detached: Cell::new(false),
            samples: OnceCell::new(),
            interfaces: Mutex::new(interfaces),
        }
    }

    /// Binds the monitoring endpoint, which answers nobody yet.
    pub(super) fn bind_monitor(self: &Rc<Self>) -> Result<PreparedMonitor> {
        let server = Server::new(Rc::clone(self), Registry::new())?;
        let prepared = server.prepare(&self.config.borrow().monitor.listen)?;
        self.monitor.set(server).map_err(|_| anyhow!("the monitoring endpoint was started twice"))?;
        Ok(prepared)
    }

    /// Passes on the datapath's samples from now on.
    pub(super) async fn read_samples(&self) -> Result<()> {
        let ring = self.kernel.map(map::EVENTS).await?;
        let state_dir = self.config.borrow().host.state_dir.clone();
        let hub = Hub::start(ring, self.kernel.clone(), state_dir)?;
        self.samples.set(hub).map_err(|_| anyhow!("samples were read twice"))
    }

    /// Serves what was bound.
    pub(super) fn serve_monitor(&self, prepared: PreparedMonitor) {
        let Some(server) = self.monitor.get() else { return };
        server.commit(prepared);
        for address in server.addresses() {
            tracing::info!("metrics: http://{address}/metrics");
        }
    }

    /// Puts the first generation in force and attaches. On an error, what an earlier agent left goes on as it
    /// was; what this start made is for the caller to remove.
    pub(super) async fn arm(&self, generation: Generation, found: Found, options: &RunOptions) -> Result<()> {
        let firewall = self.config.borrow().firewall.clone();
        let on_trial = self.trial.get().is_some();
        let mut interfaces = self.interfaces.lock().await;
        interfaces.left_by_an_earlier_agent(found.links);
        interfaces.replace_others(options.replace);
        let manner = (!on_trial).then_some(Manner::UnlessTheSame);
        let order = Order { judged_first: !found.judging, strict: options.strict, manner };
        let installed = self.switch(generation, &firewall, &mut interfaces, order).await?;
        interfaces.replace_others(false);
        self.note_start(installed);
        if !on_trial {
            interfaces.keep_only(&firewall, &self.kernel).await;
        }
        // What cannot be removed now is tried again at the next start; everything judges.
        if let Err(error) = self.kernel.finish_upgrade().await {
            tracing::error!("what another version left stays for now: {error}");
        }
        Ok(())
    }

    /// Writes down what is in force since the start.
    fn note_start(&self, installed: Option<Installed>) {
        let mut kept = self.kept.borrow_mut();
        let origin = self.origin.borrow().clone();
        match installed {
            Some(Installed { unchanged: true, generation, .. }) => {
                tracing::info!(
                    "generation {generation}, which judges, is what the rules come to: it goes on"
                );
                kept.resume(origin);
            }
            Some(_) => kept.take(origin),
            None => {}
        }
        let before = if self.trial.get().is_some() { &kept.content.in_force } else { &kept.content.before };
        self.before.replace(before.clone().map(|origin| Known { origin, config: None }));
    }

    /// Attaches what is new, and switches the generation. Where something is attached already,
    /// the switch comes last: new interfaces can be released again, a generation that judges
    /// cannot be taken back. Where nothing is, it comes first: no packet is judged by nothing.
    pub(super) async fn switch(
        &self,
        generation: Generation,
        firewall: &Firewall,
        interfaces: &mut Interfaces,
        order: Order,
    ) -> Result<Option<Installed>> {
        let Order { judged_first, strict, manner } = order;
        interfaces.save_numbers();
        let mut waiting = manner.map(|manner| (generation, manner));
        let mut installed = None;
        if judged_first && let Some((generation, manner)) = waiting.take() {
            installed = Some(self.kernel.install(generation, manner).await?);
        }
        let mut round = interfaces.follow(firewall, &self.kernel).await?;
        let switched = match (round.objection(strict), waiting) {
            (Some(error), _) => Err(error),
            (None, Some((generation, manner))) => {
                self.kernel.install(generation, manner).await.map(Some).map_err(anyhow::Error::from)
            }
            (None, None) => Ok(installed),
        };
        if switched.is_err() {
            interfaces.undo(round, &self.kernel).await;
        }
        switched
    }

    /// Looks at the interfaces anew.
    pub(super) async fn follow(&self) {
        let mut interfaces = self.interfaces.lock().await;
        if self.detached.get() {
            return;
        }
        let firewall = self.config.borrow().firewall.clone();
        // What refuses has been logged, and is tried again with the next news.
        if let Err(error) = interfaces.follow(&firewall, &self.kernel).await {
            tracing::error!("cannot follow the interfaces: {}", describe(&error));
        }
    }

    /// Ends what serves requests. The datapath stays where it is: a firewall that goes with its
    /// agent would open the host.
    pub(super) async fn stop(&self, limit: Duration) {
        let balancer = self.balancer.borrow_mut().take();
        if let Some(balancer) = balancer {
            // Blocks until the last request is answered; scrapes go on meanwhile.
            let drained = tokio::task::spawn_blocking(move || balancer.shutdown(limit)).await;
            if let Err(error) = drained {
                tracing::error!("the balancer did not end well: {error}");
            }
        }
        let attached = self.interfaces.lock().await.attached_names();
        if !attached.is_empty() {
            tracing::info!("the datapath stays on {}; `foobar-agent detach` removes it", attached.join(", "));
        }
    }
}

impl Running {
    fn standing(&self, counters: &Counters) -> Standing {
        let trial = self.trial.get().map(|Trial { deadline_ns, before, .. }| {
            let left = Duration::from_nanos(deadline_ns.saturating_sub(boot_now_ns()));
            TrialSnapshot { ends_at_seconds: now_seconds() + left.as_secs_f64(), before }
        });
        let refused = self.kept.borrow().content.refused.clone();
        Standing {
            configuration: self.origin.borrow().path().map(|path| path.display().to_string()),
            before: counters.standing.before,
            trial,
            refused: refused.map(|Refused { origin, why, at_seconds }| RefusedSnapshot {
                configuration: origin.name(),
                why,
                at_seconds,
            }),
        }
    }
}

impl Source for Running {
    async fn snapshot(&self) -> Result<Snapshot> {
        // First, so that the counters are of the configuration that they are shown with.
        let interfaces = self.interfaces.lock().await;
        let counters = self.kernel.counters().await?;
        let balancer = self.balancer.borrow().as_ref().map(Balancer::snapshot);
        let standing = self.standing(&counters);
        let config = self.config.borrow();
        Ok(picture::take(&config, &counters, &interfaces, balancer, &self.about.borrow(), standing))
    }
}

impl Agent for Running {
    fn watch(&self, scope: Scope) -> Result<Watching, Refusal> {
        let hub = self.samples.get();
        let hub = hub.ok_or_else(|| Refusal::from("the datapath is not open yet".to_owned()))?;
        Ok(hub.watch(scope))
    }

    async fn reload(&self) -> Result<ReloadReport, Refusal> {
        self.reload_whole().await.map_err(Refusal::from)
    }

    async fn apply(self: Rc<Self>, request: ApplyRequest) -> Result<ApplyReport, Refusal> {
        let ApplyRequest { document, confirm_within_seconds } = request;
        let request = ApplyRequest { document: trial::absolute(document), confirm_within_seconds };
        let result = self.apply_whole(request).await;
        if let Err(error) = &result {
            tracing::error!("apply refused, nothing changed: {}", describe(error));
        }
        result.map_err(Refusal::from)
    }

    async fn confirm(&self) -> Result<ConfirmReport, Refusal> {
        self.confirm_trial().await.map_err(Refusal::from)
    }

    async fn roll_back(&self) -> Result<RollbackReport, Refusal> {
        self.roll_back_whole().await.map_err(Refusal::from)
    }

    async fn detach(&self) -> Result<DetachReport, Refusal> {
        let mut interfaces = self.interfaces.lock().await;
        let names = interfaces.attached_names();
        self.kernel.detach().await.map_err(anyhow::Error::from)?;
        self.detached.set(true);
        self.trial.set(None);
        interfaces.all_detached();
        tracing::warn!("detached from {}: nothing is judged until the agent is restarted", names.join(", "));
        Ok(DetachReport { interfaces: names })
    }

    async fn in_force(&self) -> Result<InForce, Refusal> {
        // A reload holds it until rules and generation are of one configuration again.
        let interfaces = self.interfaces.lock().await;
        let generation = self.kernel.counters().await.map_err(anyhow::Error::from)?.generation;
        if generation == 0 || self.detached.get() {
            return Err(anyhow!("no rules judge here: the datapath is detached").into());
        }
        if self.rules_unknown.get() {
            return Err(Refusal::from(format!(
                "generation {generation} came back by a rollback, and what it was made from cannot be read any more: \
                 its rules are in force and unknown; a reload or `foobar-agent apply` ends that"
            )));
        }
        let config = self.config.borrow();
        let ruleset = config.firewall.ruleset.as_ref();
        let rules = ruleset.iter().flat_map(|ruleset| &ruleset.rules);
        Ok(InForce {
            generation,
            pin_dir: config.host.pin_dir.clone(),
            flags: compile::flags(ruleset),
            file: self.origin.borrow().path().map(Path::to_owned),
            interfaces: match &config.firewall.interfaces {
                Wanted::Named(names) => names.clone(),
                Wanted::Auto => interfaces.attached_names(),
            },
            numbers: interfaces.numbers.clone(),
            rules: rules
                .map(|rule| RuleInForce { name: rule.name.clone(), line: rule.line, rate: rule.rate })
                .collect(),
        })
    }

    async fn ruleset(&self) -> Result<RulesetInForce, Refusal> {
        let InForce { generation, file, interfaces, .. } = self.in_force().await?;
        let ruleset = self.config.borrow().firewall.ruleset.clone();
        // A set may have a million ranges; this thread has other things to do than to write them.
        let text = task::spawn_blocking(move || ruleset.as_ref().map(RulesetText::from)).await;
        let ruleset = text.map_err(anyhow::Error::from)?;
        Ok(RulesetInForce { generation, file, interfaces, ruleset })
    }

    async fn set_datapath_log(&self, level: LogLevel) -> Result<(), Refusal> {
        self.kernel.set_log_level(level).await.map_err(|error| anyhow::Error::from(error).into())
    }
}
