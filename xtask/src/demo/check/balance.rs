//! Round robin, and the three independent counts of the same requests.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use foobar_tests::{Agent, wait};

use super::{LIMIT, Table};
use crate::demo::Demo;
use crate::demo::browser::{Browser, Transfer};
use crate::demo::plan::{SERVERS, SITE};

/// Concurrent clients, one connection each. The kernel deals connections out to the balancer's cores
/// by a hash; that one core of two gets none of so many happens once in half a million runs.
const CLIENTS: usize = 20;
/// Requests of each.
const REQUESTS: usize = 50;
/// What each server gets of them.
const HALF: usize = CLIENTS * REQUESTS / 2;

pub(super) fn check(table: &mut Table, demo: &Demo<'_>) -> Result<()> {
    table.section("balancing");
    let mut before = [[0; 3]; 2];
    table.row("all requests so far are counted alike by balancer, kernel and Nginx's log", || {
        before = agreed(demo, |counts| counts.iter().all(|[first, others @ ..]| others == &[*first; 2]))?;
        Ok(format!("web1 {}, web2 {}", before[0][0], before[1][0]))
    })?;
    let work_before = work(&demo.lb)?;
    table.row("1,000 requests over 20 connections are spread exactly 500/500", || {
        let hosts = by_host(&run(demo)?)?;
        ensure!(SERVERS.iter().all(|server| hosts.get(server.name) == Some(&HALF)), "{hosts:?}");
        Ok(format!("{hosts:?}"))
    })?;
    table.row("balancer, kernel and Nginx's log count these 1,000 alike", || {
        let expected = u64::try_from(HALF)?;
        let all_counted = |counts: &Counts| {
            let pairs = counts.iter().flatten().zip(before.iter().flatten());
            pairs.into_iter().all(|(now, before)| now - before == expected)
        };
        agreed(demo, all_counted).with_context(|| format!("before: {before:?}"))?;
        Ok(format!("{expected} each, on both servers"))
    })?;
    table
        .row("more than one core of the balancer had a part in it", || shares(&work_before, &work(&demo.lb)?))
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
type Counts = [[u64; 3]; 2];

/// Waits until the counts please: a response may reach the client before all have counted it.
fn agreed(demo: &Demo<'_>, please: impl Fn(&Counts) -> bool) -> Result<Counts> {
    let mut last = [[0; 3]; 2];
    let look = || {
        last = counts(demo)?;
        Ok(Some(last).filter(&please))
    };
    wait::until("balancer, kernel and log agree", LIMIT, look).with_context(|| format!("last: {last:?}"))
}

fn counts(demo: &Demo<'_>) -> Result<Counts> {
    let balancer = demo.lb.metrics()?;
    let mut counts = [[0; 3]; 2];
    for (n, server) in SERVERS.into_iter().enumerate() {
        let labels = [("site", SITE), ("backend", server.name)];
        let kernel = demo.servers[n].metrics()?;
        counts[n] = [
            balancer.count("foobar_http_requests_total", &labels),
            kernel.count("foobar_service_messages_total", &[("service", "nginx")]),
            u64::try_from(demo.webs[n].access_log()?.len())?,
        ];
    }
    Ok(counts)
}

/// Nanoseconds on a processor of each of the balancer's worker threads, which have numbers for names.
fn work(agent: &Agent<'_>) -> Result<BTreeMap<String, u64>> {
    let mut work = BTreeMap::new();
    let threads = fs::read_dir(format!("/proc/{}/task", agent.id())).context("the agent has no threads")?;
    for thread in threads {
        let thread = thread?.path();
        let read = |name: &str| {
            fs::read_to_string(thread.join(name)).with_context(|| format!("cannot read {}", thread.display()))
        };
        let name = read("comm")?.trim().to_owned();
        if name.strip_prefix("balancer-").is_some_and(|core| core.parse::<u32>().is_ok()) {
            let time = read("schedstat")?;
            let time = time.split(' ').next().and_then(|time| time.parse().ok());
            work.insert(name, time.context("schedstat does not begin with a number")?);
        }
    }
    Ok(work)
}

/// On a machine of one processor there is nothing to share. A thread without a connection does less
/// than a fiftieth of the work.
fn shares(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Result<String> {
    let spent: Vec<u64> =
        after.iter().map(|(name, time)| time - before.get(name).copied().unwrap_or_default()).collect();
    let total: u64 = spent.iter().sum();
    let at_work = spent.iter().filter(|&&time| time > total / 50).count();
    ensure!(at_work >= spent.len().min(2), "nanoseconds of each thread: {spent:?}");
    let shares: Vec<String> = spent.iter().map(|time| format!("{} %", time * 100 / total.max(1))).collect();
    Ok(shares.join(", "))
}
