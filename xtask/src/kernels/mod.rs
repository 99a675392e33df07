//! The kernel matrix: the datapath's fixtures and agents in namespaces under Debian's kernels, in
//! emulated machines. What is tried is what the README names as supported. Needs no privilege. Owns
//! `target/kernels`.
//!
//! ```text
//! package of a kernel ─► image (modules, shell, agent, tests) ─► machine ─► console ─► report ─► tally
//! ```

mod archive;
mod image;
mod machine;
mod report;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use foobar_tests::effort;

use self::image::{Image, Program};
use self::machine::{Machine, cpus};
use self::report::Report;
use crate::packages::{Newest, ensure_newest};
use crate::tally::Tally;
use crate::workspace;

/// A series of kernels of which the newest is tried.
struct Series {
    version: &'static str,
    package: Newest,
}

const SERIES: [Series; 2] = [
    Series {
        version: "6.1",
        package: Newest {
            release: "bookworm",
            prefix: "linux-image-6.1.",
            suffix: "-cloud-amd64",
            purpose: "the kernel of Debian 12",
        },
    },
    Series {
        version: "6.12",
        package: Newest {
            release: "trixie",
            prefix: "linux-image-6.12.",
            suffix: "-cloud-amd64",
            purpose: "the kernel of Debian 13",
        },
    },
];

/// A test program of the privileged lane, and those of its tests (by a part of their name) that are
/// left to that lane: they load programs by the dozen, which takes minutes without acceleration.
struct Chosen {
    name: &'static str,
    skipped: &'static [&'static str],
}

const CHOSEN: [Chosen; 5] = [
    Chosen { name: "smoke", skipped: &[] },
    Chosen {
        name: "datapath",
        skipped: &[
            "fixtures::corpora::",
            "fixtures::scale::every_size_loads",
            "fixtures::answers::nobody_is_told_who_could_pass_it_on",
            "fixtures::essentials::each_is_switched_alone",
        ],
    },
    Chosen { name: "agent", skipped: &[] },
    // What is refused there is refused by the agent, under any kernel.
    Chosen { name: "agent_life", skipped: &["life::refuse::"] },
    Chosen { name: "reject", skipped: &[] },
];

/// Of what is drawn by chance, one of so many is tried.
const PART: usize = 20;

/// A run takes a third of it on two cores that have nothing else to do.
const LIMIT: Duration = Duration::from_mins(12);

/// Runs the tests under every kernel. `programs` are the compiled tests of the privileged lane.
///
/// # Errors
/// Where a kernel cannot be had or does not come to its end.
pub(crate) fn run(programs: &[PathBuf]) -> Result<Tally> {
    ensure!(cfg!(target_arch = "x86_64"), "the kernels are those of x86-64 machines, and this is none");
    let mut total = Tally::default();
    for series in &SERIES {
        let start = Instant::now();
        println!("-- Linux {}", series.version);
        let tally = under(series, programs).unwrap_or_else(|error| {
            eprintln!("Linux {}: {error:#}", series.version);
            Tally { passed: 0, failed: 1 }
        });
        println!("-- Linux {}: {tally} in {} s", series.version, start.elapsed().as_secs());
        total += tally;
    }
    Ok(total)
}

fn under(series: &Series, programs: &[PathBuf]) -> Result<Tally> {
    let package = ensure_newest(&series.package)?;
    let folder = workspace::target().join("kernels");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let tests = CHOSEN.iter().map(|chosen| {
        let file = programs.iter().find(|file| test_name(file) == Some(chosen.name));
        let file = file.with_context(|| format!("there is no test program {}", chosen.name))?;
        Ok(Program { name: chosen.name, file })
    });
    let tests: Vec<Program<'_>> = tests.collect::<Result<_>>()?;
    let machine = Machine {
        label: format!("Linux {}", series.version),
        kernel: image::kernel(&package)?,
        archive: folder.join(format!("{}.cpio", series.version)),
        console: folder.join(format!("{}.log", series.version)),
    };
    let agent = workspace::target().join("debug/foobar-agent");
    let environment = format!("export {}={PART}\n", effort::VARIABLE);
    Image { package: &package, agent: &agent, tests: &tests, list: &list(), environment: &environment }
        .pack(&folder.join(series.version), &machine.archive)?;

    let mut report = Report::default();
    let ran = machine.run(LIMIT, |line| {
        println!("{line}");
        report.read(line);
    });
    let names: Vec<&str> = CHOSEN.iter().map(|chosen| chosen.name).collect();
    let judged = ran.and_then(|()| report.judge(series.version, &names));
    judged.map_err(|error| error.context(format!("what it said is in {}", machine.console.display())))
}

/// What is run: a line for each program, as the shell reads it.
fn list() -> String {
    let mut text = String::new();
    for Chosen { name, skipped } in &CHOSEN {
        let _ = write!(text, "{name} --test-threads={}", cpus());
        for part in *skipped {
            let _ = write!(text, " --skip {part}");
        }
        text.push('\n');
    }
    text
}

/// The name of a test's file: cargo names the program `agent_life-965d6569f6841e73`.
fn test_name(program: &Path) -> Option<&str> {
    Some(program.file_name()?.to_str()?.rsplit_once('-')?.0)
}
