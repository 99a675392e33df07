//! What a check may know of the host on which it runs. Plain data: who looks is the caller.

use std::net::{IpAddr, SocketAddr};

/// The host on which a configuration is checked. Empty, it is checked for any host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Every interface; absent, nobody has looked.
    pub interfaces: Option<Vec<LocalInterface>>,
    /// The session in which somebody asks.
    pub session: Option<SshSession>,
}

/// An interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalInterface {
    /// Its name.
    pub name: String,
    /// Leads nowhere but to this host.
    pub loopback: bool,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
}

/// The TCP connection of an SSH session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SshSession {
    /// Where somebody sits.
    pub client: SocketAddr,
    /// This host.
    pub server: SocketAddr,
}
