//! The part of a start that takes privileges, and their end: folders, control socket, kernel process. What
//! follows is done by a process that may do nothing but what its user may.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::ConfigFile;
use super::kept::{Kept, Origin};
use crate::cli::RunOptions;
use crate::config::Loaded;
use crate::config::model::Host;
use crate::control::socket::{self, ControlSocket};
use crate::desk;
use crate::kernel::{KernelProcess, Places, Settlement};
use crate::privileges::{Files, Identity, Privileges, folders, identity};

/// Locks `state_dir`; two agents may have different folders for their sockets.
const STATE_LOCK: &str = "state.lock";

/// Folders of which a rule for one configuration would open far more than that.
const NOBODYS_OWN: [&str; 3] = ["/", "/etc", "/root"];

/// Variables that say where the system's certificate authorities are, if not where they usually are.
const AUTHORITIES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What the agent begins with.
pub(super) struct Base {
    /// Its own file, and what that says.
    pub(super) own: Origin,
    pub(super) loaded: Loaded,
    pub(super) kept: Kept,
    pub(super) privileges: Privileges,
}

/// What the agent stands on when it has given up its privileges.
pub(super) struct Ground {
    pub(super) base: Base,
    pub(super) socket: ControlSocket,
    pub(super) state: File,
    pub(super) process: KernelProcess,
}

impl Ground {
    /// Prepares all of it, and gives up. To be called while the process has one thread.
    pub(super) fn prepare(file: &ConfigFile, options: &RunOptions) -> Result<Self> {
        let own = file.read()?;
        let loaded = own.load()?;
        let Loaded { config, files, .. } = &loaded;
        match own.path() {
            Some(path) => tracing::info!("configuration: {}", path.display()),
            None => {
                tracing::info!(
                    "no configuration file: attaching where a default route leads, judging nothing"
                );
            }
        }
        let agent = identity::choose(config.host.user.as_deref())?;
        let Host { run_dir, state_dir, pin_dir, .. } = &config.host;
        folders::prepare(run_dir, "run_dir", socket::LOCK_NAME, &agent)?;
        folders::prepare(state_dir, "state_dir", STATE_LOCK, &agent)?;
        let changes = !agent.is_root() && identity::current().is_root();
        let socket = ControlSocket::bind(run_dir, changes.then_some(&agent))?;
        let state = socket::claim(state_dir, STATE_LOCK)?;

        let kept = Kept::open(state_dir).context("cannot read what is kept of configurations")?;
        let documents = own.path().into_iter().chain(kept.paths());
        let readable = readable(documents.map(Path::to_owned).collect(), files);
        let mut process = KernelProcess::start()?;
        let places = Places { pin_dir: pin_dir.clone(), state_dir: state_dir.clone() };
        let settlement = Settlement { places, readable: readable.clone(), replace: options.replace };
        let kernel = process.settle(settlement)?;
        desk::open(process.take_desk().context("the kernel process has no desk")?, agent.name.clone());
        let agent = give_up(&agent, &config.host, &readable)?;
        let base = Base { own, loaded, kept, privileges: Privileges { agent, kernel } };
        Ok(Self { base, socket, state, process })
    }
}

fn give_up(agent: &Identity, host: &Host, readable: &[PathBuf]) -> Result<crate::privileges::Kept> {
    if agent.is_root() {
        tracing::warn!(
            "the agent runs as root (host.user): without capabilities and fenced, but root's files are its own; \
             leave host.user out to have it run as foobar or nobody"
        );
    }
    let Host { run_dir, state_dir, .. } = host;
    let own = [run_dir.as_path(), state_dir.as_path()];
    let kept = crate::privileges::become_agent(agent, Files { own: &own, readable })?;
    folders::expect_reach(run_dir, "run_dir", agent)?;
    folders::expect_reach(state_dir, "state_dir", agent)?;
    Ok(kept)
}

/// Folders that a reload may read from: those of the configuration, of earlier ones, and of the files that it
/// names, and those that links there lead to now.
fn readable(documents: Vec<PathBuf>, files: &[PathBuf]) -> Vec<PathBuf> {
    let documents: Vec<PathBuf> =
        documents.into_iter().filter_map(|path| std::path::absolute(path).ok()).collect();
    let named = documents.iter().chain(files);
    let leading = named.flat_map(|path| [Some(path.clone()), path.canonicalize().ok()]).flatten();
    let mut folders: Vec<PathBuf> = leading.filter_map(|path| Some(path.parent()?.to_owned())).collect();
    folders.extend(AUTHORITIES.iter().filter_map(std::env::var_os).map(PathBuf::from));
    folders.sort();
    folders.dedup();
    for folder in folders.iter().filter(|folder| NOBODYS_OWN.iter().any(|wide| *folder == Path::new(wide))) {
        tracing::warn!(
            "{}: the agent may read all that is below it, for a file of its configuration lies there; move that to \
             a folder of its own",
            folder.display()
        );
    }
    folders
}
