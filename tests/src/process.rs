//! A long-running process inside a host: its output in a file, killed by its id when dropped, and by
//! the kernel should this process die first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::Host;
use crate::{sys, wait};

/// How long a process may take to end after a polite signal.
const GRACE: Duration = Duration::from_secs(10);

/// A running process.
#[derive(Debug)]
pub struct Process {
    label: String,
    child: Child,
    log: PathBuf,
    /// Whether the child waits for the first process of a namespace of its own.
    family: bool,
}

impl Process {
    /// Starts a command that [`Host::command`] or [`Host::confine`] made; both its outputs go to `log`.
    pub fn spawn(label: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let copy = file.try_clone().context("cannot duplicate a descriptor")?;
        let child = command.stdout(file).stderr(copy).spawn();
        let child = child.with_context(|| format!("cannot start {label} ({command:?})"))?;
        Ok(Self { label: label.to_owned(), child, log: log.to_owned(), family: false })
    }

    /// Starts a command in the network of this process; for the rest as [`Process::spawn`].
    pub fn spawn_here(label: &str, mut command: Command, log: &Path) -> Result<Self> {
        sys::confine(&mut command, None);
        Self::spawn(label, command, log)
    }

    /// Starts a command that has children of its own: it becomes the first process of a new process
    /// namespace, so that none of them outlives it, whatever signal ends it.
    pub fn spawn_family(label: &str, host: &Host, command: &Command, log: &Path) -> Result<Self> {
        let mut family = host.command("unshare")?;
        family.args(["--pid", "--fork", "--kill-child=SIGKILL", "--"]);
        family.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => family.env(key, value),
                None => family.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            family.current_dir(folder);
        }
        let mut process = Self::spawn(label, family, log)?;
        process.family = true;
        Ok(process)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All it has said so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its exit status, once it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.label))
    }

    /// Fails, with all it said, if it has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); it said:\n{}", self.label, self.output().trim_end()),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.id()).context("a process id beyond 31 bits")?);
        kill(pid, signal).with_context(|| format!("cannot signal {}", self.label))
    }

    /// Asks it to end (SIGTERM) and waits; its status tells how it went.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            self.signal(Signal::SIGTERM)?;
        }
        let what = format!("{} ends after SIGTERM", self.label);
        wait::until(&what, GRACE, || self.ended()).with_context(|| format!("it said:\n{}", self.output()))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().with_context(|| format!("cannot wait for {}", self.label))
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        if self.family && self.ended()?.is_none() {
            // The first process of the namespace takes all others with it, and its parent then ends
            // by itself, having reaped it. Killed instead, the parent would leave that to init.
            let id = self.id();
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            let first = children.split_whitespace().next().and_then(|first| first.parse().ok());
            if first.is_some_and(|first| kill(Pid::from_raw(first), Signal::SIGKILL).is_ok()) {
                return self.wait().map(drop);
            }
        }
        self.child.kill().with_context(|| format!("cannot kill {}", self.label))?;
        self.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{error:#}");
        }
    }
}
