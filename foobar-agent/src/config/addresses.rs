//! Addresses and prefixes as people write them. One parser serves the configuration and
//! the prefix files; what each does about host bits is its own affair.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::members::Members;
use super::reader::Value;
use super::suggest::quoted;
use crate::firewall::address::{Prefix, mapped};

/// Prefixes that a hint names at most.
const RANGE_HINT_PREFIXES: usize = 4;

/// A prefix that was read, perhaps not in its canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The prefix, host bits cleared.
    pub(super) prefix: Prefix,
    /// Whether bits beyond the prefix length were set.
    pub(super) host_bits: bool,
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error("has a zone id")]
    Zone,
    #[error("is an IPv4-mapped IPv6 address, which never arrives on the wire")]
    Mapped(String),
    #[error("has a prefix length that is no number from 0 to {0}")]
    Length(u8),
    #[error("has a netmask")]
    Netmask(Option<Prefix>),
    #[error("is a range over two address families")]
    Families,
    #[error("is a range from high to low")]
    Backwards(IpAddr, IpAddr),
    #[error("is neither an address nor a prefix")]
    Unknown,
}

impl AddressError {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Zone => "remove it; `interface` says where a packet arrives".to_owned(),
            Self::Mapped(ipv4) => format!("write the IPv4 form, `{ipv4}`"),
            Self::Length(most) => format!("write a length from 0 to {most} behind the `/`"),
            Self::Netmask(Some(prefix)) => format!("write the prefix length, `{prefix}`"),
            Self::Netmask(None) => "write a prefix length, such as 192.0.2.0/24".to_owned(),
            Self::Families => "write a range for each".to_owned(),
            Self::Backwards(low, high) => format!("write `{low}-{high}`"),
            Self::Unknown => {
                "such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32; host names are not resolved".to_owned()
            }
        }
    }
}

/// Reads `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
pub(super) fn parse_prefix(text: &str) -> Result<Written, AddressError> {
    let (address_text, length_text) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address = parse_address(address_text)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length_text {
        None => most,
        Some(length) => parse_length(length, most).ok_or_else(|| length_error(address, length, most))?,
    };
    let prefix = Prefix::new(address, length).ok_or(AddressError::Length(most))?;
    if address.is_ipv6() && prefix.is_ipv4() {
        return Err(AddressError::Mapped(prefix.to_string()));
    }
    Ok(Written { prefix, host_bits: prefix.bits() != mapped(address) })
}

fn parse_address(text: &str) -> Result<IpAddr, AddressError> {
    if text.contains('%') {
        return Err(AddressError::Zone);
    }
    // Which parser to ask is known beforehand; a file may hold millions of these.
    let address = if text.contains(':') {
        text.parse::<Ipv6Addr>().map(IpAddr::V6)
    } else {
        text.parse::<Ipv4Addr>().map(IpAddr::V4)
    };
    address.map_err(|_| AddressError::Unknown)
}

fn parse_length(text: &str, most: u8) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&length| digits && length <= most)
}

fn length_error(address: IpAddr, length: &str, most: u8) -> AddressError {
    let Ok(netmask) = length.parse::<Ipv4Addr>() else { return AddressError::Length(most) };
    let bits = u32::from(netmask);
    let contiguous = bits.leading_ones() + bits.trailing_zeros() >= 32;
    let length = u8::try_from(bits.leading_ones()).ok().filter(|_| contiguous && address.is_ipv4());
    AddressError::Netmask(length.and_then(|length| Prefix::new(address, length)))
}

/// Reads `192.0.2.1-192.0.2.9`, spaces around the hyphen or not; `None` for what is no range.
pub(super) fn parse_range(text: &str) -> Option<Result<(IpAddr, IpAddr), AddressError>> {
    let (first, last) = text.split_once('-')?;
    Some(parse_ends(first.trim_ascii_end(), last.trim_ascii_start()))
}

