//! What is not to be banned: the configuration's `never_ban` at all, and what would be a mistake unless
//! somebody insists. A wider ban spares both: they are exempt from it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::subject::Subject;
use crate::firewall::address::{AddressSet, Prefix};

/// What may not be banned.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    never: Arc<AddressSet>,
    own: AddressSet,
}

/// Why something is not banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It is in `firewall.never_ban`.
    Never,
    /// It is an address of this host.
    Own,
    /// It is loopback, unspecified or multicast: never the source of a packet from a network.
    Special,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "it lies in firewall.never_ban; take it out there first, and reload",
            Self::Own => "it is an address of this host; --force bans it all the same",
            Self::Special => {
                "loopback, unspecified and multicast addresses send nothing that a ban could stop; --force bans \
                 them all the same"
            }
        })
    }
}

impl Protected {
    /// The list of a configuration, and the host's addresses.
    pub fn new(never: Arc<AddressSet>, own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { never, own: own.into_iter().map(Prefix::host).collect() }
    }

    /// The same list, with other addresses of the host.
    pub(super) fn with_own(&self, own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::new(Arc::clone(&self.never), own)
    }

    /// Prefixes that are exempt from wider bans.
    pub(super) fn exempt(&self) -> Vec<Prefix> {
        self.never.prefixes()
    }

    /// Why a subject is not to be banned; who insists is refused only what is never banned.
    pub(super) fn of(&self, subject: Subject, insists: bool) -> Option<Protection> {
        let prefix = subject.prefix();
        if self.never.covers(prefix) {
            return Some(Protection::Never);
        }
        if insists {
            return None;
        }
        if special()
            .any(|special| prefix.mapped_length() >= special.mapped_length() && holds(special, prefix))
        {
            return Some(Protection::Special);
        }
        self.own.covers(prefix).then_some(Protection::Own)
    }
}

fn holds(outer: Prefix, inner: Prefix) -> bool {
    outer.bits() <= inner.bits() && inner.last() <= outer.last()
}

fn special() -> impl Iterator<Item = Prefix> {
    let v4 = [(Ipv4Addr::LOCALHOST, 8), (Ipv4Addr::UNSPECIFIED, 8), (Ipv4Addr::new(224, 0, 0, 0), 4)];
    let v6 = [
        (Ipv6Addr::LOCALHOST, 128),
        (Ipv6Addr::UNSPECIFIED, 128),
        (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    ];
    let v4 = v4.into_iter().map(|(address, length)| (IpAddr::V4(address), length));
    let v6 = v6.into_iter().map(|(address, length)| (IpAddr::V6(address), length));
    v4.chain(v6).filter_map(|(address, length)| Prefix::new(address, length))
}
