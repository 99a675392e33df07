//! `foobar-agent run`: starts every part in the order in which it can fail, takes signals and
//! reloads, and stops. Owns the lifetime of the parts; what each does is its own business.
//!
//! ```text
//! configuration ─► folders, socket, kernel process ─► privileges given up (ground)
//!  signals ─► datapath ─► balancer ─► monitor ─► rules, interfaces
//!            └─ on an error: dropped again, nothing stays ─┘
//! ```

mod choice;
mod ground;
mod interfaces;
mod kept;
mod picture;
mod reload;
mod round;
mod running;
mod trial;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

use self::choice::Choice;
use self::ground::{Base, Ground};
use self::kept::Origin;
use self::running::{Parts, Running};
use crate::balancer::Balancer;
use crate::cli::{Failure, RunOptions};
use crate::config::model::Host;
use crate::config::{self, Diagnostics, Document, Loaded};
use crate::control::Agent as _;
use crate::control::server::Server as ControlServer;
use crate::firewall::compile::{CompileError, compile};
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::{Found, Handle, Places};
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

/// One change of the network brings many messages; they are looked at together.
const SETTLE: Duration = Duration::from_millis(20);

/// Between two looks at the network, so that a storm of routes costs five a second.
const LOOK_PAUSE: Duration = Duration::from_millis(180);

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
    let ground = Ground::prepare(&file, options)?;
    let Privileges { agent, kernel } = &ground.base.privileges;
    tracing::info!("privileges: {agent}; kernel process: {kernel}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    let tasks = LocalSet::new();
    let Ground { base, socket, state: _state, process } = ground;
    let kernel = Handle::start(process)?;
    let ending = kernel.ending();
    let done = tasks.block_on(&runtime, async {
        // Before anything is half done: a signal during the start is taken when it has ended.
        let signals = Signals::listen()?;
        let (agent, changes) = start(file, kernel, base, options).await?;
        tracing::info!("control socket: {}", socket.path().display());
        let _control = ControlServer::start(socket, Rc::clone(&agent));
        serve(agent, changes, signals).await
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

    fn read(&self) -> Result<Origin, Diagnostics> {
        let document = self.0.as_deref().map(Document::read).transpose()?;
        Ok(Origin { document })
    }
}

/// A configuration that no generation can hold.
fn refused(origin: &Origin, error: &CompileError) -> Failure {
    let path = origin.path().unwrap_or_else(|| Path::new(DEFAULT_CONFIG));
    Failure::Configuration(config::refused(path, error).into())
}

/// Opens the datapath and starts the rest. On an error, what an earlier agent left goes on as it was, and what
/// this start made is removed.
async fn start(
    file: ConfigFile,
    kernel: Handle,
    base: Base,
    options: &RunOptions,
) -> Result<(Rc<Running>, Changes)> {
    let Host { pin_dir, state_dir, .. } = base.loaded.config.host.clone();
    let found = kernel.open(Places { pin_dir, state_dir }).await?;
    let fresh = found.fresh;
    let started = start_with(file, kernel.clone(), base, found, options).await;
    if started.is_err()
        && fresh
        && let Err(left) = kernel.undo().await
    {
        tracing::error!("what this start made could not be removed: {left}");
    }
    started
}

/// What comes once the datapath is open.
async fn start_with(
    file: ConfigFile,
    kernel: Handle,
    base: Base,
    found: Found,
    options: &RunOptions,
) -> Result<(Rc<Running>, Changes)> {
    let Base { own, loaded, mut kept, privileges } = base;
    let Choice { origin, loaded, trial } = choice::choose(own, loaded, &mut kept, &found, &kernel).await?;
    let Loaded { config, warnings, .. } = loaded;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let mut numbers = InterfaceNumbers::load(&config.host.state_dir);
    let generation = compile(config.firewall.ruleset.as_ref(), &config.monitor.services, &mut numbers)
        .map_err(|error| refused(&origin, &error))?;
    let balancer = config.balancer.as_ref().map(Balancer::start).transpose()?;
    let changes = Changes::listen()?;

    let parts = Parts { config, kernel, balancer, numbers, origin, kept, privileges };
    let agent = Rc::new(Running::new(file, parts));
    let monitor = agent.bind_monitor()?;
    if let Some(trial) = trial {
        agent.watch(trial);
    }
    agent.arm(generation, found, options).await?;
    agent.read_samples().await?;
    agent.serve_monitor(monitor);
    Ok((agent, changes))
}

/// Serves until a signal ends the agent. Following the network is a task of its own, so that
/// neither waits for the other.
async fn serve(agent: Rc<Running>, changes: Changes, mut signals: Signals) -> Result<()> {
    let follower = tokio::task::spawn_local(follow(Rc::clone(&agent), changes));
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

async fn follow(agent: Rc<Running>, changes: Changes) {
    loop {
        // The time without news ends the waiting as news do.
        let _ = tokio::time::timeout(LOOK_INTERVAL, changes.next()).await;
        tokio::time::sleep(SETTLE).await;
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
