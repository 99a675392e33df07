//! Everything that a person types in this repository: `cargo xtask …`.

mod build_ebpf;
mod linker;
mod packages;
mod process;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, tests, shows and measures foobar. Nothing is installed outside this workspace.
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
    }
}
