//! `cargo xtask demo --check`: every claim about the demo, looked at from outside, one row each. The
//! first false one ends it.

mod balance;
mod failover;
mod https;
pub(super) mod leftovers;
mod metrics;
mod refuse;
mod reload;
mod table;

use std::time::Duration;

use anyhow::{Context, Result};

pub(super) use self::table::Table;
use super::Demo;
use super::network::Network;
use super::plan::{SERVERS, SSH_PORT, WEB_PORT};
use super::signals::Signals;
use crate::packages::PackageRoot;

/// For a single exchange on one machine.
const LIMIT: Duration = Duration::from_secs(10);

/// Without the agents the outside reaches the servers: what keeps it out later is the firewall.
pub(super) fn before_agents(table: &mut Table, network: &Network) -> Result<()> {
    table.section("before the agents start");
    table.row("the outside has a path to the servers' web and SSH ports", || {
        let mut connections = 0;
        for port in [WEB_PORT, SSH_PORT] {
            for address in SERVERS.iter().flat_map(|server| server.sockets(port)) {
                network.client.connect(address, LIMIT)?;
                connections += 1;
            }
        }
        Ok(format!("{connections} of {connections} connections"))
    })
}

/// All checks of the running demo, in an order in which none disturbs a later one.
pub(super) fn all(
    table: &mut Table,
    demo: &mut Demo<'_>,
    programs: &PackageRoot,
    signals: &Signals,
) -> Result<()> {
    https::check(table, demo)?;
    signals.check()?;
    balance::check(table, demo)?;
    signals.check()?;
    refuse::check(table, demo)?;
    signals.check()?;
    metrics::check(table, demo, programs)?;
    signals.check()?;
    failover::check(table, demo, signals)?;
    signals.check()?;
    reload::check(table, demo, signals)?;
    for agent in demo.agents() {
        agent.metrics().context("an agent no longer answers")?;
    }
    Ok(())
}
