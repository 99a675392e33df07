//! `port` and `from_port` of a rule: numbers, ranges, and names of services.

use std::ops::RangeInclusive;

use super::protocols::{DCCP, SCTP, TCP, UDP, UDPLITE, decimal, protocol_name};
use super::reader::Value;
use super::services;
use super::suggest::{one_of, quoted};

type Range = RangeInclusive<u16>;

/// Protocols whose first four octets are source and destination port, and under which name
/// `/etc/services` has their services: UDP-Lite has UDP's (RFC 3828, section 7).
pub(super) const WITH_PORTS: [(u8, &str); 5] =
    [(TCP, "tcp"), (UDP, "udp"), (SCTP, "sctp"), (DCCP, "dccp"), (UDPLITE, "udp")];

/// The ports that a rule names, in order, none twice. `protocols` must be of those that have ports.
pub(super) fn read(key: &str, value: Option<Value<'_>>, protocols: Option<&[u8]>) -> Option<Vec<Range>> {
    let value = value?;
    let needs = format!("`{key}` needs `protocol` to be only of tcp, udp, sctp, dccp, udplite");
    let of = |number: u8| WITH_PORTS.iter().find(|&&(with, _)| with == number).map(|&(_, name)| name);
    let mut registries: Vec<&str> = Vec::new();
    let mut known = true;
    match protocols {
        None => {
            value.error(needs, "add: protocol = \"tcp\"");
            known = false;
        }
        Some(protocols) => {
            if let Some(&without) = protocols.iter().find(|&&number| of(number).is_none()) {
                let hint = format!("write a rule of its own for `{}`", protocol_name(without));
                value.error(needs, hint);
                known = false;
            }
            registries.extend(protocols.iter().filter_map(|&number| of(number)));
        }
    }
    // Without its protocols a name means nothing; that they are wrong is said already.
    known &= !registries.is_empty();
    let registries = known.then_some(registries.as_slice());
    let ranges = value.one_or_list().into_iter().filter_map(|entry| port_range(entry, registries));
    Some(merged(ranges.collect()))
}

/// The same ports as the fewest ranges, in order.
fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if u32::from(*range.start()) <= u32::from(*last.end()) + 1 => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    merged.shrink_to_fit();
    merged
}

/// `registries` are the protocols by which names are looked up.
fn port_range(value: Value<'_>, registries: Option<&[&str]>) -> Option<Range> {
    let Some(text) = value.as_str() else {
        if value.is_integer() {
            return value.integer(0, u16::MAX).map(|port| port..=port);
        }
        value.wrong_type("a port, such as 443, its name, or a range, such as \"8000-8080\"");
        return None;
    };
    if value.negates(text) {
        return None;
    }
    // A service's name has a letter in it (RFC 6335, section 5.1), and a number has none.
    if text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return service(value, text, registries?);
    }
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (Some(low), Some(high)) = (decimal(low), decimal(high)) else {
        let hint = "a number from 0 to 65535, a range such as \"8000-8080\", or a service's name";
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

/// The port of a service, which must be the same one for each protocol that the rule names.
fn service(value: Value<'_>, name: &str, registries: &[&str]) -> Option<Range> {
    let port = |registry: &str| {
        let host_names = value.report().source().host_names();
        services::port(name, registry).or_else(|| host_names.service(name, registry))
    };
    let mut found: Option<(u16, &str)> = None;
    let mut without: Option<&str> = None;
    for registry in registries {
        match (port(registry), found) {
            (None, _) => without = without.or(Some(registry)),
            (Some(port), None) => found = Some((port, registry)),
            (Some(port), Some((first, of))) if port != first => {
                let message = format!("{} is port {first} of {of} and {port} of {registry}", quoted(name));
                value.error(message, "write the number, or a rule for each protocol");
                return None;
            }
            (Some(_), Some(_)) => {}
        }
    }
    match (found, without) {
        (Some((port, _)), None) => Some(port..=port),
        (Some((port, _)), Some(without)) => {
            let hint = format!("write the number, {port}, or a rule for each protocol");
            value.error(format!("{} is no service of {without}", quoted(name)), hint);
            None
        }
        (None, _) => {
            unknown(value, name, registries, port);
            None
        }
    }
}

fn unknown(value: Value<'_>, name: &str, registries: &[&str], port: impl Fn(&str) -> Option<u16>) {
    let elsewhere = ["tcp", "udp", "sctp", "dccp"].into_iter().find_map(|of| Some((of, port(of)?)));
    let hint = if let Some((low, high)) = name.split_once('-').filter(|_| elsewhere.is_none())
        && [low, high].iter().all(|end| decimal(end).is_some() || services::port(end, "tcp").is_some())
    {
        "ranges are of numbers, such as \"8000-8080\"".to_owned()
    } else if let Some((of, port)) = elsewhere {
        format!("it is {port} of {of}; write the number if that is meant")
    } else if let Some(registered) = services::registered(name) {
        format!("did you mean `{registered}`?")
    } else {
        let known = services::names().chain(value.report().source().host_names().service_names());
        value.report().did_you_mean(name, known).unwrap_or_else(|| "write the number".to_owned())
    };
    value.error(format!("{} is no service of {}", quoted(name), one_of(registries)), hint);
}
