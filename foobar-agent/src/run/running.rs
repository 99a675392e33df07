//! The running agent: what the control socket, the monitor and signals ask of it. A reload
//! prepares every part before it changes any, so that it happens whole or not at all.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use prometheus::Registry;
use tokio::sync::Mutex;

use super::ConfigFile;
use super::interfaces::Interfaces;
use super::picture::{self, About, unix_seconds};
use crate::balancer::{Balancer, Prepared as PreparedBalancer};
use crate::cli::Failure;
use crate::config::Loaded;
use crate::config::model::Config;
use crate::control::{Agent, DetachReport, Refusal, ReloadReport};
use crate::firewall::compile::compile;
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::{Generation, Handle, KernelError, LogLevel};
use crate::monitor::Source;
use crate::monitor::server::{Prepared as PreparedMonitor, Server};
use crate::monitor::snapshot::{ReloadSnapshot, Snapshot};
use crate::net::Net;

/// What the agent is made of at its start.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) kernel: Handle,
    pub(super) net: Net,
    pub(super) balancer: Option<Balancer>,
    pub(super) numbers: InterfaceNumbers,
}

/// The agent after its start. All of it lives on the control thread.
pub(super) struct Running {
    file: ConfigFile,
    kernel: Handle,
    net: Net,
    /// Set once, by [`Running::listen`]: the endpoint asks the agent for snapshots.
    monitor: OnceCell<Server<Self>>,
    config: RefCell<Config>,
    balancer: RefCell<Option<Balancer>>,
    about: RefCell<About>,
    detached: Cell<bool>,
    /// Held across waiting: reloads and changes of the network come one after the other.
    interfaces: Mutex<Interfaces>,
}

/// Every part of a reload that could have failed.
struct Prepared {
    config: Config,
    generation: Generation,
    balancer: BalancerChange,
    monitor: PreparedMonitor,
}

enum BalancerChange {
    None,
    Start(Balancer),
    Change(PreparedBalancer),
    Stop,
}

impl Running {
    pub(super) fn new(file: ConfigFile, parts: Parts) -> Self {
        let Parts { config, kernel, net, balancer, numbers } = parts;
        Self {
            file,
            kernel,
            net,
            monitor: OnceCell::new(),
            config: RefCell::new(config),
            balancer: RefCell::new(balancer),
            about: RefCell::new(About { started_at: SystemTime::now(), last_reload: None }),
            detached: Cell::new(false),
            interfaces: Mutex::new(Interfaces::new(numbers)),
        }
    }

    /// Serves the monitoring endpoint.
    pub(super) fn listen(self: &Rc<Self>) -> Result<()> {
        let server = Server::new(Rc::clone(self), Registry::new())?;
        let prepared = server.prepare(&self.config.borrow().monitor.listen)?;
        server.commit(prepared);
        for address in server.addresses() {
            tracing::info!("metrics: http://{address}/metrics");
        }
        self.monitor.set(server).map_err(|_| anyhow!("the monitoring endpoint was started twice"))
    }

    /// Puts the first generation in force and attaches. Where an interface refuses, what this
    /// start attached is taken off again.
    pub(super) async fn arm(&self, generation: Generation, strict: bool) -> Result<()> {
        self.kernel.install(generation).await?;
        let mut interfaces = self.interfaces.lock().await;
        let firewall = self.config.borrow().firewall.clone();
        let round = interfaces.follow(&firewall, &self.kernel, &self.net).await?;
        if let Some(error) = objection(round.refused, &round.absent, strict) {
            interfaces.release(&round.attached, &self.kernel).await;
            return Err(error);
        }
        self.save(&interfaces.numbers);
        Ok(())
    }

