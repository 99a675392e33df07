//! Reloads: all or nothing, and nobody's connection ends.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use foobar_tests::frame::{Frame, Packet, Transport};
use foobar_tests::wait;
use foobar_tests::wire::Wire;

use super::{LIMIT, Table};
use crate::demo::Demo;
use crate::demo::browser::{Browser, Load};
use crate::demo::plan::{CLIENT, FIRST_PORT, FRONT, LB, Net, SERVERS};
use crate::demo::settings::LbSettings;
use crate::demo::signals::Signals;

/// Packets sent to see a rule's counter move.
const PACKETS: u16 = 20;
/// Discard (RFC 863): nobody listens there, and no other rule names it.
const PROBE_PORT: u16 = 9;

pub(super) fn check(table: &mut Table, demo: &mut Demo<'_>, signals: &Signals) -> Result<()> {
    table.section("reload, under load");
    let url = Browser::https("/app?[1-10000000]");
    let start = |(n, version): (usize, &str)| demo.browser.start(&format!("reload-{n}"), &[version, &url]);
    let mut loads =
        ["--http1.1", "--http2"].into_iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let outcome = reloads(table, demo, &mut loads);
    let transfers = loads.into_iter().map(Load::stop).collect::<Result<Vec<_>>>()?;
    outcome?;
    signals.check()?;
    table.row("no connection ended and no request failed meanwhile", || {
        for transfers in &transfers {
            super::balance::by_host(transfers)?;
            let connections: u32 = transfers.iter().map(|transfer| transfer.report.num_connects).sum();
            ensure!(connections == 1, "{connections} connections instead of one");
        }
        let requests: usize = transfers.iter().map(Vec::len).sum();
        Ok(format!("{requests} requests over {} connections", transfers.len()))
    })
}

fn reloads(table: &mut Table, demo: &mut Demo<'_>, loads: &mut [Load]) -> Result<()> {
    let changed = LbSettings { families: [0, 1], rules: probe_rule("probe"), ..LbSettings::default() };
    table.row("`foobar-agent reload` brings a new rule and a backend's new address", || {
        demo.lb.write(&changed.text(&demo.authority))?;
        demo.lb.reload()?;
        applied(demo, "probe", 1, loads)
    })?;
    let changed_again = LbSettings { families: [1, 0], rules: probe_rule("probe-again"), ..changed };
    table.row("SIGHUP does the same", || {
        demo.lb.write(&changed_again.text(&demo.authority))?;
        demo.lb.hang_up()?;
        demo.lb.metrics_until("the new rule is there", LIMIT, |metrics| {
            metrics
                .matching("foobar_firewall_rule_packets_total", &[("rule", "probe-again")])
                .next()
                .is_some()
        })?;
        applied(demo, "probe-again", 0, loads)
    })?;
    table.row("a broken file changes nothing and says file, line and column", || {
        broken(demo, &changed_again.text(&demo.authority))?;
        applied(demo, "probe-again", 0, loads)
    })?;
    demo.lb.write(&LbSettings::default().text(&demo.authority))?;
    demo.lb.reload().map(drop)
}

fn probe_rule(name: &str) -> String {
    format!(
        "\n[[firewall.rules]]\nname = \"{name}\"\naction = \"drop\"\nprotocol = \"udp\"\nport = {PROBE_PORT}\n"
    )
}

/// The rule counts what is sent to it, exactly, and the backend that moved to IPv6 is asked there.
fn applied(demo: &Demo<'_>, rule: &str, moved: usize, loads: &mut [Load]) -> Result<String> {
    let count = |metrics: &foobar_tests::Metrics| {
        metrics.count("foobar_firewall_rule_packets_total", &[("rule", rule)])
    };
    let before = count(&demo.lb.metrics()?);
    send_probes(demo)?;
    let sent = u64::from(PACKETS);
    demo.lb.metrics_until(&format!("`{rule}` counts {sent} packets"), LIMIT, |metrics| {
        count(metrics) - before == sent
    })?;

    let [_, address] = Net::Back.addresses(SERVERS[moved].station);
    let asked = || -> Result<usize> {
        let log = demo.webs[moved].access_log()?;
        Ok(log.iter().filter(|line| line.split(' ').nth(1) == Some(&address.to_string())).count())
    };
    let before = asked()?;
    wait::until(&format!("{} is asked at {address}", SERVERS[moved].name), LIMIT, || {
        loads.iter_mut().try_for_each(Load::expect_running)?;
        Ok((asked()? > before).then_some(()))
    })?;
    Ok(format!("`{rule}` counts {sent} of {sent}; {} asked at {address}", SERVERS[moved].name))
}

fn send_probes(demo: &Demo<'_>) -> Result<()> {
    let (client, lb) = (&demo.network.client, &demo.network.lb);
    let wire = Wire::open(client, FRONT)?;
    let frame = Frame::new(client.mac(FRONT)?, lb.mac(FRONT)?);
    let [from, _] = Net::Front.addresses(CLIENT);
    let [to, _] = Net::Front.addresses(LB).map(|address| SocketAddr::new(address, PROBE_PORT));
    for n in 0..PACKETS {
        let packet = Packet::new(from, to.ip(), Transport::udp(FIRST_PORT + n, to.port(), b"probe"));
        wire.send(&frame.packet(&packet))?;
    }
    Ok(())
}

/// An error in the middle of a file that is otherwise the running one.
fn broken(demo: &Demo<'_>, good: &str) -> Result<()> {
    let before = demo.lb.metrics()?;
    let wrong = "action = \"perhaps\"";
    let text = good.replacen("action = \"allow\"", wrong, 1);
    let line = 1 + text.lines().position(|line| line == wrong).context("nothing was replaced")?;
    demo.lb.write(&text)?;
    let output = demo.lb.control(&["reload"])?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(!output.status.success(), "`foobar-agent reload` succeeded with a broken file: {said}");
    let place = format!("{}:{line}:10", demo.lb.config().display());
    ensure!(said.contains(&place), "no {place} in: {said}");
    let now = demo.lb.metrics()?;
    let rules = |metrics: &foobar_tests::Metrics| {
        let samples = metrics.matching("foobar_firewall_rule_packets_total", &[]);
        samples.map(|sample| sample.labels.clone()).collect::<Vec<_>>()
    };
    ensure!(rules(&now) == rules(&before), "the rules changed");
    Ok(())
}
