//! Nanoseconds a packet in the kernel's judging program, by `BPF_PROG_TEST_RUN`, beside an
//! empty XDP program in interleaved runs. Needs root.
//!
//! ```text
//! cargo bench --package foobar-agent --bench datapath -- --config FILE --from ADDRESS --to ADDRESS
//! ```
//! Prints one JSON object a line: `case`, `verdict`, and the minimum, median and maximum of
//! `ns` and `empty_ns`. The kernel reports whole nanoseconds.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use foobar_agent::config;
use foobar_agent::firewall::compile::compile;
use foobar_agent::firewall::numbers::InterfaceNumbers;
use foobar_agent::firewall::walk::Walk;
use foobar_agent::kernel::offline::Bed;
use foobar_tests::frame::{Frame, Mac, Packet, Transport, tcp_flags};

#[derive(Parser)]
struct Options {
    /// The configuration whose rules judge.
    #[arg(long)]
    config: PathBuf,
    /// Source of the packets; once for each family.
    #[arg(long, required = true)]
    from: Vec<IpAddr>,
    /// Destination of the packets, in the order of their sources.
    #[arg(long, required = true)]
    to: Vec<IpAddr>,
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
    for (case, frame) in cases(&options) {
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
fn cases(options: &Options) -> Vec<(String, Vec<u8>)> {
    let frame = Frame::new(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let request = b"GET / HTTP/1.1\r\nHost: www.foobar.com\r\n\r\n".to_vec();
    let kinds = [
        ("SYN to the web port", Transport::syn(40_000, 80)),
        (
            "HTTP request",
            Transport::Tcp { from: 40_000, to: 80, flags: tcp_flags::ACK | tcp_flags::PSH, payload: request },
        ),
        ("SYN to the SSH port", Transport::syn(40_000, 22)),
        ("DNS question", Transport::udp(40_000, 53, b"question")),
        ("echo request", Transport::Icmp { kind: 8, code: 0, body: vec![0; 60] }),
    ];
    let mut cases = Vec::new();
    for (source, destination) in options.from.iter().zip(&options.to) {
        let family = if source.is_ipv4() { "IPv4" } else { "IPv6" };
        for (kind, transport) in &kinds {
            let packet = Packet::new(*source, *destination, transport.clone());
            cases.push((format!("{family}, {kind}"), frame.packet(&packet)));
        }
    }
    cases
}
