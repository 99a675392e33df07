//! The balancer's side of one configuration: immutable but for counters, health and
//! round-robin positions, which pass on to the next configuration with what stays.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::counters::{BackendCounts, CodeCounts, Counter, Histogram, PerCore};
use super::error::BalancerError;
use super::hop::Hop;
use super::listener::Listener;
use super::tls::CertificateStore;
use crate::config::model;

/// One configuration, shared by all cores and swapped as a whole.
#[derive(Debug)]
pub(super) struct State {
    /// Lower-case host name to index in `sites`.
    pub(super) hosts: HashMap<Box<str>, usize>,
    pub(super) sites: Vec<Site>,
    pub(super) pools: Vec<Pool>,
    pub(super) certificates: CertificateStore,
    /// Clear-text ones, then TLS ones, in file order.
    pub(super) listeners: Vec<Arc<Listener>>,
    /// Counts requests for no site of ours.
    pub(super) nowhere: Arc<SiteCounts>,
}

/// Hosts that are served alike.
#[derive(Debug)]
pub(super) struct Site {
    /// First host name.
    pub(super) name: String,
    /// Index in [`State::pools`].
    pub(super) pool: usize,
    pub(super) counts: Arc<SiteCounts>,
}

/// Requests of one site.
#[derive(Debug)]
pub(super) struct SiteCounts {
    pub(super) durations: Arc<PerCore<Histogram>>,
    /// Answers of the balancer itself.
    pub(super) own: Arc<PerCore<CodeCounts>>,
    /// Answers of backends, by name, as ordered in the pool.
    pub(super) backends: Vec<(String, Arc<PerCore<CodeCounts>>)>,
}

/// Backends that serve the same content.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) position: Arc<Position>,
    pub(super) backends: Vec<Arc<Backend>>,
    /// How to reach each of `backends`.
    pub(super) hops: Vec<Hop>,
    tls: Option<model::PoolTls>,
}

/// Round-robin position: the one thing that all cores write on the request path.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Position(AtomicUsize);

impl Position {
    pub(super) fn advance(&self) -> usize {
        self.0.fetch_add(1, Relaxed)
    }
}

/// One server of a pool.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    server_name: Option<String>,
    pub(super) backup: bool,
    up: AtomicBool,
    pub(super) counts: PerCore<BackendCounts>,
    /// Raised by the checker alone.
    pub(super) check_failures: Counter,
}

impl Backend {
    /// A backend is taken as up until a connect to it fails.
    pub(super) fn new(config: &model::Backend, cores: usize) -> Self {
        Self {
            name: config.name.clone(),
            address: config.address,
            server_name: config.server_name.clone(),
            backup: config.backup,
            up: AtomicBool::new(true),
            counts: PerCore::new(cores),
            check_failures: Counter::default(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Returns whether that is news. Reads first: the cache line is shared by all cores.
    pub(super) fn set_up(&self, up: bool) -> bool {
        self.is_up() != up && self.up.swap(up, Relaxed) != up
    }
}

impl State {
    /// Builds what `config` describes and keeps from `previous` what is still described.
    pub(super) fn build(
        config: &model::Balancer,
        listeners: Vec<Arc<Listener>>,
        previous: Option<&State>,
        cores: usize,
    ) -> Result<Self, BalancerError> {
        if !config.https.is_empty() && config.certificates.is_empty() {
            return Err(BalancerError::NoCertificate);
        }
        let certificates = CertificateStore::load(&config.certificates)?;
        let pools = config.pools.iter().map(|pool| Pool::build(pool, previous, cores));
        let pools = pools.collect::<Result<Vec<_>, _>>()?;
        let mut sites = Vec::with_capacity(config.sites.len());
        let mut hosts = HashMap::new();
        for (index, site) in config.sites.iter().enumerate() {
            let name = site.hosts.first().cloned().unwrap_or_default();
            let before = previous.and_then(|state| state.sites.iter().find(|site| site.name == name));
            let backends: &[Arc<Backend>] = pools.get(site.pool).map_or(&[], |pool| &pool.backends);
            let counts = Arc::new(SiteCounts::build(backends, before.map(|site| &*site.counts), cores));
            hosts.extend(site.hosts.iter().map(|host| (host.as_str().into(), index)));
            sites.push(Site { name, pool: site.pool, counts });
        }
        let nowhere = previous.map_or_else(
            || Arc::new(SiteCounts::build(&[], None, cores)),
            |state| Arc::clone(&state.nowhere),
        );
        Ok(Self { hosts, sites, pools, certificates, listeners, nowhere })
    }

    /// The port that a redirect names, unless it is the default one.
    pub(super) fn https_port(&self) -> Option<u16> {
        self.listeners.iter().find(|listener| listener.tls).map(|listener| listener.bound.port())
    }
}

impl Pool {
    fn build(config: &model::Pool, previous: Option<&State>, cores: usize) -> Result<Self, BalancerError> {
        let before = previous.and_then(|state| state.pools.iter().find(|pool| pool.name == config.name));
        // Connections that are open to a backend are of its pool's TLS: another one has none yet.
        let alike = before.filter(|pool| pool.tls == config.tls);
        let keep = |wanted: &model::Backend| {
            let same = |backend: &&Arc<Backend>| {
                (&backend.name, backend.address, &backend.server_name, backend.backup)
                    == (&wanted.name, wanted.address, &wanted.server_name, wanted.backup)
            };
            alike.and_then(|pool| pool.backends.iter().find(same)).map(Arc::clone)
        };
        let build = |backend: &model::Backend| {
            keep(backend).unwrap_or_else(|| Arc::new(Backend::new(backend, cores)))
        };
        Ok(Self {
            name: config.name.clone(),
            position: before.map_or_else(Arc::default, |pool| Arc::clone(&pool.position)),
            backends: config.backends.iter().map(build).collect(),
            hops: Hop::of_pool(config)?,
            tls: config.tls.clone(),
        })
    }
}

impl SiteCounts {
    fn build(backends: &[Arc<Backend>], previous: Option<&SiteCounts>, cores: usize) -> Self {
        let counts = |backend: &Arc<Backend>| {
            let before = previous
                .and_then(|counts| counts.backends.iter().find(|(name, _)| *name == backend.name))
                .map(|(_, counts)| Arc::clone(counts));
            (backend.name.clone(), before.unwrap_or_else(|| Arc::new(PerCore::new(cores))))
        };
        let kept = previous.map(|counts| (Arc::clone(&counts.durations), Arc::clone(&counts.own)));
        let (durations, own) =
            kept.unwrap_or_else(|| (Arc::new(PerCore::new(cores)), Arc::new(PerCore::new(cores))));
        Self { durations, own, backends: backends.iter().map(counts).collect() }
    }
}
