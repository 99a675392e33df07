//! Whether a source is banned. Pure; the tables are behind [`BanTable`] and [`Lookup`].
//!
//! An expiry is judged here, at each packet: a ban ends on time with no agent to end it. The agent removes
//! what has ended, so that it takes no room.

use crate::abi::ban::{Ban, flag, kind};
use crate::packet::Address;
use crate::state::Clock;

/// The banned sources.
pub trait BanTable {
    /// Whether packets of this source are dropped; `counts`, this one is counted as such.
    fn is_banned(&self, source: &Address, counts: bool) -> bool;
}

/// The two tables.
pub trait Lookup: Clock {
    /// The entry of an address, by its octets.
    fn address(&self, octets: &Octets) -> Option<&Ban>;
    /// The entry of the longest prefix that holds an address.
    fn prefix(&self, octets: &Octets) -> Option<&Ban>;
}

/// An address as it lies in a packet, in two words.
pub type Octets = [u64; 2];

/// The octets of an address.
#[inline(always)]
pub const fn octets(address: &Address) -> Octets {
    [address.high.to_be(), address.low.to_be()]
}

/// The entry by which a source is banned now; `kinds` are those of [`kind`] that there are.
#[inline(always)]
pub fn find<'t, L: Lookup>(source: &Address, kinds: u64, tables: &'t L) -> Option<&'t Ban> {
    let (octets, now_ns) = (octets(source), tables.now_ns());
    if kinds & kind::ADDRESSES != 0
        && let Some(ban) = tables.address(&octets)
        && ban.expires_ns > now_ns
    {
        return Some(ban);
    }
    if kinds & kind::PREFIXES != 0
        && let Some(ban) = tables.prefix(&octets)
        && ban.flags & flag::EXEMPT == 0
        && ban.covered_until_ns > now_ns
    {
        return Some(ban);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ban::FOREVER;

    struct Tables {
        address: Option<Ban>,
        prefix: Option<Ban>,
        now_ns: u64,
    }

    impl Clock for Tables {
        fn now_ns(&self) -> u64 {
            self.now_ns
        }
    }

    impl Lookup for Tables {
        fn address(&self, _: &Octets) -> Option<&Ban> {
            self.address.as_ref()
        }

        fn prefix(&self, _: &Octets) -> Option<&Ban> {
            self.prefix.as_ref()
        }
    }

    fn until(expires_ns: u64) -> Option<Ban> {
        Some(Ban { expires_ns, covered_until_ns: expires_ns, ..Ban::default() })
    }

    #[test]
    fn octets_lie_as_in_a_packet() {
        let octets = octets(&Address { high: 0x2001_0db8_0000_0000, low: 7 });
        assert_eq!(
            octets.map(u64::to_ne_bytes),
            [[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 7]]
        );
    }

    #[test]
    fn a_ban_ends_at_its_time_and_hides_no_longer_one() {
        let found = |address, prefix, now_ns| {
            let kinds = kind::ADDRESSES | kind::PREFIXES;
            find(&Address::UNSPECIFIED, kinds, &Tables { address, prefix, now_ns }).copied()
        };
        assert_eq!(found(until(5), None, 4), until(5));
        assert_eq!(found(until(5), None, 5), None);
        assert_eq!(found(until(5), until(9), 6), until(9));
        assert_eq!(found(None, until(FOREVER), FOREVER - 1), until(FOREVER));
        let expired = Some(Ban { expires_ns: 5, covered_until_ns: 9, ..Ban::default() });
        assert_eq!(found(None, expired, 8), expired);
        assert_eq!(found(None, expired, 9), None);
        let exempt = Some(Ban { flags: flag::EXEMPT, covered_until_ns: FOREVER, ..Ban::default() });
        assert_eq!(found(None, exempt, 0), None);
    }

    #[test]
    fn what_is_said_to_be_empty_is_not_asked() {
        let tables = Tables { address: until(FOREVER), prefix: until(FOREVER), now_ns: 0 };
        assert_eq!(find(&Address::UNSPECIFIED, 0, &tables), None);
    }
}
