//! `cargo xtask lint`: everything about the code that can be judged without running it. Each check is
//! independent of the others, and all are run, so that one run shows all that is wrong.

mod text;
mod tidy;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::tally::Tally;
use crate::toolchain::{self, Toolchain};
use crate::{build_ebpf, process, workspace};

/// What of `foobar-ebpf` is compiled for the BPF machine.
const BPF_PROGRAMS: [&str; 2] = [build_ebpf::DATAPATH, build_ebpf::TRAFFIC];

const CARGO_DENY: &str = "0.20.2";

/// What a check is called, and how it is made. A check prints what it finds.
type Check = (&'static str, fn() -> Result<()>);

/// Runs all checks.
pub(crate) fn run() -> Tally {
    let checks: [Check; 5] = [
        ("format", format),
        ("clippy", clippy),
        ("clippy for the datapath", clippy_bpf),
        ("licences, bans, sources", deny),
        ("tidy", tidy),
    ];
    let mut tally = Tally::default();
    for (name, check) in checks {
        eprintln!("lint: {name}");
        let result = check();
        if let Err(error) = &result {
            eprintln!("lint: {name}: {error:#}");
        }
        tally.count(result.is_ok());
    }
    tally
}

fn format() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let arguments = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    process::run(process::cargo().args(arguments))
}

/// The host's clippy cannot see code that is compiled only for BPF.
fn clippy_bpf() -> Result<()> {
    let toolchain = toolchain::find()?;
    let Some(driver) = toolchain.clippy_driver() else {
        eprintln!("lint: this compiler for BPF has no clippy: its own warnings alone are looked at");
        return compile_bpf(&toolchain);
    };
    // What `cargo clippy` does itself, which here would take the host's clippy: the driver stands in
    // for the compiler of our own packages and finds its arguments, so separated, in this variable.
    for program in BPF_PROGRAMS {
        let mut command = build_ebpf::cargo(&toolchain, "check", program)?;
        let command = command
            .env("RUSTC_WORKSPACE_WRAPPER", &driver)
            .env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__")
            .env("CLIPPY_CONF_DIR", workspace::root());
        process::run(command)?;
    }
    Ok(())
}

fn compile_bpf(toolchain: &Toolchain) -> Result<()> {
    for program in BPF_PROGRAMS {
        let mut command = build_ebpf::cargo(toolchain, "rustc", program)?;
        process::run(command.args(["--", "-Dwarnings"]))?;
    }
    Ok(())
}

/// cargo-deny on all but the list of known vulnerabilities, which it takes from a git host.
fn deny() -> Result<()> {
    let program = cargo_deny()?;
    let mut command = process::cargo();
    let arguments = ["--offline", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    command.arg("deny").args(arguments);
    // cargo finds its subcommands on the PATH.
    let folder = program.parent().context("cargo-deny lies in no folder")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    process::run(command.env("PATH", std::env::join_paths(folders)?))
}

/// `cargo-deny` at the pinned version; built below `target/tools` if it is not there.
fn cargo_deny() -> Result<PathBuf> {
    let root = workspace::tools().join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        eprintln!("building cargo-deny {CARGO_DENY}, once (about three minutes, kept in target/tools)");
        let mut command = process::cargo();
        command.args(["install", "--quiet", "--locked", "--root"]).arg(&root);
        process::run(command.arg(format!("cargo-deny@{CARGO_DENY}"))).context("cannot build cargo-deny")?;
    }
    Ok(program)
}

fn tidy() -> Result<()> {
    let findings = tidy::check(workspace::root())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}
