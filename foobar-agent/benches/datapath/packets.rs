//! One packet of each kind and family that the rules of a web host tell apart. Prints `case`,
//! `verdict`, and the minimum, median and maximum of `ns` and `empty_ns`.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use foobar_agent::config;
use foobar_agent::firewall::compile::compile;
use foobar_agent::firewall::numbers::InterfaceNumbers;
use foobar_agent::firewall::walk::Walk;
use foobar_agent::kernel::offline::Bed;
use foobar_tests::frame::{Packet, Transport, tcp_flags};

use crate::{Spread, Volume, stations};

#[derive(Args)]
pub(crate) struct Options {
    /// The configuration whose rules judge.
    #[arg(long)]
    config: PathBuf,
    /// Source of the packets; once for each family.
    #[arg(long, required = true)]
    from: Vec<IpAddr>,
    /// Destination of the packets, in the order of their sources.
    #[arg(long, required = true)]
    to: Vec<IpAddr>,
    #[command(flatten)]
    volume: Volume,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let config = config::load(&options.config)?.config;
    let mut numbers = InterfaceNumbers::default();
    let generation = compile(config.firewall.ruleset.as_ref(), &config.monitor.services, &mut numbers)?;
    let walk = Walk::new(&generation);
    let mut bed = Bed::new(&generation)?;
    for (case, frame) in cases(options) {
        let verdict = walk.judge(&frame, 0).verdict.as_str();
        let Spread { ns, empty_ns } = Spread::of_frame(&mut bed, &frame, options.volume)?;
        println!("{}", serde_json::json!({"case": case, "verdict": verdict, "ns": ns, "empty_ns": empty_ns}));
    }
    Ok(())
}

fn cases(options: &Options) -> Vec<(String, Vec<u8>)> {
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
            cases.push((format!("{family}, {kind}"), stations().packet(&packet)));
        }
    }
    cases
}
