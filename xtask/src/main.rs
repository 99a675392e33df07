//! Everything that a person types in this repository: `cargo xtask …`.

mod bench;
mod build_ebpf;
mod demo;
mod linker;
mod lint;
mod packages;
mod process;
mod tally;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

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
    /// Measure what a request costs, beside Debian's Nginx and HAProxy
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
    match task {
        Task::BuildEbpf => build_ebpf::run().map(drop),
        Task::Bench(options) => bench::run(*options),
        Task::Demo(options) => demo::run(*options),
        Task::Lint => conclude(lint::run()),
        Task::Test(lanes) => conclude(test::run(*lanes)?),
    }
}

/// Prints the closing line; one failure fails the task.
fn conclude(tally: Tally) -> Result<()> {
    println!("{tally}");
    ensure!(tally.failed == 0, "not everything passed");
    Ok(())
}
