//! What the balancer tells the rest of the agent: plain numbers, summed over the cores at
//! the moment of asking. Labels are closed sets; none comes from the network.

use serde::{Deserialize, Serialize};

/// All counters and states of a balancer at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BalancerSnapshot {
    /// Clear-text listeners, then TLS listeners, in file order.
    pub listeners: Vec<ListenerSnapshot>,
    /// Answered requests.
    pub requests: Vec<RequestCount>,
    /// How long requests took, by site.
    pub durations: Vec<DurationSnapshot>,
    /// Backends by pool, in file order.
    pub backends: Vec<BackendSnapshot>,
    /// Certificates, in file order.
    pub certificates: Vec<CertificateSnapshot>,
}

/// One listening address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerSnapshot {
    /// Address and port that the socket is bound to.
    pub address: String,
    /// Whether TLS is spoken here; if not, requests are redirected to where it is.
    pub tls: bool,
    /// Accepted connections.
    pub connections_accepted: u64,
    /// Finished handshakes.
    pub handshakes: Vec<HandshakeCount>,
    /// Handshakes that failed.
    pub handshake_failures: Vec<HandshakeFailureCount>,
}

/// Finished handshakes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HandshakeCount {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// Whether a session ticket saved the key exchange with certificates.
    pub resumed: bool,
    /// How many.
    pub count: u64,
}

/// Failed handshakes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HandshakeFailureCount {
    /// `timeout`, `closed`, `not-tls`, `incompatible`, `alert` or `other`.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Requests with one site, backend and status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestCount {
    /// First host name of the site, or `none` where the request named no site of ours.
    pub site: String,
    /// Backend that answered, or `none` where the balancer itself did.
    pub backend: String,
    /// Status; 0 stands for every status without a meaning registered at IANA.
    pub code: u16,
    /// How many.
    pub count: u64,
}

/// A histogram of request durations, from request head to the end of the response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurationSnapshot {
    /// First host name of the site, or `none`.
    pub site: String,
    /// Cumulative buckets in rising order; what is above the last is in `count` only.
    pub buckets: Vec<DurationBucket>,
    /// Sum of all durations.
    pub sum_seconds: f64,
    /// How many.
    pub count: u64,
}

/// One cumulative bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurationBucket {
    /// Upper bound, inclusive.
    pub le_seconds: f64,
    /// Requests that took no longer.
    pub count: u64,
}

/// One backend of one pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendSnapshot {
    /// The pool.
    pub pool: String,
    /// The backend.
    pub backend: String,
    /// Where it listens.
    pub address: String,
    /// Whether it takes traffic.
    pub up: bool,
    /// Whether it does so only while all others are down.
    pub backup: bool,
    /// Requests sent to it, retried ones included.
    pub requests: u64,
    /// Connections opened for requests.
    pub connections_opened: u64,
    /// Connects that failed, checks left out.
    pub connect_failures: u64,
    /// Connections lost with a request under way.
    pub exchange_failures: u64,
    /// Response heads that did not come in time.
    pub timeouts: u64,
    /// Attempts that followed a failure of this backend, on it or another.
    pub retries: u64,
    /// Checks that failed.
    pub check_failures: u64,
}

/// One certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CertificateSnapshot {
    /// First DNS name.
    pub name: String,
    /// End of validity, seconds since 1970-01-01 UTC.
    pub not_after: i64,
}
