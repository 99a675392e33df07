//! xdp-filter of xdp-tools, which looks each packet's addresses up in hash tables: with as many sources
//! as it takes, in a namespace and on a link of its own. Its rules know no ports of an address, so it is
//! compared by sources alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use foobar_tests::corpus::{Corpus, Families, From, Shape};
use foobar_tests::{Host, Link, Process, wait};
use serde::{Deserialize, Serialize};

use super::table::{Table, thousands};
use super::tool::{Spread, Tool};
use super::{Volume, table};
use crate::packages::{self, Package, PackageRoot};
use crate::process;

const PACKAGE: Package = Package::new("xdp-tools", "XDP firewall to compare with", &["xdp-filter"]);
/// Each source is entered by a process of its own.
const ENTER_LIMIT: Duration = Duration::from_mins(2);

/// xdp-filter's packets.
#[derive(Debug, Serialize)]
pub(super) struct Filter {
    pub(super) version: String,
    pub(super) rows: Vec<Row>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) sources: usize,
    #[serde(flatten)]
    pub(super) packets: Packets,
}

/// Packets of one kind, as the benchmark prints them.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Packets {
    pub(super) family: String,
    pub(super) kind: String,
    #[serde(rename = "packets")]
    different: u64,
    #[serde(flatten)]
    pub(super) spread: Spread,
}

/// A machine that cannot run it still measures the rest: the report says why.
pub(super) fn run(tool: &Tool, volume: Volume) -> Result<Filter> {
    let packages = packages::ensure(&[PACKAGE])?;
    let version = version(&packages);
    let mut filter = Filter { version, rows: Vec::new(), missing: None };
    for &sources in volume.pick(&[1, 10][..], &[1, 10, 100, 1000]) {
        eprintln!("measuring xdp-filter with {} sources", thousands(sources as u64));
        for families in [Families::V4, Families::V6] {
            match measure(tool, &packages, volume, sources, families) {
                Ok(rows) => filter.rows.extend(rows),
                Err(error) => {
                    filter.missing = Some(format!("{error:#}"));
                    return Ok(filter);
                }
            }
        }
    }
    Ok(filter)
}

fn measure(
    tool: &Tool,
    packages: &PackageRoot,
    volume: Volume,
    sources: usize,
    families: Families,
) -> Result<Vec<Row>> {
    let (host, peer) = (Host::new("filter")?, Host::new("filter-peer")?);
    let _link = Link::between((&host, "eth0"), (&peer, "eth0"))?;
    let folder = host.session().directory("filter")?;
    let _running = start(&host, packages, &folder, &Corpus::new(Shape::Sources, families, sources))?;
    let id = program_id(&host)?.to_string();
    let size = sources.to_string();
    let mut arguments = vec!["foreign", "--id", &id, "--shape", Shape::Sources.name()];
    arguments.extend(["--families", families.name(), "--size", &size]);
    arguments.extend(["--packets", volume.pick("1024", "65536")]);
    arguments.extend(volume.options());
    let rows = tool.ask::<Packets>(&arguments)?;
    Ok(rows.into_iter().map(|packets| Row { sources, packets }).collect())
}

/// Loads it with the sources of a corpus. Its maps are pinned in a bpf file system that the process
/// alone sees: they last as long as that runs.
fn start(host: &Host, packages: &PackageRoot, folder: &Path, corpus: &Corpus) -> Result<Process> {
    let sources = corpus.rules.iter().filter_map(|rule| match rule.from {
        From::Network(network) => network.to_string().split('/').next().map(str::to_owned),
        _ => None,
    });
    let list = folder.join("sources");
    let text = sources.collect::<Vec<_>>().join("\n") + "\n";
    fs::write(&list, text).with_context(|| format!("cannot write {}", list.display()))?;
    let program = packages.find("xdp-filter").context("xdp-tools has no xdp-filter")?;
    let script = format!(
        "set -e; mount -t bpf bpf /sys/fs/bpf; exec 3<'{list}'\n\
         '{program}' load --mode native --policy allow --features ipv4,ipv6 eth0\n\
         while read -r source <&3; do '{program}' ip --mode src \"$source\" >/dev/null; done\n\
         echo ready; exec sleep infinity",
        list = list.display(),
        program = program.display(),
    );
    let mut command = host.command("unshare")?;
    // Its program alone, without the dispatcher that several would share: the cheaper way.
    command.args(["--mount", "sh", "-c", &script]).env("LIBXDP_SKIP_DISPATCHER", "1");
    if let Some(objects) = unpacked(packages, "usr/lib/x86_64-linux-gnu/bpf") {
        command.env("LIBXDP_OBJECT_PATH", objects);
    }
    let mut process = Process::spawn("xdp-filter", command, &folder.join("xdp-filter.log"))?;
    wait::until("xdp-filter has all its sources", ENTER_LIMIT, || {
        process.expect_running()?;
        Ok(process.output().lines().any(|line| line == "ready").then_some(()))
    })?;
    Ok(process)
}

/// The number of the program on the interface.
fn program_id(host: &Host) -> Result<u64> {
    let link = host.ip("-j link show dev eth0")?;
    let link: serde_json::Value = serde_json::from_str(&link).context("ip -j did not answer JSON")?;
    let id = link.pointer("/0/xdp/prog/id").and_then(serde_json::Value::as_u64);
    id.with_context(|| format!("no XDP program on the interface: {link}"))
}

/// A file or folder of the package, where it is not installed but unpacked.
fn unpacked(packages: &PackageRoot, path: &str) -> Option<PathBuf> {
    let program = packages.find("xdp-filter")?;
    let tree = program.parent()?.parent()?;
    Some(tree.join(path)).filter(|path| path.exists())
}

/// It does not tell its version itself; the first line of its changelog does: `xdp-tools (1.3.1-1) …`.
fn version(packages: &PackageRoot) -> String {
    let changelog = unpacked(packages, "usr/share/doc/xdp-tools/changelog.Debian.gz")
        .unwrap_or_else(|| PathBuf::from("/usr/share/doc/xdp-tools/changelog.Debian.gz"));
    let text = process::output(Command::new("zcat").arg(changelog)).unwrap_or_default();
    let version = text.split(['(', ')']).nth(1).unwrap_or_default();
    format!("xdp-filter {version}").trim().to_owned()
}

pub(super) fn table(filter: &Filter) -> Table {
    let mut table =
        Table::new(&["sources", "packet", "kind", "min", "median", "max", "empty", "above empty"]);
    for Row { sources, packets } in &filter.rows {
        let kind = match packets.different {
            1 => packets.kind.clone(),
            different => format!("{} different", thousands(different)),
        };
        let mut cells = vec![thousands(*sources as u64), packets.family.clone(), kind];
        cells.extend(table::figures(&packets.spread));
        table.push(cells);
    }
    table
}
