//! What can be banned: an address, or a prefix of more than one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::config::parse_subject;
use crate::firewall::address::{Prefix, mapped};

/// An address or a prefix. A prefix of one address is that address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// As octets, so that many of them take little memory.
    octets: [u8; 16],
    /// Of the mapped 128-bit space.
    length: u8,
}

/// Why a text is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {what}\n  hint: {hint}")]
pub struct SubjectError {
    text: String,
    what: String,
    hint: String,
}

impl Subject {
    /// Behind every prefix.
    pub(super) const LAST: Self = Self { octets: [0xff; 16], length: 127 };

    /// As a prefix.
    pub fn prefix(self) -> Prefix {
        Prefix::from_mapped(u128::from_be_bytes(self.octets), self.length)
    }

    /// Whether an address lies in it.
    pub fn holds(self, address: IpAddr) -> bool {
        let (prefix, bits) = (self.prefix(), mapped(address));
        address.is_ipv4() == prefix.is_ipv4() && prefix.bits() <= bits && bits <= prefix.last()
    }

    /// Whether it is one address.
    pub fn is_address(self) -> bool {
        self.length == 128
    }

    /// Its last address.
    pub(super) fn last(self) -> Self {
        Self::from(Prefix::from_mapped(self.prefix().last(), 128))
    }

    /// Length in the mapped 128-bit space.
    pub(super) fn length(self) -> u8 {
        self.length
    }

    /// This, cut to a shorter length.
    pub(super) fn widened(self, length: u8) -> Self {
        Self::from(Prefix::from_mapped(u128::from_be_bytes(self.octets), length))
    }
}

impl From<Prefix> for Subject {
    fn from(prefix: Prefix) -> Self {
        Self { octets: prefix.bits().to_be_bytes(), length: prefix.mapped_length() }
    }
}

impl From<IpAddr> for Subject {
    fn from(address: IpAddr) -> Self {
        Prefix::host(address).into()
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        parse_subject(text).map(Self::from).map_err(|(what, hint)| SubjectError {
            text: text.escape_debug().to_string(),
            what,
            hint,
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_address() {
            return self.prefix().fmt(f);
        }
        let address = Ipv6Addr::from(self.octets);
        match address.to_ipv4_mapped() {
            Some(address) => address.fmt(f),
            None => address.fmt(f),
        }
    }
}
