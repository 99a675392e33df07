//! A packet made up from what decisions ask of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foobar_ebpf::key::{DESTINATION, META, SOURCE, WORDS, meta};
use foobar_ebpf::verdict::Verdict;

use crate::firewall::diagram::Cut;
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
#[derive(Default)]
pub(super) struct Known {
    mask: [u64; WORDS],
    value: [u64; WORDS],
}

impl Known {
    pub(super) fn decide<const N: usize>(&mut self, cut: &Cut<N>, is_hit: bool) {
        // Not all of these bits: then all but the last.
        let last = cut.mask & cut.mask.wrapping_neg();
        let value = if is_hit { cut.value } else { cut.value ^ last };
        let word = cut.word as usize;
        self.mask[word] |= cut.mask;
        self.value[word] |= value;
    }

    /// A field of the meta word, if anything is known of it.
    fn field(&self, field: meta::Field) -> Option<u64> {
        let ones = (1 << field.bits) - 1;
        let known = self.mask[META] >> field.shift & ones != 0;
        known.then_some(self.value[META] >> field.shift & ones)
    }

    fn address(&self, is_ipv4: bool, word: usize, otherwise: (Ipv4Addr, Ipv6Addr)) -> IpAddr {
        let bits = u128::from(self.value[word]) << 64 | u128::from(self.value[word + 1]);
        let is_known = self.mask[word] | self.mask[word + 1] != 0;
        match (is_ipv4, is_known) {
            (true, false) => otherwise.0.into(),
            (false, false) => otherwise.1.into(),
            #[expect(clippy::cast_possible_truncation, reason = "an IPv4 address")]
            (true, true) => Ipv4Addr::from(bits as u32).into(),
            (false, true) => Ipv6Addr::from(bits).into(),
        }
    }

    /// What nothing is known of is what a packet usually has.
    pub(super) fn example(
        &self,
        is_ipv4: bool,
        verdicts: [Verdict; 2],
        numbers: &InterfaceNumbers,
    ) -> Example {
        #[expect(clippy::cast_possible_truncation, reason = "fields of 8 and of 16 bits")]
        let (octet, port) = (
            |field, usual: u8| self.field(field).map_or(usual, |value| value as u8),
            |field, usual: u16| self.field(field).map_or(usual, |value| value as u16),
        );
        let protocol = octet(meta::PROTOCOL, TCP);
        let readable =
            matches!(protocol, 6 | 17 | 33 | 132 | 136) || protocol == if is_ipv4 { 1 } else { 58 };
        let interface = self.field(meta::INTERFACE).and_then(|number| u32::try_from(number).ok());
        Example {
            interface: interface.and_then(|number| numbers.name(number)).map(str::to_owned),
            source: self.address(is_ipv4, SOURCE, EXAMPLE_CLIENT),
            destination: self.address(is_ipv4, DESTINATION, EXAMPLE_HOST),
            protocol,
            has_transport: self.field(meta::HAS_TRANSPORT).map_or(readable, |value| value != 0),
            from_port: port(meta::FROM_PORT, 40_000),
            port: port(meta::PORT, 0),
            tcp_flags: octet(meta::TCP_FLAGS, SYN),
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
