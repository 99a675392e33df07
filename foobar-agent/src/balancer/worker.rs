//! One core: a thread with a runtime of its own that accepts, serves and forwards without
//! asking another core for anything. Commands come over a channel, configurations through
//! the shared swap.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use hyper::server::conn::{http1, http2};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

use super::client::{self, LocalExecutor};
use super::listener::Listener;
use super::local::Local;
use super::state::State;
use super::watch::Watches;

/// What all threads of a balancer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Arc<ArcSwap<State>>,
    pub(super) tls: Arc<ServerConfig>,
    /// Asks the checker to look at once.
    pub(super) check: Notify,
}

/// What the handle tells a worker.
#[derive(Debug)]
pub(super) enum Command {
    /// Accept from this socket too.
    Listen(Arc<Listener>, std::net::TcpListener),
    /// Serve what is queued on this address, then close it.
    Unlisten(SocketAddr),
    /// Close all listeners, let connections finish for at most this long, then end.
    Drain(Duration),
}

/// One core's own things.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) core: usize,
    shared: Arc<Shared>,
    local: RefCell<Rc<Local>>,
    pub(super) watches: Rc<Watches>,
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<LocalExecutor>,
    request_ids: RequestIds,
}

impl Worker {
    pub(super) fn new(core: usize, shared: Arc<Shared>) -> Self {
        let watches = Rc::new(Watches::default());
        let local = Local::new(shared.state.load_full(), &watches, None);
        Self {
            core,
            shared,
            local: RefCell::new(Rc::new(local)),
            watches,
            http1: client::http1_builder(),
            http2: client::http2_builder(),
            request_ids: RequestIds::default(),
        }
    }

    /// The configuration that holds now. Counting its users is local to the core; what is
    /// shared is only read.
    pub(super) fn local(&self) -> Rc<Local> {
        let mut local = self.local.borrow_mut();
        let state = self.shared.state.load();
        if !Arc::ptr_eq(&state, &local.state) {
            *local = Rc::new(Local::new(Arc::clone(&state), &self.watches, Some(&local)));
        }
        Rc::clone(&local)
    }

    /// The TLS side of a new connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.shared.tls))
    }

    /// A name for a request: unique, and the same in our answer and at the backend.
    pub(super) fn request_id(&self) -> HeaderValue {
        self.request_ids.next()
    }

    /// Asks for the health of all backends before the second is over.
    pub(super) fn check_soon(&self) {
        self.shared.check.notify_one();
    }
}

/// 64 random bits of the core, then 64 bits of a scrambled count, in hex.
#[derive(Debug)]
struct RequestIds {
    core: u64,
    count: Cell<u64>,
}

impl Default for RequestIds {
    fn default() -> Self {
        let random = RandomState::new();
        Self { core: random.hash_one(0), count: Cell::new(random.hash_one(1)) }
    }
}

impl RequestIds {
    fn next(&self) -> HeaderValue {
        // SplitMix64: a bijection of the count, so no two are equal.
        let count = self.count.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.count.set(count);
        let mut mixed = (count ^ (count >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let mut text = [0; 32];
        let digits = self.core.to_be_bytes().into_iter().chain(mixed.to_be_bytes());
        for (pair, byte) in text.chunks_exact_mut(2).zip(digits) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
        }
        // Hex digits are always a valid field value.
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

fn hex_digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble)]
}

/// Serves until told to drain, or until the handle is gone.
pub(super) async fn run(worker: Rc<Worker>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut listeners: HashMap<SocketAddr, Rc<Notify>> = HashMap::new();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let grace = loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Listen(listener, socket)) => {
                    let stop = Rc::new(Notify::new());
                    listeners.insert(listener.bound, Rc::clone(&stop));
                    tokio::task::spawn_local(accept(Rc::clone(&worker), listener, socket, stop));
                }
                Some(Command::Unlisten(address)) => {
                    if let Some(stop) = listeners.remove(&address) {
                        stop.notify_one();
                    }
                }
                Some(Command::Drain(grace)) => break grace,
                None => break Duration::ZERO,
            },
            _ = second.tick() => tick(&worker),
        }
    };
    for stop in listeners.values() {
        stop.notify_one();
    }
    drain(&worker, grace).await;
}

fn tick(worker: &Worker) {
    worker.watches.tick();
    worker.local().sweep();
}

/// Waits for the connections to end, but not longer than `grace`.
async fn drain(worker: &Worker, grace: Duration) {
    // The accept loops take what is queued before they end.
    tokio::task::yield_now().await;
    worker.watches.drain();
    let ended = async {
        loop {
            let none_left = worker.watches.no_clients.notified();
            if worker.watches.clients() == 0 {
                break;
            }
            none_left.await;
        }
    };
    let ticks = async {
        let mut second = interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            worker.watches.tick();
        }
    };
    tokio::select! {
        () = ended => {}
        () = ticks => {}
        () = tokio::time::sleep(grace) => {
            tracing::warn!(core = worker.core, connections = worker.watches.clients(), "grace is over: closing");
        }
    }
}

/// Accepts until told to stop, then what the kernel has already accepted for us.
async fn accept(
    worker: Rc<Worker>,
    listener: Arc<Listener>,
    socket: std::net::TcpListener,
    stop: Rc<Notify>,
) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(address = %listener.bound, %error, "cannot poll the listening socket");
            return;
        }
    };
    loop {
        tokio::select! {
            biased;
            () = stop.notified() => break,
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => start(&worker, &listener, stream, peer),
                Err(error) => recover(&listener, &error).await,
            },
        }
    }
    while let Some(Ok((stream, peer))) = futures_util::FutureExt::now_or_never(socket.accept()) {
        start(&worker, &listener, stream, peer);
    }
}

fn start(worker: &Rc<Worker>, listener: &Arc<Listener>, stream: tokio::net::TcpStream, peer: SocketAddr) {
    listener.counts.on(worker.core).accepted.add(1);
    tokio::task::spawn_local(client::serve(Rc::clone(worker), Arc::clone(listener), stream, peer));
}

/// A client that is gone again costs nothing; out of descriptors or memory, wait for others to end.
async fn recover(listener: &Listener, error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(address = %listener.bound, %error, "cannot accept; trying again in 100 ms");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
