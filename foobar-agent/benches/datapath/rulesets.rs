//! Rulesets of corpora, from the text to the kernel: time and size of each step, then packets. Prints
//! a line for each ruleset.
//!
//! A packet alone is repeated (*hot*: what it touches stays in the caches). *Many* are different
//! packets, one after the other in one test run: a program puts the next of a table into the frame and
//! enters the one under test by a tail call; the same run into an empty program is what is subtracted.
//! Before anything is measured, all of them are judged once, and the counters of the rules must be
//! those that the walk on the host expects.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use foobar_agent::config;
use foobar_agent::firewall::compile::compile;
use foobar_agent::firewall::generation::Generation;
use foobar_agent::firewall::numbers::InterfaceNumbers;
use foobar_agent::firewall::ruleset::Ruleset;
use foobar_agent::firewall::walk::Walk;
use foobar_agent::kernel::offline::{Bed, RootBed};
use foobar_agent::kernel::traffic::{Foreign, Traffic};
use foobar_ebpf::abi::GENERATION_ACTIVE;
use foobar_tests::chance::Chance;
use foobar_tests::corpus::{Corpus, Probe};
use serde::Serialize;

use crate::corpora::Selection;
use crate::{Spread, Volume, stations};

/// Packets of the traffic that are measured hot, one by one, for the typical one.
const TYPICAL: usize = 15;
/// Packets of the traffic whose rule is also found by a linear scan.
const SCANNED: usize = 200;
/// A step that takes less is repeated, and its median is told.
const REPEATED_BELOW: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Object of the programs that make traffic.
    #[arg(long)]
    traffic: PathBuf,
    /// A folder for configurations.
    #[arg(long)]
    folder: PathBuf,
    #[command(flatten)]
    volume: Volume,
}

