//! `cargo xtask fuzz`: libFuzzer, by cargo-fuzz, on the targets of `tests/fuzz`. What it finds on its way
//! lies below `target/fuzz`; what it finds wrong stops it, and belongs into `tests/fuzz/corpus`, whose
//! files every `cargo xtask test` repeats.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::{process, tools, workspace};

const CARGO_FUZZ: &str = "0.13.2";
const FOLDER: &str = "tests/fuzz";

/// What to feed, and how long.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    /// What to feed; all of them, one after the other, if none is named
    #[arg(value_enum)]
    target: Option<Target>,
    /// How long each runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Add inputs that reach what no file of tests/fuzz/corpus reaches to that corpus
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    /// Frames: the parser, and the host's walk
    Packet,
    /// Configuration files
    Config,
    /// Files of prefixes
    Prefixes,
    /// Captures, as `explain` reads them
    Capture,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Config => "config",
            Self::Prefixes => "prefixes",
            Self::Capture => "capture",
        }
    }
}

/// Runs the targets.
///
/// # Errors
/// Where a target finds something wrong: the text above names the input.
pub(crate) fn run(options: Options) -> Result<()> {
    let cargo_fuzz = tools::ensure("cargo-fuzz", CARGO_FUZZ)?;
    let targets = options.target.map_or_else(|| Target::value_variants().to_vec(), |target| vec![target]);
    for target in targets {
        let name = target.name();
        let found = workspace::target().join("fuzz/corpus").join(name);
        fs::create_dir_all(&found).with_context(|| format!("cannot create {}", found.display()))?;
        let seeds = workspace::root().join(FOLDER).join("corpus").join(name);
        ensure!(seeds.is_dir(), "no corpus in {}", seeds.display());
        feed(&cargo_fuzz, name, &[&found, &seeds], &[format!("-max_total_time={}", options.seconds)])?;
        if options.keep {
            feed(&cargo_fuzz, name, &[&seeds, &found], &["-set_cover_merge=1".to_owned()])?;
        }
    }
    Ok(())
}

/// libFuzzer on one target: it writes to the first folder, and reads all.
fn feed(cargo_fuzz: &Path, target: &str, corpora: &[&Path], options: &[String]) -> Result<()> {
    let mut command = process::cargo();
    command
        .env("PATH", tools::path_with(cargo_fuzz)?)
        // libFuzzer wants coverage from the compiler, which a stable one gives to who insists.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", "run", "--fuzz-dir", FOLDER, "--features", "libfuzzer", "--sanitizer", "none"])
        .arg("--target-dir")
        .arg(workspace::target().join("fuzz"))
        .arg(target)
        .args(corpora)
        .args(["--", "-timeout=10", "-print_final_stats=1"])
        .args(options);
    process::run(&mut command)
}
