//! The host's interfaces as netlink shows them: which there are, which lead to the world,
//! which already run an XDP program, and when that changes. Changes nothing itself.

use std::collections::BTreeSet;
use std::io;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use thiserror::Error;

use crate::kernel::AttachedMode;

/// Netlink could not be asked.
#[derive(Debug, Error)]
pub enum NetError {
    /// No socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[from] io::Error),
    /// The kernel answered with an error.
    #[error("netlink refused a question: {0}")]
    Refused(#[from] rtnetlink::Error),
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// The XDP program that it runs.
    pub xdp: Option<XdpPresent>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpPresent {
    /// The kernel's number of the program.
    pub program: u32,
    /// How it is attached.
    pub mode: AttachedMode,
}

/// A connection to netlink.
pub struct Net {
    handle: Handle,
}

/// News of links and routes.
pub struct Changes {
    messages: BoxStream<'static, ()>,
}

impl Changes {
    /// Waits until links or routes may have changed. `false`: there will be no more news.
    pub async fn next(&mut self) -> bool {
        self.messages.next().await.is_some()
    }
}

impl Net {
    /// Connects, and listens for changes of links and routes from now on. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub fn open() -> Result<(Self, Changes), NetError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];
        let (connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        let messages = messages.filter_map(|(message, _)| async move {
            matches!(
                message.payload,
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewLink(_)
                        | RouteNetlinkMessage::DelLink(_)
                        | RouteNetlinkMessage::NewRoute(_)
                        | RouteNetlinkMessage::DelRoute(_)
                )
            )
            .then_some(())
        });
        Ok((Self { handle }, Changes { messages: messages.boxed() }))
    }

    /// Every interface of this network namespace.
    ///
    /// # Errors
    /// When netlink fails.
    pub async fn interfaces(&self) -> Result<Vec<Interface>, NetError> {
        let links: Vec<LinkMessage> = self.handle.link().get().execute().try_collect().await?;
        Ok(links.into_iter().filter_map(interface).collect())
    }

    /// Numbers of the interfaces that a default route of either family leads through.
    ///
    /// # Errors
    /// When netlink fails.
    pub async fn with_default_route(&self) -> Result<BTreeSet<u32>, NetError> {
        let questions = [
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
        ];
        let mut found = BTreeSet::new();
        for question in questions {
            let routes: Vec<RouteMessage> = self.handle.route().get(question).execute().try_collect().await?;
            for route in routes.iter().filter(|route| route.header.destination_prefix_length == 0) {
                found.extend(outgoing(route));
            }
        }
        Ok(found)
    }
}

fn interface(link: LinkMessage) -> Option<Interface> {
    let mut name = None;
    let mut xdp = None;
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text),
            LinkAttribute::Xdp(attributes) => xdp = xdp_present(&attributes),
            _ => {}
        }
    }
    Some(Interface { ifindex: link.header.index, name: name?, xdp })
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
