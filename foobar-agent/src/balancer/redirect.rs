//! Clear-text listeners: every request for a site of ours is sent to https, with 308, which
//! keeps method and body. Requests for other hosts are refused, so nobody can make us
//! redirect to a place of their choice.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::rc::Rc;

use http::header::{HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::body::ResponseBody;
use super::client::{Client, InFlight};
use super::forward::refuse;
use super::host;
use super::local::Local;

const HTTPS_PORT: u16 = 443;

/// Answers one request that came in clear text.
pub(super) fn handle(
    client: &Rc<Client>,
    request: Request<Incoming>,
) -> Ready<Result<Response<ResponseBody>, Infallible>> {
    let local = client.worker.local();
    let request_id = client.worker.request_id();
    let mut in_flight = InFlight::new(Rc::clone(client), Rc::clone(&local));
    let answer = match target(&local, request) {
        Ok((site, location)) => {
            in_flight.routed(site);
            let mut response = refuse(StatusCode::PERMANENT_REDIRECT, request_id, in_flight);
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(status) => refuse(status, request_id, in_flight),
    };
    ready(Ok(answer))
}

fn target(local: &Local, request: Request<Incoming>) -> Result<(usize, HeaderValue), StatusCode> {
    let (mut head, _) = request.into_parts();
    if head.method == Method::CONNECT {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    let host = host::canonical(head.version, &head.uri, &mut head.headers)
        .map_err(|host::BadHost| StatusCode::BAD_REQUEST)?;
    let state = &local.state;
    let site = *state.hosts.get(host.as_str()).ok_or(StatusCode::MISDIRECTED_REQUEST)?;
    let port = state.https_port().ok_or(StatusCode::MISDIRECTED_REQUEST)?;
    let path = match head.uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
        Some(path) if path.starts_with('/') => path,
        _ => "/",
    };
    let location = match port {
        HTTPS_PORT => format!("https://{}{path}", host.as_str()),
        port => format!("https://{}:{port}{path}", host.as_str()),
    };
    HeaderValue::try_from(location).map(|location| (site, location)).map_err(|_| StatusCode::BAD_REQUEST)
}
