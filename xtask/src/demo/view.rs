//! The live view: what the agents' metrics say, once a second, and what to try in another terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

use anyhow::Result;
use foobar_tests::{Agent, Metrics};

use super::Demo;
use super::browser::{Browser, Load};
use super::plan::{self, METRICS_PORT, Net, SERVERS};
use super::signals::Signals;

const REFRESH: Duration = Duration::from_secs(1);
/// What the demo's own visitor asks for, so that there is something to see.
const VISITOR_RATE: &str = "20/s";
/// Printed when everything stands.
pub(crate) const LAST_HINT: &str = "Ctrl-C ends the demo and removes all of it.";
/// Cursor to the upper left corner, and all below it cleared.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows until a signal comes.
pub(crate) fn show(demo: &Demo<'_>, signals: &Signals) -> Result<()> {
    let mut visitor = visit(demo)?;
    let terminal = stdout().is_terminal();
    let hints = hints(demo);
    if !terminal {
        println!("{hints}");
    }
    let mut last = Look::take(demo)?;
    while !signals.wait(REFRESH)? {
        visitor.expect_running()?;
        let now = Look::take(demo)?;
        let text = if terminal {
            format!("{CLEAR}{}\n{hints}\n", now.screen(&last))
        } else {
            format!("{}\n", now.line(&last))
        };
        // Nobody reading any more (a closed pipe) is no reason to fail.
        if stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()).is_err() {
            break;
        }
        last = now;
    }
    println!();
    Ok(())
}

/// A visitor who walks around at a steady pace.
fn visit(demo: &Demo<'_>) -> Result<Load> {
    let url = Browser::https("/{,app,cached}?[1-100000000]");
    demo.browser.start("visitor", &["--rate", VISITOR_RATE, "--retry", "5", "--retry-all-errors", &url])
}

/// All agents' metrics at one moment.
struct Look {
    at: Instant,
    hosts: Vec<(String, Metrics)>,
}

impl Look {
    fn take(demo: &Demo<'_>) -> Result<Self> {
        let look = |agent: &Agent<'_>| Ok((agent.host().label().to_owned(), agent.metrics()?));
        let hosts = demo.agents().into_iter().map(look).collect::<Result<_>>()?;
        Ok(Self { at: Instant::now(), hosts })
    }

    /// Pairs of what is now and what was, by host.
    fn changes<'a>(&'a self, last: &'a Self) -> impl Iterator<Item = Change<'a>> {
        let seconds = self.at.duration_since(last.at).as_secs_f64().max(f64::EPSILON);
        self.hosts.iter().zip(&last.hosts).map(move |((host, now), (_, last))| Change {
            host,
            now,
            last,
            seconds,
        })
    }

    /// The balancer's host is the first.
    fn requests_per_second(&self, last: &Self) -> f64 {
        self.changes(last).next().map_or(0.0, |change| change.rate("foobar_http_requests_total", &[]))
    }

    fn screen(&self, last: &Self) -> String {
        let mut text = format!(
            "foobar demo                       {:8.1} requests/s\n\n",
            self.requests_per_second(last)
        );
        let _ = writeln!(text, "backends");
        for (_, metrics) in self.hosts.iter().take(1) {
            for sample in metrics.matching("foobar_backend_up", &[]) {
                let name = sample.labels.get("backend").map_or("", String::as_str);
                let state = if sample.value > 0.0 { "up" } else { "DOWN" };
                let requests = metrics.count("foobar_http_requests_total", &[("backend", name)]);
                let _ = writeln!(text, "  {name:18} {state:6} {requests:>12} requests");
            }
        }
        for change in self.changes(last) {
            let [passed, dropped] = change.packets();
            let _ = writeln!(text, "\n{:8} {passed:10.0} pps passed {dropped:10.0} pps dropped", change.host);
            for sample in change.now.matching("foobar_firewall_rule_packets_total", &[]) {
                let rule = sample.labels.get("rule").map_or("", String::as_str);
                let rate = change.rate("foobar_firewall_rule_packets_total", &[("rule", rule)]);
                let _ = writeln!(text, "  {rule:24} {:>12.0} packets {rate:8.0} pps", sample.value);
            }
            for sample in change.now.matching("foobar_service_messages_total", &[]) {
                let service = sample.labels.get("service").map_or("", String::as_str);
                let rate = change.rate("foobar_service_messages_total", &[("service", service)]);
                let _ = writeln!(text, "  {:24} {:>12.0} requests {rate:7.1} /s", service, sample.value);
            }
        }
        text
    }

    fn line(&self, last: &Self) -> String {
        let mut text = format!("{:.1} requests/s", self.requests_per_second(last));
        for (_, metrics) in self.hosts.iter().take(1) {
            let _ = write!(text, ", {} backends up", metrics.count("foobar_backend_up", &[]));
        }
        for change in self.changes(last) {
            let [passed, dropped] = change.packets();
            let _ = write!(text, "; {} {passed:.0} pps passed {dropped:.0} pps dropped", change.host);
        }
        text
    }
}

/// One host's metrics at two moments.
struct Change<'a> {
    host: &'a str,
    now: &'a Metrics,
    last: &'a Metrics,
    seconds: f64,
}

impl Change<'_> {
    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        (self.now.sum(name, labels) - self.last.sum(name, labels)).max(0.0) / self.seconds
    }

    /// Passed and dropped, each a second.
    fn packets(&self) -> [f64; 2] {
        let total = self.rate("foobar_xdp_packets_total", &[]);
        let passed = self.rate("foobar_xdp_packets_total", &[("verdict", "allow")]);
        [passed, total - passed]
    }
}

/// Commands for another terminal.
fn hints(demo: &Demo<'_>) -> String {
    let inside = |host: &str, command: &str| format!("  ip netns exec {host} {command}");
    let client = demo.network.client.name();
    let [web, _] = Net::Back.addresses(SERVERS[0].station);
    let [agent, config] = [demo.lb.binary(), demo.lb.config()].map(std::path::Path::display);
    let metrics = format!("curl http://127.0.0.1:{METRICS_PORT}/metrics");
    [
        "try, in another terminal as root:".to_owned(),
        format!("  {}", demo.browser.typed(&Browser::https("/app"))),
        format!("  {}", demo.browser.typed(&format!("--head {}", Browser::https("/cached")))),
        inside(client, &format!("curl --max-time 2 http://{web}/    # dropped: see `policy` of web1")),
        inside(
            client,
            &format!("ping -c 3 {}    # dropped: see `policy` of lb", Net::Front.addresses(plan::LB)[0]),
        ),
        inside(demo.network.lb.name(), &metrics),
        format!("  {agent} status --config {config}"),
        format!("  $EDITOR {config} && {agent} reload --config {config}"),
        LAST_HINT.to_owned(),
    ]
    .join("\n")
}
