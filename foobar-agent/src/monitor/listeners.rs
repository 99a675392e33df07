//! TCP listeners of the monitoring endpoint: bound before anything is changed, with an error
//! that says what to do. Serves nothing.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

use crate::desk;

/// Connections that the kernel holds for us until we accept them.
const BACKLOG: i32 = 128;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics: {source}\n  hint: {}", hint(*address, source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the kernel says.
    #[source]
    pub source: io::Error,
}

fn hint(address: SocketAddr, source: &io::Error) -> String {
    let port = address.port();
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!("`ss -ltnp sport = :{port}` shows who holds it; stop that, or change monitor.listen")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("no interface has the address {}; change monitor.listen", address.ip())
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} needs root or CAP_NET_BIND_SERVICE; run as root, or change monitor.listen")
        }
        _ => "change monitor.listen".to_owned(),
    }
}

/// Binds the address. `held` are listeners of this process that are still open: one of them may
/// hold the same port on a wider or narrower address (`0.0.0.0` and `127.0.0.1`), which is no conflict
/// because it ends when the new one is taken. A foreign holder of the port always is.
pub(super) fn bind<'a>(
    address: SocketAddr,
    held: impl Iterator<Item = &'a TcpListener>,
) -> Result<TcpListener, BindError> {
    let overlapping: Vec<SockRef<'_>> = held
        .filter(|listener| listener.local_addr().is_ok_and(|other| other.port() == address.port()))
        .map(SockRef::from)
        .collect();
    let bound = bind_beside(address, &overlapping);
    for socket in &overlapping {
        if let Err(error) = socket.set_reuse_port(false) {
            tracing::debug!(%error, "cannot take back SO_REUSEPORT");
        }
    }
    bound.map_err(|source| BindError { address, source })
}

fn bind_beside(address: SocketAddr, overlapping: &[SockRef<'_>]) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be listened on.
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier agent in TIME_WAIT do not hold the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if !overlapping.is_empty() {
        // Both sides must allow it, and only for as long as the bind takes: left on, a second agent
        // could silently share the port.
        socket.set_reuse_port(true)?;
        for other in overlapping {
            other.set_reuse_port(true)?;
        }
    }
    desk::bind(&socket, address)?;
    socket.listen(BACKLOG)?;
    if !overlapping.is_empty() {
        socket.set_reuse_port(false)?;
    }
    TcpListener::from_std(socket.into())
}
