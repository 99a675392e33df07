//! `[balancer]`: listeners, certificates and sites. Its pools are read by `pools`.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::addresses::read_listen;
use super::host::file;
use super::model::{Balancer, CertificateFiles, Site};
use super::names::read_site_host;
use super::pools::{self, NamedPool};
use super::reader::{Table, Value};
use super::suggest::{one_of, quoted};
use crate::desk;

/// More worker threads than any host has cores.
const MAX_WORKERS: u16 = 1024;

/// `listeners` collects the addresses, with their lines.
pub(super) fn read(root: &mut Table<'_>, listeners: &mut HashMap<SocketAddr, u32>) -> Option<Balancer> {
    let mut table = root.table("balancer", "[balancer]")?;
    let http_value = table.optional("http");
    let https_value = table.optional("https");
    let http = read_listen(http_value, listeners);
    let https = read_listen(https_value, listeners);
    let workers = table.optional("workers").and_then(|value| value.integer(1, MAX_WORKERS));
    let certificates = table.tables("certificates", "[[balancer.certificates]]");
    check_listeners(&table, http_value, https_value, !certificates.is_empty());

    let certificates = certificates.into_iter().filter_map(certificate).collect();
    let mut pools = pools::read(&mut table);
    let sites = sites(&mut table, &mut pools);
    pools::check_use(&pools);
    table.finish();
    Some(Balancer {
        http,
        https,
        workers: workers.and_then(|workers| NonZeroUsize::new(workers.into())),
        certificates,
        sites,
        pools: pools.into_iter().filter_map(|named| named.pool).collect(),
    })
}

/// What listeners and certificates need of each other.
fn check_listeners(table: &Table<'_>, http: Option<Value<'_>>, https: Option<Value<'_>>, certificates: bool) {
    let report = table.report();
    let add_https = "add: https = [\"0.0.0.0:443\", \"[::]:443\"]";
    match (http, https) {
        (None, None) => report.error(table.span(), "[balancer] listens nowhere", add_https),
        (_, Some(https)) if !certificates => {
            https.error("`https` needs a certificate", "add [[balancer.certificates]] with `cert` and `key`");
        }
        (Some(http), None) if !certificates => {
            http.warning("`http` redirects to https, which nothing here serves", add_https);
        }
        (_, None) => report.warning(table.span(), "there are certificates, but no `https`", add_https),
        _ => {}
    }
}

fn certificate(mut table: Table<'_>) -> Option<CertificateFiles> {
    let cert = table.required("cert", "cert = \"fullchain.pem\"").and_then(existing_file);
    let key = table.required("key", "key = \"key.pem\"").and_then(existing_file);
    table.finish();
    Some(CertificateFiles { cert: cert?, key: key? })
}

/// Whether it can be read is for the balancer to find out, perhaps on another host.
pub(super) fn existing_file(value: Value<'_>) -> Option<PathBuf> {
    let path = file(value)?;
    if desk::is_absent(&path) {
        let message = format!("there is no file {}", quoted(&path.to_string_lossy()));
        value.warning(message, "the agent will not start without it; paths are relative to this file");
    }
    Some(path)
}

fn sites(balancer: &mut Table<'_>, pools: &mut [NamedPool<'_>]) -> Vec<Site> {
    let tables = balancer.tables("sites", "[[balancer.sites]]");
    if tables.is_empty() {
        let hint = "add [[balancer.sites]] with `hosts` and `pool`";
        balancer.report().warning(balancer.span(), "[balancer] has no site: it refuses every request", hint);
    }
    let mut lines = BTreeMap::new();
    tables.into_iter().filter_map(|table| site(table, &mut lines, pools)).collect()
}

/// `lines` is where each host name was first given.
fn site(
    mut table: Table<'_>,
    lines: &mut BTreeMap<String, u32>,
    pools: &mut [NamedPool<'_>],
) -> Option<Site> {
    let hosts = table.required("hosts", "hosts = [\"www.foobar.com\"]").map(|value| hosts(value, lines));
    let pool = table.required("pool", "pool = \"web\"").and_then(|value| pool_index(value, pools));
    table.finish();
    Some(Site { hosts: hosts?, pool: pool? })
}

fn hosts(value: Value<'_>, lines: &mut BTreeMap<String, u32>) -> Vec<String> {
    let mut hosts = Vec::new();
    for value in value.one_or_list() {
        let Some(host) = read_site_host(value) else { continue };
        if let Some(line) = lines.get(&host) {
            let message = format!("{} has a site already, on line {line}", quoted(&host));
            value.error(message, "a host belongs to one site: remove one of the two");
        } else {
            lines.insert(host.clone(), value.line());
            hosts.push(host);
        }
    }
    hosts
}

fn pool_index(value: Value<'_>, pools: &mut [NamedPool<'_>]) -> Option<usize> {
    let name = value.string()?;
    if let Some(index) = pools.iter().position(|pool| pool.name == name) {
        pools[index].used = true;
        return Some(index);
    }
    let known: Vec<&str> = pools.iter().map(|pool| pool.name).collect();
    let hint =
        value.report().did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known.as_slice() {
            [] => format!("add [[balancer.pools]] with name = \"{}\" and its backends", name.escape_debug()),
            known => format!("the pools are {}", one_of(known)),
        });
    value.error(format!("there is no pool {}", quoted(name)), hint);
    None
}
