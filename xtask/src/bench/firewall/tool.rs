//! The agent's benchmark `datapath` as a program: built once, asked often. Owns its folder below
//! `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use foobar_tests::Host;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Volume;
use crate::{build_ebpf, process, workspace};

/// Programs that measure, and where they may write.
#[derive(Debug)]
pub(super) struct Tool {
    program: PathBuf,
    traffic: PathBuf,
    pub(super) agent: PathBuf,
    pub(super) folder: PathBuf,
}

/// Nanoseconds a packet, and of the empty program in the same rounds: minimum, median, maximum.
#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize)]
pub(super) struct Spread {
    pub(super) ns: [u64; 3],
    pub(super) empty_ns: [u64; 3],
}

impl Spread {
    /// Median above median.
    pub(super) fn above_empty(&self) -> u64 {
        self.ns[1].saturating_sub(self.empty_ns[1])
    }
}

impl Tool {
    pub(super) fn build() -> Result<Self> {
        build_ebpf::run()?;
        let traffic = build_ebpf::traffic()?;
        eprintln!("building the agent and its benchmark (release)");
        process::run(process::cargo().args(["build", "--quiet", "--release", "--package", "foobar-agent"]))?;
        let mut command = process::cargo();
        command.args(["bench", "--quiet", "--no-run", "--message-format=json-render-diagnostics"]);
        command.args(["--package", "foobar-agent", "--bench", "datapath"]).stderr(Stdio::inherit());
        let output = command.output().context("cannot run cargo")?;
        ensure!(output.status.success(), "the benchmark does not compile");
        let text = String::from_utf8_lossy(&output.stdout);
        let mut messages =
            text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        // The agent's own program is among them.
        let program = messages
            .find(|message| message["target"]["name"] == "datapath" && message["executable"].is_string())
            .and_then(|message| message["executable"].as_str().map(PathBuf::from))
            .context("cargo names no program of the benchmark")?;
        let folder = workspace::target().join("bench");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { program, traffic, agent: workspace::target().join("release/foobar-agent"), folder })
    }

    /// Runs a task of the benchmark and reads its lines.
    pub(super) fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<Vec<T>> {
        let mut command = Command::new(&self.program);
        command.args(self.arguments(arguments)).stderr(Stdio::inherit());
        read_lines(&process::output(&mut command)?)
    }

    /// As [`Tool::ask`], in the network of a host and on one core.
    pub(super) fn ask_inside<T: DeserializeOwned>(
        &self,
        host: &Host,
        core: usize,
        arguments: &[&str],
    ) -> Result<Vec<T>> {
        let mut command = host.command("taskset")?;
        command.args(["--cpu-list", &core.to_string()]).arg(&self.program).args(self.arguments(arguments));
        read_lines(&process::output(&mut command)?)
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let mut all = arguments.to_vec();
        if arguments.first() != Some(&"packets") {
            all.extend(["--traffic", path_text(&self.traffic)]);
        }
        if arguments.first() == Some(&"rulesets") {
            all.extend(["--folder", path_text(&self.folder)]);
        }
        all
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn read_lines<T: DeserializeOwned>(output: &str) -> Result<Vec<T>> {
    let lines: Result<Vec<T>, _> = output.lines().map(serde_json::from_str).collect();
    lines.with_context(|| format!("the benchmark printed something else: {output}"))
}

impl Volume {
    /// Rounds and packets of each, as options of the benchmark.
    pub(super) fn options(self) -> [&'static str; 4] {
        match self {
            Self::Quick => ["--rounds", "3", "--repeat", "65536"],
            Self::Full => ["--rounds", "7", "--repeat", "500000"],
        }
    }

    /// One of two, the quick one first.
    pub(super) fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}
