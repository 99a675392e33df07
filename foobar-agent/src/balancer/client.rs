//! One client connection, from accepted to closed: handshake, then HTTP/1 or HTTP/2 by ALPN.
//! Knows nothing of what is answered; that is `forward` and `redirect`.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use http::{HeaderValue, StatusCode};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::counters::HandshakeFailure;
use super::gather::Gather;
use super::headers::Forwarded;
use super::limits::{self, CLIENT_IDLE_TICKS, CLIENT_STALL_TICKS, CLOSE_TICKS, HANDSHAKE_TIMEOUT};
use super::listener::Listener;
use super::local::Local;
use super::state::SiteCounts;
use super::tls;
use super::watch::Watch;
use super::worker::Worker;
use super::{forward, redirect};

/// What all requests of one client connection share.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) worker: Rc<Worker>,
    pub(super) forwarded: Forwarded,
    /// The name that the client asked a certificate for, lower case.
    pub(super) server_name: Option<Box<str>>,
    watch: Watch,
    requests: Cell<u32>,
    /// Requests of which part of the response waits for the client.
    owing: Cell<u32>,
}

impl Client {
    fn new(worker: &Rc<Worker>, peer: SocketAddr, watch: Watch) -> Self {
        // An address in text form is always a valid field value.
        let for_address = HeaderValue::try_from(peer.ip().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self {
            worker: Rc::clone(worker),
            forwarded: Forwarded { for_address },
            server_name: None,
            watch,
            requests: Cell::new(0),
            owing: Cell::new(0),
        }
    }
}

/// A request under way. Counts itself when it ends, and starts the client's idle time.
#[derive(Debug)]
pub(super) struct InFlight {
    client: Rc<Client>,
    local: Rc<Local>,
    site: Option<usize>,
    started: Instant,
    answered: bool,
    /// Part of the response waits for the client.
    owes: Cell<bool>,
}

impl InFlight {
    pub(super) fn new(client: Rc<Client>, local: Rc<Local>) -> Self {
        client.requests.set(client.requests.get() + 1);
        if client.owing.get() == 0 {
            client.watch.disarm();
        }
        Self { client, local, site: None, started: Instant::now(), answered: false, owes: Cell::new(false) }
    }

    /// The request is for this site.
    pub(super) fn routed(&mut self, site: usize) {
        self.site = Some(site);
    }

    /// A response head goes out; `backend` is its index in the site's pool, or none for our own.
    pub(super) fn answered(&mut self, backend: Option<usize>, status: StatusCode) {
        self.answered = true;
        let counts = self.counts();
        let by_backend = backend.and_then(|index| counts.backends.get(index));
        let codes = by_backend.map_or(&counts.own, |(_, codes)| codes);
        codes.on(self.client.worker.core).count(status);
    }

    fn counts(&self) -> &SiteCounts {
        let state = &self.local.state;
        self.site.map_or(&state.nowhere, |site| &state.sites[site].counts)
    }

    /// The client is ready for more of the response.
    pub(super) fn client_takes(&self) {
        if self.owes.replace(false) {
            self.client.owing.set(self.client.owing.get() - 1);
        }
        self.client.wait_for_owing();
    }

    /// There is more of the response than the client has taken in.
    pub(super) fn client_must_take(&self) {
        if !self.owes.replace(true) {
            self.client.owing.set(self.client.owing.get() + 1);
        }
        self.client.wait_for_owing();
    }
}

impl Client {
    /// While responses wait for the client, it must take something of one of them in time: closing
    /// the window of HTTP/2 must not hold their buffers and backend connections for ever.
    fn wait_for_owing(&self) {
        if self.owing.get() == 0 {
            self.watch.disarm();
        } else {
            self.watch.arm(CLIENT_STALL_TICKS);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.answered {
            // The word of Nginx for a client that did not wait.
            self.answered(None, StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST));
        }
        self.counts().durations.on(self.client.worker.core).observe(self.started.elapsed());
        self.client_takes();
        self.client.requests.set(self.client.requests.get() - 1);
        if self.client.requests.get() == 0 {
            self.client.watch.arm(CLIENT_IDLE_TICKS);
        }
    }
}

/// Serves one accepted connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, listener: Arc<Listener>, stream: TcpStream, peer: SocketAddr) {
    let client = Client::new(&worker, peer, worker.watches.client());
    if listener.tls {
        serve_tls(client, &listener, stream).await;
    } else {
        let client = Rc::new(client);
        let service = service_fn({
            let client = Rc::clone(&client);
            move |request| redirect::handle(&client, request)
        });
        run(
            &client,
            worker.http1.serve_connection(TokioIo::new(stream), service),
            http1::Connection::graceful_shutdown,
        )
        .await;
    }
}

