//! What a rule matches, as diagrams: sets of values of one field of the key, and rules as
//! conjunctions of such sets. Knows the key's layout; knows no other rule.

use foobar_ebpf::key::{self, meta};

use super::store::{NodeId, Store, TooManyNodes};
use crate::firewall::address::AddressSet;
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::ruleset::{IcmpMatch, Rule};

/// Inclusive, ordered, disjoint, not adjacent.
type Ranges = Vec<(u128, u128)>;

/// First and last address of the block in which IPv4 lies.
const IPV4_FIRST: u128 = 0xffff_0000_0000;
const IPV4_LAST: u128 = 0xffff_ffff_ffff;

/// An address family; each has diagrams of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The protocol whose types exist in this family.
    fn icmp(self) -> u8 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 58,
        }
    }

    /// The members of a set that are of this family. No IPv6 packet carries an address of the IPv4
    /// block; there the set goes on as it was before the block, which costs no decision.
    pub(super) fn part(self, set: &AddressSet) -> Ranges {
        let mut part = Ranges::new();
        for &(first, last) in set.ranges() {
            match self {
                Self::Ipv4 if last >= IPV4_FIRST && first <= IPV4_LAST => {
                    part.push((first.max(IPV4_FIRST), last.min(IPV4_LAST)));
                }
                Self::Ipv6 => {
                    if first < IPV4_FIRST {
                        let last = if last >= IPV4_FIRST - 1 { last.max(IPV4_LAST) } else { last };
                        append(&mut part, first, last);
                    } else if last > IPV4_LAST {
                        append(&mut part, first.max(IPV4_LAST + 1), last);
                    }
                }
                Self::Ipv4 => {}
            }
        }
        part
    }
}

/// Adds a range that begins behind all others, or within or right behind the last one.
fn append(ranges: &mut Ranges, first: u128, last: u128) {
    match ranges.last_mut() {
        Some(previous) if first <= previous.1 || first == previous.1 + 1 => previous.1 = previous.1.max(last),
        _ => ranges.push((first, last)),
    }
}

fn number(word: usize) -> u32 {
    u32::try_from(word).unwrap_or(u32::MAX)
}

/// The source of a packet lies in `ranges`: `hit`; otherwise: no rule.
pub(super) fn source(
    store: &mut Store,
    family: Family,
    ranges: &[(u128, u128)],
    hit: NodeId,
) -> Result<NodeId, TooManyNodes> {
    within(store, Block::address(family, key::SOURCE), ranges, hit)
}

/// The destination of a packet lies in `ranges`: `hit`; otherwise: no rule.
pub(super) fn destination(
    store: &mut Store,
    family: Family,
    ranges: &[(u128, u128)],
    hit: NodeId,
) -> Result<NodeId, TooManyNodes> {
    within(store, Block::address(family, key::DESTINATION), ranges, hit)
}

/// Everything of a rule but its addresses: `end` where it holds.
pub(super) fn conditions(
    store: &mut Store,
    family: Family,
    rule: &Rule,
    numbers: &InterfaceNumbers,
    end: NodeId,
) -> Result<NodeId, TooManyNodes> {
    let needs_ports = rule.ports.is_some() || rule.from_ports.is_some() || rule.tcp_flags.is_some();
    let mut id = end;
    if let Some(flags) = rule.tcp_flags {
        let shift = meta::TCP_FLAGS.shift;
        let (of, set) = (u64::from(flags.of) << shift, u64::from(flags.set) << shift);
        id = store.test(number(key::META), of, set, id, NodeId::NOTHING)?;
    }
    for (field, list) in [(meta::FROM_PORT, &rule.from_ports), (meta::PORT, &rule.ports)] {
        if let Some(list) = list {
            let ranges = list.iter().map(|range| (u128::from(*range.start()), u128::from(*range.end())));
            id = field_within(store, field, ranges.collect(), id)?;
        }
    }
    let protocols: Ranges = match (&rule.icmp_types, &rule.protocols) {
        (Some(types), _) => {
            id = field_within(store, meta::PORT, icmp_types(family, types), id)?;
            vec![(family.icmp().into(), family.icmp().into())]
        }
        (None, Some(protocols)) => protocols.iter().map(|&number| (number.into(), number.into())).collect(),
        (None, None) => vec![(0, 255)],
    };
    id = field_within(store, meta::PROTOCOL, protocols, id)?;
    if needs_ports || rule.icmp_types.is_some() {
        id = field_within(store, meta::HAS_TRANSPORT, vec![(1, 1)], id)?;
    }
    if let Some(names) = &rule.interfaces {
        // A name without a number is no interface that a packet can arrive on.
        let ranges = names.iter().filter_map(|name| numbers.get(name)).map(|n| (n.into(), n.into()));
        id = field_within(store, meta::INTERFACE, ranges.collect(), id)?;
    }
    Ok(id)
}

