//! Packets a second that arrive over a veth link and are dropped: by our agent, and by nftables with the
//! same rules. The sender is the same for all: a program that the kernel runs on frames that it really
//! puts onto the link (live frames), from the core that also takes them at the other end. So the time
//! of a packet is that of making it, moving it and judging it, all on one core.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foobar_tests::agent::Agent;
use foobar_tests::bpffs::Bpffs;
use foobar_tests::corpus::{Corpus, Families, Shape};
use foobar_tests::frame::Mac;
use foobar_tests::{Host, Link};
use serde::{Deserialize, Serialize};

use super::Volume;
use super::nft::{self, Form};
use super::table::{Table, thousands};
use super::tool::Tool;
use crate::packages::{self, Package, PackageRoot};

const PACKAGES: [Package; 2] = [
    Package::new("nftables", "firewall to compare with", &["nft"]),
    Package::new("ethtool", "receive offload for the comparison", &["ethtool"]),
];
const OURS: &str = "foobar, native XDP";
/// Mixed rules are what real rulesets are; they are of IPv4, so that nftables needs one map of a kind.
const SHAPE: Shape = Shape::Mixed;
const FAMILIES: Families = Families::V4;
const SENDER_CORE: usize = 0;

/// Every candidate with rulesets of every size.
#[derive(Debug, Serialize)]
pub(super) struct Wire {
    nftables: String,
    pub(super) rows: Vec<Row>,
}

/// A candidate with one ruleset.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) candidate: String,
    pub(super) rules: usize,
    /// Packets a second, of every round.
    runs: Vec<f64>,
    pub(super) median: f64,
}

/// What the sender prints.
#[derive(Deserialize)]
struct Sent {
    sent: u64,
    /// Packets a second.
    rate: f64,
}

/// One firewall behind one link.
struct Candidate<'h> {
    name: &'static str,
    sender: &'h Host,
    station: Mac,
    firewall: Firewall<'h>,
    runs: Vec<f64>,
}

enum Firewall<'h> {
    Ours(Box<Agent<'h>>),
    Nft { host: &'h Host, nft: String },
}

pub(super) fn run(tool: &Tool, volume: Volume) -> Result<Wire> {
    let packages = packages::ensure(&PACKAGES)?;
    let mut rows = Vec::new();
    for &rules in volume.pick(&[1, 100][..], &[1, 10, 100, 1000, 10_000]) {
        eprintln!("sending to ours and to nftables with {} rules", thousands(rules as u64));
        rows.extend(measure(tool, &packages, volume, rules)?);
    }
    let output = packages.command("nft").arg("--version").output().context("cannot run nft")?;
    let version = String::from_utf8_lossy(&output.stdout);
    let nftables = version.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    Ok(Wire { nftables, rows })
}

/// Two hosts joined by a link.
struct Pair {
    receiver: Host,
    sender: Host,
    station: Mac,
}

impl Pair {
    fn new() -> Result<Self> {
        let (receiver, sender) = (Host::new("receiver")?, Host::new("sender")?);
        Link::between((&receiver, "eth0"), (&sender, "eth0"))?;
        receiver.address("eth0", "192.0.2.1/24")?;
        let station = receiver.mac("eth0")?;
        Ok(Self { receiver, sender, station })
    }
}

fn measure(tool: &Tool, packages: &PackageRoot, volume: Volume, rules: usize) -> Result<Vec<Row>> {
    let corpus = Corpus::new(SHAPE, FAMILIES, rules);
    let pairs = (0..4).map(|_| Pair::new()).collect::<Result<Vec<_>>>()?;
    let forms = [None, Some(Form::Linear), Some(Form::Maps), Some(Form::Ingress)];
    let mut candidates = Vec::new();
    for (form, pair) in forms.into_iter().zip(&pairs) {
        let (name, firewall) = match form {
            None => (OURS, ours(tool, &corpus, &pair.receiver)?),
            Some(form) => (form.name(), nftables(packages, &corpus, form, &pair.receiver)?),
        };
        let Pair { sender, station, .. } = pair;
        candidates.push(Candidate { name, sender, station: *station, firewall, runs: Vec::new() });
    }
    let (rounds, seconds) = volume.pick((1, "0.2"), (5, "1.0"));
    for _ in 0..rounds {
        for candidate in &mut candidates {
            let rate = candidate.round(tool, rules, seconds)?;
            candidate.runs.push(rate);
        }
    }
    Ok(candidates.into_iter().map(|candidate| candidate.row(rules)).collect())
}

fn ours<'h>(tool: &Tool, corpus: &Corpus, host: &'h Host) -> Result<Firewall<'h>> {
    let folder = host.session().directory("wire")?;
    let bpffs = Bpffs::mount(&folder.join("bpf"))?;
    let config = corpus.toml(&["eth0"]);
    Agent::start_in(&tool.agent, host, &folder, Some(bpffs), &config)
        .map(|agent| Firewall::Ours(Box::new(agent)))
}

