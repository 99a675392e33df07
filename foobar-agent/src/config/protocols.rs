//! `protocol`, `port`, `from_port` and `tcp_flags` of a rule.

use std::ops::RangeInclusive;

use super::reader::Value;
use super::suggest::{did_you_mean, quoted};
use crate::firewall::ruleset::TcpFlags;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const ICMPV6: u8 = 58;

/// Names of protocol numbers, as in IANA's registry "Assigned Internet Protocol Numbers";
/// of several names for a number, the first is the usual one.
pub(super) const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", ICMP),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", TCP),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", ICMPV6),
    ("ipv6-icmp", ICMPV6),
    ("eigrp", 88),
    ("ospf", 89),
    ("etherip", 97),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("udplite", 136),
    ("mpls-in-ip", 137),
];

/// Protocols whose first four octets are source and destination port.
pub(super) const WITH_PORTS: [u8; 5] = [TCP, 17, 132, 33, 136];

/// Names of the bits of octet 13 of the TCP header (RFC 9293, section 3.1).
pub(super) const FLAGS: [(&str, u8); 8] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
];

/// The usual name of a protocol, else its number.
pub(super) fn protocol_name(number: u8) -> String {
    let named = PROTOCOLS.iter().find(|(_, named)| *named == number);
    named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// Protocol numbers in file order, each once. `None` without the key; empty if all of it is wrong.
pub(super) fn read_protocols(value: Option<Value<'_>>) -> Option<Vec<u8>> {
    let mut numbers = Vec::new();
    for number in value?.one_or_list().into_iter().filter_map(protocol) {
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    Some(numbers)
}

fn protocol(value: Value<'_>) -> Option<u8> {
    let Some(text) = value.as_str() else {
        if value.is_integer() {
            return value.integer(0, 255).and_then(|number| u8::try_from(number).ok());
        }
        value.wrong_type("a protocol's name, or its number");
        return None;
    };
    let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|&(_, number)| number);
    let number = named.or_else(|| decimal(text).and_then(|number| u8::try_from(number).ok()));
    if number.is_none() {
        let hint = did_you_mean(text, PROTOCOLS.iter().map(|&(name, _)| name));
        let hint = hint.unwrap_or_else(|| "write its number, from 0 to 255".to_owned());
        value.error(format!("{} is no known protocol", quoted(text)), hint);
    }
    number
}

/// Port ranges in file order. `protocols` must be of those that have ports.
pub(super) fn read_ports(
    key: &str,
    value: Option<Value<'_>>,
    protocols: Option<&[u8]>,
) -> Option<Vec<RangeInclusive<u16>>> {
    let value = value?;
    let needs = format!("`{key}` needs `protocol` to be only of tcp, udp, sctp, dccp, udplite");
    match protocols {
        None => value.error(needs, "add: protocol = \"tcp\""),
        Some(protocols) => {
            if let Some(without) = protocols.iter().find(|protocol| !WITH_PORTS.contains(protocol)) {
                let hint = format!("write a rule of its own for `{}`", protocol_name(*without));
                value.error(needs, hint);
            }
        }
    }
    Some(value.one_or_list().into_iter().filter_map(port_range).collect())
}

fn port_range(value: Value<'_>) -> Option<RangeInclusive<u16>> {
    let Some(text) = value.as_str() else {
        if value.is_integer() {
            return value.integer(0, u16::MAX).map(|port| port..=port);
        }
        value.wrong_type("a port, such as 443, or a range, such as \"8000-8080\"");
        return None;
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (Some(low), Some(high)) = (decimal(low), decimal(high)) else {
        let hint = "a number from 0 to 65535, or a range such as \"8000-8080\"; service names are not known";
        value.error(format!("{} is no port and no range of ports", quoted(text)), hint);
        return None;
    };
    if low > high {
        value.error(
            format!("{} is a range from high to low", quoted(text)),
            format!("write \"{high}-{low}\""),
        );
        return None;
    }
    Some(low..=high)
}

/// Digits alone: no sign, no space.
pub(super) fn decimal(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `set/of`. `protocols` must be TCP alone.
pub(super) fn read_tcp_flags(value: Option<Value<'_>>, protocols: Option<&[u8]>) -> Option<TcpFlags> {
    let value = value?;
    if !matches!(protocols, Some([TCP] | [])) {
        value.error("`tcp_flags` needs `protocol` to be exactly tcp", "write: protocol = \"tcp\"");
    }
    let text = value.string()?;
    let Some((set, of)) = text.split_once('/') else {
        let hint = "such as \"syn/syn,ack\": of syn and ack, syn alone is set; \"none/…\" for none";
        value.error(format!("{} lacks the flags to look at", quoted(text)), hint);
        return None;
    };
    let set = if set == "none" { Some(0) } else { flags(value, set) };
    let of = flags(value, of);
    let flags = TcpFlags { set: set?, of: of? };
    if flags.set & !flags.of != 0 {
        let hint = "name every flag before the `/` after it too";
        value.error(format!("{} wants a flag that it does not look at", quoted(text)), hint);
        return None;
    }
    Some(flags)
}

fn flags(value: Value<'_>, text: &str) -> Option<u8> {
    let mut bits = 0;
    for name in text.split(',') {
        let Some((_, bit)) = FLAGS.iter().find(|(known, _)| *known == name) else {
            let known = "fin, syn, rst, psh, ack, urg, ece, cwr, with commas and no space";
            value.error(format!("{} is no TCP flag", quoted(name)), format!("the flags are {known}"));
            return None;
        };
        bits |= bit;
    }
    Some(bits)
}

/// Every protocol's name, for the test of the documentation.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().map(|&(name, _)| name)
}
