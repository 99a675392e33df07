//! Nanoseconds a packet in the kernel's judging program, by `BPF_PROG_TEST_RUN`, beside an
//! empty XDP program in interleaved runs; and frames onto a wire. Needs root.
//!
//! ```text
//! cargo bench --package foobar-agent --bench datapath -- packets --config FILE --from ADDRESS --to ADDRESS
//! ```
//! Prints one JSON object a line, for `cargo xtask bench firewall`, which knows how to ask. The kernel
//! reports whole nanoseconds.

mod corpora;
mod packets;
mod rulesets;
mod wire;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use foobar_agent::kernel::offline::Ran;
use foobar_agent::kernel::{KernelError, offline::Bed};
use foobar_tests::frame::{Frame, Mac};

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    task: Task,
    /// Passed by `cargo bench` to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Task {
    /// One packet of each kind, under the rules of a configuration
    Packets(packets::Options),
    /// Rulesets of corpora: what they cost to make, and packets under them
    Rulesets(rulesets::Options),
    /// The packets of a corpus through an XDP program that somebody else loaded
    Foreign(rulesets::ForeignOptions),
    /// Frames of a corpus onto an interface, as fast as one core makes them
    Send(wire::Options),
}

/// How long is measured.
#[derive(Args, Clone, Copy)]
struct Volume {
    /// Interleaved rounds of each case.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Packets a round.
    #[arg(long, default_value_t = 1_000_000)]
    repeat: u32,
}

fn main() -> Result<()> {
    match Options::parse().task {
        Task::Packets(options) => packets::run(&options),
        Task::Rulesets(options) => rulesets::run(&options),
        Task::Foreign(options) => rulesets::run_foreign(&options),
        Task::Send(options) => wire::run(&options),
    }
}

/// Minimum, median and maximum of a figure, and of what is to be subtracted.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Spread {
    ns: [u64; 3],
    empty_ns: [u64; 3],
}

impl Spread {
    /// Rounds of both in turn, so that what else happens on the machine meets both alike.
    fn measure<S>(
        rounds: usize,
        subject: &mut S,
        judged: impl Fn(&mut S) -> Result<Ran, KernelError>,
        empty: impl Fn(&mut S) -> Result<Ran, KernelError>,
    ) -> Result<Self> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(nanoseconds(judged(subject)?));
            theirs.push(nanoseconds(empty(subject)?));
        }
        Ok(Self { ns: spread(ours)?, empty_ns: spread(theirs)? })
    }

    /// One frame, repeated.
    fn of_frame(bed: &mut Bed, frame: &[u8], volume: Volume) -> Result<Self> {
        let judged = |bed: &mut Bed| bed.run(frame, volume.repeat);
        let empty = |bed: &mut Bed| bed.run_empty(frame, volume.repeat);
        Self::measure(volume.rounds, bed, judged, empty)
    }

    /// Median above median.
    fn above_empty(&self) -> u64 {
        self.ns[1].saturating_sub(self.empty_ns[1])
    }
}

fn nanoseconds(ran: Ran) -> u64 {
    u64::try_from(ran.duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Minimum, median and maximum.
fn spread(mut samples: Vec<u64>) -> Result<[u64; 3]> {
    samples.sort_unstable();
    let middle = samples.len() / 2;
    let first = samples.first().context("no round was run")?;
    let last = samples.last().context("no round was run")?;
    Ok([*first, samples[middle], *last])
}

/// Two stations that do not exist.
fn stations() -> Frame {
    Frame::new(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]))
}
