//! The firewall's rules after validation: what the configuration means, with every
//! name resolved. Made by `config`, read by `firewall::compile`; knows neither TOML
//! nor the kernel.

use std::ops::RangeInclusive;
use std::sync::Arc;

use foobar_ebpf::verdict::Verdict;

use super::address::AddressSet;
use super::rate::Rate;

/// Rules in file order, the first that matches decides, and what happens otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// The policy: the verdict when no rule matches.
    pub default: Verdict,
    /// What passes before the rules.
    pub essentials: Essentials,
    /// The rules in order of judgement.
    pub rules: Vec<Rule>,
}

/// Which essentials pass before the rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the configuration")]
pub struct Essentials {
    /// `nd`: neighbour discovery, ICMPv6 133–136 with hop limit 255.
    pub neighbour_discovery: bool,
    /// `mld`: multicast listener discovery with hop limit 1.
    pub multicast_listener: bool,
    /// `icmp-errors`: ICMP 3, 11, 12 and ICMPv6 1–4 about a packet that this host sent.
    pub icmp_errors: bool,
    /// `dhcp`: answers to a DHCP client, UDP 67→68 and 547→546.
    pub dhcp: bool,
}

impl Essentials {
    /// All of them, the default.
    pub const ALL: Self =
        Self { neighbour_discovery: true, multicast_listener: true, icmp_errors: true, dhcp: true };
    /// None of them.
    pub const NONE: Self =
        Self { neighbour_discovery: false, multicast_listener: false, icmp_errors: false, dhcp: false };
}

/// One rule. All that it names must hold; within one list, any one. An absent list matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique and stable: the metric label.
    pub name: String,
    /// Line of the rule in the configuration file, from 1.
    pub line: u32,
    /// The verdict.
    pub action: Verdict,
    /// Source addresses, negations and sets already resolved. Rules that name the same set, or the
    /// same list, share it.
    pub from: Option<Arc<AddressSet>>,
    /// Destination addresses.
    pub to: Option<Arc<AddressSet>>,
    /// Protocol numbers of the IP header or the last extension header.
    pub protocols: Option<Vec<u8>>,
    /// Destination ports.
    pub ports: Option<Vec<RangeInclusive<u16>>>,
    /// Source ports.
    pub from_ports: Option<Vec<RangeInclusive<u16>>>,
    /// ICMP types and codes, each with the protocol (1 or 58) that it belongs to.
    pub icmp_types: Option<Vec<IcmpMatch>>,
    /// TCP flags.
    pub tcp_flags: Option<TcpFlags>,
    /// Names of arrival interfaces.
    pub interfaces: Option<Vec<String>>,
    /// Over it the rule does not match.
    pub rate: Option<Rate>,
    /// So many of the packets that it decides are told of.
    pub log: Option<Rate>,
}

impl Rule {
    /// Whether both are the same rule, wherever it stands.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            name,
            line: _,
            action,
            from,
            to,
            protocols,
            ports,
            from_ports,
            icmp_types,
            tcp_flags,
            interfaces,
            rate,
            log,
        } = self;
        *name == other.name
            && *action == other.action
            && *from == other.from
            && *to == other.to
            && *protocols == other.protocols
            && *ports == other.ports
            && *from_ports == other.from_ports
            && *icmp_types == other.icmp_types
            && *tcp_flags == other.tcp_flags
            && *interfaces == other.interfaces
            && *rate == other.rate
            && *log == other.log
    }
}

/// An ICMP type, of one family, and perhaps one code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpMatch {
    /// 1 for ICMP (in IPv4), 58 for ICMPv6 (in IPv6).
    pub protocol: u8,
    /// The type octet.
    pub kind: u8,
    /// The code octet; absent, any code.
    pub code: Option<u8>,
}

/// Of the flags in `of`, exactly those in `set` are set. Bits as in octet 13 of the TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags {
    /// Flags that must be set; a subset of `of`.
    pub set: u8,
    /// Flags that are looked at.
    pub of: u8,
}
