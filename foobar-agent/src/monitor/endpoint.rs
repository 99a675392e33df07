//! Small HTTP endpoints on the control thread, and the limits that keep whoever connects from
//! stalling or leaking the agent. Knows neither routes nor what is served.
//!
//! A connection carries one request and has a deadline, so that no state outlives a client's
//! patience. Where too many are open the oldest goes: whoever hoards connections
//! loses them, and an honest client, served in milliseconds, does not wait.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

/// What an endpoint answers with: bodies are small and whole, or go on as long as somebody reads.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Marks an answer that has no deadline.
#[derive(Clone, Copy, Debug)]
struct Lasting;

/// Pause after a failed accept that is the host's trouble (no descriptor, no memory), so that it is
/// not tried in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// No request of ours needs more for its head.
const HEAD_BYTES: usize = 16 * 1024;

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Open connections on one listener.
    pub(crate) connections: usize,
    /// From the accept to the end of the request's head.
    pub(crate) head: Duration,
    /// From the accept to the end of the response.
    pub(crate) connection: Duration,
}

/// Where connections come from.
pub(crate) trait Listener {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;
}

impl Listener for std::rc::Rc<TcpListener> {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        TcpListener::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        UnixListener::accept(self).await.map(|(stream, _)| stream)
    }
}

/// Serves until `stop` is sent or dropped; then closes the listener and lets the open
/// connections end. Must run in a local task set.
pub(crate) async fn serve<L, H, R>(listener: L, limits: Limits, mut stop: oneshot::Receiver<()>, handler: H)
where
    L: Listener,
    H: Fn(Request<Incoming>) -> R + Clone + 'static,
    R: Future<Output = Answer> + 'static,
{
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= limits.connections
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(connections.spawn_local(connection(stream, limits, handler.clone())));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection<S, H, R>(stream: S, limits: Limits, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Fn(Request<Incoming>) -> R + 'static,
    R: Future<Output = Answer> + 'static,
{
    let lasts = Cell::new(false);
    let service = service_fn(|request| {
        let (answer, lasts) = (handler(request), &lasts);
        async move {
            let answer = answer.await;
            lasts.set(answer.extensions().get::<Lasting>().is_some());
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = loop {
        match tokio::time::timeout(limits.connection, connection.as_mut()).await {
            Err(_) if lasts.get() => {}
            ended => break ended,
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection to an endpoint of the agent failed"),
        Err(_) => tracing::debug!("connection to an endpoint of the agent cut at its deadline"),
    }
}

/// A whole response; the length and, for HEAD, the absence of the body are hyper's part.
pub(crate) fn answer(status: http::StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

/// A response that goes on as long as the stream and whoever reads it.
pub(crate) fn lasting(
    content_type: &'static str,
    parts: impl Stream<Item = Bytes> + Send + 'static,
) -> Answer {
    let body = StreamBody::new(parts.map(|part| Ok(Frame::data(part)))).boxed_unsync();
    let mut response = Response::new(body);
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response.extensions_mut().insert(Lasting);
    response
}
