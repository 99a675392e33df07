//! Frames onto a wire, as fast as one core makes them: those of a corpus that are dropped. Runs in the
//! sender's network namespace. Prints how many went, and how many of the last call in a second.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use foobar_agent::kernel::traffic::Traffic;
use foobar_tests::corpus::Action;
use foobar_tests::frame::{Frame, Mac};

use crate::corpora::Selection;

/// Frames of the first call. A call costs some milliseconds of its own (the kernel makes and frees its
/// pages), so that only a long one tells a rate, and how long it may be is found by shorter ones.
const FIRST: u32 = 4096;
const MOST: u32 = 1 << 26;

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
    /// The call that is told takes at least so long, and all take at most five times that.
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
            let (mut count, mut sent) = (FIRST, 0u64);
            let rate = loop {
                let start = Instant::now();
                traffic.send(count)?;
                let took = start.elapsed().as_secs_f64();
                sent += u64::from(count);
                if took >= options.seconds || count == MOST {
                    break f64::from(count) / took;
                }
                count = count.saturating_mul(if took < options.seconds / 8.0 { 4 } else { 2 }).min(MOST);
            };
            println!("{}", serde_json::json!({"family": family, "sent": sent, "rate": rate}));
        }
    }
    Ok(())
}
