//! `cargo xtask lint`: everything about the code that can be judged without running it. Each check is
//! independent of the others, and all are run, so that one run shows all that is wrong.

mod text;
mod tidy;

use anyhow::{Result, bail};

use crate::tally::Tally;
use crate::toolchain::{self, Toolchain};
use crate::{build_ebpf, process, tools, workspace};

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
    let program = tools::ensure("cargo-deny", CARGO_DENY)?;
    // A build fetches what its own target needs; the licences are those of every target.
    process::run(process::cargo().args(["fetch", "--locked", "--quiet"]))?;
    let mut command = process::cargo();
    let arguments = ["--offline", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    command.env("PATH", tools::path_with(&program)?).arg("deny").args(arguments);
    process::run(&mut command)
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
