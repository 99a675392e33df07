//! Active checks: one thread connects to every backend once a second, shakes hands where the pool
//! speaks TLS, and closes again, sending nothing, so no request is counted anywhere. It alone takes a backend back; the
//! request path takes one out at once when it cannot connect.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::hop::Hop;
use super::limits::{CHECK_INTERVAL, CHECK_TIMEOUT};
use super::state::Backend;
use super::worker::Shared;

/// Least time between two rounds, however often the request path asks for one.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Checks until `stop` is set and the thread is woken.
pub(super) async fn run(shared: Arc<Shared>, stop: Arc<AtomicBool>) {
    while !stop.load(Relaxed) {
        let started = Instant::now();
        let state = shared.state.load_full();
        join_all(state.pools.iter().flat_map(|pool| {
            pool.backends.iter().zip(&pool.hops).map(|(backend, hop)| check(&pool.name, backend, hop))
        }))
        .await;
        drop(state);
        tokio::select! {
            () = sleep_until(started + CHECK_INTERVAL) => {}
            () = shared.check.notified() => sleep(MIN_INTERVAL).await,
        }
    }
}

async fn check(pool: &str, backend: &Backend, hop: &Hop) {
    let result = match timeout(CHECK_TIMEOUT, hop.connect()).await {
        Ok(connected) => connected.map(drop),
        Err(late) => Err(late.into()),
    };
    if let Err(error) = &result {
        backend.check_failures.add(1);
        if is_our_own_lack(error) {
            tracing::warn!(pool, backend = %backend.name, %error, "cannot check");
            return;
        }
    }
    if backend.set_up(result.is_ok()) {
        let (backend, address) = (&backend.name, backend.address);
        match result {
            Ok(()) => tracing::info!(pool, %backend, %address, "backend up"),
            Err(error) => tracing::warn!(pool, %backend, %address, %error, "backend down: check failed"),
        }
    }
}

/// Whether it is this process or host that lacks something. It says nothing of the backend, and
/// taking all of them for dead would make a shortage an outage.
pub(super) fn is_our_own_lack(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL | libc::EAGAIN)
    )
}
