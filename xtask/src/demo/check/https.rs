//! What a browser does: resolve, connect, verify, ask.

use anyhow::{Context, Result, ensure};

use super::Table;
use crate::demo::Demo;
use crate::demo::browser::Browser;
use crate::demo::plan::{self, BALANCER, CLIENT, Net, SITE};

pub(super) fn check(table: &mut Table, demo: &Demo<'_>) -> Result<()> {
    table.section("names, TLS, HTTP");
    table.row(&format!("{SITE} is an alias of {BALANCER}, with A and AAAA"), || resolve(demo))?;
    for (http, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for (tls, name) in
            [(["--tlsv1.2", "--tls-max", "1.2"], "1.2"), (["--tlsv1.3", "--tls-max", "1.3"], "1.3")]
        {
            let claim = format!("/ and /app answer 200 over HTTP/{version}, TLS {name}, IPv4 and IPv6");
            table.row(&claim, || pages(demo, &[&[http], &tls[..]].concat(), version))?;
        }
    }
    table.row("an older TLS is refused", || {
        let url = Browser::https("/");
        let output = demo.browser.output(&[
            "--tlsv1.1",
            "--tls-max",
            "1.1",
            "--ciphers",
            "DEFAULT@SECLEVEL=0",
            &url,
        ])?;
        // curl 35: the TLS handshake failed.
        ensure!(output.status.code() == Some(35), "curl ended with {}", output.status);
        Ok("the handshake fails".to_owned())
    })?;
    table.row("http:// redirects to https://, path and query kept", || redirect(demo))?;
    table
        .row("the backend sees Host, X-Forwarded-For, X-Forwarded-Proto, X-Request-Id", || forwarded(demo))?;
    table.row("/cached is answered from Nginx's own cache", || cached(demo))
}

/// As the C library resolves it: the canonical name stands in the first line of an address.
fn resolve(demo: &Demo<'_>) -> Result<String> {
    let client = &demo.network.client;
    let answer = client.run(&["ip", "netns", "exec", client.name(), "getent", "ahosts", SITE])?;
    ensure!(answer.contains(BALANCER), "no alias in: {answer}");
    for address in Net::Front.addresses(plan::LB) {
        let found = answer.lines().any(|line| line.split_whitespace().next() == Some(&address.to_string()));
        ensure!(found, "{address} is missing in: {answer}\ndnsmasq said: {}", demo.dns.output());
    }
    Ok(Net::Front.addresses(plan::LB).map(|address| address.to_string()).join(", "))
}

fn pages(demo: &Demo<'_>, arguments: &[&str], version: &str) -> Result<String> {
    let mut answers = 0;
    for (family, ipv6) in [("-4", false), ("-6", true)] {
        for path in ["/", "/app"] {
            let url = Browser::https(path);
            let arguments = [arguments, &[family, &url]].concat();
            let transfer = demo.browser.fetch_one(&arguments)?;
            let report = &transfer.report;
            ensure!(
                report.status == 200
                    && report.http_version == version
                    && report.verify_result == 0
                    && report.remote_ip.contains(':') == ipv6,
                "{arguments:?}: {transfer:?}"
            );
            match path {
                "/" => ensure!(transfer.body.contains("A static page of web"), "{transfer:?}"),
                _ => ensure!(transfer.app()?.path == path, "{transfer:?}"),
            }
            answers += 1;
        }
    }
    Ok(format!("{answers} × 200"))
}

fn redirect(demo: &Demo<'_>) -> Result<String> {
    let transfer = demo.browser.fetch_one(&[&format!("http://{SITE}/app?a=b%20c")])?;
    let report = &transfer.report;
    let target = report.redirect_url.as_deref().context("no Location")?;
    ensure!(matches!(report.status, 301 | 308), "{transfer:?}");
    ensure!(target == Browser::https("/app?a=b%20c"), "{transfer:?}");
    Ok(format!("{} to {target}", report.status))
}

fn forwarded(demo: &Demo<'_>) -> Result<String> {
    let url = Browser::https("/app");
    let mut ids = Vec::new();
    for (family, client) in ["-4", "-6"].iter().zip(Net::Front.addresses(CLIENT)) {
        let answer = demo.browser.fetch_one(&[family, &url])?.app()?;
        let header = |name: &str| answer.headers.get(name).cloned().unwrap_or_default();
        ensure!(header("host") == SITE, "{answer:?}");
        ensure!(header("x-forwarded-for") == client.to_string(), "{answer:?}");
        ensure!(header("x-forwarded-proto") == "https", "{answer:?}");
        ids.push(header("x-request-id"));
    }
    ensure!(ids.iter().all(|id| id.len() >= 16) && ids[0] != ids[1], "request ids: {ids:?}");
    Ok(format!("{}, https, {}", Net::Front.addresses(CLIENT)[0], ids[0]))
}

/// Each server has a cache: of four requests two go to each, and the second to each is a hit.
fn cached(demo: &Demo<'_>) -> Result<String> {
    let urls = [(); 4].map(|()| Browser::https("/cached"));
    let arguments: Vec<&str> = ["--include"].into_iter().chain(urls.iter().map(String::as_str)).collect();
    let transfers = demo.browser.fetch(&arguments)?;
    let status = |body: &str| {
        let line = body.lines().find(|line| line.to_ascii_lowercase().starts_with("x-cache-status:"));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let seen: Vec<_> = transfers.iter().map(|transfer| status(&transfer.body)).collect();
    ensure!(seen == ["MISS", "MISS", "HIT", "HIT"], "X-Cache-Status: {seen:?}");
    Ok(seen.join(", "))
}
