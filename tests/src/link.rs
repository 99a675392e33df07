//! Cables and switches: veth pairs whose two ends are made directly inside their hosts (so no link of
//! ours is ever seen outside), and bridges.
//!
//! Checksum offload stays on: a veth hands over packets whose checksum was never computed, with a mark
//! that says so, and native XDP keeps the mark on what it passes. Segmentation needs no care either:
//! attaching XDP natively makes the kernel turn it off at the other end.

use std::cell::Cell;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::{Host, succeeded};

/// A veth pair; it lasts until either host ends or somebody removes it.
#[derive(Clone, Debug)]
pub struct Link {
    namespace: String,
    interface: String,
}

impl Link {
    /// Joins interface `near` of one host with interface `far` of another, both up.
    pub fn between((left, near): (&Host, &str), (right, far): (&Host, &str)) -> Result<Self> {
        left.ip(&format!("link add {near} type veth peer name {far} netns {}", right.name()))?;
        left.ip(&format!("link set {near} up"))?;
        right.ip(&format!("link set {far} up"))?;
        Ok(Self { namespace: left.name().to_owned(), interface: near.to_owned() })
    }

    /// Takes both interfaces away.
    pub fn remove(self) -> Result<()> {
        let Self { namespace, interface } = self;
        let output = Command::new("ip").args(["-n", &namespace, "link", "del", &interface]).output();
        let output = output.context("cannot run ip (package iproute2)")?;
        succeeded(&format!("ip -n {namespace} link del {interface}"), &output).map(drop)
    }
}

/// A bridge inside a host: a switch.
#[derive(Debug)]
pub struct Bridge<'a> {
    host: &'a Host,
    name: String,
    ports: Cell<u32>,
}

impl<'a> Bridge<'a> {
    /// Makes a bridge that forwards at once, multicast like broadcast.
    pub fn new(host: &'a Host, name: &str) -> Result<Self> {
        host.ip(&format!("link add {name} type bridge forward_delay 0 mcast_snooping 0"))?;
        host.ip(&format!("link set {name} up"))?;
        Ok(Self { host, name: name.to_owned(), ports: Cell::new(0) })
    }

    /// Joins an interface of a host to a new port.
    pub fn plug(&self, host: &Host, interface: &str) -> Result<Link> {
        let port = format!("{}.{}", self.name, self.ports.get());
        self.ports.set(self.ports.get() + 1);
        let link = Link::between((host, interface), (self.host, &port))?;
        // A port is no address of the switch: it must not take part in neighbour discovery.
        self.host.sysctl(&format!("net/ipv6/conf/{port}/disable_ipv6"), "1")?;
        self.host.ip(&format!("link set {port} master {}", self.name))?;
        Ok(link)
    }

    /// The bridge's own interface name in its host.
    pub fn name(&self) -> &str {
        &self.name
    }
}