fn parse_ends(first: &str, last: &str) -> Result<(IpAddr, IpAddr), AddressError> {
    let (first, last) = (parse_address(first)?, parse_address(last)?);
    for end in [first, last] {
        if let IpAddr::V6(address) = end
            && let Some(ipv4) = address.to_ipv4_mapped()
        {
            return Err(AddressError::Mapped(ipv4.to_string()));
        }
    }
    if first.is_ipv4() != last.is_ipv4() {
        return Err(AddressError::Families);
    }
    if first > last { Err(AddressError::Backwards(last, first)) } else { Ok((first, last)) }
}

/// An address or prefix in the configuration itself, where host bits are an error.
pub(super) fn read_prefix(value: Value<'_>, text: &str) -> Option<Prefix> {
    match parse_prefix(text) {
        Ok(Written { prefix, host_bits: false }) => Some(prefix),
        Ok(Written { prefix, host_bits: true }) => {
            let address = text.split('/').next().unwrap_or_default();
            let hint = format!("write `{prefix}`, or `{address}` for the one address");
            value.error(format!("{} has host bits set", quoted(text)), hint);
            None
        }
        Err(error) => {
            let hint = match parse_range(text) {
                Some(Ok(ends)) => range_hint(ends),
                _ => error.hint(),
            };
            value.error(format!("{} {error}", quoted(text)), hint);
            None
        }
    }
}

/// Ranges stand in prefix files only: here, somebody shall see what is covered.
fn range_hint((first, last): (IpAddr, IpAddr)) -> String {
    let mut members = Members::default();
    members.push_range(first, last);
    let prefixes = members.into_set().prefixes();
    let written: Vec<String> = prefixes.iter().take(RANGE_HINT_PREFIXES).map(Prefix::to_string).collect();
    let more = if prefixes.len() > written.len() { ", …" } else { "" };
    format!("write prefixes: {}{more}; ranges are read from files of prefixes only", written.join(", "))
}

/// An address with a port, to listen on or to connect to.
pub(super) fn read_socket_address(value: Value<'_>) -> Option<SocketAddr> {
    let text = value.string()?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let hint = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => format!("add the port, such as {address}:80"),
            Ok(IpAddr::V6(address)) => format!("add brackets and the port, such as [{address}]:80"),
            Err(_) => "such as 192.0.2.7:80 or [2001:db8::7]:80; host names are not resolved".to_owned(),
        };
        value.error(format!("{} is not an address with a port", quoted(text)), hint);
        return None;
    };
    if address.port() == 0 {
        value.error(format!("{} has port 0", quoted(text)), "write a port from 1 to 65535");
        return None;
    }
    if let SocketAddr::V6(v6) = address {
        if text.contains('%') {
            value.error(format!("{} has a zone id", quoted(text)), "write an address that needs none");
            return None;
        }
        if let Some(v4) = v6.ip().to_ipv4_mapped() {
            let hint = format!("write the IPv4 form, `{v4}:{}`", v6.port());
            value.error(format!("{} is an IPv4-mapped IPv6 address", quoted(text)), hint);
            return None;
        }
    }
    Some(address)
}

/// One or several addresses with ports; `firsts` remembers each place, because a second
/// listener on the same address could not be bound.
pub(super) fn read_listen(
    value: Option<Value<'_>>,
    firsts: &mut HashMap<SocketAddr, u32>,
) -> Vec<SocketAddr> {
    let values = value.map(Value::one_or_list).unwrap_or_default();
    let mut addresses = Vec::with_capacity(values.len());
    for value in values {
        let Some(address) = read_socket_address(value) else { continue };
        if let Some(line) = firsts.get(&address) {
            value.error(
                format!("`{address}` is listened on already, by line {line}"),
                "remove one of the two",
            );
        } else {
            firsts.insert(address, value.line());
            addresses.push(address);
        }
    }
    addresses
}
