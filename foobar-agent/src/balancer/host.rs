//! The one canonical host of a request: parsed once, used for routing, the certificate check
//! and the redirect, so that no two of them can be told different things.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, Version};

/// Longest DNS name in text form (RFC 1035 §2.3.4).
const MAX_NAME_BYTES: usize = 253;

/// A lower-case host name or address literal, without port and trailing dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Host {
    bytes: [u8; MAX_NAME_BYTES],
    length: u8,
}

impl Host {
    pub(super) fn as_str(&self) -> &str {
        // Only ASCII is ever put in.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }

    /// Reads `name`, `name:port`, `[address]` or `[address]:port`.
    fn parse(authority: &[u8]) -> Option<Self> {
        let name = match authority.strip_prefix(b"[") {
            Some(_) => authority.split_at_checked(authority.iter().position(|&byte| byte == b']')? + 1),
            None => authority
                .split_at_checked(authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len())),
        };
        let (name, port) = name?;
        let port_is_valid = match port.strip_prefix(b":") {
            Some(digits) => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
            None => port.is_empty(),
        };
        let literal = name.starts_with(b"[");
        let byte_is_valid = |byte: &u8| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'.' | b'_')
                || literal && matches!(byte, b'[' | b']' | b':')
        };
        let name = name.strip_suffix(b".").unwrap_or(name);
        if !port_is_valid || name.is_empty() || name.len() > MAX_NAME_BYTES || !name.iter().all(byte_is_valid)
        {
            return None;
        }
        let mut host = Self { bytes: [0; MAX_NAME_BYTES], length: u8::try_from(name.len()).ok()? };
        let lower = &mut host.bytes[..name.len()];
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(host)
    }
}

/// Why a request has no usable host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadHost;

/// The host that a request is for. An authority in the request target (absolute form, or
/// `:authority` of HTTP/2) decides, as RFC 9112 §3.2.2 has it, and replaces the Host field.
pub(super) fn canonical(version: Version, uri: &Uri, headers: &mut HeaderMap) -> Result<Host, BadHost> {
    let mut fields = headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(BadHost);
    }
    if let Some(authority) = uri.authority() {
        let same = field.is_some_and(|field| field.as_bytes() == authority.as_str().as_bytes());
        let host = Host::parse(authority.as_str().as_bytes()).ok_or(BadHost)?;
        // HTTP/2 forbids the two to differ (RFC 9113 §8.3.1).
        if version == Version::HTTP_2 && field.is_some() && !same {
            return Err(BadHost);
        }
        if !same {
            headers.insert(HOST, value_of(authority).ok_or(BadHost)?);
        }
        return Ok(host);
    }
    Host::parse(field.ok_or(BadHost)?.as_bytes()).ok_or(BadHost)
}

fn value_of(authority: &Authority) -> Option<HeaderValue> {
    HeaderValue::from_str(authority.as_str()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        Host::parse(text.as_bytes()).map(|host| host.as_str().to_owned())
    }

    #[test]
    fn case_port_and_trailing_dot_do_not_matter() {
        for text in
            ["www.foobar.com", "WWW.FooBar.com", "www.foobar.com:443", "www.foobar.com.", "www.foobar.com.:1"]
        {
            assert_eq!(parsed(text).as_deref(), Some("www.foobar.com"), "{text}");
        }
        assert_eq!(parsed("[2001:DB8::1]:443").as_deref(), Some("[2001:db8::1]"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(254);
        for text in [
            "", ".", ":80", "a b", "a,b", "user@a", "a/b", "a:port", "a:123456", "[::1", "[::1]x", "a\0b",
            &long,
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_request_target_overrules_the_host_field() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("evil.example"));
        let uri = Uri::from_static("http://www.foobar.com/x");
        let host = canonical(Version::HTTP_11, &uri, &mut headers).unwrap();
        assert_eq!(host.as_str(), "www.foobar.com");
        assert_eq!(headers[HOST], "www.foobar.com");
        headers.insert(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(canonical(Version::HTTP_2, &uri, &mut headers), Err(BadHost));
    }

    #[test]
    fn none_and_two_host_fields_are_refused() {
        let (uri, mut headers) = (Uri::from_static("/"), HeaderMap::new());
        assert_eq!(canonical(Version::HTTP_11, &uri, &mut headers), Err(BadHost));
        headers.append(HOST, HeaderValue::from_static("a"));
        assert!(canonical(Version::HTTP_11, &uri, &mut headers).is_ok());
        headers.append(HOST, HeaderValue::from_static("a"));
        assert_eq!(canonical(Version::HTTP_11, &uri, &mut headers), Err(BadHost));
    }
}
