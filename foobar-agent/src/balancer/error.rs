//! What can keep a balancer from starting or from taking a new configuration, each with
//! its remedy. What goes wrong with one connection or request is not an error of this
//! kind: it is counted, and answered where there is somebody to answer.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustls::pki_types::pem;

/// Why the balancer did not start, or why it refused a new configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BalancerError {
    /// Somebody else listens there.
    #[error(
        "{address}: the port is in use; stop what listens there (`ss -ltnp 'sport = :{}'` names it) \
         or choose another address", address.port()
    )]
    PortInUse {
        /// The configured address.
        address: SocketAddr,
    },
    /// A port below `net.ipv4.ip_unprivileged_port_start`, and no right to it.
    #[error("{address}: no permission to listen; run as root or give the agent CAP_NET_BIND_SERVICE")]
    PortPrivileged {
        /// The configured address.
        address: SocketAddr,
    },
    /// The address belongs to no interface of this host.
    #[error("{address}: no interface of this host has this address; use one it has, or 0.0.0.0 or [::]")]
    AddressAbsent {
        /// The configured address.
        address: SocketAddr,
    },
    /// Any other failure to listen.
    #[error("{address}: cannot listen: {source}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// TLS needs a certificate.
    #[error("balancer.https names a listener, but there is no certificate; add [[balancer.certificates]]")]
    NoCertificate,
    /// A certificate or key file that cannot be read.
    #[error("{}: cannot read: {source}; check the path and the agent's permission", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A certificate file without a certificate.
    #[error("{}: holds no PEM certificate: {source}; it must hold the chain, leaf first", path.display())]
    CertificatePem {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: pem::Error,
    },
    /// A key file without a key.
    #[error(
        "{}: holds no PEM private key: {source}; PKCS#8, PKCS#1 and SEC1 are read, encrypted keys are not",
        path.display()
    )]
    KeyPem {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: pem::Error,
    },
    /// PEM that holds no X.509 certificate.
    #[error("{}: the first certificate is not valid X.509: {reason}", path.display())]
    CertificateInvalid {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// A key of a kind that the TLS library cannot sign with.
    #[error("{}: the key cannot be used: {source}; use ECDSA P-256 or P-384, Ed25519, or RSA of 2,048 bits or more",
        path.display())]
    KeyInvalid {
        /// The file.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// A key that belongs to another certificate.
    #[error(
        "{}: the key does not belong to the certificate in {}; the leaf must come first in that file",
        key.display(), cert.display()
    )]
    KeyMismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// Nobody to trust where backends are spoken to in TLS.
    #[error(
        "no certificate authority can be used for TLS to the backends: {reason}; name one as `ca` in [balancer.pools.tls]"
    )]
    Authorities {
        /// What was tried, and what came of it.
        reason: String,
    },
    /// A name that no certificate can bear.
    #[error("server_name {name:?}: no certificate can bear this name")]
    ServerName {
        /// The configured name.
        name: String,
    },
    /// The TLS library refused its own settings.
    #[error("TLS cannot be set up: {source}")]
    Tls {
        /// What the TLS library said.
        #[source]
        source: rustls::Error,
    },
    /// Worker cores are fixed at start.
    #[error(
        "balancer.workers is {wanted}, but {running} run: the number of workers changes only by a restart \
         of the agent; nothing was changed"
    )]
    WorkersChanged {
        /// Cores that run.
        running: usize,
        /// Cores that the new configuration asks for.
        wanted: usize,
    },
    /// A thread or its runtime could not be made.
    #[error("cannot start {thread}: {source}; raise the limit on threads and open files")]
    Thread {
        /// Which thread.
        thread: String,
        /// What the kernel said.
        source: io::Error,
    },
}
