//! Nanoseconds a packet in the kernel's judging program, by `BPF_PROG_TEST_RUN`, beside an
//! empty XDP program in interleaved runs. Needs root.
//!
//! ```text
//! cargo bench --package foobar-agent --bench datapath -- --config FILE [--rounds N] [--repeat N]
//! ```
//! Prints one JSON object a line: `case`, `verdict`, and the minimum, median and maximum of
//! `ns` and `empty_ns`. The kernel reports whole nanoseconds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use foobar_agent::config;
use foobar_agent::firewall::compile::compile;
use foobar_agent::firewall::numbers::InterfaceNumbers;
use foobar_agent::firewall::walk::Walk;
use foobar_agent::kernel::offline::Bed;
use foobar_tests::frame::{Frame, Mac, Packet, Transport};

#[derive(Parser)]
struct Options {
    /// The configuration whose rules judge.
    #[arg(long)]
    config: PathBuf,
    /// Interleaved rounds of each case.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Packets a round.
    #[arg(long, default_value_t = 1_000_000)]
    repeat: u32,
    /// Passed by `cargo bench` to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let config = config::load(&options.config)?.config;
    let mut numbers = InterfaceNumbers::default();
    let generation = compile(config.firewall.ruleset.as_ref(), &config.monitor.services, &mut numbers)?;
    let walk = Walk::new(&generation);
    let mut bed = Bed::new(&generation)?;
    for (case, frame) in cases() {
        let verdict = walk.judge(&frame, 0).verdict.as_str();
        let (mut judged, mut empty) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            judged.push(bed.run(&frame, options.repeat)?.duration.as_nanos());
            empty.push(bed.run_empty(&frame, options.repeat)?.duration.as_nanos());
        }
        let (ns, empty_ns) = (spread(judged)?, spread(empty)?);
        println!("{}", serde_json::json!({"case": case, "verdict": verdict, "ns": ns, "empty_ns": empty_ns}));
    }
    Ok(())
}

/// Minimum, median and maximum.
fn spread(mut samples: Vec<u128>) -> Result<[u128; 3]> {
    samples.sort_unstable();
    let middle = samples.len() / 2;
    let first = samples.first().context("no round was run")?;
    let last = samples.last().context("no round was run")?;
    Ok([*first, samples[middle], *last])
}

/// One packet of each kind and family that the rules of a web host tell apart.
fn cases() -> Vec<(String, Vec<u8>)> {
    let families: [(&str, IpAddr, IpAddr); 2] = [
        ("IPv4", Ipv4Addr::new(198, 51, 100, 7).into(), Ipv4Addr::new(192, 0, 2, 10).into()),
        (
            "IPv6",
            Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 7).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10).into(),
        ),
    ];
    let frame = Frame::new(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let kinds = [
        ("TCP SYN to 443", Transport::syn(40_000, 443)),
        ("TCP SYN to 22", Transport::syn(40_000, 22)),
        ("UDP to 53", Transport::udp(40_000, 53, b"question")),
        ("ICMP echo request", Transport::Icmp { kind: 8, code: 0, body: vec![0; 60] }),
    ];
    let mut cases = Vec::new();
    for (family, source, destination) in families {
        for (kind, transport) in &kinds {
            let packet = Packet::new(source, destination, transport.clone());
            cases.push((format!("{family}, {kind}"), frame.packet(&packet)));
        }
    }
    cases
}
