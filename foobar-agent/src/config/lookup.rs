//! The names of a configuration for whoever reads or writes packets in words: what a person types
//! there means what it means in a rule. Reports nothing.

use super::ports::WITH_PORTS;
use super::protocols::{built_in, decimal_u8};
use super::suggest::did_you_mean;
use super::tcp_flags::FLAGS;
use super::{icmp, protocols, services};

pub(crate) use super::protocols::{ICMP, ICMPV6, TCP};

/// The number of a protocol by its name or number.
pub(crate) fn protocol(text: &str) -> Option<u8> {
    built_in(text).or_else(|| decimal_u8(text))
}

/// What to write instead of a protocol that there is not.
pub(crate) fn like_a_protocol(text: &str) -> Option<String> {
    did_you_mean(text, protocols::names())
}

/// The usual name of a protocol, else its number.
pub(crate) fn protocol_name(number: u8) -> String {
    protocols::protocol_name(number)
}

/// Whether packets of a protocol begin with a source and a destination port.
pub(crate) fn has_ports(protocol: u8) -> bool {
    registry(protocol).is_some()
}

/// Type and code by the type's name, its number, or `type/code`; without a code it is 0. `family` is
/// [`ICMP`] or [`ICMPV6`].
pub(crate) fn icmp_type(family: u8, text: &str) -> Option<(u8, u8)> {
    if let Some((_, kind, code)) = icmp::names(family).iter().find(|(name, ..)| *name == text) {
        return Some((*kind, code.unwrap_or(0)));
    }
    match text.split_once('/') {
        Some((kind, code)) => Some((decimal_u8(kind)?, decimal_u8(code)?)),
        None => Some((decimal_u8(text)?, 0)),
    }
}

/// What to write instead of an ICMP type that there is not.
pub(crate) fn like_an_icmp_type(family: u8, text: &str) -> Option<String> {
    did_you_mean(text, icmp::names(family).iter().map(|&(name, ..)| name))
}

/// The name of an ICMP type whatever its code, else its number.
pub(crate) fn icmp_type_name(family: u8, kind: u8) -> String {
    let named = icmp::names(family).iter().find(|(_, number, code)| *number == kind && code.is_none());
    named.map_or_else(|| kind.to_string(), |(name, ..)| (*name).to_owned())
}

/// The bit of a TCP flag.
pub(crate) fn tcp_flag(text: &str) -> Option<u8> {
    FLAGS.iter().find(|(name, _)| *name == text).map(|&(_, bit)| bit)
}

/// The names of the flags that are set, with commas; `none` where none is.
pub(crate) fn tcp_flag_names(bits: u8) -> String {
    let names: Vec<&str> = FLAGS.iter().filter(|(_, bit)| bits & bit != 0).map(|&(name, _)| name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

/// The port of a service by its name.
pub(crate) fn service(protocol: u8, name: &str) -> Option<u16> {
    services::port(name, registry(protocol)?)
}

/// What to write instead of a service that there is not.
pub(crate) fn like_a_service(name: &str) -> Option<String> {
    did_you_mean(name, services::names())
}

/// Under which name the services of a protocol with ports are registered.
fn registry(protocol: u8) -> Option<&'static str> {
    WITH_PORTS.iter().find(|&&(with, _)| with == protocol).map(|&(_, name)| name)
}
