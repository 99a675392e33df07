//! `cargo xtask bench firewall`: what a packet costs in the datapath, and what a ruleset costs to make,
//! over corpora of rules, beside xdp-filter and nftables in the same run. Needs root.
//!
//! ```text
//! demo     the rules of the demo's servers           ┐
//! matrix   corpora of every shape and size           ├ by the agent's own benchmark `datapath`
//! filter   xdp-filter, with as many sources          ┘
//! wire     packets a second over a veth link, ours and nftables
//! change   one rule of 10,000 changed, until a packet notices
//! ```
//! What is measured goes to the terminal or out as JSON; with `--write` also to `docs/`: a section of
//! `benchmarks.md` (`page`) and a plot (`plot`).

mod change;
mod demo;
mod filter;
mod machine;
mod matrix;
mod nft;
mod page;
mod plot;
mod table;
mod tool;
mod wire;

use std::fmt;

use anyhow::{Result, ensure};
use nix::unistd::Uid;
use serde::Serialize;

use machine::Machine;
use tool::Tool;

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subject: &'static str,
    machine: Machine,
    demo: Vec<demo::Case>,
    rulesets: Vec<matrix::Ruleset>,
    xdp_filter: filter::Filter,
    wire: wire::Wire,
    change: change::Change,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Volume {
    /// Every part once, small: to see that all of it works.
    Quick,
    /// What figures are published from.
    Full,
}

/// Measures all of it.
///
/// # Errors
/// Without root, and where something cannot be built, fetched or started, or the kernel refuses it.
pub(super) fn run(quick: bool, write: bool) -> Result<Report> {
    ensure!(Uid::effective().is_root(), "bench firewall loads programs into the kernel: run it as root");
    ensure!(!(quick && write), "--quick measures too little to be published: run without it");
    let volume = if quick { Volume::Quick } else { Volume::Full };
    let tool = Tool::build()?;
    let report = Report {
        subject: "firewall",
        machine: Machine::look()?,
        demo: demo::run(&tool, volume)?,
        rulesets: matrix::run(&tool, volume)?,
        xdp_filter: filter::run(&tool, volume)?,
        wire: wire::run(&tool, volume)?,
        change: change::run(&tool, volume)?,
    };
    if write {
        page::write(&report)?;
        plot::write(&report)?;
    }
    Ok(report)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "firewall, on {}", self.machine)?;
        for part in page::parts(self) {
            writeln!(f, "\n{}\n{}\n{}", part.title, part.method, part.table)?;
        }
        Ok(())
    }
}
