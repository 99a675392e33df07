//! The agent under test: its binary, a configuration with folders of its own, and all that is needed
//! to understand a failure without a second run.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;

use crate::bpffs::Bpffs;
use crate::host::{Host, succeeded};
use crate::metrics::Metrics;
use crate::process::Process;
use crate::{http, wait};

/// From start to answering, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where an agent answers unless its configuration says otherwise.
const METRICS_ADDRESS: &str = "127.0.0.1:9977";

/// A running `foobar-agent run --config …` inside a host.
#[derive(Debug)]
pub struct Agent<'a> {
    host: &'a Host,
    // Before the file system of its pins, so that it ends first.
    process: Process,
    binary: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    in_host: String,
    metrics: SocketAddr,
    _bpffs: Option<Bpffs>,
}

/// Where and how an agent starts, beyond the usual.
#[derive(Debug, Default)]
pub struct Setting<'s> {
    /// Holds its folders and its log.
    pub folder: &'s str,
    /// Its configuration file, where that is not in the folder.
    pub config: Option<PathBuf>,
    /// Lines more of `[host]`.
    pub in_host: &'s str,
    /// A command that starts it, with arguments.
    pub prefix: &'s [&'s str],
}

impl<'a> Agent<'a> {
    /// Starts one with a configuration that has no `[host]` section (that is added at its end, so that
    /// lines keep their numbers) in folders of its own, and waits until all of it runs.
    pub fn start(host: &'a Host, config: &str) -> Result<Self> {
        let folder = host.session().directory(&format!("agent-{}", host.label()))?;
        let bpffs = Bpffs::mount(&folder.join("bpf"))?;
        Self::start_in(&binary()?, host, &folder, Some(bpffs), config)
    }

    /// As [`Agent::start`], with a given binary in a given folder, whose `bpf` is on a bpf file system.
    /// Files that the configuration names may lie in it.
    pub fn start_in(
        binary: &Path,
        host: &'a Host,
        folder: &Path,
        bpffs: Option<Bpffs>,
        config: &str,
    ) -> Result<Self> {
        let folder = folder.to_str().context("a folder whose name is text")?;
        Self::start_set(binary, host, Setting { folder, ..Setting::default() }, bpffs, config)
    }

    /// As [`Agent::start_in`], in a setting.
    pub fn start_set(
        binary: &Path,
        host: &'a Host,
        setting: Setting<'_>,
        bpffs: Option<Bpffs>,
        config: &str,
    ) -> Result<Self> {
        let Setting { folder, config: path, in_host, prefix } = setting;
        let folder = Path::new(folder);
        let path = path.unwrap_or_else(|| folder.join("foobar.toml"));
        write_config(&path, &host_section(host, folder, in_host), config)?;
        let mut command = match prefix {
            [] => host.command(binary)?,
            [program, arguments @ ..] => {
                let mut command = host.command(program)?;
                command.args(arguments).arg(binary);
                command
            }
        };
        command.arg("run").arg("--config").arg(&path).env("RUST_BACKTRACE", "1");
        let process =
            Process::spawn(&format!("agent of {}", host.label()), command, &folder.join("agent.log"))?;
        let metrics = METRICS_ADDRESS.parse().context("not an address")?;
        let (binary, folder) = (binary.to_owned(), folder.to_owned());
        let in_host = in_host.to_owned();
        let mut agent = Self { host, process, binary, folder, config: path, in_host, metrics, _bpffs: bpffs };
        // It takes questions only when all of it stands: metrics are served a little earlier.
        let ready = wait::until("the agent answers on its control socket", START_LIMIT, || {
            agent.process.expect_running()?;
            Ok(agent.control(&["status", "--json"])?.status.success().then_some(()))
        });
        match ready {
            Ok(()) => Ok(agent),
            Err(error) => Err(agent.explain(&error)),
        }
    }

