//! Round robin, and the three independent counts of the same requests.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use foobar_tests::wait;

use super::{LIMIT, Table};
use crate::demo::Demo;
use crate::demo::browser::{Browser, Transfer};
use crate::demo::plan::{SERVERS, SITE};

/// Concurrent clients, one connection each, so that all cores of the balancer are in it.
const CLIENTS: usize = 8;
/// Requests of each.
const REQUESTS: usize = 125;

pub(super) fn check(table: &mut Table, demo: &Demo<'_>) -> Result<()> {
    table.section("balancing");
    let before = counts(demo)?;
    let half = CLIENTS * REQUESTS / 2;
    table.row("1,000 requests over 8 connections are spread exactly 500/500", || {
        let hosts = by_host(&run(demo)?)?;
        ensure!(SERVERS.iter().all(|server| hosts.get(server.name) == Some(&half)), "{hosts:?}");
        Ok(format!("{hosts:?}"))
    })?;
    table.row("balancer, kernel and Nginx's access log count the same requests", || {
        let expected = [u64::try_from(half)?; 3];
        let look = || {
            let now = counts(demo)?;
            let seen: Vec<[u64; 3]> = now
                .iter()
                .zip(&before)
                .map(|(now, before)| std::array::from_fn(|i| now[i] - before[i]))
                .collect();
            Ok(Some(seen.clone()).filter(|seen| seen.iter().all(|seen| *seen == expected)))
        };
        match wait::until("all counts are 500 (balancer, kernel, log)", LIMIT, look) {
            Ok(seen) => Ok(format!("web1 {:?}, web2 {:?}", seen[0], seen[1])),
            Err(error) => Err(error.context(format!("before {before:?}, now {:?}", counts(demo)?))),
        }
    })
}

/// Half of the clients speak HTTP/1.1, half HTTP/2.
fn run(demo: &Demo<'_>) -> Result<Vec<Transfer>> {
    let url = Browser::https(&format!("/app?[1-{REQUESTS}]"));
    let start = |n: usize| {
        let version = if n.is_multiple_of(2) { "--http1.1" } else { "--http2" };
        demo.browser.start(&format!("balance-{n}"), &[version, &url])
    };
    let loads = (0..CLIENTS).map(start).collect::<Result<Vec<_>>>()?;
    let mut transfers = Vec::new();
    for load in loads {
        transfers.extend(load.finish()?);
    }
    Ok(transfers)
}

/// How many answers each host gave; every one must be a whole 200.
pub(super) fn by_host(transfers: &[Transfer]) -> Result<BTreeMap<String, usize>> {
    let mut hosts = BTreeMap::new();
    for transfer in transfers {
        ensure!(transfer.report.exitcode == 0 && transfer.report.status == 200, "{transfer:?}");
        *hosts.entry(transfer.app()?.host).or_insert(0) += 1;
    }
    Ok(hosts)
}

/// For each server: requests counted by the balancer, by the kernel of the server, by its Nginx.
fn counts(demo: &Demo<'_>) -> Result<Vec<[u64; 3]>> {
    let balancer = demo.lb.metrics()?;
    let count = |(n, server): (usize, &crate::demo::plan::Server)| {
        let labels = [("site", SITE), ("backend", server.name)];
        let kernel = demo.servers[n].metrics()?;
        let log = demo.webs[n].access_log()?.len();
        Ok([
            balancer.count("foobar_http_requests_total", &labels),
            kernel.count("foobar_service_messages_total", &[("service", "nginx")]),
            u64::try_from(log)?,
        ])
    };
    SERVERS.iter().enumerate().map(count).collect()
}
