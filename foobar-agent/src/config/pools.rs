//! `[[balancer.pools]]` and `[[balancer.pools.backends]]`.

use super::addresses::read_socket_address;
use super::balancer::existing_file;
use super::model::{Algorithm, Backend, CertificateFiles, Pool, PoolTls};
use super::names::{Names, read_site_host};
use super::reader::{Table, Value};
use super::suggest::quoted;

/// The value of `ca` for the authorities that the system trusts.
const SYSTEM: &str = "system";

/// A pool that sites may name, also if something in it is wrong: that is one error, not two.
pub(super) struct NamedPool<'a> {
    pub(super) name: &'a str,
    name_value: Value<'a>,
    pub(super) pool: Option<Pool>,
    /// Whether a site names it.
    pub(super) used: bool,
}

pub(super) fn read<'a>(balancer: &mut Table<'a>) -> Vec<NamedPool<'a>> {
    let mut names = Names::new("pool");
    let tables = balancer.tables("pools", "[[balancer.pools]]");
    tables.into_iter().filter_map(|table| pool(table, &mut names)).collect()
}

/// Warns of pools that no site names; not if there are errors, since one may be in a site's `pool`.
pub(super) fn check_use(pools: &[NamedPool<'_>]) {
    for pool in pools.iter().filter(|pool| !pool.used && !pool.name_value.report().has_errors()) {
        let message = format!("no site uses the pool {}", quoted(pool.name));
        pool.name_value.warning(message, "name it as the `pool` of a site, or remove it");
    }
}

fn pool<'a>(mut table: Table<'a>, names: &mut Names) -> Option<NamedPool<'a>> {
    let name_value = table.required("name", "name = \"web\"");
    let name = name_value.and_then(|value| names.take(value));
    let algorithm = table.optional("algorithm").map(algorithm);
    let tls = table.table("tls", "[balancer.pools.tls]").map(tls);
    let backends = backends(&mut table, tls.is_some());
    table.finish();

    let name_value = name_value?;
    let pool = |name| {
        Some(Pool { name, algorithm: algorithm.unwrap_or(Some(Algorithm::RoundRobin))?, tls, backends })
    };
    Some(NamedPool { name: name_value.as_str()?, name_value, pool: name.and_then(pool), used: false })
}

fn algorithm(value: Value<'_>) -> Option<Algorithm> {
    value.word(&[("round-robin", Algorithm::RoundRobin)])
}

/// Whom the balancer takes for a backend, and what it shows of itself.
fn tls(mut table: Table<'_>) -> PoolTls {
    let ca = table.optional("ca").and_then(|value| match value.as_str() {
        Some(SYSTEM) => None,
        _ => existing_file(value),
    });
    let server_name = table.optional("server_name").and_then(read_site_host);
    let client = match (table.optional("cert"), table.optional("key")) {
        (None, None) => None,
        (Some(cert), Some(key)) => {
            existing_file(cert).zip(existing_file(key)).map(|(cert, key)| CertificateFiles { cert, key })
        }
        (Some(alone), None) => {
            alone.error("`cert` needs its private key", "add: key = \"client-key.pem\"");
            None
        }
        (None, Some(alone)) => {
            alone.error("`key` needs its certificate", "add: cert = \"client.pem\"");
            None
        }
    };
    table.finish();
    PoolTls { ca, server_name, client }
}

fn backends(pool: &mut Table<'_>, tls: bool) -> Vec<Backend> {
    let tables = pool.tables("backends", "[[balancer.pools.backends]]");
    let empty = tables.is_empty();
    let mut names = Names::new("backend");
    let mut backends: Vec<Backend> = Vec::with_capacity(tables.len());
    let mut complete = true;
    for table in tables {
        match backend(table, tls, &mut names, &backends) {
            Some(backend) => backends.push(backend),
            None => complete = false,
        }
    }
    if empty {
        let hint = "add [[balancer.pools.backends]] with `name` and `address`";
        pool.report().error(pool.span(), "the pool has no backend", hint);
    } else if complete && backends.iter().all(|backend| backend.backup) {
        let hint = "remove `backup` from those that shall take traffic first";
        pool.report().warning(pool.span(), "every backend of the pool is a backup, so that none is", hint);
    }
    backends
}

fn backend(mut table: Table<'_>, tls: bool, names: &mut Names, earlier: &[Backend]) -> Option<Backend> {
    let name = table.required("name", "name = \"web1\"").and_then(|value| names.take(value));
    let address = table.required("address", "address = \"192.0.2.11:80\"").and_then(|value| {
        let address = read_socket_address(value)?;
        if address.ip().is_unspecified() || address.ip().is_multicast() {
            value.error(format!("nothing can be reached at `{address}`"), "write the backend's own address");
            return None;
        }
        if let Some(same) = earlier.iter().find(|backend| backend.address == address) {
            let message = format!("`{address}` is the backend `{}` too", same.name);
            value.warning(message, "it will take the turns of both");
        }
        Some(address)
    });
    let server_name = table.optional("server_name").and_then(|value| {
        if !tls {
            value
                .error("`server_name` is for TLS, which the pool does not speak", "add [balancer.pools.tls]");
        }
        read_site_host(value)
    });
    let backup = table.optional("backup").map_or(Some(false), Value::boolean);
    table.finish();
    Some(Backend { name: name?, address: address?, server_name, backup: backup? })
}