async fn serve_tls(mut client: Client, listener: &Listener, stream: TcpStream) {
    let worker = Rc::clone(&client.worker);
    let counts = listener.counts.on(worker.core);
    let stream = match handshake(&worker, stream).await {
        Ok(stream) => stream,
        Err(reason) => return counts.failure(reason),
    };
    let (_, session) = stream.get_ref();
    let tls13 = session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
    counts.handshake(tls13, session.handshake_kind() == Some(rustls::HandshakeKind::Resumed));
    client.server_name = session.server_name().map(|name| name.to_ascii_lowercase().into());
    let is_http2 = session.alpn_protocol() == Some(tls::ALPN_H2);

    let client = Rc::new(client);
    let service = service_fn({
        let client = Rc::clone(&client);
        move |request| forward::handle(&client, request)
    });
    if is_http2 {
        run(
            &client,
            worker.http2.serve_connection(TokioIo::new(Gather(stream)), service),
            http2::Connection::graceful_shutdown,
        )
        .await;
    } else {
        run(
            &client,
            worker.http1.serve_connection(TokioIo::new(stream), service),
            http1::Connection::graceful_shutdown,
        )
        .await;
    }
}

async fn handshake(worker: &Worker, stream: TcpStream) -> Result<TlsStream<TcpStream>, HandshakeFailure> {
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, worker.acceptor().accept(stream)).await;
    accepted.map_err(|_| HandshakeFailure::Timeout)?.map_err(|error: io::Error| {
        tracing::debug!(%error, "TLS handshake failed");
        tls::failure_reason(&error)
    })
}

/// Drives a connection until it ends, its deadline passes, or the worker drains.
async fn run<C: Future>(client: &Client, connection: C, end_soon: impl Fn(Pin<&mut C>)) {
    let mut connection = pin!(connection);
    let mut closing = false;
    client.watch.arm(CLIENT_IDLE_TICKS);
    std::future::poll_fn(|cx| {
        client.watch.wakes(cx.waker());
        if client.watch.expired() {
            if closing {
                return Poll::Ready(());
            }
            closing = true;
            client.watch.arm(CLOSE_TICKS);
            end_soon(connection.as_mut());
        } else if client.watch.draining() && !closing {
            closing = true;
            end_soon(connection.as_mut());
        }
        // What ends a client's connection is the client's affair.
        connection.as_mut().poll(cx).map(|_| ())
    })
    .await;
}

/// How HTTP/1 is served.
pub(super) fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // No timer: `Watch` bounds the time for a head and between requests.
    builder
        .max_buf_size(limits::H1_BUFFER_BYTES)
        .max_header_size(limits::H1_HEAD_BYTES)
        .header_read_timeout(None);
    builder
}

/// How HTTP/2 is served.
pub(super) fn http2_builder() -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::H2_STREAMS)
        .max_header_list_size(limits::H2_HEADER_LIST_BYTES)
        .initial_stream_window_size(limits::H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::H2_SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS)
        .keep_alive_interval(limits::H2_PING_INTERVAL)
        .keep_alive_timeout(limits::H2_PING_TIMEOUT);
    builder
}

/// Runs the streams of an HTTP/2 connection on the core that accepted it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
