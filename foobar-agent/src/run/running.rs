//! The running agent: what the control socket, the monitor and signals ask of it.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow};
use prometheus::Registry;
use tokio::sync::Mutex;
use tokio::task;

use super::ConfigFile;
use super::interfaces::Interfaces;
use super::notify::Notify;
use super::picture::{self, About};
use crate::balancer::Balancer;
use crate::config::model::{Config, Firewall, Interfaces as Wanted};
use crate::control::{
    Agent, DetachReport, InForce, Refusal, ReloadReport, RuleInForce, RulesetInForce, RulesetText, describe,
};
use crate::firewall::compile;
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::{Found, Handle, LogLevel, Places};
use crate::monitor::Source;
use crate::monitor::server::{Prepared as PreparedMonitor, Server};
use crate::monitor::snapshot::Snapshot;
use crate::privileges::Privileges;

/// What the agent is made of at its start.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) kernel: Handle,
    pub(super) privileges: Privileges,
    pub(super) notify: Notify,
}

/// The agent. All of it lives on the control thread.
pub(super) struct Running {
    pub(super) file: ConfigFile,
    pub(super) kernel: Handle,
    pub(super) notify: Notify,
    /// Set once, by [`Running::bind_monitor`]: the endpoint asks the agent for snapshots.
    pub(super) monitor: OnceCell<Server<Self>>,
    pub(super) config: RefCell<Config>,
    pub(super) balancer: RefCell<Option<Balancer>>,
    pub(super) about: RefCell<About>,
    pub(super) detached: Cell<bool>,
    /// Held across waiting: reloads, changes of the network and looks come one after the other.
    pub(super) interfaces: Mutex<Interfaces>,
}

impl Running {
    pub(super) fn new(
        file: ConfigFile,
        parts: Parts,
        balancer: Option<Balancer>,
        numbers: InterfaceNumbers,
    ) -> Self {
        let Parts { config, kernel, privileges, notify } = parts;
        let interfaces = Interfaces::new(numbers, config.host.state_dir.clone());
        Self {
            file,
            kernel,
            notify,
            monitor: OnceCell::new(),
            config: RefCell::new(config),
            balancer: RefCell::new(balancer),
            about: RefCell::new(About { started_at: SystemTime::now(), last_reload: None, privileges }),
            detached: Cell::new(false),
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

    /// Serves what was bound.
    pub(super) fn serve_monitor(&self, prepared: PreparedMonitor) {
        let Some(server) = self.monitor.get() else { return };
        server.commit(prepared);
        for address in server.addresses() {
            tracing::info!("metrics: http://{address}/metrics");
        }
    }

    /// Opens the datapath, puts the first generation in force and attaches. On an error, what an
    /// earlier agent left goes on as it was, and what this start made is removed.
    pub(super) async fn arm(&self, generation: Generation, strict: bool) -> Result<()> {
        let (firewall, host) = {
            let config = self.config.borrow();
            (config.firewall.clone(), config.host.clone())
        };
        let Found { fresh, links } =
            self.kernel.open(Places { pin_dir: host.pin_dir, state_dir: host.state_dir }).await?;
        let mut interfaces = self.interfaces.lock().await;
        let judged_first = links.is_empty();
        interfaces.left_by_an_earlier_agent(links);
        if let Err(error) = self.switch(generation, &firewall, &mut interfaces, judged_first, strict).await {
            if fresh && let Err(left) = self.kernel.undo().await {
                tracing::error!("what this start made could not be removed: {left}");
            }
            return Err(error);
        }
        interfaces.keep_only(&firewall, &self.kernel).await;
        Ok(())
    }

    /// Attaches what is new, and switches the generation. Where something is attached already,
    /// the switch comes last: new interfaces can be released again, a generation that judges
    /// cannot be taken back. Where nothing is, it comes first: no packet is judged by nothing.
    pub(super) async fn switch(
        &self,
        generation: Generation,
        firewall: &Firewall,
        interfaces: &mut Interfaces,
        judged_first: bool,
        strict: bool,
    ) -> Result<()> {
        interfaces.save_numbers();
        let mut generation = Some(generation);
        if judged_first && let Some(generation) = generation.take() {
            self.kernel.install(generation).await?;
        }
        let mut round = interfaces.follow(firewall, &self.kernel).await?;
        let switched = match (round.objection(strict), generation) {
            (Some(error), _) => Err(error),
            (None, Some(generation)) => self.kernel.install(generation).await.map_err(anyhow::Error::from),
            (None, None) => Ok(()),
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
        self.notify.status(&status(&interfaces));
    }

    /// Tells the service manager that all of it stands.
    pub(super) async fn say_ready(&self) {
        let status = status(&*self.interfaces.lock().await);
        self.notify.ready(&status);
    }

    /// Ends what serves requests. The datapath stays where it is: a firewall that goes with its
    /// agent would open the host.
    pub(super) async fn stop(&self, limit: Duration) {
        self.notify.stopping();
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

impl Source for Running {
    async fn snapshot(&self) -> Result<Snapshot> {
        // First, so that the counters are of the configuration that they are shown with.
        let interfaces = self.interfaces.lock().await;
        let counters = self.kernel.counters().await?;
        let balancer = self.balancer.borrow().as_ref().map(Balancer::snapshot);
        Ok(picture::take(&self.config.borrow(), &counters, &interfaces, balancer, &self.about.borrow()))
    }
}

impl Agent for Running {
    async fn reload(&self) -> Result<ReloadReport, Refusal> {
        self.reload_whole().await.map_err(Refusal::from)
    }

    async fn detach(&self) -> Result<DetachReport, Refusal> {
        let mut interfaces = self.interfaces.lock().await;
        let names = interfaces.attached_names();
        self.kernel.detach().await.map_err(anyhow::Error::from)?;
        self.detached.set(true);
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
        let config = self.config.borrow();
        let ruleset = config.firewall.ruleset.as_ref();
        let rules = ruleset.iter().flat_map(|ruleset| &ruleset.rules);
        Ok(InForce {
            generation,
            pin_dir: config.host.pin_dir.clone(),
            flags: compile::flags(ruleset),
            file: self.file.path().map(Path::to_owned),
            interfaces: match &config.firewall.interfaces {
                Wanted::Named(names) => names.clone(),
                Wanted::Auto => interfaces.attached_names(),
            },
            numbers: interfaces.numbers.clone(),
            rules: rules.map(|rule| RuleInForce { name: rule.name.clone(), line: rule.line }).collect(),
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

/// What the service manager shows of the agent.
fn status(interfaces: &Interfaces) -> String {
    match interfaces.attached_names().as_slice() {
        [] => "the datapath is on no interface".to_owned(),
        names => format!("the datapath is on {}", names.join(", ")),
    }
}
