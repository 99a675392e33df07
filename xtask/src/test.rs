//! `cargo xtask test`: every test there is, in three lanes, and one count over all of them.
//!
//! *Host* needs nothing. *Privileged* needs root: it makes network namespaces and loads programs into
//! the kernel; it must prove that it ran tests. *Demo* is `cargo xtask demo --check`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::packages::Package;
use crate::tally::Tally;
use crate::{build_ebpf, packages, process, workspace};

/// The member whose tests need root, and its folder.
const PRIVILEGED: (&str, &str) = ("foobar-tests", "tests");

/// What the privileged tests compare with, and the variable that tells them where it is.
const NFTABLES: Package = Package::new("nftables", "a firewall to compare verdicts with", &["nft"]);
const NFTABLES_VARIABLE: &str = "FOOBAR_NFT";

/// Clients of real traffic, and the variables that tell tests where they are.
const NETCAT: Package = Package::new("netcat-openbsd", "connections of a client", &["nc.openbsd"]);
const NETCAT_VARIABLE: &str = "FOOBAR_NC";
const NMAP: Package = Package::new("nmap", "a port scanner that is to be banned", &["nmap"]);
const NMAP_VARIABLE: &str = "FOOBAR_NMAP";

/// Which lanes to run; without any, all.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Lanes {
    /// Tests that need no privilege: parsers, configuration, balancer
    #[arg(long)]
    host: bool,
    /// Tests that need root: programs in the kernel, network namespaces
    #[arg(long)]
    privileged: bool,
    /// The whole infrastructure: cargo xtask demo --check
    #[arg(long)]
    demo: bool,
}

type Lane = fn() -> Result<Tally>;

/// Builds everything and runs the lanes; a lane that fails does not keep the next from running.
///
/// # Errors
/// Where something cannot be built.
pub(crate) fn run(lanes: Lanes) -> Result<Tally> {
    let all = !(lanes.host || lanes.privileged || lanes.demo);
    build_ebpf::run()?;
    build_ebpf::verify()?;
    let selected: [(bool, &str, Lane); 3] = [
        (lanes.host, "host", host),
        (lanes.privileged, "privileged", privileged),
        (lanes.demo, "demo", demo),
    ];
    let mut total = Tally::default();
    for (is_selected, name, lane) in selected {
        if !(all || is_selected) {
            continue;
        }
        println!("== {name} tests");
        let tally = lane().unwrap_or_else(|error| {
            eprintln!("{name} tests: {error:#}");
            Tally { passed: 0, failed: 1 }
        });
        println!("== {name} tests: {tally}");
        total += tally;
    }
    Ok(total)
}

fn host() -> Result<Tally> {
    let (package, _) = PRIVILEGED;
    let mut others = process::cargo();
    others.args(["test", "--quiet", "--no-fail-fast", "--workspace", "--exclude", package]);
    let mut harness = process::cargo();
    harness.args(["test", "--quiet", "--no-fail-fast", "--package", package, "--lib"]);
    let mut tally = run_tests(&mut others)?;
    tally += run_tests(&mut harness)?;
    Ok(tally)
}

/// Compiles as the user that we are, then runs the tests as root, so that no file in `target/` comes to
/// belong to root.
fn privileged() -> Result<Tally> {
    let (_, folder) = PRIVILEGED;
    let programs = privileged_programs()?;
    let tools = packages::ensure(&[NFTABLES, NETCAT, NMAP])?;
    let find =
        |program: &str| tools.find(program).with_context(|| format!("no package has a program {program}"));
    let (nft, nc, nmap) = (find("nft")?, find("nc.openbsd")?, find("nmap")?);
    let variables: [(&str, &Path); 3] =
        [(NFTABLES_VARIABLE, &nft), (NETCAT_VARIABLE, &nc), (NMAP_VARIABLE, &nmap)];
    let mut tally = Tally::default();
    for program in &programs {
        let mut command = as_root(program, &variables)?;
        command.current_dir(workspace::root().join(folder));
        tally += run_tests(&mut command)?;
    }
    ensure!(tally.passed + tally.failed > 0, "not one test ran: the lane would prove nothing");
    Ok(tally)
}

