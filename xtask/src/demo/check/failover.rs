//! A server that dies and comes back, under load; and one that only stands by.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foobar_tests::wait;

use super::balance::by_host;
use super::{LIMIT, Table};
use crate::demo::Demo;
use crate::demo::browser::{Browser, Load, Transfer};
use crate::demo::plan::SERVERS;
use crate::demo::services::SLOW_BYTES;
use crate::demo::settings::LbSettings;
use crate::demo::signals::Signals;

/// More requests than a load can make before it is stopped.
const ENDLESS: &str = "/app?[1-10000000]";
/// Answers to wait for before and after each event.
const SOME: usize = 100;
/// curl 18 (HTTP/1.1) and 92 (HTTP/2): the body ended early, and the client noticed.
const CURL_TRUNCATED: [u32; 2] = [18, 92];
/// The connect check runs every second; this many of them may be needed on a busy machine.
const NOTICE: Duration = Duration::from_secs(15);

pub(super) fn check(table: &mut Table, demo: &mut Demo<'_>, signals: &Signals) -> Result<()> {
    table.section("failure of a server");
    let mut loads = start(demo)?;
    let outcome = outage(table, demo, &mut loads);
    let transfers: Vec<Transfer> =
        loads.into_iter().map(Load::stop).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    outcome?;
    signals.check()?;
    table.row("no request was lost while Nginx of web1 was killed and came back", || {
        let (truncated, whole): (Vec<_>, Vec<_>) = transfers.into_iter().partition(is_truncated);
        let hosts = by_host(&whole)?;
        Ok(format!("{hosts:?}, visibly truncated {}", truncated.len()))
    })?;
    table.row("a response that had begun ends visibly truncated, never as complete", || truncation(demo))?;
    standby(table, demo)
}

/// Four clients on keep-alive connections.
fn start(demo: &Demo<'_>) -> Result<Vec<Load>> {
    let url = Browser::https(ENDLESS);
    let start = |n: usize| {
        let version = if n.is_multiple_of(2) { "--http1.1" } else { "--http2" };
        demo.browser.start(&format!("failover-{n}"), &[version, &url])
    };
    (0..4).map(start).collect()
}

fn outage(table: &mut Table, demo: &mut Demo<'_>, loads: &mut [Load]) -> Result<()> {
    let dead = SERVERS[0].name;
    more_answers(loads, dead)?;
    demo.webs[0].kill_nginx()?;
    table.row("a killed Nginx is noticed, and the other server takes all", || {
        backend_up(demo, dead, 0)?;
        more_answers(loads, SERVERS[1].name)?;
        Ok(format!("foobar_backend_up{{backend=\"{dead}\"}} 0"))
    })?;
    demo.webs[0].start_nginx()?;
    table.row("traffic returns to it when it is back", || {
        backend_up(demo, dead, 1)?;
        more_answers(loads, dead)?;
        Ok(format!("{SOME} further answers of {dead}"))
    })
}

/// Waits until the loads together have received some more answers of a host.
fn more_answers(loads: &mut [Load], host: &str) -> Result<()> {
    let count = |loads: &[Load]| -> Result<usize> {
        let transfers: Vec<Transfer> =
            loads.iter().map(Load::so_far).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        Ok(transfers.iter().filter(|transfer| transfer.app().is_ok_and(|answer| answer.host == host)).count())
    };
    let before = count(loads)?;
    wait::until(&format!("{SOME} further answers come from {host}"), LIMIT, || {
        loads.iter_mut().try_for_each(Load::expect_running)?;
        Ok((count(loads)? >= before + SOME).then_some(()))
    })
}

fn backend_up(demo: &Demo<'_>, backend: &str, up: u64) -> Result<()> {
    let what = format!("foobar_backend_up of {backend} is {up}");
    demo.lb
        .metrics_until(&what, NOTICE, |metrics| {
            metrics.count("foobar_backend_up", &[("backend", backend)]) == up
        })
        .map(drop)
}

/// The response had begun, and its end is missing.
fn is_truncated(transfer: &Transfer) -> bool {
    transfer.report.status == 200 && CURL_TRUNCATED.contains(&transfer.report.exitcode)
}

/// Two slow responses of each server, over HTTP/1.1 and HTTP/2; then one server dies.
fn truncation(demo: &mut Demo<'_>) -> Result<String> {
    let url = Browser::https("/slow");
    let mut loads = Vec::new();
    for (n, version) in ["--http1.1", "--http1.1", "--http2", "--http2"].into_iter().enumerate() {
        let load = demo.browser.start(&format!("slow-{n}"), &[version, &url])?;
        // One after the other, so that both versions go to both servers.
        wait::until("a slow response begins", LIMIT, || Ok(load.has_begun().then_some(())))?;
        loads.push(load);
    }
    demo.webs[0].kill_nginx()?;
    let mut seen = Vec::new();
    for load in loads {
        let transfer = load.finish()?.pop().context("curl said nothing")?;
        let [whole, truncated] = [transfer.body.len() == SLOW_BYTES, is_truncated(&transfer)];
        let report = &transfer.report;
        ensure!(
            whole != truncated && whole == (report.exitcode == 0),
            "{} bytes: {report:?}",
            transfer.body.len()
        );
        seen.push((report.http_version.clone(), truncated));
    }
    demo.webs[0].start_nginx()?;
    backend_up(demo, SERVERS[0].name, 1)?;
    seen.sort();
    let expected = [("1.1", false), ("1.1", true), ("2", false), ("2", true)];
    ensure!(seen.iter().map(|(version, cut)| (version.as_str(), *cut)).eq(expected), "{seen:?}");
    Ok("of each version one whole, one truncated".to_owned())
}

/// Active-passive: the second server takes traffic only while the first is down.
fn standby(table: &mut Table, demo: &mut Demo<'_>) -> Result<()> {
    let [active, passive] = SERVERS.map(|server| server.name);
    demo.lb.write(&LbSettings { backup: true, ..LbSettings::default() }.text(&demo.authority))?;
    demo.lb.reload()?;
    table.row("with `backup = true` web2 takes nothing while web1 is up", || only(demo, active))?;
    demo.webs[0].kill_nginx()?;
    table.row("it takes all while web1 is down", || {
        backend_up(demo, active, 0)?;
        only(demo, passive)
    })?;
    demo.webs[0].start_nginx()?;
    table.row("and gives it back", || {
        backend_up(demo, active, 1)?;
        only(demo, active)
    })?;
    demo.lb.write(&LbSettings::default().text(&demo.authority))?;
    demo.lb.reload().map(drop)
}

/// A number of requests, all answered by one host.
fn only(demo: &Demo<'_>, host: &str) -> Result<String> {
    let hosts = by_host(&demo.browser.fetch(&[&Browser::https(&format!("/app?[1-{SOME}]"))])?)?;
    ensure!(hosts.get(host).context("no answer of this host")? == &SOME, "{hosts:?}");
    Ok(format!("{hosts:?}"))
}
