//! What changes in a head on its way through: hop-by-hop fields go, in both directions; the
//! fields that tell the backend who asked are ours alone and overwrite what a client sent.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Names a request in every log that it passes.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields of one hop (RFC 9110 §7.6.1) and those that only a proxy would use.
const HOP_BY_HOP: [HeaderName; 7] =
    [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION];

/// Why a request is refused for its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadFraming;

/// Transfer-Encoding is `chunked`, once, or absent; everything else has served to smuggle. Of an
/// HTTP/1 message with both, hyper has dropped Content-Length before, and closes after it.
pub(super) fn check_framing(headers: &HeaderMap) -> Result<(), BadFraming> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            if headers.contains_key(CONTENT_LENGTH) { Err(BadFraming) } else { Ok(()) }
        }
        _ => Err(BadFraming),
    }
}

/// Takes out what belongs to the connection that the head came on.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(first) = headers.remove(CONNECTION) {
        remove_named(headers, &first);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Connection fields: rarely more than one word that names no field at all.
fn remove_named(headers: &mut HeaderMap, first: &HeaderValue) {
    let names = first.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    for name in names {
        let no_field = name.eq_ignore_ascii_case(b"keep-alive") || name.eq_ignore_ascii_case(b"close");
        // Framing and routing are not the client's to take away.
        let ours = name.eq_ignore_ascii_case(b"host") || name.eq_ignore_ascii_case(b"content-length");
        if !no_field
            && !ours
            && let Ok(name) = HeaderName::from_bytes(name)
        {
            headers.remove(name);
        }
    }
}

/// Values of one client connection that every request of it carries.
#[derive(Debug)]
pub(super) struct Forwarded {
    /// The client's address.
    pub(super) for_address: HeaderValue,
}

/// Makes a client's head into the one that the backend gets.
pub(super) fn prepare_request(headers: &mut HeaderMap, forwarded: &Forwarded, request_id: &HeaderValue) {
    merge_connection_fields(headers);
    remove_hop_by_hop(headers);
    // We answer an expectation ourselves, when the backend starts to take the body.
    headers.remove(EXPECT);
    join_cookies(headers);
    for name in [FORWARDED, X_FORWARDED_HOST, X_FORWARDED_PORT, X_REAL_IP] {
        headers.remove(name);
    }
    remove_underscored(headers);
    headers.insert(X_FORWARDED_FOR, forwarded.for_address.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    headers.insert(X_REQUEST_ID, request_id.clone());
}

/// Gateways to applications fold `_` and `-` into one, so that `X_Forwarded_For` would speak
/// where `X-Forwarded-For` is ours. Nginx drops such names by default, too.
fn remove_underscored(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().contains('_')) {
        let odd: Vec<_> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
        for name in odd {
            headers.remove(name);
        }
    }
}

/// Makes a backend's head into the one that the client gets.
pub(super) fn prepare_response(headers: &mut HeaderMap, request_id: HeaderValue) {
    // RFC 9112 §6.3: chunked framing overrides a length, which must not travel on: the client
    // would take a body that is cut to it for a whole one.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    merge_connection_fields(headers);
    remove_hop_by_hop(headers);
    headers.insert(X_REQUEST_ID, request_id);
}

/// Several Connection fields are one list.
fn merge_connection_fields(headers: &mut HeaderMap) {
    merge(headers, &CONNECTION, b", ");
}

/// HTTP/2 clients split cookies; HTTP/1.1 wants one field (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    merge(headers, &COOKIE, b"; ");
}

fn merge(headers: &mut HeaderMap, name: &HeaderName, separator: &[u8]) {
    if headers.get_all(name).iter().nth(1).is_none() {
        return;
    }
    let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&values.join(separator)) {
        headers.insert(name, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        fields.iter().map(field).fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    fn prepared(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = map(fields);
        let forwarded = Forwarded { for_address: HeaderValue::from_static("192.0.2.1") };
        prepare_request(&mut headers, &forwarded, &HeaderValue::from_static("id"));
        headers
    }

    #[test]
    fn what_a_stranger_says_about_itself_is_replaced() {
        let headers = prepared(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("x-request-id", "theirs"),
            ("accept", "*/*"),
        ]);
        let expected = map(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "id"),
            ("accept", "*/*"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn fields_of_the_hop_and_those_it_names_are_removed() {
        let headers = prepared(&[
            ("connection", "keep-alive, X-Secret"),
            ("connection", "x-other,host"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-connection", "keep-alive"),
            ("expect", "100-continue"),
            ("host", "www.foobar.com"),
        ]);
        assert_eq!(headers.len(), 4, "{headers:?}");
        assert!(headers.contains_key("host"));
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let headers = prepared(&[("cookie", "a=1"), ("cookie", "b=2")]);
        assert_eq!(headers["cookie"], "a=1; b=2");
        assert_eq!(headers.get_all("cookie").iter().count(), 1);
    }

    #[test]
    fn only_chunked_once_is_a_transfer_encoding() {
        assert_eq!(check_framing(&map(&[("content-length", "1")])), Ok(()));
        assert_eq!(check_framing(&map(&[("transfer-encoding", "Chunked")])), Ok(()));
        for fields in [
            &[("transfer-encoding", "gzip, chunked")][..],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "chunked"), ("content-length", "1")],
        ] {
            assert_eq!(check_framing(&map(fields)), Err(BadFraming), "{fields:?}");
        }
    }
}
