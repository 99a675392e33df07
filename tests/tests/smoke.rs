//! A host's whole life under a kernel, seen by a real client of a real server: what is allowed gets
//! through, what is not does not, over reload, kill -9, restart and detach.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use foobar_tests::bpffs::Bpffs;
use foobar_tests::{Agent, Host, Link, Metrics, Process, agent, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// How long the client waits for a connection, as curl takes it: more than a slow machine needs.
const PATIENCE_SECONDS: &str = "3";

const SERVED: &str = "served\n";
const ADDRESSES: [&str; 2] = ["192.0.2.2", "[2001:db8::2]"];

fn rules(port: u16) -> String {
    format!(
        "[firewall]\ninterfaces = [\"eth0\"]\nmode = \"native\"\ndefault = \"drop\"\n[[firewall.rules]]\n\
         name = \"web\"\naction = \"allow\"\nprotocol = \"tcp\"\nport = {port}\n"
    )
}

/// A program of a host's: the one that a variable names, or that of the machine.
fn program(host: &Host, variable: &str, name: &str) -> Command {
    host.command(std::env::var_os(variable).unwrap_or_else(|| OsString::from(name))).unwrap()
}

/// A client, and a host with web servers on two ports.
struct Bench {
    client: Host,
    host: Host,
    _servers: Vec<Process>,
}

impl Bench {
    fn new(folder: &Path, client: Host, host: Host) -> Self {
        Link::between((&client, "eth0"), (&host, "eth0")).unwrap();
        for (end, number) in [(&client, 1), (&host, 2)] {
            end.address("eth0", &format!("192.0.2.{number}/24")).unwrap();
            end.address("eth0", &format!("2001:db8::{number}/64")).unwrap();
        }
        let content = folder.join("content");
        fs::create_dir(&content).unwrap();
        fs::write(content.join("index.html"), SERVED).unwrap();
        let servers = [80, 81].map(|port: u16| {
            let mut command = program(&host, "FOOBAR_BUSYBOX", "busybox");
            command.args(["httpd", "-f", "-p", &port.to_string(), "-h"]).arg(&content);
            Process::spawn("web server", command, &folder.join(format!("{port}.log"))).unwrap()
        });
        let bench = Self { client, host, _servers: servers.into() };
        for port in [80, 81] {
            let served = || Ok((bench.gets(port) == [true; 2]).then_some(()));
            wait::until("the server answers", LIMIT, served).unwrap();
        }
        bench
    }

    /// Whether the client gets the page from a port, over IPv4 and over IPv6.
    fn gets(&self, port: u16) -> [bool; 2] {
        ADDRESSES.map(|address| {
            let mut client = program(&self.client, "FOOBAR_CURL", "curl");
            client.args(["--silent", "--noproxy", "*", "--connect-timeout", PATIENCE_SECONDS]);
            let output = client.arg(format!("http://{address}:{port}/")).output().unwrap();
            output.status.success() && output.stdout == SERVED.as_bytes()
        })
    }

    /// The client gets the page from the first port and nothing from the second.
    fn expect(&self, allowed: u16, refused: u16) {
        assert_eq!(self.gets(allowed), [true; 2], "port {allowed} is allowed");
        assert_eq!(self.gets(refused), [false; 2], "port {refused} is refused");
    }
}

fn packets(metrics: &Metrics, rule: &str) -> u64 {
    metrics.count("foobar_firewall_rule_packets_total", &[("rule", rule)])
}

#[test]
fn what_is_allowed_gets_through_and_nothing_else_over_a_whole_life() {
    let (client, host) = (Host::new("client").unwrap(), Host::new("host").unwrap());
    let folder = host.session().directory("smoke").unwrap();
    let bench = Bench::new(&folder, client, host);
    let _bpffs = Bpffs::mount(&folder.join("bpf")).unwrap();
    let start =
        || Agent::start_in(&agent::binary().unwrap(), &bench.host, &folder, None, &rules(80)).unwrap();

    let mut agent = start();
    let attached = [("interface", "eth0"), ("mode", "native")];
    let metrics = agent.metrics().unwrap();
    assert_eq!(metrics.count("foobar_xdp_attached", &attached), 1, "{metrics}");
    bench.expect(80, 81);
    let metrics = agent.metrics().unwrap();
    let counted = packets(&metrics, "web");
    // A request takes more than its SYN, and a SYN to the closed port goes out in each family.
    assert!(counted > 4 && packets(&metrics, "policy") >= 2, "{metrics}");

    agent.write(&rules(81)).unwrap();
    agent.reload().unwrap();
    bench.expect(81, 80);
    assert!(packets(&agent.metrics().unwrap(), "web") > counted);

    agent.process().kill().unwrap();
    drop(agent);
    bench.expect(81, 80);

    let agent = start();
    bench.expect(80, 81);
    assert!(packets(&agent.metrics().unwrap(), "web") > 2 * counted);
    let detached = agent.control(&["detach"]).unwrap();
    assert!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
    assert_eq!([bench.gets(80), bench.gets(81)], [[true; 2]; 2], "nothing is judged any more");
}
