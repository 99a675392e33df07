//! A packet in words: `tcp from 203.0.113.9:4000 to 192.0.2.1:443 flags syn on eth0`. Names mean what
//! they mean in a rule; what is not said is what such a packet usually has.

use std::net::IpAddr;

use thiserror::Error;

use super::packet::Packet;
use crate::config::lookup::{self, ICMP, ICMPV6, TCP};

/// The grammar, as the help and every error show it.
pub const GRAMMAR: &str =
    "  PROTOCOL [TYPE] from ADDRESS[:PORT] to ADDRESS[:PORT] [flags FLAGS] [ttl N] [on INTERFACE]

  tcp from 203.0.113.9:4000 to 192.0.2.1:443
  udp from [2001:db8::9]:4000 to [2001:db8::1]:53 on eth0
  icmp echo-request from 203.0.113.9 to 192.0.2.1
  gre from 203.0.113.9 to 192.0.2.1";

/// The source port of a packet that names none: the first of those that hosts take for themselves
/// (RFC 6335, section 6).
const EPHEMERAL_PORT: u16 = 49_152;
const USUAL_HOP_LIMIT: u8 = 64;
const SYN: u8 = 0x02;

/// Why words are no packet.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what}\n  hint: {hint}\n\na packet in words is\n\n{GRAMMAR}")]
pub struct WordsError {
    what: String,
    hint: String,
}

/// A packet, and where it arrives if the words say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The packet.
    pub packet: Packet,
    /// The arrival interface.
    pub interface: Option<String>,
}

/// What the words say, each at most once.
#[derive(Default)]
struct Said<'a> {
    kind: Option<&'a str>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    flags: Option<&'a str>,
    ttl: Option<&'a str>,
    on: Option<&'a str>,
}

fn error<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, WordsError> {
    Err(WordsError { what: what.into(), hint: hint.into() })
}

/// Reads a packet.
///
/// # Errors
/// With what is wrong, what to write instead, and the grammar.
pub fn parse(text: &str) -> Result<Words, WordsError> {
    let mut words = text.split_whitespace();
    let Some(first) = words.next() else {
        return error("no packet is named", "begin with its protocol");
    };
    let Some(protocol) = lookup::protocol(first) else {
        let hint = lookup::like_a_protocol(first);
        let hint =
            hint.unwrap_or_else(|| "begin with a protocol's name or number, such as tcp or 47".to_owned());
        return error(format!("`{first}` is no known protocol"), hint);
    };
    let said = Said::read(words)?;
    let (source, source_port) = endpoint("from", said.from, protocol)?;
    let (destination, destination_port) = endpoint("to", said.to, protocol)?;
    if source.is_ipv4() != destination.is_ipv4() {
        return error(
            format!("{source} and {destination} are of different families"),
            "a packet has IPv4 addresses or IPv6 addresses",
        );
    }
    let name = lookup::protocol_name(protocol);
    let has_ports = lookup::has_ports(protocol);
    if let (false, Some(port)) = (has_ports, source_port.or(destination_port)) {
        return error(format!("{name} has no ports, and `:{port}` names one"), "leave the port out");
    }
    if has_ports && destination_port.is_none() {
        let shown = if destination.is_ipv6() { format!("[{destination}]") } else { destination.to_string() };
        return error(
            format!("a {name} packet goes to a port"),
            format!("name it behind the address: to {shown}:443"),
        );
    }
    let mut packet = Packet {
        protocol,
        source,
        destination,
        source_port: source_port.unwrap_or(if has_ports { EPHEMERAL_PORT } else { 0 }),
        destination_port: destination_port.unwrap_or(0),
        tcp_flags: 0,
        icmp: (0, 0),
        hop_limit: USUAL_HOP_LIMIT,
        is_later_fragment: false,
        quotes_receiver: true,
    };
    packet.icmp = icmp_type(&packet, said.kind)?;
    packet.tcp_flags = tcp_flags(&packet, said.flags)?;
    packet.hop_limit = hop_limit(&packet, said.ttl)?;
    Ok(Words { packet, interface: said.on.map(str::to_owned) })
}

impl<'a> Said<'a> {
    fn read(words: impl Iterator<Item = &'a str>) -> Result<Self, WordsError> {
        let mut said = Self::default();
        let mut words = words.peekable();
        if let Some(kind) = words.next_if(|word| !KEYWORDS.contains(word)) {
            said.kind = Some(kind);
        }
        while let Some(keyword) = words.next() {
            let place = match keyword {
                "from" => &mut said.from,
                "to" => &mut said.to,
                "flags" => &mut said.flags,
                "ttl" => &mut said.ttl,
                "on" => &mut said.on,
                other => {
                    let hint = format!("after the protocol stand {}, each with a value", KEYWORDS.join(", "));
                    return error(format!("`{other}` stands where none of the words of a packet does"), hint);
                }
            };
            if place.is_some() {
                return error(format!("`{keyword}` stands there twice"), "leave one of them out");
            }
            let Some(value) = words.next_if(|word| !KEYWORDS.contains(word)) else {
                return error(format!("`{keyword}` has no value"), format!("write {}", example(keyword)));
            };
            *place = Some(value);
        }
        Ok(said)
    }
}

