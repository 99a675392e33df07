//! `foobar-agent plan`: what a configuration would change, against what runs or against another file.

mod packets;
mod print;
mod report;
mod side;

use std::path::PathBuf;

use clap::Args;

use self::packets::Packets;
use self::report::Report;
use self::side::Side;
use super::target::Target;
use super::{Output, print as style};
use crate::firewall::numbers::InterfaceNumbers;
use crate::plan::Plan;

/// `foobar-agent plan`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foobar-agent plan /etc/foobar/foobar.toml             what would a reload change?
  foobar-agent plan new.toml --against old.toml         without an agent
  foobar-agent plan new.toml --pcap monday.pcap         and which of these packets?
  foobar-agent plan new.toml --json | jq .verdicts

Rules are compared by what they match, not by how they are written; where any packet gets another
verdict, one is shown. With --pcap, both sides judge each packet in test runs of the kernel, which
needs root.

Exit codes:
  0  compared, whatever differs
  1  the configuration is wrong, or the capture cannot be read to its end
  2  the command line is wrong
  3  no agent runs, or the host cannot run the program")]
pub(super) struct PlanOptions {
    /// The configuration that would be taken
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Compare with this file [default: with what the agent runs that FILE is for]
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Compare with what the agent runs whose control socket is in this folder [default: where FILE has it]
    #[arg(long, value_name = "DIR", conflicts_with = "against")]
    run_dir: Option<PathBuf>,
    /// Also judge the packets of this capture by both; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// The interface on which the packets arrive; it need not exist [default: that of the configuration,
    /// where it names exactly one]
    #[arg(long, value_name = "NAME", requires = "pcap")]
    interface: Option<String>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// `emit` writes to standard output also where the capture cannot be read to its end.
pub(super) fn plan(options: &PlanOptions, emit: impl FnOnce(&str) -> anyhow::Result<()>) -> Output {
    // One set of numbers, so that an interface is the same on both sides.
    let mut numbers = InterfaceNumbers::default();
    let old = if let Some(file) = &options.against {
        Side::of_file(file, &mut numbers)?
    } else {
        Side::of_agent(&Target::of(options.file.clone(), options.run_dir.clone()), &mut numbers)?
    };
    let new = Side::of_file(&options.file, &mut numbers)?;
    let plan = Plan::of(old.ruleset.as_ref(), new.ruleset.as_ref());
    let (packets, ended) = match &options.pcap {
        None => (None, Ok(())),
        Some(file) => {
            let mut packets = Packets::new(&old, &new, options.interface.as_deref(), &mut numbers)?;
            let ended = packets.judge(file);
            (Some(packets), ended)
        }
    };
    let report = Report::new(&old, &new, &plan, packets.as_ref(), &numbers);
    let text = if options.json { style::json(&report)? } else { print::text(&report) };
    match ended {
        Ok(()) => Ok(text),
        Err(error) => {
            emit(&text)?;
            Err(error)
        }
    }
}