    /// Looks at the interfaces anew.
    pub(super) async fn follow(&self) {
        if self.detached.get() {
            return;
        }
        let mut interfaces = self.interfaces.lock().await;
        let firewall = self.config.borrow().firewall.clone();
        // What refuses has been logged, and is tried again with the next news.
        match interfaces.follow(&firewall, &self.kernel, &self.net).await {
            Ok(_) => self.save(&interfaces.numbers),
            Err(error) => tracing::error!("cannot follow the interfaces: {error:#}"),
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

    /// Numbers that are lost cost no packet, only the continuity of counters.
    fn save(&self, numbers: &InterfaceNumbers) {
        if let Err(error) = numbers.save(&self.config.borrow().host.state_dir) {
            tracing::warn!("cannot write the numbers of interfaces to host.state_dir: {error}");
        }
    }

    async fn try_reload(&self) -> Result<ReloadReport> {
        let Loaded { config, warnings } = self.file.load()?;
        if config.host != self.config.borrow().host {
            bail!("[host] has changed: its folders are fixed at the start; restart the agent to move them");
        }
        let mut interfaces = self.interfaces.lock().await;
        let prepared = self.prepare(config, &mut interfaces.numbers)?;
        if !self.detached.get() {
            self.switch(&prepared, &mut interfaces).await?;
        }
        let Prepared { config, balancer, monitor, .. } = prepared;
        self.commit_balancer(balancer);
        if let Some(server) = self.monitor.get() {
            server.commit(monitor);
        }
        interfaces.keep_only(&config.firewall, &self.kernel).await;
        self.save(&interfaces.numbers);
        self.config.replace(config);
        Ok(ReloadReport { generation: self.kernel.counters().await?.generation, warnings })
    }

    /// Everything that can fail and changes nothing.
    fn prepare(&self, config: Config, numbers: &mut InterfaceNumbers) -> Result<Prepared> {
        let generation = compile(config.firewall.ruleset.as_ref(), &config.monitor.services, numbers)
            .map_err(|error| Failure::Configuration(error.into()))?;
        let balancer = match (self.balancer.borrow().as_ref(), &config.balancer) {
            (None, None) => BalancerChange::None,
            (None, Some(wanted)) => BalancerChange::Start(Balancer::start(wanted)?),
            (Some(running), Some(wanted)) => BalancerChange::Change(running.prepare(wanted)?),
            (Some(_), None) => BalancerChange::Stop,
        };
        let server = self.monitor.get().context("the monitoring endpoint was never started")?;
        let monitor = server.prepare(&config.monitor.listen)?;
        Ok(Prepared { config, generation, balancer, monitor })
    }

    /// The kernel's part, the last that can fail: new interfaces first, because they can be
    /// released again, then the one write that switches the generation.
    async fn switch(&self, prepared: &Prepared, interfaces: &mut Interfaces) -> Result<()> {
        let firewall = &prepared.config.firewall;
        let round = interfaces.follow(firewall, &self.kernel, &self.net).await?;
        let switched = match objection(round.refused, &[], false) {
            Some(error) => Err(error),
            None => self.kernel.install(prepared.generation.clone()).await.map_err(anyhow::Error::from),
        };
        if switched.is_err() {
            interfaces.release(&round.attached, &self.kernel).await;
        }
        switched
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
            Err(error) => (false, format!("{error:#}")),
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

/// Why a round of attaching is not good enough.
fn objection(refused: Vec<KernelError>, absent: &[String], strict: bool) -> Option<anyhow::Error> {
    if let Some(error) = refused.into_iter().next() {
        return Some(error.into());
    }
    (strict && !absent.is_empty())
        .then(|| anyhow!("{} is not there, and --strict does not wait for it", absent.join(", ")))
}

impl Source for Running {
    async fn snapshot(&self) -> Result<Snapshot> {
        let counters = self.kernel.counters().await?;
        let interfaces = self.interfaces.lock().await;
        let balancer = self.balancer.borrow().as_ref().map(Balancer::snapshot);
        Ok(picture::take(&self.config.borrow(), &counters, &interfaces, balancer, &self.about.borrow()))
    }
}

impl Agent for Running {
    async fn reload(&self) -> Result<ReloadReport, Refusal> {
        let result = self.try_reload().await;
        self.note_reload(&result);
        result.map_err(Refusal::from)
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

    async fn set_datapath_log(&self, level: LogLevel) -> Result<(), Refusal> {
        self.kernel.set_log_level(level).await.map_err(|error| anyhow::Error::from(error).into())
    }
}
