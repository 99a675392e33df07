//! Sets of addresses in one canonical form. IPv4 lives in the IPv4-mapped block
//! `::ffff:0:0/96` of the IPv6 space, so that one type and one order serve both
//! families (the datapath uses the same mapping).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First address of the IPv4-mapped block.
const MAPPED_START: u128 = 0xffff_0000_0000;
/// Last address of the IPv4-mapped block.
const MAPPED_END: u128 = 0xffff_ffff_ffff;

/// An address prefix; an IPv4 prefix of length n is held as mapped, with length 96 + n.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    bits: u128,
    length: u8,
}

impl Prefix {
    /// A prefix from an address and its family's own prefix length (0–32 or 0–128), host bits
    /// cleared. `None` where the length does not fit the family.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let length = match address {
            IpAddr::V4(_) if length <= 32 => length + 96,
            IpAddr::V6(_) if length <= 128 => length,
            _ => return None,
        };
        let bits = mapped(address);
        Some(Self { bits: bits & mask(length), length })
    }

    /// The prefix of a single address.
    pub fn host(address: IpAddr) -> Self {
        Self { bits: mapped(address), length: 128 }
    }

    /// A prefix of the mapped 128-bit space, host bits cleared.
    pub fn from_mapped(bits: u128, length: u8) -> Self {
        Self { bits: bits & mask(length), length }
    }

    /// The address bits in the mapped 128-bit space, most significant bit first.
    pub fn bits(self) -> u128 {
        self.bits
    }

    /// The length in the mapped 128-bit space.
    pub fn mapped_length(self) -> u8 {
        self.length
    }

    /// The netmask in the mapped 128-bit space.
    pub fn mask(self) -> u128 {
        mask(self.length)
    }

    /// Whether this prefix lies in the IPv4-mapped block.
    pub fn is_ipv4(self) -> bool {
        self.length >= 96 && self.bits >> 32 == 0xffff
    }

    /// The last address of the prefix, in the mapped 128-bit space.
    pub fn last(self) -> u128 {
        self.bits | !mask(self.length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ipv4() {
            let bits = u32::try_from(self.bits & 0xffff_ffff).unwrap_or_default();
            write!(f, "{}/{}", Ipv4Addr::from(bits), self.length - 96)
        } else {
            write!(f, "{}/{}", Ipv6Addr::from(self.bits), self.length)
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of addresses of both families: disjoint, ordered, non-adjacent inclusive ranges.
/// Two sets with the same members are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressSet {
    ranges: Vec<(u128, u128)>,
}

impl AddressSet {
    /// Every address of both families.
    pub fn all() -> Self {
        Self { ranges: vec![(0, u128::MAX)] }
    }

    /// Every IPv4 address.
    pub fn ipv4() -> Self {
        Self { ranges: vec![(MAPPED_START, MAPPED_END)] }
    }

    /// Every IPv6 address (the mapped block, which never arrives on the wire, excluded).
    pub fn ipv6() -> Self {
        Self { ranges: vec![(0, MAPPED_START - 1), (MAPPED_END + 1, u128::MAX)] }
    }

    /// Whether the set has no member.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the set has a member in the IPv4 block.
    pub fn has_ipv4(&self) -> bool {
        self.first_ipv4().is_some()
    }

    /// Whether the set has a member outside the IPv4 block.
    pub fn has_ipv6(&self) -> bool {
        self.first_ipv6().is_some()
    }

    /// The lowest IPv4 address in the set.
    pub fn first_ipv4(&self) -> Option<Ipv4Addr> {
        let before = self.ranges.partition_point(|&(_, last)| last < MAPPED_START);
        let &(first, _) = self.ranges.get(before).filter(|&&(first, _)| first <= MAPPED_END)?;
        Ipv6Addr::from(first.max(MAPPED_START)).to_ipv4_mapped()
    }

    /// The lowest address in the set that is outside the IPv4 block.
    pub fn first_ipv6(&self) -> Option<Ipv6Addr> {
        let below = self.ranges.first().filter(|&&(first, _)| first < MAPPED_START);
        let above = || self.ranges.last().filter(|&&(_, last)| last > MAPPED_END);
        let &(first, _) = below.or_else(above)?;
        Some(Ipv6Addr::from(if first < MAPPED_START { first } else { first.max(MAPPED_END + 1) }))
    }

    /// The inclusive ranges, ordered, in the mapped 128-bit space.
    pub fn ranges(&self) -> &[(u128, u128)] {
        &self.ranges
    }

    /// Whether the address is a member.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = mapped(address);
        let after = self.ranges.partition_point(|&(first, _)| first <= bits);
        after > 0 && self.ranges[after - 1].1 >= bits
    }

    /// Whether every address of the prefix is a member.
    pub fn covers(&self, prefix: Prefix) -> bool {
        let after = self.ranges.partition_point(|&(first, _)| first <= prefix.bits);
        after > 0 && self.ranges[after - 1].1 >= prefix.last()
    }

    /// The members of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut ranges = self.ranges.clone();
        ranges.extend_from_slice(&other.ranges);
        Self::of_ranges(ranges)
    }

    /// The members of any of them.
    pub fn union_of<'s>(sets: impl Iterator<Item = &'s Self>) -> Self {
        Self::of_ranges(sets.flat_map(|set| &set.ranges).copied().collect())
    }

    /// The addresses of inclusive ranges in the mapped 128-bit space, in any order, overlapping or not.
    /// Takes no further memory.
    pub fn of_ranges(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        // `dedup_by` removes its first argument, the later one, where it has been merged into the one before.
        ranges.dedup_by(|&mut (first, last), previous| {
            let one = previous.1 == u128::MAX || first <= previous.1 + 1;
            if one {
                previous.1 = previous.1.max(last);
            }
            one
        });
        ranges.shrink_to_fit();
        Self { ranges }
    }

    /// The members of `self` that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut ranges = Vec::with_capacity(self.ranges.len());
        let mut cuts = other.ranges.iter().copied().peekable();
        for &(mut first, last) in &self.ranges {
            while cuts.next_if(|cut| cut.1 < first).is_some() {}
            let mut rest = true;
            let mut ahead = cuts.clone();
            while let Some((cut_first, cut_last)) = ahead.next_if(|cut| cut.0 <= last) {
                if cut_first > first {
                    ranges.push((first, cut_first - 1));
                }
                if cut_last >= last {
                    rest = false;
                    break;
                }
                first = cut_last + 1;
            }
            if rest {
                ranges.push((first, last));
            }
        }
        Self { ranges }
    }

    /// The fewest prefixes that have exactly these members, ordered.
    pub fn prefixes(&self) -> Vec<Prefix> {
        let mut prefixes = Vec::with_capacity(self.ranges.len());
        for &(first, last) in &self.ranges {
            let mut next = first;
            loop {
                // The largest aligned block that starts at `next` and ends by `last`.
                let mut length = 128 - u8::try_from(next.trailing_zeros().min(128)).unwrap_or(128);
                while Prefix::from_mapped(next, length).last() > last {
                    length += 1;
                }
                let prefix = Prefix::from_mapped(next, length);
                prefixes.push(prefix);
                if prefix.last() == last {
                    break;
                }
                next = prefix.last() + 1;
            }
        }
        prefixes
    }
}