/// The compiled test programs of the lane, as cargo's JSON messages name them.
fn privileged_programs() -> Result<Vec<PathBuf>> {
    let (package, folder) = PRIVILEGED;
    let tests = workspace::root().join(folder).join("tests");
    ensure!(
        fs::read_dir(&tests).is_ok_and(|mut entries| entries.next().is_some()),
        "no tests in {}",
        tests.display()
    );
    let mut command = process::cargo();
    command.args([
        "test",
        "--quiet",
        "--no-run",
        "--message-format=json-render-diagnostics",
        "--package",
        package,
        "--test",
        "*",
    ]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the privileged tests do not compile");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let programs = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    Ok(programs.collect())
}

/// A command that runs `program` as root, by sudo if we are not root, with variables that name programs.
fn as_root(program: &Path, variables: &[(&str, &Path)]) -> Result<Command> {
    let agent = workspace::target().join("debug/foobar-agent");
    let variables = [&[("FOOBAR_AGENT", agent.as_path())], variables].concat();
    if is_root()? {
        let mut command = Command::new(program);
        command.envs(variables);
        return Ok(command);
    }
    if packages::on_path("sudo").is_none() {
        bail!("these tests need root, and there is no sudo: run `cargo xtask test` as root");
    }
    // sudo's own rules may refuse to keep the environment; a variable on its command line is explicit.
    let mut command = Command::new("sudo");
    command.args(variables.iter().map(|(name, path)| format!("{name}={}", path.display()))).arg(program);
    Ok(command)
}

fn is_root() -> Result<bool> {
    Ok(process::output(Command::new("id").arg("-u"))?.trim() == "0")
}

fn demo() -> Result<Tally> {
    let own = env::current_exe().context("cannot tell which program this is")?;
    let mut command = as_root(&own, &[])?;
    let mut counted = None;
    let succeeded = echo(command.args(["demo", "--check"]), |line| counted = Tally::parse(line).or(counted))?;
    let mut tally = counted.unwrap_or_default();
    // One that stops half-way has failed, whatever it counted until then.
    if !succeeded && tally.failed == 0 {
        tally.failed = 1;
    }
    ensure!(tally != Tally::default(), "the demo checked nothing");
    Ok(tally)
}

/// Runs a test program, or cargo that runs several, and adds up what they report.
fn run_tests(command: &mut Command) -> Result<Tally> {
    let mut tally = Tally::default();
    let succeeded = echo(command, |line| tally += parse_result(line).unwrap_or_default())?;
    if !succeeded && tally.failed == 0 {
        bail!("{} failed without naming a test", process::describe(command));
    }
    Ok(tally)
}

/// Runs to the end; shows each line of the output and passes it on. Returns whether it succeeded.
fn echo(command: &mut Command, mut seen: impl FnMut(&str)) -> Result<bool> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", process::describe(command)))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("cannot read what a test writes")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            seen(&line);
        }
    }
    Ok(child.wait()?.success())
}

/// Reads `test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; …`.
fn parse_result(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |word: &str| {
        let part = counts.split("; ").find_map(|part| part.trim().strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_test_harness_reports() {
        let line = "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.01s";
        assert_eq!(parse_result(line), Some(Tally { passed: 4, failed: 2 }));
        assert_eq!(parse_result("running 4 tests"), None);
        assert_eq!(parse_result("4 passed, 2 failed"), None);
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_is_an_error() {
        let ok = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'";
        let tally = run_tests(Command::new("sh").args(["-c", ok])).unwrap();
        assert_eq!(tally, Tally { passed: 1, failed: 0 });
        assert!(run_tests(Command::new("sh").args(["-c", &format!("{ok}; exit 101")])).is_err());
    }
}
