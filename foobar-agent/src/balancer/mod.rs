//! The TLS load balancer: terminates TLS, spreads requests over the backends of each site.
//!
//! ```text
//! worker (one a core) ─ accept ─► client ─► forward ─► pick ─► local (idle connections) ─► upstream
//!                                       └─► redirect (clear text)
//! ```
//!
//! Every core has its own thread, runtime, listening sockets, upstream connections and
//! counters. Shared are the configuration (swapped whole), the health of backends, which the
//! `health` thread keeps, and one round-robin position a pool. This file is the handle that
//! the rest of the agent holds: it starts, reconfigures, reads and stops all that, and does
//! nothing on the request path.

mod body;
mod client;
mod counters;
mod error;
mod forward;
mod gather;
mod headers;
mod health;
mod hop;
mod host;
mod limits;
mod listener;
mod local;
mod pick;
mod redirect;
mod relay;
mod snapshot;
mod state;
mod summary;
mod threads;
mod tls;
mod upstream;
mod watch;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

pub use self::error::BalancerError;
pub use self::snapshot::{
    BackendSnapshot, BalancerSnapshot, CertificateSnapshot, DurationBucket, DurationSnapshot, HandshakeCount,
    HandshakeFailureCount, ListenerSnapshot, RequestCount,
};

use self::listener::{BoundListener, Listener};
use self::state::State;
use self::threads::Threads;
use self::worker::{Command, Shared};
use crate::config::model;

/// A running balancer. Dropped without [`Balancer::shutdown`], it ends without grace.
#[derive(Debug)]
pub struct Balancer {
    shared: Arc<Shared>,
    threads: Threads,
}

/// A configuration that is ready to take effect: all that can fail has been done.
#[derive(Debug)]
pub struct Prepared {
    state: State,
    opened: Vec<BoundListener>,
}

impl Balancer {
    /// Binds every listener, loads every certificate and starts the workers; on error
    /// nothing stays behind.
    ///
    /// # Errors
    /// A listener that cannot be bound, a certificate that cannot be used, no threads.
    pub fn start(config: &model::Balancer) -> Result<Self, BalancerError> {
        let cores = config.workers.map_or_else(default_workers, usize::from);
        let opened = wanted_listeners(config)
            .map(|(address, tls)| listener::bind(address, tls, cores))
            .collect::<Result<Vec<_>, _>>()?;
        let listeners = opened.iter().map(|bound| Arc::clone(&bound.listener)).collect();
        let state = State::build(config, listeners, None, cores)?;
        let state = Arc::new(ArcSwap::from_pointee(state));
        let tls = tls::server_config(&state)?;
        let shared = Arc::new(Shared { state, tls, check: Notify::new() });
        let threads = Threads::start(&shared, cores)?;
        let balancer = Self { shared, threads };
        balancer.listen(opened);
        Ok(balancer)
    }

    /// Does everything of a reload that can fail, and changes nothing that runs.
    ///
    /// # Errors
    /// As for [`Balancer::start`], and a changed number of workers.
    pub fn prepare(&self, config: &model::Balancer) -> Result<Prepared, BalancerError> {
        let running = self.threads.workers();
        // Unset, it was decided at the start: the cores that are there now may be others.
        let wanted = config.workers.map_or(running, usize::from);
        if wanted != running {
            return Err(BalancerError::WorkersChanged { running, wanted });
        }
        let current = self.shared.state.load_full();
        let mut opened = Vec::new();
        let mut listeners = Vec::new();
        for (address, tls) in wanted_listeners(config) {
            let same = |kept: &&Arc<Listener>| (kept.configured, kept.tls) == (address, tls);
            if let Some(kept) = current.listeners.iter().find(same) {
                listeners.push(Arc::clone(kept));
            } else {
                let bound = listener::bind(address, tls, running)?;
                listeners.push(Arc::clone(&bound.listener));
                opened.push(bound);
            }
        }
        let state = State::build(config, listeners, Some(&current), running)?;
        Ok(Prepared { state, opened })
    }

    /// Makes a prepared configuration the one that holds: every request from now on sees it
    /// whole, on every core. Connections stay; listeners that it does not name are closed.
    pub fn commit(&self, prepared: Prepared) {
        let previous = self.shared.state.load_full();
        let state = Arc::new(prepared.state);
        self.shared.state.store(Arc::clone(&state));
        self.listen(prepared.opened);
        let is_gone = |old: &&Arc<Listener>| !state.listeners.iter().any(|kept| Arc::ptr_eq(kept, old));
        for gone in previous.listeners.iter().filter(is_gone) {
            self.threads.tell_all(|| Command::Unlisten(gone.bound));
        }
        self.shared.check.notify_one();
    }

    /// Sums all counters at this moment.
    pub fn snapshot(&self) -> BalancerSnapshot {
        summary::summarise(&self.shared.state.load())
    }

    /// The addresses that are listened on, clear-text ones first, as bound: a configured
    /// port 0 reads as the one that the kernel chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.state.load().listeners.iter().map(|listener| listener.bound).collect()
    }

    /// Stops accepting, lets connections finish what they have under way for at most `grace`,
    /// and returns when every thread has ended.
    pub fn shutdown(self, grace: Duration) {
        self.threads.tell_all(|| Command::Drain(grace));
        self.threads.join();
    }

    fn listen(&self, opened: Vec<BoundListener>) {
        for BoundListener { listener, sockets } in opened {
            for (core, socket) in sockets.into_iter().enumerate() {
                self.threads.tell(core, Command::Listen(Arc::clone(&listener), socket));
            }
        }
    }
}

/// All addresses of a configuration, each with whether TLS is spoken there.
fn wanted_listeners(config: &model::Balancer) -> impl Iterator<Item = (SocketAddr, bool)> {
    let http = config.http.iter().map(|&address| (address, false));
    http.chain(config.https.iter().map(|&address| (address, true)))
}

/// One worker for each core that the process may use.
fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
