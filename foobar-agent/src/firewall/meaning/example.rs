//! A packet made up from what decisions ask of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foobar_ebpf::key::{DESTINATION, META, SOURCE, WORDS, meta};
use foobar_ebpf::verdict::Verdict;

use crate::firewall::diagram::{Cut, NodeId, Store};
use crate::firewall::numbers::InterfaceNumbers;

/// A packet, as far as rules can tell one from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Where it arrives; `None`: an interface that no rule names.
    pub interface: Option<String>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol number.
    pub protocol: u8,
    /// Whether its transport header can be read; a later fragment has none.
    pub has_transport: bool,
    /// Source port, where the protocol has ports.
    pub from_port: u16,
    /// Destination port; for ICMP, type and code.
    pub port: u16,
    /// TCP flags.
    pub tcp_flags: u8,
    /// What the old and the new ruleset make of it.
    pub verdicts: [Verdict; 2],
}

/// What decisions have said about a packet so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    mask: [u64; WORDS],
    value: [u64; WORDS],
}

/// What packets usually have, where nothing is known of it.
pub(super) struct Usual {
    has_transport: bool,
    from_port: u16,
    tcp_flags: u8,
}

/// The most usual first: a SYN, a datagram, what has no ports, a fragment or a protocol without a header
/// that could be read.
pub(super) const USUAL: [Usual; 4] = [
    Usual { has_transport: true, from_port: 40_000, tcp_flags: SYN },
    Usual { has_transport: true, from_port: 40_000, tcp_flags: 0 },
    Usual { has_transport: true, from_port: 0, tcp_flags: 0 },
    Usual { has_transport: false, from_port: 0, tcp_flags: 0 },
];

impl Known {
    pub(super) fn decided<const N: usize>(mut self, cut: &Cut<N>, is_hit: bool) -> Self {
        // Not all of these bits: then all but the last.
        let last = cut.mask & cut.mask.wrapping_neg();
        let value = if is_hit { cut.value } else { cut.value ^ last };
        let word = cut.word as usize;
        self.mask[word] |= cut.mask;
        self.value[word] |= value;
        self
    }

    /// With every field but the addresses. Of those that are known in part the other bits are 0.
    pub(super) fn filled(mut self, usual: &Usual) -> Self {
        let fields = [
            (meta::HAS_TRANSPORT, u64::from(usual.has_transport)),
            (meta::PROTOCOL, TCP.into()),
            (meta::FROM_PORT, usual.from_port.into()),
            (meta::TCP_FLAGS, usual.tcp_flags.into()),
        ];
        for (field, usual) in fields {
            let ones = ((1 << field.bits) - 1) << field.shift;
            if self.mask[META] & ones == 0 {
                self.value[META] |= usual << field.shift;
            }
        }
        self.mask[META] = u64::MAX;
        self
    }

    /// Where a diagram of the meta word leads.
    pub(super) fn end(&self, store: &Store, mut id: NodeId) -> NodeId {
        while id.as_end().is_none() {
            let node = store.node(id);
            let is_hit = self.value[node.word as usize] & node.mask == node.value;
            id = if is_hit { node.hit } else { node.miss };
        }
        id
    }

    fn field(&self, field: meta::Field) -> u64 {
        self.value[META] >> field.shift & ((1 << field.bits) - 1)
    }

    fn address(&self, is_ipv4: bool, word: usize, otherwise: (Ipv4Addr, Ipv6Addr)) -> IpAddr {
        let bits = u128::from(self.value[word]) << 64 | u128::from(self.value[word + 1]);
        let is_known = self.mask[word] | self.mask[word + 1] != 0;
        match (is_ipv4, is_known) {
            (true, false) => otherwise.0.into(),
            (false, false) => otherwise.1.into(),
            #[expect(clippy::cast_possible_truncation, reason = "an IPv4 address")]
            (true, true) => Ipv4Addr::from(bits as u32).into(),
            // No IPv6 packet has an address of IPv4's block; to rules they are like the one before it.
            (false, true) if bits >> 32 == 0xffff => Ipv6Addr::from((0xffff << 32) - 1).into(),
            (false, true) => Ipv6Addr::from(bits).into(),
        }
    }

    /// The packet, once its fields are filled.
    pub(super) fn example(
        &self,
        is_ipv4: bool,
        verdicts: [Verdict; 2],
        numbers: &InterfaceNumbers,
    ) -> Example {
        #[expect(clippy::cast_possible_truncation, reason = "fields of 8 and of 16 bits")]
        let (octet, port) = (|field| self.field(field) as u8, |field| self.field(field) as u16);
        Example {
            interface: numbers.name(octet(meta::INTERFACE).into()).map(str::to_owned),
            source: self.address(is_ipv4, SOURCE, EXAMPLE_CLIENT),
            destination: self.address(is_ipv4, DESTINATION, EXAMPLE_HOST),
            protocol: octet(meta::PROTOCOL),
            has_transport: self.field(meta::HAS_TRANSPORT) != 0,
            from_port: port(meta::FROM_PORT),
            port: port(meta::PORT),
            tcp_flags: octet(meta::TCP_FLAGS),
            verdicts,
        }
    }
}

const TCP: u8 = 6;
const SYN: u8 = 0x02;
/// Addresses for documentation (RFC 5737, RFC 3849).
const EXAMPLE_CLIENT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 51, 100, 7), Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 7));
const EXAMPLE_HOST: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
