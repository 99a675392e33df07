//! Prefixes of both families, as rules name them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::chance::Chance;

/// An address family, or both in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Rules of both, in turn.
    Both,
}

impl Families {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Both];

    /// Its name in tables and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
            Self::Both => "both",
        }
    }

    /// Whether the rule at a place is one of IPv6.
    pub(super) fn is_ipv6(self, place: usize) -> bool {
        match self {
            Self::V4 => false,
            Self::V6 => true,
            Self::Both => place % 2 == 1,
        }
    }
}

/// A prefix without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// The network of an address; a length beyond the family's is the family's.
    pub fn new(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(address) => {
                let length = length.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Self { address: Ipv4Addr::from(u32::from(address) & mask).into(), length }
            }
            IpAddr::V6(address) => {
                let length = length.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Self { address: Ipv6Addr::from(u128::from(address) & mask).into(), length }
            }
        }
    }

    /// Whether an address of the same family lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && Self::new(address, self.length) == *self
    }

    /// Whether it is one of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// Bits that its members share.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// A member by chance.
    pub fn member(&self, chance: &mut Chance) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
                let bits = u32::try_from(chance.number() >> 32).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) | bits & host).into()
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) | chance.wide() & host).into()
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A public address by chance: outside loopback, private, test and multicast blocks. 198.18.0.0/15 and
/// `2001:db8::/32` are left to packets that no rule shall name.
pub(super) fn public(chance: &mut Chance, ipv6: bool) -> IpAddr {
    if ipv6 {
        // 2400::/6 within 2000::/3, in which addresses are given out.
        let bits = chance.wide() >> 6 | 0x24 << 120;
        return Ipv6Addr::from(bits).into();
    }
    loop {
        let address = Ipv4Addr::from(u32::try_from(chance.number() >> 32).unwrap_or(0));
        let [first, second, ..] = address.octets();
        let special = matches!(first, 0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203 | 224..);
        if !special && (first, second) != (198, 18) {
            return address.into();
        }
    }
}

/// What an IPv4 prefix length is in IPv6, where a host has 128 bits, a network 64 and a site 48.
pub(super) fn scaled(length: u8, ipv6: bool) -> u8 {
    match (ipv6, length) {
        (false, _) => length,
        (true, 32) => 128,
        (true, 25..) => 64 + (length - 24) * 8,
        (true, 17..) => 48 + (length - 16) * 2,
        // 8 becomes 24: an address block of a registry; 16 becomes 48.
        (true, 9..) => 24 + (length - 8) * 3,
        (true, _) => length * 3,
    }
}