impl FromIterator<Prefix> for AddressSet {
    fn from_iter<I: IntoIterator<Item = Prefix>>(prefixes: I) -> Self {
        Self::of_ranges(prefixes.into_iter().map(|prefix| (prefix.bits, prefix.last())).collect())
    }
}

/// The address in the mapped 128-bit space.
pub fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    }

    fn set(texts: &[&str]) -> AddressSet {
        texts.iter().map(|text| prefix(text)).collect()
    }

    #[test]
    fn halves_become_the_whole() {
        assert_eq!(set(&["10.0.0.0/9", "10.128.0.0/9"]), set(&["10.0.0.0/8"]));
        assert_eq!(set(&["::/1", "8000::/1"]), AddressSet::all());
        assert_eq!(AddressSet::all().prefixes(), [prefix("::/0")]);
    }

    #[test]
    fn a_hole_is_cut_into_the_fewest_prefixes() {
        let holed = set(&["192.0.2.0/24"]).difference(&set(&["192.0.2.64/26"]));
        assert_eq!(holed.prefixes(), [prefix("192.0.2.0/26"), prefix("192.0.2.128/25")]);
        assert!(!holed.contains("192.0.2.65".parse().unwrap()));
        assert!(holed.contains("192.0.2.63".parse().unwrap()));
    }

    #[test]
    fn families_do_not_touch() {
        assert!(AddressSet::ipv4().union(&AddressSet::ipv6()) == AddressSet::all());
        assert!(!AddressSet::ipv6().has_ipv4());
        assert!(!AddressSet::ipv4().has_ipv6());
        assert_eq!(prefix("192.0.2.0/24").to_string(), "192.0.2.0/24");
        assert_eq!(prefix("2001:db8::/32").to_string(), "2001:db8::/32");
    }

    /// Prefixes crowded into a small corner, so that they overlap and touch.
    fn crowded() -> impl Strategy<Value = Vec<Prefix>> {
        prop::collection::vec((0u128..256, 118u8..=128), 0..12).prop_map(|pairs| {
            pairs.into_iter().map(|(bits, length)| Prefix::from_mapped(bits, length)).collect()
        })
    }

    proptest! {
        #[test]
        fn set_algebra_holds_member_by_member(a in crowded(), b in crowded()) {
            let (set_a, set_b): (AddressSet, AddressSet) =
                (a.iter().copied().collect(), b.iter().copied().collect());
            let difference = set_a.difference(&set_b);
            let union = set_a.union(&set_b);
            for bits in 0..1100u128 {
                let address = IpAddr::V6(Ipv6Addr::from(bits));
                let (in_a, in_b) = (set_a.contains(address), set_b.contains(address));
                prop_assert_eq!(in_a, a.iter().any(|p| p.bits() <= bits && bits <= p.last()));
                prop_assert_eq!(difference.contains(address), in_a && !in_b);
                prop_assert_eq!(union.contains(address), in_a || in_b);
            }
            prop_assert_eq!(union.prefixes().into_iter().collect::<AddressSet>(), union);
        }
    }
}
