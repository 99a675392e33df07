//! Packets of connections that this host has, where neither flow nor rule lets them pass: what was there
//! before the agent, and what a rule that is gone let in. Pure; the sockets are behind [`Sockets`].

use crate::packet::{Packet, TransportKind};

/// The host's sockets.
pub trait Sockets {
    /// Whether a connected socket has exactly this packet's ends.
    fn hold(&self, packet: &Packet) -> bool;
}

const UDP: u8 = 17;
/// SYN, RST and ACK in octet 13 of a TCP header.
const SYN_RST_ACK: u8 = 0b1_0110;
const SYN: u8 = 0b10;

/// Whether a socket can speak for a packet: never for one that asks for a connection, nor for a later
/// fragment, which has no ports.
#[inline(always)]
pub const fn can_hold(packet: &Packet) -> bool {
    match packet.transport.kind {
        TransportKind::Tcp => packet.transport.tcp_flags & SYN_RST_ACK != SYN,
        TransportKind::Ports => packet.protocol == UDP,
        TransportKind::Icmp | TransportKind::Opaque => false,
    }
}
