//! What the agents say of themselves.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use foobar_tests::{Agent, Metrics};

use super::Table;
use crate::demo::Demo;
use crate::demo::plan::{BACK, FRONT};
use crate::packages::PackageRoot;

/// Families that every agent of the demo has.
const EVERYWHERE: [&str; 6] = [
    "foobar_build_info",
    "foobar_xdp_packets_total",
    "foobar_xdp_bytes_total",
    "foobar_xdp_attached",
    "foobar_firewall_rule_packets_total",
    "foobar_firewall_rule_bytes_total",
];
/// Those of a host that counts a service.
const SERVICE: [&str; 1] = ["foobar_service_messages_total"];
/// Those of a host that balances.
const BALANCER: [&str; 5] = [
    "foobar_tls_handshakes_total",
    "foobar_http_requests_total",
    "foobar_http_request_duration_seconds",
    "foobar_backend_up",
    "foobar_certificate_not_after_timestamp_seconds",
];

pub(super) fn check(table: &mut Table, demo: &Demo<'_>, programs: &PackageRoot) -> Result<()> {
    table.section("metrics");
    for agent in demo.agents() {
        let host = agent.host().label();
        let (own, interfaces): (&[&str], &[&str]) =
            if host == "lb" { (&BALANCER, &[FRONT, BACK]) } else { (&SERVICE, &[BACK]) };
        let metrics = agent.metrics()?;
        table.row(&format!("{host}: /metrics has the families that its parts have"), || {
            let families: Vec<_> = EVERYWHERE.iter().chain(own).collect();
            for family in &families {
                ensure!(metrics.has_family(family), "{family} is missing in:\n{metrics}");
            }
            Ok(format!("{} families", families.len()))
        })?;
        table.row(&format!("{host}: promtool check metrics is silent"), || promtool(&metrics, programs))?;
        table.row(&format!("{host}: native XDP, said by metric, status and log"), || {
            native(agent, &metrics, interfaces)
        })?;
    }
    Ok(())
}

fn promtool(metrics: &Metrics, programs: &PackageRoot) -> Result<String> {
    let mut promtool = programs.command("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().context("cannot run promtool")?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(metrics.text().as_bytes()).context("promtool does not read")?;
    drop(input);
    let output = child.wait_with_output().context("cannot wait for promtool")?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    Ok("silent".to_owned())
}

fn native(agent: &Agent<'_>, metrics: &Metrics, interfaces: &[&str]) -> Result<String> {
    for interface in interfaces {
        let labels = [("interface", *interface), ("mode", "native")];
        ensure!(
            metrics.count("foobar_xdp_attached", &labels) == 1,
            "{interface} is not attached natively:\n{metrics}"
        );
    }
    let status = agent.control(&["status", "--json"])?;
    let status: serde_json::Value =
        serde_json::from_slice(&status.stdout).context("`status --json` is no JSON")?;
    for interface in interfaces {
        let found = status["interfaces"].as_array().into_iter().flatten();
        let mode = found.filter(|found| found["name"] == *interface).map(|found| &found["mode"]).next();
        ensure!(mode.is_some_and(|mode| mode == "native"), "`status --json` says of {interface}: {status}");
    }
    let log = agent.output();
    for interface in interfaces {
        let said = log.lines().any(|line| line.contains(interface) && line.contains("native"));
        ensure!(said, "the log does not say that {interface} is attached natively:\n{log}");
    }
    Ok(interfaces.join(", "))
}
