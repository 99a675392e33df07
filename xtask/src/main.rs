//! Everything that a person types in this repository: `cargo xtask …`.

mod bench;
mod build_ebpf;
mod demo;
mod fuzz;
mod kernels;
mod linker;
mod lint;
mod packages;
mod process;
mod tally;
mod test;
mod toolchain;
mod tools;
mod workspace;

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};

use packages::Package;
use tally::Tally;

/// Builds, tests, shows and measures foobar.
///
/// Nothing is installed on this machine and no service of it is started: what is missing (compiler,
/// linker, web server, …) is downloaded to target/tools and run from there. A second run needs no network.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compile the XDP programs to target/bpf/foobar.bpf.o, which the agent embeds
    ///
    /// The first time this fetches a Rust compiler for BPF (Debian's packages, unpacked below
    /// target/) and builds bpf-linker there. Later it is incremental and needs no network.
    BuildEbpf,
    /// Build everything and run all tests, or those of the lanes that are named
    ///
    /// Prints `N passed, N failed` at the end. The privileged lane and the demo need root: they use
    /// sudo where they are not run as root.
    Test(test::Lanes),
    /// Check format, lints (host and BPF), licences and the rules of this repository
    Lint,
    /// Feed parser, configuration and prefix files with what libFuzzer makes up
    Fuzz(fuzz::Options),
    /// Measure what packets, rulesets and requests cost, beside what people run today
    Bench(bench::Options),
    /// Raise the whole infrastructure on this machine, in network namespaces, and show or check it
    ///
    /// A client, a name server, the balancer and two servers with real DNS, Nginx and application
    /// servers, each of the three hosts with its own agent. Needs root. Ctrl-C removes all of it.
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<()> {
    if matches!(task, Task::Bench(_) | Task::Demo(_) | Task::Test(_)) {
        ensure_ip()?;
    }
    match task {
        Task::BuildEbpf => build_ebpf::run().and_then(|_| build_ebpf::verify()),
        Task::Bench(options) => bench::run(*options),
        Task::Demo(options) => demo::run(*options),
        Task::Fuzz(options) => fuzz::run(*options),
        Task::Lint => conclude(lint::run()),
        Task::Test(lanes) => conclude(test::run(*lanes)?),
    }
}

/// Network namespaces and links are made by the program `ip`, which a small Debian lacks: then this
/// program becomes itself anew, with a PATH that has it.
fn ensure_ip() -> Result<()> {
    if packages::on_path("ip").is_some() {
        return Ok(());
    }
    let root = packages::ensure(&[Package::new("iproute2", "network namespaces and links", &["ip"])])?;
    ensure!(root.find("ip").is_some(), "the package iproute2 has no program ip");
    let own = env::current_exe().context("cannot tell which program this is")?;
    let error = Command::new(own).args(env::args_os().skip(1)).env("PATH", root.path_variable()).exec();
    bail!("cannot start anew: {error}");
}

/// Prints the closing line; one failure fails the task.
fn conclude(tally: Tally) -> Result<()> {
    println!("{tally}");
    ensure!(tally.failed == 0, "not everything passed");
    Ok(())
}
