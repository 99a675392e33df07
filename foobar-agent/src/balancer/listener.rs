//! Listening sockets: bound before anything starts, one a core with `SO_REUSEPORT`, so that
//! the kernel spreads connections and no two cores share an accept queue.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::counters::{ListenerCounts, PerCore};
use super::error::BalancerError;
use super::limits::BACKLOG;
use crate::desk;

/// One address that the balancer listens on; it outlives a reload that keeps the address.
#[derive(Debug)]
pub(super) struct Listener {
    /// What the configuration says; its port may be 0.
    pub(super) configured: SocketAddr,
    /// What the sockets are bound to.
    pub(super) bound: SocketAddr,
    /// Whether TLS is spoken here.
    pub(super) tls: bool,
    pub(super) counts: PerCore<ListenerCounts>,
}

/// A listener with the sockets that its workers will own.
#[derive(Debug)]
pub(super) struct BoundListener {
    pub(super) listener: Arc<Listener>,
    /// One a core.
    pub(super) sockets: Vec<TcpListener>,
}

/// Binds one socket a core.
pub(super) fn bind(configured: SocketAddr, tls: bool, cores: usize) -> Result<BoundListener, BalancerError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BalancerError::PortInUse { address: configured },
        io::ErrorKind::PermissionDenied => BalancerError::PortPrivileged { address: configured },
        io::ErrorKind::AddrNotAvailable => BalancerError::AddressAbsent { address: configured },
        _ => BalancerError::Listen { address: configured, source },
    };
    // With SO_REUSEPORT the kernel would let a second agent of the same user in and give it
    // half of the connections. A socket without the option finds out.
    if configured.port() != 0 {
        open(configured, false).map_err(failed)?;
    }
    let mut bound = configured;
    let mut sockets = Vec::with_capacity(cores);
    for _ in 0..cores {
        let socket = open(bound, true).map_err(failed)?;
        socket.listen(BACKLOG).map_err(failed)?;
        let socket = TcpListener::from(socket);
        // Port 0: the others follow the first.
        bound = socket.local_addr().map_err(failed)?;
        sockets.push(socket);
    }
    let listener = Arc::new(Listener { configured, bound, tls, counts: PerCore::new(cores) });
    Ok(BoundListener { listener, sockets })
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of an earlier run in TIME_WAIT must not hold the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        // [::] and 0.0.0.0 are two listeners of the same port.
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit this on Linux.
    socket.set_tcp_nodelay(true)?;
    desk::bind(&socket, address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_gets_a_socket_of_the_same_port() {
        let bound = bind("127.0.0.1:0".parse().unwrap(), false, 3).unwrap();
        assert_ne!(bound.listener.bound.port(), 0);
        for socket in &bound.sockets {
            assert_eq!(socket.local_addr().unwrap(), bound.listener.bound);
        }
    }

    #[test]
    fn a_port_in_use_is_refused_even_if_its_owner_would_share() {
        let first = bind("127.0.0.1:0".parse().unwrap(), false, 2).unwrap();
        let address = first.listener.bound;
        let second = bind(address, false, 2);
        assert!(matches!(second, Err(BalancerError::PortInUse { address: named }) if named == address));
    }

    #[test]
    fn an_address_of_another_host_is_named() {
        let error = bind("192.0.2.1:0".parse().unwrap(), false, 1).unwrap_err();
        assert!(matches!(error, BalancerError::AddressAbsent { .. }), "{error}");
    }
}