    /// Replaces the configuration file; nothing happens until a reload.
    pub fn write(&self, config: &str) -> Result<()> {
        write_config(&self.config, &host_section(self.host, &self.folder, &self.in_host), config)
    }

    /// `foobar-agent reload`; its standard output.
    pub fn reload(&self) -> Result<String> {
        let output = self.control(&["reload"])?;
        succeeded("foobar-agent reload", &output).map_err(|error| self.explain(&error))
    }

    /// A command to this agent through its control socket, whatever comes of it.
    pub fn control(&self, command: &[&str]) -> Result<Output> {
        let mut control = self.host.command(&self.binary)?;
        control.args(command).arg("--config").arg(&self.config);
        control.output().with_context(|| format!("cannot run {}", self.binary.display()))
    }

    /// Asks it to take its file anew, as a service manager does.
    pub fn hang_up(&self) -> Result<()> {
        self.process.signal(Signal::SIGHUP)
    }

    /// One scrape.
    pub fn metrics(&self) -> Result<Metrics> {
        let answer = http::get(self.host, self.metrics, "/metrics")?;
        if answer.status != 200 {
            bail!("/metrics answered {}: {}", answer.head, answer.body);
        }
        Metrics::parse(&answer.body)
    }

    /// Waits until a scrape pleases; fails with the last one.
    pub fn metrics_until(
        &self,
        what: &str,
        limit: Duration,
        pleases: impl Fn(&Metrics) -> bool,
    ) -> Result<Metrics> {
        let look = || Ok(Some(self.metrics()?).filter(&pleases));
        wait::until(what, limit, look).map_err(|error| self.explain(&error))
    }

    /// The host it runs on.
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// Its binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Process ids of those that it has started.
    pub fn children(&self) -> Result<Vec<u32>> {
        let path = format!("/proc/{id}/task/{id}/children", id = self.id());
        let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        children.split_whitespace().map(|child| child.parse().context("not a process id")).collect()
    }

    /// All it has said so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks it to end and waits.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.process.terminate()
    }

    /// An error with everything around it: configuration, output, metrics, addresses and routes.
    pub fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let config = fs::read_to_string(&self.config).unwrap_or_default();
        let numbered: Vec<_> = config.lines().zip(1..).map(|(line, n)| format!("{n:4} {line}")).collect();
        let metrics =
            self.metrics().map_or_else(|error| format!("{error:#}\n"), |metrics| metrics.to_string());
        let samples = metrics.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        anyhow!(
            "{error:#}\n--- {config_path}\n{numbered}\n--- output of the agent of {host}\n{output}\n\
             --- its metrics\n{samples}\n--- its network\n{network}---",
            config_path = self.config.display(),
            host = self.host.label(),
            numbered = numbered.join("\n"),
            output = self.process.output().trim_end(),
            network = self.host.describe(),
        )
    }
}

/// The agent's binary: `FOOBAR_AGENT`, or the newer of the workspace's release and debug builds.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("FOOBAR_AGENT") {
        return Ok(path.into());
    }
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this package is in a workspace")?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let builds = ["release", "debug"].map(|profile| target.join(profile).join("foobar-agent"));
    let built = builds.iter().filter_map(|path| Some((fs::metadata(path).ok()?.modified().ok()?, path)));
    let newest = built.max().map(|(_, path)| path.clone());
    newest.with_context(|| format!("no foobar-agent in {}: build it, or set FOOBAR_AGENT", target.display()))
}

fn host_section(host: &Host, folder: &Path, more: &str) -> String {
    format!(
        "[host]\nname = \"{name}\"\nrun_dir = \"{folder}/run\"\nstate_dir = \"{folder}/state\"\n\
         pin_dir = \"{folder}/bpf/foobar\"\n{more}",
        name = host.label(),
        folder = folder.display(),
    )
}

fn write_config(path: &Path, host_section: &str, config: &str) -> Result<()> {
    // In one step, so that a reload never sees half a file.
    let new = path.with_extension("new");
    fs::write(&new, format!("{config}\n{host_section}"))
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
