//! `foobar-agent run`: starts every part in the order in which it can fail, takes signals and
//! reloads, and stops. Owns the lifetime of the parts; what each does is its own business.
//!
//! ```text
//! configuration ─► folders, socket, kernel process ─► privileges given up (ground)
//!  signals ─► balancer ─► monitor ─► datapath ─► interfaces
//!            └─ on an error: dropped again, nothing stays ─┘
//! ```

mod ground;
mod interfaces;
mod notify;
mod picture;
mod reload;
mod round;
mod running;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

use self::ground::Ground;
use self::notify::Notify;
use self::running::{Parts, Running};
use crate::balancer::Balancer;
use crate::cli::{Failure, RunOptions};
use crate::config::model::Config;
use crate::config::{self, Diagnostics, Loaded};
use crate::control::Agent as _;
use crate::control::server::Server as ControlServer;
use crate::control::socket::ControlSocket;
use crate::firewall::compile::{CompileError, compile};
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::Handle;
use crate::logging;
use crate::net::Changes;
use crate::privileges::Privileges;

/// Where the configuration is unless told otherwise.
const DEFAULT_CONFIG: &str = "/etc/foobar/foobar.toml";

/// How long requests in flight may take after SIGTERM. systemd's own limit is 90 seconds.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// How long requests in flight may take when the kernel process has ended: the agent cannot start another
/// one, for it has no privileges left, and whoever restarts it should not wait long.
const ORPHAN_LIMIT: Duration = Duration::from_secs(5);

/// Between two looks at the network: one change brings many messages, and a storm of routes costs five looks a
/// second.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// The network is looked at this often without news: the kernel says nothing about a program
/// that is taken off an interface.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How long the kernel process may take to end after the agent's last word.
const KERNEL_END_LIMIT: Duration = Duration::from_secs(5);

/// Runs the agent until a signal ends it.
///
/// # Errors
/// When a part cannot start; nothing that this start made is left then.
pub fn run(options: &RunOptions) -> Result<()> {
    logging::start();
    raise_descriptor_limit();
    let file = ConfigFile::find(options.config.as_deref());
    let notify = Notify::from_environment();
    let ground = Ground::prepare(&file)?;
    let Privileges { agent, kernel } = &ground.privileges;
    tracing::info!("privileges: {agent}; kernel process: {kernel}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    let tasks = LocalSet::new();
    let Ground { config, socket, state, process, privileges } = ground;
    let kernel = Handle::start(process)?;
    let ending = kernel.ending();
    let parts = Parts { config, kernel, privileges, notify };
    let done = tasks.block_on(&runtime, async {
        // Before anything is half done: a signal during the start is taken when it has ended.
        let signals = Signals::listen()?;
        let started = start(file, parts, (socket, state), options.strict).await?;
        serve(started, signals).await
    });
    // The tasks hold the last handles.
    drop(tasks);
    let ended = runtime.block_on(async { tokio::time::timeout(KERNEL_END_LIMIT, ending.wait()).await });
    if ended.is_err() {
        tracing::warn!("the kernel process still works; it ends by itself");
    }
    done
}

/// As many descriptors as the host allows: each connection of the balancer takes one or two, and the
/// soft limit that a shell or service starts with (1,024) is for programs that use `select`.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("the limit on open files stays as it is: {error}");
    }
}

/// Where the configuration comes from, at the start and at each reload.
#[derive(Clone)]
struct ConfigFile(Option<PathBuf>);

impl ConfigFile {
    /// The named file, or the default one where it exists.
    fn find(named: Option<&Path>) -> Self {
        let default = Path::new(DEFAULT_CONFIG);
        Self(named.or_else(|| default.exists().then_some(default)).map(Path::to_owned))
    }

    fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    fn load(&self) -> Result<Loaded, Diagnostics> {
        match &self.0 {
            Some(path) => config::load(path),
            None => Ok(config::embedded_default()),
        }
    }

    /// A configuration that no generation can hold.
    fn refused(&self, error: &CompileError) -> Failure {
        let path = self.0.as_deref().unwrap_or_else(|| Path::new(DEFAULT_CONFIG));
        Failure::Configuration(config::refused(path, error).into())
    }
}

/// A started agent with what keeps it reachable and its folders its own.
struct Started {
    agent: Rc<Running>,
    changes: Changes,
    _control: ControlServer,
    _state: File,
}

async fn start(
    file: ConfigFile,
    parts: Parts,
    (socket, state): (ControlSocket, File),
    strict: bool,
) -> Result<Started> {
    let Config { host, firewall, monitor, balancer, .. } = &parts.config;
    let mut numbers = InterfaceNumbers::load(&host.state_dir);
    let generation = compile(firewall.ruleset.as_ref(), &monitor.services, &mut numbers)
        .map_err(|error| file.refused(&error))?;
    let balancer = balancer.as_ref().map(Balancer::start).transpose()?;
    let changes = Changes::listen()?;

    let agent = Rc::new(Running::new(file, parts, balancer, numbers));
    let monitor = agent.bind_monitor()?;
    agent.arm(generation, strict).await?;
    agent.serve_monitor(monitor);
    tracing::info!("control socket: {}", socket.path().display());
    let control = ControlServer::start(socket, Rc::clone(&agent));
    Ok(Started { agent, changes, _control: control, _state: state })
}

/// Serves until a signal ends the agent. Following the network is a task of its own, so that
/// neither waits for the other.
async fn serve(started: Started, mut signals: Signals) -> Result<()> {
    let Started { agent, changes, _control, _state } = started;
    agent.say_ready().await;
    let follower = tokio::task::spawn_local(follow(Rc::clone(&agent), changes));
    tokio::task::spawn_local(show_life(Rc::clone(&agent)));
    loop {
        tokio::select! {
            name = any(&mut signals.stop) => {
                tracing::info!("{name}: finishing requests in flight");
                agent.stop(DRAIN_LIMIT).await;
                follower.abort();
                return Ok(());
            }
            () = agent.kernel.gone() => {
                follower.abort();
                agent.stop(ORPHAN_LIMIT).await;
                bail!("the kernel process has ended; the datapath goes on, the agent ends: start it again");
            }
            _ = signals.hang_up.recv() => if let Err(refusal) = agent.reload().await {
                // The reload itself has logged what it did.
                tracing::debug!("reload refused: {refusal}");
            },
        }
    }
}

/// Tells the service manager that the agent is alive, as long as this thread has its turn and the kernel process
/// answers.
async fn show_life(agent: Rc<Running>) {
    let Some(due) = agent.notify.due() else { return };
    while agent.kernel.ping().await.is_ok() {
        agent.notify.alive();
        tokio::time::sleep(due).await;
    }
}

async fn follow(agent: Rc<Running>, changes: Changes) {
    loop {
        // The time without news ends the waiting as news do. What is new is judged at once: an interface may be
        // up the next moment.
        let _ = tokio::time::timeout(LOOK_INTERVAL, changes.next()).await;
        agent.follow().await;
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// The signals that the agent answers to.
struct Signals {
    hang_up: Signal,
    /// SIGINT, SIGTERM.
    stop: [Signal; 2],
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let stop = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
        Ok(Self { hang_up: listen(SignalKind::hangup())?, stop })
    }
}

async fn any([interrupt, terminate]: &mut [Signal; 2]) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
