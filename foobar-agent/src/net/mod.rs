//! The host's interfaces as netlink shows them: which there are, which lead to the world,
//! which already run an XDP program, and when that changes. Changes nothing itself.

mod changes;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp, XdpAttached};
use rtnetlink::packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::AbortHandle;

pub use self::changes::Changes;
use crate::kernel::AttachedMode;

/// Netlink could not be asked.
#[derive(Debug, Error)]
pub enum NetError {
    /// No socket.
    #[error("cannot open a netlink socket: {0}; the service must be allowed AF_NETLINK sockets")]
    Socket(#[from] io::Error),
    /// The kernel answered with an error.
    #[error("netlink refused a question: {0}")]
    Refused(#[from] rtnetlink::Error),
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The kernel's number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Leads nowhere but to this host.
    pub loopback: bool,
    /// Its hardware address, where it is an Ethernet interface: octets in the low 48 bits, the
    /// first one highest.
    pub station: Option<u64>,
    /// The XDP program that it runs.
    pub xdp: Option<XdpPresent>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpPresent {
    /// The kernel's number of the program.
    pub program: u32,
    /// How it is attached.
    pub mode: AttachedMode,
}

/// A connection for one round of questions: one that broke is not asked again.
struct Connection {
    handle: Handle,
    task: AbortHandle,
}

impl Connection {
    fn open() -> Result<Self, NetError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, task: tokio::spawn(connection).abort_handle() })
    }
}

impl Drop for Connection {
    /// The task would wait for messages from the kernel as long as the process lives.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Every interface of this network namespace. Must be called within a tokio runtime.
///
/// # Errors
/// When netlink fails.
pub async fn interfaces() -> Result<Vec<Interface>, NetError> {
    let connection = Connection::open()?;
    let links: Vec<LinkMessage> = connection.handle.link().get().execute().try_collect().await?;
    Ok(links.into_iter().filter_map(interface).collect())
}

/// The addresses of this host in this network namespace; none where the kernel does not say.
pub fn own_addresses() -> Vec<IpAddr> {
    getifaddrs().map(|entries| entries.filter_map(|entry| address_of(&entry)).collect()).unwrap_or_default()
}

/// The IP address of an entry, if it is one of that.
pub fn address_of(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address?;
    let ipv4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    ipv4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// Numbers of the interfaces that a default route of either family leads through. Must be
/// called within a tokio runtime.
///
/// # Errors
/// When netlink fails.
pub async fn with_default_route() -> Result<BTreeSet<u32>, NetError> {
    let connection = Connection::open()?;
    let questions =
        [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
    let mut found = BTreeSet::new();
    for question in questions {
        let routes: Vec<RouteMessage> =
            connection.handle.route().get(question).execute().try_collect().await?;
        for route in routes.iter().filter(|route| is_default(route)) {
            found.extend(outgoing(route));
        }
    }
    Ok(found)
}

/// Whether the route leads to the world: neither a refusal (`unreachable default`) nor one of
/// a table that only policy routing looks at.
fn is_default(route: &RouteMessage) -> bool {
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    route.header.destination_prefix_length == 0
        && route.header.kind == RouteType::Unicast
        && table.unwrap_or_else(|| route.header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN)
}

fn interface(link: LinkMessage) -> Option<Interface> {
    let mut name = None;
    let mut station = None;
    let mut xdp = None;
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text),
            LinkAttribute::Address(octets) => station = self::station(&octets),
            LinkAttribute::Xdp(attributes) => xdp = xdp_present(&attributes),
            _ => {}
        }
    }
    let loopback = link.header.flags.contains(LinkFlags::Loopback);
    Some(Interface { ifindex: link.header.index, name: name?, loopback, station, xdp })
}

fn station(octets: &[u8]) -> Option<u64> {
    let octets: [u8; 6] = octets.try_into().ok()?;
    Some(octets.iter().fold(0, |word, octet| word << 8 | u64::from(*octet)))
}

fn xdp_present(attributes: &[LinkXdp]) -> Option<XdpPresent> {
    let mode = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(AttachedMode::Generic),
        LinkXdp::Attached(XdpAttached::Driver | XdpAttached::Hardware | XdpAttached::Multiple) => {
            Some(AttachedMode::Native)
        }
        _ => None,
    })?;
    let program = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
            Some(*id)
        }
        _ => None,
    })?;
    Some(XdpPresent { program, mode })
}

/// The interfaces of a route, which has several next hops where it is a multipath route.
fn outgoing(route: &RouteMessage) -> Vec<u32> {
    let mut interfaces = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(ifindex) => interfaces.push(*ifindex),
            RouteAttribute::MultiPath(hops) => interfaces.extend(hops.iter().map(|hop| hop.interface_index)),
            _ => {}
        }
    }
    interfaces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_has_six_octets() {
        assert_eq!(station(&[2, 0, 0, 0xab, 0, 1]), Some(0x0200_00ab_0001));
        assert_eq!(station(&[10, 0, 0, 1]), None);
        assert_eq!(station(&[]), None);
    }

    #[test]
    fn only_a_unicast_route_of_the_main_table_leads_to_the_world() {
        let route = |kind, table: u32, prefix_length| {
            let mut route = RouteMessage::default();
            route.header.kind = kind;
            route.header.destination_prefix_length = prefix_length;
            route.attributes.push(RouteAttribute::Table(table));
            route
        };
        assert!(is_default(&route(RouteType::Unicast, 254, 0)));
        assert!(!is_default(&route(RouteType::Unicast, 254, 24)));
        assert!(!is_default(&route(RouteType::Unicast, 1000, 0)));
        assert!(!is_default(&route(RouteType::Unreachable, 254, 0)));
    }
}
