//! Which samples somebody wants to see: an expression in the manner of tcpdump's (pcap-filter(7)), and of what
//! the datapath decided beside.
//!
//! ```text
//! expression = factor { ("and" | "&&" | "or" | "||") factor }       both alike, from left to right
//! factor     = ["not" | "!"] ( "(" expression ")" | primitive )
//! primitive  = ["ip"|"ip6"|"tcp"|"udp"|"icmp"|"icmp6"|"sctp"] ["src"|"dst"] [("host"|"net"|"port"|"portrange") value]
//!            | "proto" n | "greater" n | "less" n
//!            | "verdict" word | "rule" name | "reason" word | "interface" name
//! ```

mod parse;

use std::net::IpAddr;

use foobar_ebpf::packet::{Packet, Parsed, TransportKind};

pub use self::parse::FilterError;
use super::Sample;
use crate::explain::describe;
use crate::firewall::address::{Prefix, mapped};

/// An expression that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Expression);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    /// IPv4, not IPv6.
    Family(bool),
    Protocol(u8),
    Net(End, Prefix),
    /// First and last.
    Ports(End, u16, u16),
    /// At least so long.
    Greater(u32),
    /// At most so long.
    Less(u32),
    Verdict(String),
    Rule(String),
    Reason(String),
    Interface(String),
}

/// Whose address or port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
    Either,
}

impl End {
    fn is(self, source: bool, destination: bool) -> bool {
        match self {
            Self::Source => source,
            Self::Destination => destination,
            Self::Either => source || destination,
        }
    }
}

impl Filter {
    /// Understands an expression.
    ///
    /// # Errors
    /// When it is none; the error shows where.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::expression(text).map(Self)
    }

    /// Whether a sample is wanted; `parsed` are its fields.
    pub fn wants(&self, sample: &Sample, parsed: &Parsed) -> bool {
        self.0.holds(sample, parsed)
    }
}

impl Expression {
    fn holds(&self, sample: &Sample, parsed: &Parsed) -> bool {
        let packet = || Sample::is_packet(parsed).then_some(&parsed.packet);
        match self {
            Self::Not(inner) => !inner.holds(sample, parsed),
            Self::And(a, b) => a.holds(sample, parsed) && b.holds(sample, parsed),
            Self::Or(a, b) => a.holds(sample, parsed) || b.holds(sample, parsed),
            Self::Family(is_ipv4) => packet().is_some_and(|packet| packet.is_ipv4() == *is_ipv4),
            Self::Protocol(protocol) => packet().is_some_and(|packet| packet.protocol == *protocol),
            Self::Net(end, prefix) => packet().is_some_and(|packet| {
                end.is(
                    within(prefix, describe::address(packet.source)),
                    within(prefix, describe::address(packet.destination)),
                )
            }),
            Self::Ports(end, first, last) => packet().and_then(ports).is_some_and(|(source, destination)| {
                let among = first..=last;
                end.is(among.contains(&&source), among.contains(&&destination))
            }),
            Self::Greater(bytes) => sample.length_bytes >= *bytes,
            Self::Less(bytes) => sample.length_bytes <= *bytes,
            Self::Verdict(verdict) => sample.verdict == *verdict,
            Self::Rule(rule) => sample.rule.as_ref() == Some(rule),
            // `malformed` is all that begins so.
            Self::Reason(reason) => {
                let rest = sample.reason.strip_prefix(reason.as_str());
                rest.is_some_and(|rest| rest.is_empty() || reason == "malformed")
            }
            Self::Interface(name) => sample.interface == *name,
        }
    }
}

fn within(prefix: &Prefix, address: IpAddr) -> bool {
    mapped(address) & prefix.mask() == prefix.bits()
}

fn ports(packet: &Packet) -> Option<(u16, u16)> {
    let transport = &packet.transport;
    let has = matches!(transport.kind, TransportKind::Ports | TransportKind::Tcp);
    has.then_some((transport.source_port, transport.destination_port))
}

#[cfg(test)]
mod tests;
