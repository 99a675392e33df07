//! `cargo xtask bench`: what foobar costs, beside what people run today, measured in the same minute on
//! the same machine. Figures are CPU time per unit of work: throughput on a shared machine says little.

mod balancer;
mod firewall;
mod peers;
mod process;
mod report;

use std::fmt::Display;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;

/// What to measure, and how long.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    /// What to measure
    #[arg(value_enum, default_value_t = Subject::All)]
    subject: Subject,
    /// Fewer and shorter runs: a first look, no figure to publish
    #[arg(long)]
    quick: bool,
    /// Write what the firewall came to into docs/benchmarks.md and docs/firewall-cost.svg
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Every subject below
    All,
    /// Nanoseconds of a packet and time of a ruleset: our datapath, xdp-filter and nftables
    Firewall,
    /// CPU time of a request: our balancer, Debian's Nginx and Debian's HAProxy
    Balancer,
}

/// Measures and prints.
///
/// # Errors
/// Where something cannot be built, fetched or started, or where a request failed: then a figure would
/// compare unlike things.
pub(crate) fn run(options: Options) -> Result<()> {
    let wants = |subject| matches!(options.subject, Subject::All) || options.subject == subject;
    if wants(Subject::Firewall) {
        show(&firewall::run(options.quick, options.write)?, options.json)?;
    }
    if wants(Subject::Balancer) {
        show(&balancer::run(options.quick)?, options.json)?;
    }
    Ok(())
}

fn show(report: &(impl Serialize + Display), json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
