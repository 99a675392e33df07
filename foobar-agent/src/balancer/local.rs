//! What one core holds for itself of the shared state: its idle connections to each backend.
//! Nothing in here is seen by another core, so nothing in here is locked.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::hop::Hop;
use super::limits::{UPSTREAM_IDLE_CONNECTIONS, UPSTREAM_IDLE_TICKS};
use super::state::{Backend, State};
use super::upstream::Upstream;
use super::watch::Watches;

/// One configuration as one core sees it.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) state: Arc<State>,
    /// As ordered in `state.pools`.
    pub(super) pools: Vec<Vec<Rc<LocalBackend>>>,
}

impl Local {
    /// Takes over the connections of backends that stay; those of the others close with `previous`.
    pub(super) fn new(state: Arc<State>, watches: &Rc<Watches>, previous: Option<&Self>) -> Self {
        let keep = |backend: &Arc<Backend>| {
            let kept = || previous?.pools.iter().flatten().find(|kept| Arc::ptr_eq(&kept.shared, backend));
            kept().map_or_else(|| Rc::new(LocalBackend::new(backend, watches)), Rc::clone)
        };
        let pools = state.pools.iter().map(|pool| pool.backends.iter().map(keep).collect()).collect();
        Self { state, pools }
    }

    /// Closes idle connections that the backend has closed or that have been idle for long.
    pub(super) fn sweep(&self) {
        self.pools.iter().flatten().for_each(|backend| backend.sweep());
    }
}

/// A backend and this core's idle connections to it.
#[derive(Debug)]
pub(super) struct LocalBackend {
    pub(super) shared: Arc<Backend>,
    /// Last in, first out: the surplus of a burst grows old and is closed.
    #[expect(clippy::vec_box, reason = "a connection moves between here and its request by pointer")]
    idle: RefCell<Vec<Box<Upstream>>>,
    watches: Rc<Watches>,
}

impl LocalBackend {
    fn new(backend: &Arc<Backend>, watches: &Rc<Watches>) -> Self {
        Self { shared: Arc::clone(backend), idle: RefCell::default(), watches: Rc::clone(watches) }
    }

    /// An idle connection, or a new one.
    pub(super) async fn connection(&self, core: usize, hop: &Hop) -> io::Result<Box<Upstream>> {
        // Whether the backend has closed it shows before anything is sent.
        if let Some(upstream) = self.pop() {
            return Ok(upstream);
        }
        let counts = self.shared.counts.on(core);
        let opened = Upstream::open(hop, &self.watches).await;
        match &opened {
            Ok(_) => counts.connections_opened.add(1),
            Err(_) => counts.connect_failures.add(1),
        }
        opened
    }

    fn pop(&self) -> Option<Box<Upstream>> {
        self.idle.borrow_mut().pop()
    }

    /// Keeps a connection for the next request, if it is fit for one.
    pub(super) fn put_back(&self, mut upstream: Box<Upstream>) {
        if self.idle.borrow().len() < UPSTREAM_IDLE_CONNECTIONS && upstream.rest() {
            upstream.reused = true;
            upstream.idle_since = self.watches.now();
            self.idle.borrow_mut().push(upstream);
        }
    }

    /// One connection was found stale: the others of its age are no better.
    pub(super) fn close_idle(&self) {
        let idle = self.idle.take();
        drop(idle);
    }

    fn sweep(&self) {
        let now = self.watches.now();
        let mut idle = self.idle.take();
        idle.retain_mut(|upstream| {
            now.saturating_sub(upstream.idle_since) <= UPSTREAM_IDLE_TICKS && upstream.is_open()
        });
        self.idle.borrow_mut().append(&mut idle);
    }
}
