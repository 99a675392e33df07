//! `cargo xtask bench`: what foobar costs, beside what people run today, measured in the same minute on
//! the same machine. Figures are CPU time per unit of work: throughput on a shared machine says little.

mod balancer;
mod peers;
mod process;
mod report;

use anyhow::Result;
use clap::{Args, ValueEnum};

/// What to measure, and how long.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    /// What to measure
    #[arg(value_enum, default_value_t = Subject::All)]
    subject: Subject,
    /// Fewer and shorter runs: a first look, no figure to publish
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Every subject below
    All,
    /// CPU time of a request: our balancer, Debian's Nginx and Debian's HAProxy
    Balancer,
}

/// Measures and prints.
///
/// # Errors
/// Where something cannot be built, fetched or started, or where a request failed: then a figure would
/// compare unlike things.
pub(crate) fn run(options: Options) -> Result<()> {
    let reports = match options.subject {
        Subject::All | Subject::Balancer => [balancer::run(options.quick)?],
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        for report in &reports {
            print!("{report}");
        }
    }
    Ok(())
}