const KEYWORDS: [&str; 5] = ["from", "to", "flags", "ttl", "on"];

fn example(keyword: &str) -> &'static str {
    match keyword {
        "from" => "from 203.0.113.9:4000",
        "to" => "to 192.0.2.1:443",
        "flags" => "flags syn,ack",
        "ttl" => "ttl 64",
        _ => "on eth0",
    }
}

/// `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.
fn endpoint(keyword: &str, value: Option<&str>, protocol: u8) -> Result<(IpAddr, Option<u16>), WordsError> {
    let Some(text) = value else {
        return error(
            format!("no `{keyword}`: a packet has two addresses"),
            format!("add {}", example(keyword)),
        );
    };
    if let Ok(address) = text.parse() {
        return checked(address).map(|address| (address, None));
    }
    let split = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(address, rest)| (address, rest.strip_prefix(':'))),
        None => text.rsplit_once(':').map(|(address, port)| (address, Some(port))),
    };
    let hint = "such as 203.0.113.9, 203.0.113.9:443, 2001:db8::9 or [2001:db8::9]:443";
    let Some((address, port)) = split else {
        return error(format!("`{text}` is no address"), hint);
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return error(format!("`{address}` is no address"), hint);
    };
    if address.is_ipv6() && !text.starts_with('[') {
        return error(format!("`{text}` may end in a port or not"), format!("write [{address}]:…"));
    }
    let port = port.map(|text| port_number(text, protocol)).transpose()?;
    checked(address).map(|address| (address, port))
}

/// A number, or the name of a service.
fn port_number(text: &str, protocol: u8) -> Result<u16, WordsError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { text.parse().ok() } else { lookup::service(protocol, text) };
    number.map_or_else(
        || {
            let hint = lookup::like_a_service(text).filter(|_| !is_number);
            let hint =
                hint.unwrap_or_else(|| "write a number from 0 to 65535, or a service's name".to_owned());
            error(format!("`{text}` is no port"), hint)
        },
        Ok,
    )
}

fn checked(address: IpAddr) -> Result<IpAddr, WordsError> {
    match address {
        IpAddr::V6(mapped) if mapped.to_ipv4_mapped().is_some() => {
            let inner = mapped.to_ipv4_mapped().map_or_else(String::new, |inner| inner.to_string());
            error(
                format!("{mapped} is an IPv4 address in IPv6 clothes, and malformed on a wire"),
                format!("write {inner}; such a packet as it is can be given with --hex"),
            )
        }
        address => Ok(address),
    }
}

fn icmp_type(packet: &Packet, said: Option<&str>) -> Result<(u8, u8), WordsError> {
    let family = packet.protocol;
    let name = lookup::protocol_name(family);
    match said {
        None if packet.has_icmp_type() => {
            error(format!("an {name} packet has a type"), format!("name it: {name} echo-request from …"))
        }
        None => Ok((0, 0)),
        Some(text) if packet.has_icmp_type() => lookup::icmp_type(family, text).map_or_else(
            || {
                let hint = lookup::like_an_icmp_type(family, text);
                let hint =
                    hint.unwrap_or_else(|| "write its number, such as 3, or with a code, 3/4".to_owned());
                error(format!("`{text}` is no type of {name}"), hint)
            },
            Ok,
        ),
        Some(_) if [ICMP, ICMPV6].contains(&family) => {
            let (version, other) = if packet.source.is_ipv4() { (4, "icmp") } else { (6, "icmpv6") };
            error(
                format!("{name} in IPv{version} is only a number: it has no type"),
                format!("write {other}, or leave the type out"),
            )
        }
        Some(text) => error(
            format!("`{text}` stands where {name} has nothing"),
            format!("after the protocol stand {}, each with a value", KEYWORDS.join(", ")),
        ),
    }
}

fn tcp_flags(packet: &Packet, said: Option<&str>) -> Result<u8, WordsError> {
    if packet.protocol != TCP {
        let name = lookup::protocol_name(packet.protocol);
        return said.map_or(Ok(0), |_| error(format!("{name} has no flags"), "leave `flags` out"));
    }
    let Some(text) = said else { return Ok(SYN) };
    let mut names = text.split(',').filter(|_| text != "none");
    names.try_fold(0, |bits, name| {
        let Some(bit) = lookup::tcp_flag(name) else {
            let hint = "of fin, syn, rst, psh, ack, urg, ece and cwr, with commas and no space, or none";
            return error(format!("`{name}` is no TCP flag"), hint);
        };
        Ok(bits | bit)
    })
}

/// Neighbour discovery is sent with 255 and listener reports with 1, and count for nothing otherwise
/// (RFC 4861, section 7.1; RFC 3810, section 5).
fn hop_limit(packet: &Packet, said: Option<&str>) -> Result<u8, WordsError> {
    match said {
        None if packet.protocol == ICMPV6 && packet.has_icmp_type() => Ok(match packet.icmp.0 {
            133..=137 => 255,
            130..=132 | 143 => 1,
            _ => USUAL_HOP_LIMIT,
        }),
        None => Ok(USUAL_HOP_LIMIT),
        Some(text) => match text.parse() {
            Ok(hop_limit) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(hop_limit),
            _ => error(format!("`{text}` is no TTL"), "write a number from 0 to 255"),
        },
    }
}
