//! The request path, read from top to bottom: admit, route, forward, answer.

use std::convert::Infallible;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;

use super::body::{Progress, RequestBody, ResponseBody};
use super::client::{Client, InFlight};
use super::headers::{self, X_REQUEST_ID};
use super::limits::MAX_HEADERS;
use super::local::{Local, LocalBackend};
use super::pick::pick;
use super::upstream::{Failure, Upstream};
use super::worker::Worker;
use super::{health, host};

/// Answers one request that came over TLS. What needs no waiting is done before the future
/// is made, which hyper moves about: so it stays small.
pub(super) fn handle(
    client: &Rc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<> {
    let worker = Rc::clone(&client.worker);
    let local = worker.local();
    let request_id = worker.request_id();
    let mut in_flight = InFlight::new(Rc::clone(client), Rc::clone(&local));
    let mut admitted = admit(client, &local, request, &request_id);

    async move {
        let answer = match &mut admitted {
            Ok((site, outgoing)) => {
                in_flight.routed(*site);
                forward(&worker, &local, *site, outgoing).await
            }
            Err(status) => Err(*status),
        };
        Ok(match answer {
            Ok(answer) => pass_on(answer, request_id, in_flight),
            Err(status) => refuse(status, request_id, in_flight),
        })
    }
}

/// A request that is fit to be sent to a backend.
struct Outgoing {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    body: RequestBody,
    /// Whether a second backend may get it after a first one may have seen it.
    replayable: bool,
}

/// A backend's response with what it takes to carry it on.
struct Answer {
    response: Response<Incoming>,
    upstream: Box<Upstream>,
    backend: Rc<LocalBackend>,
    /// Index in the pool.
    index: usize,
    upload: Progress,
}

/// Refuses what is no request for us, finds its site, and makes its head the backend's.
fn admit(
    client: &Client,
    local: &Local,
    request: Request<Incoming>,
    request_id: &HeaderValue,
) -> Result<(usize, Outgoing), StatusCode> {
    let (mut head, body) = request.into_parts();
    if head.method == Method::CONNECT {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    if head.headers.len() > MAX_HEADERS {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    headers::check_framing(&head.headers).map_err(|headers::BadFraming| StatusCode::BAD_REQUEST)?;
    let host = host::canonical(head.version, &head.uri, &mut head.headers)
        .map_err(|host::BadHost| StatusCode::BAD_REQUEST)?;

    let state = &local.state;
    let site = *state.hosts.get(host.as_str()).ok_or(StatusCode::MISDIRECTED_REQUEST)?;
    // A client may reuse a connection for another host only if its certificate covers that too.
    let misdirected =
        |name: &str| name != host.as_str() && !state.certificates.speaks_for(name, host.as_str());
    if client.server_name.as_deref().is_some_and(misdirected) {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }

    headers::prepare_request(&mut head.headers, &client.forwarded, request_id);
    let target = origin_form(head.uri);
    let body = RequestBody::new(body);
    if !body.is_empty() && !head.headers.contains_key(CONTENT_LENGTH) {
        // Without it the client side of hyper takes a GET to have no body, whatever we hand it.
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    // RFC 9110 §9.2.2; what has no body can be sent twice without keeping it.
    let replayable = head.method.is_idempotent() && body.is_empty();
    Ok((site, Outgoing { method: head.method, target, headers: head.headers, body, replayable }))
}

/// Path and query only; `*` stays as it is.
fn origin_form(uri: Uri) -> Uri {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return uri;
    }
    let path = uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

/// Sends the request to the backend whose turn it is, or to others while nothing of it can
/// have had an effect.
async fn forward(
    worker: &Worker,
    local: &Local,
    site: usize,
    outgoing: &mut Outgoing,
) -> Result<Answer, StatusCode> {
    let pool_index = local.state.sites[site].pool;
    let pool = &local.state.pools[pool_index];
    let position = pool.position.advance();
    let mut tried = Vec::new();
    let mut verdict = StatusCode::SERVICE_UNAVAILABLE;
    let mut failed: Option<&LocalBackend> = None;

    // Twice each: a connection that had gone stale, and then a new one.
    for _ in 0..2 * pool.backends.len() {
        let Some(index) = pick(&pool.backends, position, &tried) else { break };
        let backend = &local.pools[pool_index][index];
        let counts = backend.shared.counts.on(worker.core);
        if let Some(failed) = failed.replace(backend) {
            failed.shared.counts.on(worker.core).retries.add(1);
        }

        let upstream = match backend.connection(worker.core, &pool.hops[index]).await {
            Ok(upstream) => upstream,
            Err(error) => {
                eject(backend, &error);
                tried.push(index);
                continue;
            }
        };
        let reused = upstream.reused;
        counts.requests.add(1);
        let upload = outgoing.body.handle();
        match upstream.exchange(outgoing.request()).await {
            Ok((response, upstream)) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
                let backend = Rc::clone(backend);
                return Ok(Answer { response, upstream, backend, index, upload: upload.progress() });
            }
            // We asked for no upgrade.
            Ok(_) => return Err(StatusCode::BAD_GATEWAY),
            Err(Failure::Unsent(request)) => {
                outgoing.restore(*request);
                backend.close_idle();
            }
            Err(Failure::Lost(error)) => {
                lost(worker, backend, reused, &error);
                verdict = StatusCode::BAD_GATEWAY;
                if !outgoing.replayable {
                    break;
                }
                // A used connection may just have been closed as idle: that backend gets another try.
                if !reused {
                    tried.push(index);
                }
            }
            Err(Failure::Late) => {
                counts.timeouts.add(1);
                return Err(StatusCode::GATEWAY_TIMEOUT);
            }
            Err(Failure::Client(Progress::Failed)) => return Err(StatusCode::BAD_REQUEST),
            Err(Failure::Client(_)) => return Err(StatusCode::REQUEST_TIMEOUT),
        }
    }
    Err(verdict)
}

/// A connection broke with a request under way. Its backend is asked after at once, but not
/// ejected: the request itself may be to blame, and would else take down one after the other.
fn lost(worker: &Worker, backend: &LocalBackend, reused: bool, error: &hyper::Error) {
    backend.shared.counts.on(worker.core).exchange_failures.add(1);
    backend.close_idle();
    if !reused {
        worker.check_soon();
    }
    tracing::debug!(backend = %backend.shared.name, reused, %error, "request lost");
}

/// Nobody there: no more requests until a check finds somebody.
fn eject(backend: &LocalBackend, error: &io::Error) {
    if health::is_our_own_lack(error) {
        tracing::warn!(backend = %backend.shared.name, %error, "cannot connect");
        return;
    }
    if backend.shared.set_up(false) {
        let (name, address) = (&backend.shared.name, backend.shared.address);
        tracing::warn!(backend = %name, %address, %error, "backend down: connect failed");
    }
}

impl Outgoing {
    /// The message for one attempt; one that may be needed again is copied.
    fn request(&mut self) -> Request<RequestBody> {
        let mut request = Request::new(self.body.handle());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() =
            if self.replayable { self.headers.clone() } else { std::mem::take(&mut self.headers) };
        request
    }

    /// Takes back a message of which nothing was sent.
    fn restore(&mut self, request: Request<RequestBody>) {
        self.headers = request.into_parts().0.headers;
    }
}

/// The backend's response on its way to the client.
fn pass_on(answer: Answer, request_id: HeaderValue, mut in_flight: InFlight) -> Response<ResponseBody> {
    let (mut head, body) = answer.response.into_parts();
    headers::prepare_response(&mut head.headers, request_id);
    head.version = Version::HTTP_11;
    in_flight.answered(Some(answer.index), head.status);
    let body = ResponseBody::upstream(body, answer.upstream, answer.backend, answer.upload, in_flight);
    Response::from_parts(head, body)
}

/// A refusal says its status and the request's id, nothing of the inside.
pub(super) fn refuse(
    status: StatusCode,
    request_id: HeaderValue,
    mut in_flight: InFlight,
) -> Response<ResponseBody> {
    in_flight.answered(None, status);
    let text = Bytes::from_static(status.canonical_reason().unwrap_or_default().as_bytes());
    let mut response = Response::new(ResponseBody::own(text, in_flight));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(X_REQUEST_ID, request_id);
    response
}
