//! Every bound that the balancer puts on a peer: sizes in bytes, times as `Duration`, or
//! in ticks of the worker's one-second clock where a timer per request would be a waste.

use std::time::Duration;

/// Connections that the kernel keeps for one listening socket before they are accepted.
pub(super) const BACKLOG: i32 = 4096;
/// From accepted to handshake finished.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// HTTP/1: request line and fields together; a longer head is answered 431.
pub(super) const H1_HEAD_BYTES: usize = 16 * 1024;
/// HTTP/1: read buffer and buffered response of one connection.
pub(super) const H1_BUFFER_BYTES: usize = 32 * 1024;
/// Ticks that a client may take from one response (or the handshake) to the end of the next
/// request head: keep-alive timeout and slow-head timeout in one.
pub(super) const CLIENT_IDLE_TICKS: u32 = 60;
/// Ticks in which a client must take in some of a response that waits for it.
pub(super) const CLIENT_STALL_TICKS: u32 = 60;
/// Ticks that a connection which was told to end may still take to do so.
pub(super) const CLOSE_TICKS: u32 = 5;

/// Request headers, each cookie crumb of HTTP/2 counted, after which a request is refused.
pub(super) const MAX_HEADERS: usize = 128;
/// HTTP/2: streams at a time on one connection.
pub(super) const H2_STREAMS: u32 = 100;
/// HTTP/2: bytes of one decoded header list.
pub(super) const H2_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// HTTP/2: request bytes in flight for one stream.
pub(super) const H2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// HTTP/2: request bytes in flight for one connection.
pub(super) const H2_CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// HTTP/2: response bytes buffered for one stream.
pub(super) const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// HTTP/2: streams that a client may reset before they are served (CVE-2023-44487).
pub(super) const H2_PENDING_RESETS: usize = 20;
/// HTTP/2: how often a silent client is asked whether it is still there.
pub(super) const H2_PING_INTERVAL: Duration = Duration::from_secs(30);
/// HTTP/2: how long it may take to answer that.
pub(super) const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A TCP connect to a backend.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Ticks from request sent to response head.
pub(super) const RESPONSE_HEAD_TICKS: u32 = 60;
/// Read buffer of one upstream connection.
pub(super) const UPSTREAM_BUFFER_BYTES: usize = 64 * 1024;
/// Idle connections that one core keeps to one backend.
pub(super) const UPSTREAM_IDLE_CONNECTIONS: usize = 64;
/// Ticks after which an idle upstream connection is closed; below the 75 s of Nginx.
pub(super) const UPSTREAM_IDLE_TICKS: u32 = 60;

/// How often every backend is checked.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a check may take: a SYN that is lost is sent again after a second (RFC 6298 §2), and
/// one lost packet is no dead backend.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_millis(2500);