fn nftables<'h>(packages: &PackageRoot, corpus: &Corpus, form: Form, host: &'h Host) -> Result<Firewall<'h>> {
    let path = host.session().directory("nft")?.join("rules.nft");
    fs::write(&path, nft::ruleset(corpus, form, "eth0"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    let find = |program: &str| {
        let found = packages.find(program).with_context(|| format!("no {program}"))?;
        Ok::<String, anyhow::Error>(found.display().to_string())
    };
    let nft = find("nft")?;
    host.run(&[&nft, "-f", &path.display().to_string()])?;
    // A veth takes frames that a program sends only where something polls it: XDP, or receive offload.
    host.run(&[&find("ethtool")?, "-K", "eth0", "gro", "on"])?;
    Ok(Firewall::Nft { host, nft })
}

impl Candidate<'_> {
    /// Packets a second that it dropped, by its own count.
    fn round(&self, tool: &Tool, rules: usize, seconds: &str) -> Result<f64> {
        let (station, size) = (self.station.to_string(), rules.to_string());
        let ifindex = interface_index(self.sender)?;
        let mut arguments = vec!["send", "--shape", SHAPE.name(), "--families", FAMILIES.name()];
        arguments.extend(["--size", &size, "--ifindex", &ifindex, "--station", &station]);
        arguments.extend(["--packets", "16384", "--seconds", seconds]);
        let before = self.firewall.dropped()?;
        let sent: Vec<Sent> = tool.ask_inside(self.sender, SENDER_CORE, &arguments)?;
        let sent = sent.first().context("the sender says nothing")?;
        // The last frames may still be on their way.
        std::thread::sleep(Duration::from_millis(50));
        let dropped = self.firewall.dropped()?.saturating_sub(before);
        ensure!(
            dropped > 0 && dropped <= sent.sent,
            "{}: {dropped} packets dropped of {} sent",
            self.name,
            sent.sent
        );
        // What a full queue lost on the way was not judged.
        #[expect(clippy::cast_precision_loss, reason = "some million packets")]
        Ok(sent.rate * (dropped as f64 / sent.sent as f64))
    }

    fn row(mut self, rules: usize) -> Row {
        self.runs.sort_by(f64::total_cmp);
        let median = self.runs.get(self.runs.len() / 2).copied().unwrap_or(0.0);
        Row { candidate: self.name.to_owned(), rules, runs: self.runs, median }
    }
}

fn interface_index(host: &Host) -> Result<String> {
    let link = host.ip("-j link show dev eth0")?;
    let link: serde_json::Value = serde_json::from_str(&link).context("ip -j did not answer JSON")?;
    let index = link.pointer("/0/ifindex").and_then(serde_json::Value::as_u64);
    index.map(|index| index.to_string()).context("ip -j named no ifindex")
}

impl Firewall<'_> {
    /// Packets dropped so far.
    fn dropped(&self) -> Result<u64> {
        match self {
            Self::Ours(agent) => {
                let labels = [("interface", "eth0"), ("verdict", "drop")];
                Ok(agent.metrics()?.count("foobar_xdp_packets_total", &labels))
            }
            Self::Nft { host, nft } => {
                let text = host.run(&[nft, "-j", "list", "tables"])?;
                let tables: serde_json::Value = serde_json::from_str(&text).context("nft is not JSON")?;
                let family = tables.pointer("/nftables/1/table/family").and_then(serde_json::Value::as_str);
                let family = family.context("nft has no table")?;
                let chain = host.run(&[nft, "-j", "list", "chain", family, "bench", "dropped"])?;
                let chain: serde_json::Value = serde_json::from_str(&chain).context("nft is not JSON")?;
                let rule = chain["nftables"].as_array().into_iter().flatten().find_map(|object| {
                    object.pointer("/rule/expr/0/counter/packets").and_then(serde_json::Value::as_u64)
                });
                rule.with_context(|| format!("nft counts nothing: {chain}"))
            }
        }
    }
}

pub(super) fn table(wire: &Wire) -> Table {
    let mut names: Vec<&str> = Vec::new();
    let mut sizes: Vec<usize> = Vec::new();
    for row in &wire.rows {
        if !names.contains(&row.candidate.as_str()) {
            names.push(&row.candidate);
        }
        if !sizes.contains(&row.rules) {
            sizes.push(row.rules);
        }
    }
    let mut header = vec!["rules".to_owned()];
    header.extend(names.iter().map(|&name| match name {
        OURS => name.to_owned(),
        form => format!("{}: {form}", wire.nftables),
    }));
    let mut table = Table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for size in sizes {
        let mut cells = vec![thousands(size as u64)];
        for name in &names {
            let row = wire.rows.iter().find(|row| row.rules == size && row.candidate == *name);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate of some million packets"
            )]
            cells.push(row.map_or_else(String::new, |row| thousands(row.median as u64)));
        }
        table.push(cells);
    }
    table
}
