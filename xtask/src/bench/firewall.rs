//! Nanoseconds a packet in the datapath, by the rules of the demo's servers, above an empty XDP
//! program in the same run. The measurement itself is the agent's own benchmark `datapath`.

use std::fmt;
use std::fs;

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use crate::demo;
use crate::{build_ebpf, process, workspace};

/// What `cargo bench --bench datapath` prints a line.
#[derive(Debug, Deserialize, Serialize)]
struct Case {
    #[serde(rename = "case")]
    name: String,
    verdict: String,
    /// Minimum, median, maximum.
    ns: [u64; 3],
    empty_ns: [u64; 3],
}

/// Every case, by family and kind of packet.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subject: &'static str,
    method: &'static str,
    cases: Vec<Case>,
}

/// Measures by the demo's rules for a server.
///
/// # Errors
/// Without root, and where something cannot be built or the kernel refuses a test run.
pub(super) fn run(quick: bool) -> Result<Report> {
    ensure!(Uid::effective().is_root(), "bench firewall loads programs into the kernel: run it as root");
    build_ebpf::run()?;
    let folder = workspace::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let (rules, path) = (demo::server_rules(), folder.join("server.toml"));
    fs::write(&path, rules.config).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = process::cargo();
    command.args(["bench", "--quiet", "--package", "foobar-agent", "--bench", "datapath", "--"]);
    command.arg("--config").arg(&path);
    for (from, to) in rules.paths {
        command.args(["--from", &from.to_string(), "--to", &to.to_string()]);
    }
    if quick {
        command.args(["--rounds", "3", "--repeat", "100000"]);
    }
    let output = process::output(&mut command)?;
    let cases = output.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    Ok(Report {
        subject: "firewall",
        method: "BPF_PROG_TEST_RUN, one packet repeated, counters on; the rules of a server of the demo; \
                 rounds of ours and of an empty XDP program in turn",
        cases: cases.with_context(|| format!("the benchmark printed something else: {output}"))?,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: nanoseconds a packet", self.subject)?;
        writeln!(f, "{}", self.method)?;
        writeln!(
            f,
            "{:<28} {:>8} {:>6} {:>6} {:>6} {:>8} {:>12}",
            "", "verdict", "min", "median", "max", "empty", "above empty"
        )?;
        for case in &self.cases {
            let [min, median, max] = case.ns;
            let empty = case.empty_ns[1];
            let above = median.saturating_sub(empty);
            writeln!(
                f,
                "{:<28} {:>8} {min:>6} {median:>6} {max:>6} {empty:>8} {above:>12}",
                case.name, case.verdict
            )?;
        }
        Ok(())
    }
}
