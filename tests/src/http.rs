//! The smallest HTTP client: one GET over a connection made inside a host. For readiness and metrics;
//! what browsers do is tested with curl.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::host::Host;

/// For the whole exchange: the server is on the same machine.
const LIMIT: Duration = Duration::from_secs(5);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header lines as received.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Asks for a path. HTTP/1.0, so that the body ends where the connection does.
pub fn get(host: &Host, server: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream = host.connect(server, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT)).context("cannot set a time limit")?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer)).with_context(
        || format!("{}: http://{server}{path} did not answer; so far: {answer:?}", host.name()),
    )?;
    parse(&answer).with_context(|| format!("not an HTTP response: {answer:?}"))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_a_status_a_head_and_a_body() {
        let answer = parse("HTTP/1.0 404 Not Found\r\nA: b\r\n\r\nno\r\n\r\n").unwrap();
        assert_eq!(answer.status, 404);
        assert_eq!(answer.head, "HTTP/1.0 404 Not Found\r\nA: b");
        assert_eq!(answer.body, "no\r\n\r\n");
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse("HTTP/1.1 200 OK\r\nA: b"), None);
    }
}
