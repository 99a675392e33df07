//! `foobar-agent watch`: packets as the datapath judges them, in the manner of tcpdump.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use foobar_ebpf::verdict::Reason;
use serde::Serialize;

use super::target::Target;
use super::{Failure, Output};
use crate::firewall::compile::POLICY;
use crate::samples::filter::Filter;
use crate::samples::{Line, Sample, Scope, pcapng};

/// In the place of a file's name.
const STDOUT: &str = "-";

/// `foobar-agent watch`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foobar-agent watch                              packets that do not pass
  foobar-agent watch tcp dst port 22              of those, what was for SSH
  foobar-agent watch --all host 192.0.2.7         every packet of a host
  foobar-agent watch rule ssh or reason malformed
  foobar-agent watch --write drops.pcapng -c 100 verdict drop

Filters are tcpdump's in part: host, net, port, portrange, with src or dst; ip, ip6, tcp, udp, icmp,
icmp6, sctp, proto N; greater N, less N; and, or (alike, from left to right), not, parentheses (quote
them in a shell). Beside these: verdict allow|drop|reject, rule NAME, reason WORD, interface NAME.

The datapath samples for those who watch, 1,000 packets a second at most, and the filter chooses
among these; while nobody watches, it samples nothing. What rules with a `log` tell of is shown, too.")]
pub(super) struct WatchOptions {
    /// Which packets to show [default: all that are sampled]
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// Sample every packet, not only those that do not pass
    #[arg(long, conflicts_with = "logged")]
    all: bool,
    /// Sample nothing more: show what rules with a `log` tell of
    #[arg(long)]
    logged: bool,
    /// End after so many packets
    #[arg(short = 'c', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Write a capture in pcapng, with verdict, rule and reason as comments, instead of text; `-`: to
    /// standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    write: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Object<'s> {
    #[serde(flatten)]
    sample: &'s Sample,
    packet: String,
}

pub(super) fn watch(options: &WatchOptions) -> Output {
    let filter = options.filter.join(" ");
    let filter = (!filter.trim().is_empty()).then(|| Filter::parse(&filter)).transpose();
    let filter = filter.map_err(|error| Failure::Usage(error.into()))?;
    let scope = match (options.all, options.logged) {
        (true, _) => Scope::All,
        (_, true) => Scope::Logged,
        _ => Scope::Refused,
    };
    let mut show = Show { sink: Sink::of(options)?, filter, shown: 0, most: options.count, failed: None };
    options.target.ask(async |client| client.watch(scope, |line| show.take(line)).await)?;
    match show.failed {
        // Whoever reads may go away early (`| head`): that is no failure.
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(String::new()),
    }
}

/// Shows what is wanted, until there is enough of it.
struct Show {
    sink: Sink,
    filter: Option<Filter>,
    shown: u64,
    most: Option<u64>,
    /// What could not be written.
    failed: Option<io::Error>,
}

impl Show {
    fn take(&mut self, line: Line) -> ControlFlow<()> {
        let sample = match line {
            Line::Sample(sample) => sample,
            Line::Missed(packets) => {
                eprintln!("{packets} samples were missed: this reads too slowly");
                return ControlFlow::Continue(());
            }
        };
        if self.filter.as_ref().is_some_and(|filter| !filter.wants(&sample, &sample.parsed())) {
            return ControlFlow::Continue(());
        }
        if let Err(error) = self.sink.put(&sample) {
            self.failed = Some(error);
            return ControlFlow::Break(());
        }
        self.shown += 1;
        if self.most.is_some_and(|most| self.shown >= most) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// Where samples go, in which form.
enum Sink {
    Text,
    Json,
    Capture(pcapng::Writer<Box<dyn Write>>),
}

impl Sink {
    fn of(options: &WatchOptions) -> Result<Self> {
        let Some(path) = &options.write else {
            return Ok(if options.json { Self::Json } else { Self::Text });
        };
        let out: Box<dyn Write> = if path == Path::new(STDOUT) {
            Box::new(io::stdout())
        } else {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Box::new(BufWriter::new(file))
        };
        Ok(Self::Capture(pcapng::Writer::begin(out)?))
    }

    /// Each at once: somebody may be reading along.
    fn put(&mut self, sample: &Sample) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self {
            Self::Text => {
                writeln!(out, "{}", text(sample))?;
                out.flush()
            }
            Self::Json => {
                let object = Object { sample, packet: sample.describe() };
                writeln!(out, "{}", serde_json::to_string(&object)?)?;
                out.flush()
            }
            Self::Capture(capture) => {
                capture.add(sample)?;
                capture.flush()
            }
        }
    }
}

fn text(sample: &Sample) -> String {
    let Sample { interface, verdict, reason, length_bytes, .. } = sample;
    let (time, packet) = (time_of_day(sample.at_ns), sample.describe());
    let why = match &sample.rule {
        Some(rule) if reason == Reason::Rule.as_str() => format!("rule {rule}"),
        Some(rule) if rule != POLICY => format!("{reason}, rule {rule}"),
        _ => reason.clone(),
    };
    format!("{time} {interface} {verdict:<6} [{why}] {packet}, length {length_bytes}")
}

/// By UTC, to the microsecond.
fn time_of_day(at_ns: u64) -> String {
    let (seconds, micros) = (at_ns / 1_000_000_000, at_ns % 1_000_000_000 / 1000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}
