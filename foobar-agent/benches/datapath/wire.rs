//! Frames onto a wire, as fast as one core makes them: those of a corpus that are dropped. Runs in the
//! sender's network namespace. Prints how many went, and in how long.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use foobar_agent::kernel::traffic::Traffic;
use foobar_tests::corpus::Action;
use foobar_tests::frame::{Frame, Mac};

use crate::corpora::Selection;

/// Frames of one call; time is looked at between calls.
const FRAMES: u32 = 4096;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Object of the programs that make traffic.
    #[arg(long)]
    traffic: PathBuf,
    /// The interface that they go out of.
    #[arg(long)]
    ifindex: u32,
    /// Station that they go to.
    #[arg(long)]
    station: Mac,
    /// For so long.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let object =
        fs::read(&options.traffic).with_context(|| format!("cannot read {}", options.traffic.display()))?;
    let stations = Frame::new(Mac([2, 0, 0, 0, 0, 1]), options.station);
    for (_, corpus) in options.selection.corpora() {
        for &(family, ipv6) in options.selection.packet_families() {
            let mut probes = options.selection.traffic(&corpus, ipv6);
            probes.retain(|probe| corpus.action(probe) == Action::Drop);
            let frames: Vec<_> = probes.iter().map(|probe| probe.frame(&stations)).collect();
            let mut traffic = Traffic::load(&object, &frames, options.ifindex)?;
            let (start, limit) = (Instant::now(), Duration::from_secs_f64(options.seconds));
            let mut sent = 0u64;
            while start.elapsed() < limit {
                traffic.send(FRAMES)?;
                sent += u64::from(FRAMES);
            }
            let seconds = start.elapsed().as_secs_f64();
            println!("{}", serde_json::json!({"family": family, "sent": sent, "seconds": seconds}));
        }
    }
    Ok(())
}
