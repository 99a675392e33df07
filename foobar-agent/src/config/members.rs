//! Addresses on their way to a set: kept small while they are read, since a file may hold
//! millions. IPv4 addresses take 8 bytes a range here, and 32 in the set.

use std::net::{IpAddr, Ipv4Addr};

use crate::firewall::address::{AddressSet, Prefix, mapped};

/// First and last address of the block in which [`AddressSet`] keeps IPv4.
const MAPPED_FIRST: u128 = 0xffff_0000_0000;
const MAPPED_LAST: u128 = 0xffff_ffff_ffff;

/// Ranges of addresses in any order, overlapping or not.
#[derive(Debug, Default)]
pub(super) struct Members {
    ipv4: Vec<(u32, u32)>,
    ipv6: Vec<(u128, u128)>,
}

impl Members {
    pub(super) fn push(&mut self, prefix: Prefix) {
        if prefix.is_ipv4() {
            self.ipv4.push((low_half(prefix.bits()), low_half(prefix.last())));
        } else {
            self.ipv6.push((prefix.bits(), prefix.last()));
        }
    }

    /// Both ends included, and of the same family.
    pub(super) fn push_range(&mut self, first: IpAddr, last: IpAddr) {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.ipv4.push((first.into(), last.into())),
            _ => self.ipv6.push((mapped(first), mapped(last))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty()
    }

    /// The set. An IPv6 range around the block of IPv4 holds no IPv4 address: `::/0` is IPv6 alone.
    pub(super) fn into_set(mut self) -> AddressSet {
        self.ipv4.sort_unstable();
        self.ipv4.dedup();
        let mut ranges = Vec::with_capacity(self.ipv4.len() + self.ipv6.len());
        // IPv4 is sorted while it is small; the set sorts the rest.
        let below = self.ipv6.iter().filter(|(first, _)| *first < MAPPED_FIRST);
        ranges.extend(below.map(|&(first, last)| (first, last.min(MAPPED_FIRST - 1))));
        let ipv4 = |address: u32| mapped(Ipv4Addr::from(address).into());
        ranges.extend(self.ipv4.iter().map(|&(first, last)| (ipv4(first), ipv4(last))));
        self.ipv4 = Vec::new();
        let above = self.ipv6.iter().filter(|(_, last)| *last > MAPPED_LAST);
        ranges.extend(above.map(|&(first, last)| (first.max(MAPPED_LAST + 1), last)));
        AddressSet::of_ranges(ranges)
    }
}

fn low_half(bits: u128) -> u32 {
    u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(&str, &str)]) -> AddressSet {
        let mut members = Members::default();
        for (first, last) in ranges {
            members.push_range(first.parse().unwrap(), last.parse().unwrap());
        }
        members.into_set()
    }

    #[test]
    fn what_lies_around_ipv4_holds_none_of_it() {
        let all = ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert_eq!(set(&[all]), AddressSet::ipv6());
        assert_eq!(set(&[all, ("::1", "::2"), ("ff00::", "ff00::1")]), AddressSet::ipv6());
        assert_eq!(set(&[("0.0.0.0", "255.255.255.255")]), AddressSet::ipv4());
        assert_eq!(set(&[all, ("0.0.0.0", "255.255.255.255")]), AddressSet::all());
        assert_eq!(set(&[("::5", "1::")]).ranges().len(), 2);
    }

    #[test]
    fn ranges_that_overlap_or_touch_are_one() {
        let one = set(&[("10.0.0.5", "10.0.0.9"), ("10.0.0.0", "10.0.0.4"), ("10.0.0.3", "10.0.0.6")]);
        assert_eq!(one.ranges().len(), 1);
        assert!(one.contains("10.0.0.9".parse().unwrap()) && !one.contains("10.0.0.10".parse().unwrap()));
    }
}