/// One ruleset.
#[derive(Serialize)]
struct Line {
    shape: &'static str,
    families: &'static str,
    size: usize,
    rules: usize,
    /// Reads and checks the configuration.
    read_ms: f64,
    #[serde(flatten)]
    made: Option<Made>,
    /// Why there is nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Serialize)]
struct Made {
    compile_ms: f64,
    /// Loads maps and program, writes the image, and switches to it.
    install_ms: f64,
    image_bytes: usize,
    diagrams: u32,
    verified_instructions: u32,
    packets: Vec<Row>,
}

/// Packets of one kind.
#[derive(Serialize)]
struct Row {
    family: &'static str,
    kind: &'static str,
    /// How many different ones.
    packets: u32,
    #[serde(flatten)]
    spread: Spread,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let object =
        fs::read(&options.traffic).with_context(|| format!("cannot read {}", options.traffic.display()))?;
    for (size, corpus) in options.selection.corpora() {
        let path = corpus.write(&options.folder, &["eth0"])?;
        let mut ruleset = None;
        let read_ms = timed(|| {
            ruleset = config::load(&path)?.config.firewall.ruleset;
            Ok(())
        });
        let mut line = Line {
            shape: corpus.shape.name(),
            families: corpus.families.name(),
            size,
            rules: corpus.rules.len(),
            read_ms: *read_ms.as_ref().unwrap_or(&0.0),
            made: None,
            refused: read_ms.err().map(|error| format!("{error:#}")),
        };
        if let Some(ruleset) = ruleset {
            match make(options, &object, &corpus, &ruleset) {
                Ok(made) => line.made = Some(made),
                Err(error) => line.refused = Some(format!("{error:#}")),
            }
        }
        println!("{}", serde_json::to_string(&line)?);
    }
    Ok(())
}

fn make(options: &Options, object: &[u8], corpus: &Corpus, ruleset: &Ruleset) -> Result<Made> {
    let mut generation = None;
    let compile_ms = timed(|| {
        generation = Some(compile(Some(ruleset), &[], &mut InterfaceNumbers::default())?);
        Ok(())
    })?;
    let generation = generation.context("nothing was compiled")?;
    let mut root = RootBed::new()?;
    let mut bed = None;
    let install_ms = timed(|| {
        let mut fresh = Bed::new(&generation)?;
        root.enter(GENERATION_ACTIVE, &mut fresh)?;
        bed = Some(fresh);
        Ok(())
    })?;
    let mut bed = bed.context("nothing was installed")?;
    let verified_instructions = bed.verified_instructions()?;
    let mut packets = Vec::new();
    for &(family, ipv6) in options.selection.packet_families() {
        packets.extend(measure_hot(corpus, (family, ipv6), &mut bed, options)?);
        packets.push(measure_many(object, corpus, (family, ipv6), &mut bed, &generation, options)?);
    }
    let (image_bytes, diagrams) =
        (generation.image_bytes().len(), generation.header().map_or(0, |header| header.diagrams));
    Ok(Made { compile_ms, install_ms, image_bytes, diagrams, verified_instructions, packets })
}

/// One packet alone: of the last rule, of the policy, and the median of several as they come.
fn measure_hot(
    corpus: &Corpus,
    (family, ipv6): (&'static str, bool),
    bed: &mut Bed,
    options: &Options,
) -> Result<Vec<Row>> {
    let mut chance = Chance::new(1);
    let row = |kind, spread| Row { family, kind, packets: 1, spread };
    let mut rows = Vec::new();
    let worst =
        [("last rule", corpus.last(ipv6, &mut chance)), ("policy", corpus.missing(ipv6, &mut chance))];
    for (kind, probe) in worst {
        if let Some(probe) = probe {
            rows.push(row(kind, Spread::of_frame(bed, &probe.frame(&stations()), options.volume)?));
        }
    }
    let mut typical = Vec::new();
    let each = Volume { rounds: 3, ..options.volume };
    for probe in options.selection.traffic(corpus, ipv6).iter().take(TYPICAL) {
        typical.push(Spread::of_frame(bed, &probe.frame(&stations()), each)?);
    }
    typical.sort_by_key(Spread::above_empty);
    rows.extend(typical.get(typical.len() / 2).map(|spread| row("typical", *spread)));
    Ok(rows)
}

fn measure_many(
    object: &[u8],
    corpus: &Corpus,
    (family, ipv6): (&'static str, bool),
    bed: &mut Bed,
    generation: &Generation,
    options: &Options,
) -> Result<Row> {
    let probes = options.selection.traffic(corpus, ipv6);
    let mut traffic = load_traffic(object, &probes, 0)?;
    let packets = traffic.frames();
    check(&mut traffic, corpus, &probes, bed, generation)?;
    // Whole rounds through the table.
    let repeat = options.volume.repeat.next_multiple_of(packets);
    let mut subject = (&mut traffic, bed);
    let spread = Spread::measure(
        options.volume.rounds,
        &mut subject,
        |(traffic, bed)| traffic.run(bed, repeat),
        |(traffic, bed)| traffic.run_empty(bed, repeat),
    )?;
    Ok(Row { family, kind: "many", packets, spread })
}

pub(crate) fn load_traffic(object: &[u8], probes: &[Probe], out_ifindex: u32) -> Result<Traffic> {
    ensure!(!probes.is_empty(), "no packet of this family meets the rules");
    let frames: Vec<_> = probes.iter().map(|probe| probe.frame(&stations())).collect();
    Ok(Traffic::load(object, &frames, out_ifindex)?)
}

/// The kernel counts for every rule what the walk on the host says, and the walk says what a linear
/// scan says: otherwise a figure would be that of another ruleset.
fn check(
    traffic: &mut Traffic,
    corpus: &Corpus,
    probes: &[Probe],
    bed: &mut Bed,
    generation: &Generation,
) -> Result<()> {
    let walk = Walk::new(generation);
    let policy = corpus.rules.len();
    let mut expected = vec![0u64; generation.rules.len()];
    for (place, probe) in (0..traffic.frames() as usize).zip(probes.iter().cycle()) {
        let rule = walk.judge(&probe.frame(&stations()), 0).rule().context("no rule decided")? as usize;
        expected[rule] += 1;
        if place < SCANNED {
            let scanned = corpus.first_match(probe).unwrap_or(policy);
            ensure!(rule == scanned, "{probe:?}: rule {rule} by the image, {scanned} by a linear scan");
        }
    }
    let counted = |bed: &Bed| -> Result<BTreeMap<String, u64>> {
        Ok(bed.rules()?.into_iter().map(|row| (row.name, row.count.packets)).collect())
    };
    let before = counted(bed)?;
    traffic.run(bed, traffic.frames())?;
    let after = counted(bed)?;
    for (name, expected) in generation.rules.iter().zip(expected) {
        let judged = after.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
        ensure!(judged == expected, "rule {name} took {judged} packets of the traffic, not {expected}");
    }
    Ok(())
}

/// Milliseconds of a step: the median of three where it is short.
fn timed(mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut samples = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        step()?;
        let took = start.elapsed();
        samples.push(took.as_secs_f64() * 1e3);
        if took >= REPEATED_BELOW {
            break;
        }
    }
    samples.sort_by(f64::total_cmp);
    Ok(samples[samples.len() / 2])
}

#[derive(Args)]
pub(crate) struct ForeignOptions {
    #[command(flatten)]
    selection: Selection,
    /// Object of the programs that make traffic.
    #[arg(long)]
    traffic: PathBuf,
    /// Number of the program in the kernel.
    #[arg(long)]
    id: u32,
    #[command(flatten)]
    volume: Volume,
}

/// What the program must say to a source that it is to drop.
const XDP_DROP: u32 = 1;

/// Prints a line for each kind of packet.
pub(crate) fn run_foreign(options: &ForeignOptions) -> Result<()> {
    let object =
        fs::read(&options.traffic).with_context(|| format!("cannot read {}", options.traffic.display()))?;
    let mut foreign = Foreign::by_id(options.id)?;
    for (_, corpus) in options.selection.corpora() {
        for &(family, ipv6) in options.selection.packet_families() {
            let probes = options.selection.traffic(&corpus, ipv6);
            let mut traffic = load_traffic(&object, &probes, 0)?;
            let last = corpus.last(ipv6, &mut Chance::new(1)).context("no packet meets the last rule")?;
            let frame = last.frame(&stations());
            let action = foreign.run(&frame, 1)?.action;
            ensure!(action == XDP_DROP, "the program answers {action} to a source that it is to drop");
            let repeat = options.volume.repeat;
            let mut empty = Bed::new(&compile(None, &[], &mut InterfaceNumbers::default())?)?;
            let mut hot = (&mut foreign, &mut empty);
            let hot = Spread::measure(
                options.volume.rounds,
                &mut hot,
                |(foreign, _)| foreign.run(&frame, repeat),
                |(_, bed)| bed.run_empty(&frame, repeat),
            )?;
            print_row(&Row { family, kind: "last rule", packets: 1, spread: hot })?;
            let packets = traffic.frames();
            let repeat = repeat.next_multiple_of(packets);
            let many = Spread::measure(
                options.volume.rounds,
                &mut traffic,
                |traffic| traffic.run_foreign(&foreign, repeat),
                |traffic| traffic.run_foreign_empty(repeat),
            )?;
            print_row(&Row { family, kind: "many", packets, spread: many })?;
        }
    }
    Ok(())
}

fn print_row(row: &Row) -> Result<()> {
    println!("{}", serde_json::to_string(row)?);
    Ok(())
}
