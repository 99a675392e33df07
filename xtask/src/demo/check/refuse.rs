//! What must not get through, and that each packet refused is counted where it was refused.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use foobar_tests::frame::{Frame, Mac, Packet, Transport};
use foobar_tests::wire::Wire;
use foobar_tests::{Agent, Host, Metrics};

use super::{LIMIT, Table};
use crate::demo::Demo;
use crate::demo::plan::{self, BACK, CLIENT, FRONT, LB, METRICS_PORT, Net, SERVERS, SSH_PORT, WEB_PORT};
use crate::demo::settings::SSH_RULE;

/// Packets sent to each port in each family.
const PACKETS: u16 = 100;
/// Shorter than the second after which a first SYN is repeated.
const UNANSWERED: Duration = Duration::from_millis(300);
const POLICY: &str = "policy";
const RULE_PACKETS: &str = "foobar_firewall_rule_packets_total";

/// Where packets are sent from, and with which addresses.
struct Sender<'a> {
    name: &'a str,
    host: &'a Host,
    wire: Wire,
    mac: Mac,
    next_hop: Mac,
    addresses: [IpAddr; 2],
}

/// Whose counters are read.
struct Guard<'a> {
    agent: &'a Agent<'a>,
    interface: &'a str,
}

pub(super) fn check(table: &mut Table, demo: &Demo<'_>) -> Result<()> {
    table.section("the firewall refuses, and counts what it refuses");
    let network = demo.network;
    let outside = Sender::new(
        "the outside",
        &network.client,
        FRONT,
        network.router.mac("front")?,
        Net::Front.addresses(CLIENT),
    )?;
    let guard = Guard { agent: &demo.lb, interface: FRONT };
    for (port, what) in [(SSH_PORT, "SSH"), (METRICS_PORT, "metrics")] {
        let targets = Net::Front.addresses(LB).map(|address| SocketAddr::new(address, port));
        let near = Sender {
            next_hop: network.lb.mac(FRONT)?,
            ..Sender::new("the outside", &network.client, FRONT, Mac::BROADCAST, outside.addresses)?
        };
        refused(table, &near, &guard, "lb", what, targets, POLICY)?;
    }
    for (n, server) in SERVERS.into_iter().enumerate() {
        let guard = Guard { agent: &demo.servers[n], interface: BACK };
        let balancer = Sender::new(
            "the balancer",
            &network.lb,
            BACK,
            network.webs[n].mac(BACK)?,
            Net::Back.addresses(LB),
        )?;
        for (port, what, rule) in
            [(WEB_PORT, "web", POLICY), (SSH_PORT, "SSH", SSH_RULE), (METRICS_PORT, "metrics", POLICY)]
        {
            refused(table, &outside, &guard, server.name, what, server.sockets(port), rule)?;
            if port != WEB_PORT {
                refused(table, &balancer, &guard, server.name, what, server.sockets(port), rule)?;
            }
        }
        table.row(&format!("the balancer reaches the web port of {}", server.name), || {
            for address in server.sockets(WEB_PORT) {
                network.lb.connect(address, LIMIT)?;
            }
            Ok("connected, IPv4 and IPv6".to_owned())
        })?;
    }
    Ok(())
}

/// One row: nobody answers, and of N packets in each family N are counted by the rule that should.
fn refused(
    table: &mut Table,
    from: &Sender<'_>,
    guard: &Guard<'_>,
    to: &str,
    what: &str,
    targets: [SocketAddr; 2],
    rule: &str,
) -> Result<()> {
    let claim = format!("{} cannot reach the {what} port of {to}; `{rule}` counts it", from.name);
    table.row(&claim, || {
        for target in targets {
            // Also makes neighbours known, so that no later packet waits for an address.
            if from.host.connect(target, UNANSWERED).is_ok() {
                bail!("{target} answered");
            }
        }
        let before = guard.agent.metrics()?;
        for (source, target) in from.addresses.into_iter().zip(targets) {
            for n in 0..PACKETS {
                from.send(source, target, n)?;
            }
        }
        let sent = 2 * u64::from(PACKETS);
        let counted = |now: &Metrics| {
            let delta =
                |name: &str, labels: &[(&str, &str)]| now.count(name, labels) - before.count(name, labels);
            let interface = [("interface", guard.interface), ("verdict", "drop")];
            [delta(RULE_PACKETS, &[("rule", rule)]), delta("foobar_xdp_packets_total", &interface)]
        };
        let all = |now: &Metrics| counted(now).iter().all(|count| *count >= sent);
        guard.agent.metrics_until(&format!("{sent} packets are counted"), LIMIT, all)?;
        // A second look: what is counted too often must not hide behind a scrape that came too early.
        let now = guard.agent.metrics()?;
        ensure!(counted(&now) == [sent; 2], "sent {sent}, counted {:?} (rule, interface)", counted(&now));
        Ok(format!("sent {sent}, counted {}", counted(&now)[0]))
    })
}

impl<'a> Sender<'a> {
    fn new(
        name: &'a str,
        host: &'a Host,
        interface: &str,
        next_hop: Mac,
        addresses: [IpAddr; 2],
    ) -> Result<Self> {
        let mac = host.mac(interface)?;
        Ok(Self { name, host, wire: Wire::open(host, interface)?, mac, next_hop, addresses })
    }

    /// The first segment of a connection that nobody means, each from another port.
    fn send(&self, from: IpAddr, to: SocketAddr, n: u16) -> Result<()> {
        let packet = Packet::new(from, to.ip(), Transport::syn(plan::FIRST_PORT + n, to.port()));
        self.wire.send(&Frame::new(self.mac, self.next_hop).packet(&packet))
    }
}
