//! `foobar-agent run`: starts every part in the order in which it can fail, takes signals and
//! reloads, and stops. Owns the lifetime of the parts; what each does is its own business.
//!
//! ```text
//! configuration ─► control socket ─► kernel ─► balancer ─► monitor ─► generation ─► interfaces
//!                  └──────────── on an error: dropped again, nothing stays ───────────────┘
//! ```

mod interfaces;
mod picture;
mod running;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;
use tracing_subscriber::EnvFilter;

use self::running::{Parts, Running};
use crate::balancer::Balancer;
use crate::cli::{Failure, RunOptions};
use crate::config::model::Config;
use crate::config::{self, Diagnostics, Loaded};
use crate::control::Agent as _;
use crate::control::server::Server as ControlServer;
use crate::control::socket::ControlSocket;
use crate::firewall::compile::compile;
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::{Handle, Places};
use crate::net::{Changes, Net};

/// Where the configuration is unless told otherwise.
const DEFAULT_CONFIG: &str = "/etc/foobar/foobar.toml";

/// How long requests in flight may take after SIGTERM. systemd's own limit is 90 seconds.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// One change of the network brings many messages; they are looked at together.
const SETTLE: Duration = Duration::from_millis(20);

/// Runs the agent until a signal ends it.
///
/// # Errors
/// When a part cannot start; nothing that this start made is left then.
pub fn run(options: &RunOptions) -> Result<()> {
    start_log();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    LocalSet::new().block_on(&runtime, async {
        let file = ConfigFile::find(options.config.as_deref());
        let agent = start(file, options.strict).await?;
        serve(agent).await
    })
}

/// To standard error, where systemd and a person look; `FOOBAR_LOG` sets the level.
fn start_log() {
    let filter = EnvFilter::try_from_env("FOOBAR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start in one process, as in tests, keeps the first one's log.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// Where the configuration comes from, at the start and at each reload.
struct ConfigFile(Option<PathBuf>);

impl ConfigFile {
    /// The named file, or the default one where it exists.
    fn find(named: Option<&Path>) -> Self {
        let default = Path::new(DEFAULT_CONFIG);
        Self(named.or_else(|| default.exists().then_some(default)).map(Path::to_owned))
    }

    fn load(&self) -> Result<Loaded, Diagnostics> {
        match &self.0 {
            Some(path) => config::load(path),
            None => Ok(config::embedded_default()),
        }
    }
}

/// A started agent with what keeps it reachable.
struct Started {
    agent: Rc<Running>,
    changes: Changes,
    _control: ControlServer,
}

async fn start(file: ConfigFile, strict: bool) -> Result<Started> {
    let Loaded { config, warnings } = file.load()?;
    match &file.0 {
        Some(path) => tracing::info!("configuration: {}", path.display()),
        None => {
            tracing::info!("no configuration file: attaching where a default route leads, judging nothing");
        }
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let socket = ControlSocket::bind(&config.host.run_dir)?;
    let places = Places { pin_dir: config.host.pin_dir.clone(), state_dir: config.host.state_dir.clone() };
    let kernel = Handle::start(places)?;
    let started = start_parts(file, config, kernel.clone(), strict).await;
    let (agent, changes) = match started {
        Ok(parts) => parts,
        Err(error) => {
            if let Err(left) = kernel.abandon().await {
                tracing::warn!("not all that this start made could be removed: {left}");
            }
            return Err(error);
        }
    };
    tracing::info!("control socket: {}", socket.path().display());
    let control = ControlServer::start(socket, Rc::clone(&agent));
    Ok(Started { agent, changes, _control: control })
}

/// What can fail when the kernel's part is open: nothing of it stays then.
async fn start_parts(
    file: ConfigFile,
    config: Config,
    kernel: Handle,
    strict: bool,
) -> Result<(Rc<Running>, Changes)> {
    let mut numbers = InterfaceNumbers::load(&config.host.state_dir);
    let generation = compile(config.firewall.ruleset.as_ref(), &config.monitor.services, &mut numbers)
        .map_err(|error| Failure::Configuration(error.into()))?;
    let balancer = config.balancer.as_ref().map(Balancer::start).transpose()?;
    let (net, changes) = Net::open()?;

    let agent = Rc::new(Running::new(file, Parts { config, kernel, net, balancer, numbers }));
    agent.listen()?;
    agent.arm(generation, strict).await?;
    Ok((agent, changes))
}

async fn serve(started: Started) -> Result<()> {
    let Started { agent, mut changes, _control } = started;
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut hang_up = listen(SignalKind::hangup())?;
    let mut stop = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
    loop {
        tokio::select! {
            name = any(&mut stop) => {
                tracing::info!("{name}: finishing requests in flight");
                agent.stop(DRAIN_LIMIT).await;
                return Ok(());
            }
            _ = hang_up.recv() => if let Err(refusal) = agent.reload().await {
                // The reload itself has logged what it did.
                tracing::debug!("reload refused: {refusal}");
            },
            news = changes.next() => {
                if !news {
                    anyhow::bail!("netlink has ended: interfaces that appear would not be protected");
                }
                tokio::time::sleep(SETTLE).await;
                agent.follow().await;
            }
        }
    }
}

async fn any([interrupt, terminate]: &mut [Signal; 2]) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
