//! One connection to a backend. hyper splits it into a sender and a connection that wants a
//! task of its own; here the task that has a request under way drives both, which saves a
//! hand-over between two tasks in each direction.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::body::{Progress, RequestBody};
use super::hop::{Hop, Stream};
use super::limits::{CONNECT_TIMEOUT, RESPONSE_HEAD_TICKS, UPSTREAM_BUFFER_BYTES};
use super::relay::Relay;
use super::watch::{Watch, Watches};

/// An open connection to a backend.
#[derive(Debug)]
pub(super) struct Upstream {
    sender: SendRequest<RequestBody>,
    /// Gone once it has ended.
    connection: Option<Connection<TokioIo<Stream>, RequestBody>>,
    relay: Arc<Relay>,
    /// The relay as a waker.
    waker: Waker,
    watch: Watch,
    /// Whether it has served a request before: if so, that it breaks says nothing of the backend.
    pub(super) reused: bool,
    /// Tick at which it went back to the pool.
    pub(super) idle_since: u32,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection was already closed; nothing of the request was sent.
    Unsent(Box<Request<RequestBody>>),
    /// The connection broke with the request under way.
    Lost(hyper::Error),
    /// No response head in time.
    Late,
    /// The client broke off or stalled its request body.
    Client(Progress),
}

impl Upstream {
    /// Connects to a backend.
    pub(super) async fn open(hop: &Hop, watches: &Rc<Watches>) -> io::Result<Box<Self>> {
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, hop.connect()).await??;
        let (sender, connection) = Builder::new()
            .max_buf_size(UPSTREAM_BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let relay = Arc::new(Relay::default());
        let waker = Waker::from(Arc::clone(&relay));
        let watch = watches.upstream(waker.clone());
        let connection = Some(connection);
        Ok(Box::new(Self { sender, connection, relay, waker, watch, reused: false, idle_since: 0 }))
    }

    /// Sends a request and waits for the response head. On failure the connection is closed.
    pub(super) fn exchange(
        mut self: Box<Self>,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<(Response<Incoming>, Box<Self>), Failure>> {
        let upload = request.body().handle();
        self.expect_soon();
        let answer = self.sender.try_send_request(request);
        async move {
            let mut answer = pin!(answer);
            let outcome = std::future::poll_fn(|cx| {
                let Self { connection, relay, waker, watch, .. } = &mut *self;
                relay.drive(waker, cx, |cx| {
                    poll_connection(connection, cx);
                    match answer.as_mut().poll(cx) {
                        Poll::Ready(answer) => Poll::Ready(answer.map_err(|error| failure(error, &upload))),
                        Poll::Pending if watch.expired() => on_deadline(watch, &upload),
                        Poll::Pending => Poll::Pending,
                    }
                })
            })
            .await;
            self.watch.disarm();
            outcome.map(|response| (response, self))
        }
    }

    /// The next frame of a response body that comes over this connection.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { connection, relay, waker, .. } = self;
        relay.drive(waker, cx, |cx| {
            // Most bodies have come with the head.
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            poll_connection(connection, cx);
            Pin::new(&mut *body).poll_frame(cx)
        })
    }

    /// Starts to wait for the backend.
    pub(super) fn expect_soon(&self) {
        self.watch.arm(RESPONSE_HEAD_TICKS);
    }

    /// Whether the backend has kept us waiting for too long.
    pub(super) fn is_late(&self) -> bool {
        self.watch.expired()
    }

    /// Lets go of the task that drove the connection. Returns whether it is fit for another request.
    pub(super) fn rest(&mut self) -> bool {
        self.relay.detach();
        self.watch.disarm();
        self.connection.is_some() && (self.sender.is_ready() || self.is_open())
    }

    /// Notices what the backend has closed meanwhile.
    pub(super) fn is_open(&mut self) -> bool {
        poll_connection(&mut self.connection, &mut Context::from_waker(&self.waker));
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Lets the connection finish its exchange in a task of its own and close.
    pub(super) fn finish_alone(self: Box<Self>) {
        let Self { sender, connection, watch, .. } = *self;
        drop(sender);
        if let Some(connection) = connection {
            tokio::task::spawn_local(async move {
                // The body that comes over it learns of any error.
                let _ = connection.await;
                drop(watch);
            });
        }
    }
}

/// What a failed exchange means for the request.
fn failure(mut error: TrySendError<Request<RequestBody>>, upload: &RequestBody) -> Failure {
    match error.take_message() {
        Some(request) => Failure::Unsent(Box::new(request)),
        None if upload.progress() == Progress::Failed => Failure::Client(Progress::Failed),
        None => Failure::Lost(error.into_error()),
    }
}

/// A deadline is for the backend only when it has the whole request; while the client still
/// sends, it is for the client.
fn on_deadline<T>(watch: &Watch, upload: &RequestBody) -> Poll<Result<T, Failure>> {
    match upload.progress() {
        Progress::Finished => Poll::Ready(Err(Failure::Late)),
        Progress::Moving => {
            watch.arm(RESPONSE_HEAD_TICKS);
            Poll::Pending
        }
        stuck => Poll::Ready(Err(Failure::Client(stuck))),
    }
}

/// Drives the connection; what ends it is told to the answer or the body that waits on it.
fn poll_connection(connection: &mut Option<Connection<TokioIo<Stream>, RequestBody>>, cx: &mut Context<'_>) {
    if let Some(open) = connection
        && Pin::new(open).poll(cx).is_ready()
    {
        *connection = None;
    }
}