/// Type and code lie where other protocols have the destination port.
fn icmp_types(family: Family, types: &[IcmpMatch]) -> Ranges {
    let of_family = types.iter().filter(|icmp| icmp.protocol == family.icmp());
    let range = |icmp: &IcmpMatch| {
        let first = u128::from(icmp.kind) << 8;
        icmp.code.map_or((first, first | 0xff), |code| (first | u128::from(code), first | u128::from(code)))
    };
    of_family.map(range).collect()
}

fn field_within(
    store: &mut Store,
    field: meta::Field,
    mut ranges: Ranges,
    hit: NodeId,
) -> Result<NodeId, TooManyNodes> {
    ranges.sort_unstable();
    let mut ordered = Ranges::with_capacity(ranges.len());
    for (first, last) in ranges {
        append(&mut ordered, first, last);
    }
    within(store, Block::field(field), &ordered, hit)
}

/// Where in the key a value lies, and what is known of the value so far.
#[derive(Clone, Copy)]
struct Block {
    /// The bit behind the value's last one, counted from the key's most significant bit.
    end: u32,
    /// Bits of the value that are still open: its last ones.
    open: u32,
    /// The least value in the block: the bits before, and zeros.
    first: u128,
}

impl Block {
    fn address(family: Family, first_word: usize) -> Self {
        let (open, first) = match family {
            Family::Ipv4 => (32, IPV4_FIRST),
            Family::Ipv6 => (128, 0),
        };
        Self { end: number(first_word + 2) * u64::BITS, open, first }
    }

    fn field(field: meta::Field) -> Self {
        Self { end: number(key::META + 1) * u64::BITS - field.shift, open: field.bits, first: 0 }
    }

    fn last(self) -> u128 {
        self.first | u128::MAX.checked_shr(u128::BITS - self.open).unwrap_or(0)
    }
}

/// The value lies in `ranges`, of which each has a part in the block: `hit`; otherwise: no rule.
fn within(
    store: &mut Store,
    block: Block,
    ranges: &[(u128, u128)],
    hit: NodeId,
) -> Result<NodeId, TooManyNodes> {
    let (Some(&(first, _)), Some(&(_, last))) = (ranges.first(), ranges.last()) else {
        return Ok(NodeId::NOTHING);
    };
    let (first, last) = (first.max(block.first), last.min(block.last()));
    if ranges.len() == 1 && first == block.first && last == block.last() {
        return Ok(hit);
    }
    let open = u128::BITS - (first ^ last).leading_zeros();
    if open < block.open {
        // All members begin with the same bits.
        let inner = Block { open, first: first >> open.min(127) << open.min(127), ..block };
        let below = within(store, inner, ranges, hit)?;
        return chain(store, block, open, first, below);
    }
    let open = block.open - 1;
    let middle = block.first | 1 << open;
    let (low, high) = (Block { open, ..block }, Block { open, first: middle, ..block });
    let lower = &ranges[..ranges.partition_point(|range| range.0 < middle)];
    let upper = &ranges[ranges.partition_point(|range| range.1 < middle)..];
    let miss = within(store, low, lower, hit)?;
    let hit = within(store, high, upper, hit)?;
    let at = block.end - block.open;
    store.test(at / u64::BITS, 1 << (63 - at % u64::BITS), u64::MAX, hit, miss)
}

/// The open bits of a block, down to the last `below` of them, are those of `value`: `hit`.
fn chain(
    store: &mut Store,
    block: Block,
    below: u32,
    value: u128,
    mut hit: NodeId,
) -> Result<NodeId, TooManyNodes> {
    // From the last word that the value has a part in to the first.
    let (mut from, until) = (block.end - below, block.end - block.open);
    while from > until {
        let word = (from - 1) / u64::BITS;
        let start = until.max(word * u64::BITS);
        let shift = (word + 1) * u64::BITS - from;
        let mask = (u64::MAX >> (u64::BITS - (from - start))) << shift;
        // The word's last bit is so many bits above the value's last bit; below it, in a field.
        let above = i64::from(block.end) - i64::from((word + 1) * u64::BITS);
        #[expect(clippy::cast_possible_truncation, reason = "the word's part of the value")]
        let part = if above >= 0 { (value >> above) as u64 } else { (value << -above) as u64 };
        hit = store.test(word, mask, part, hit, NodeId::NOTHING)?;
        from = start;
    }
    Ok(hit)
}
