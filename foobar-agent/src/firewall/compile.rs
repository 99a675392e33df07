//! From a validated ruleset to a generation: rules become entries of the image, names become
//! slots. Pure; knows no kernel. What is refused here is refused before anything changes.

use std::ops::RangeInclusive;

use foobar_ebpf::abi::image::{self, ANY, Entry, Header, Leaf, NO_LOG, NO_RATE, needs};
use foobar_ebpf::abi::{DATAPATH_VERSION, SERVICES_MAX, ServicePort, service_protocol, setting};
use foobar_ebpf::verdict::Verdict;
use thiserror::Error;

use super::address::{AddressSet, Prefix};
use super::numbers::{InterfaceNumbers, TooManyInterfaces};
use super::ruleset::{Essentials, IcmpMatch, Rule, Ruleset};
use crate::config::model::{Service, ServiceProtocol};
use crate::firewall::generation::Generation;

/// Name of the default verdict among the rules; no rule can have it.
pub const POLICY: &str = "policy";

/// Why a valid ruleset cannot be a generation.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// More entries than an image holds.
    #[error(
        "the rules need {needed} entries and this version's classifier holds {}: the rule `{rule}` alone needs \
         {of_rule}",
        image::ENTRIES_MAX
    )]
    TooLarge {
        /// Entries of all rules.
        needed: usize,
        /// The rule that needs most.
        rule: String,
        /// Its line in the configuration.
        line: u32,
        /// Entries of that rule.
        of_rule: usize,
    },
    /// More interfaces than a rule can tell apart.
    #[error(transparent)]
    TooManyInterfaces(#[from] TooManyInterfaces),
    /// More services than a generation counts.
    #[error("the configuration names {0} services; at most {SERVICES_MAX} can be counted")]
    TooManyServices(usize),
}

impl CompileError {
    /// The line of the configuration that is most at fault, where there is one.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::TooLarge { line, .. } => Some(*line),
            Self::TooManyInterfaces(_) | Self::TooManyServices(_) => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "name fewer prefixes and ports in one rule, or merge rules",
            Self::TooManyInterfaces(_) => "name fewer interfaces in rules",
            Self::TooManyServices(_) => "name fewer services",
        }
    }
}

/// Compiles what one configuration says about packets.
///
/// # Errors
/// When it does not fit an image; nothing has been changed then.
pub fn compile(
    ruleset: Option<&Ruleset>,
    services: &[Service],
    interfaces: &mut InterfaceNumbers,
) -> Result<Generation, CompileError> {
    if services.len() > SERVICES_MAX {
        return Err(CompileError::TooManyServices(services.len()));
    }
    let mut generation = Generation {
        flags: 0,
        image: Vec::new(),
        rules: Vec::new(),
        services: services.iter().map(|service| (service.name.clone(), service_port(service))).collect(),
    };
    if let Some(ruleset) = ruleset {
        let entries = expand(&ruleset.rules, interfaces)?;
        generation.rules = ruleset.rules.iter().map(|rule| rule.name.clone()).collect();
        generation.rules.push(POLICY.to_owned());
        generation.image = write_image(&entries, ruleset);
        generation.flags = setting::JUDGE | essentials(ruleset.essentials);
    }
    Ok(generation)
}

fn service_port(service: &Service) -> ServicePort {
    let protocol = match service.protocol {
        ServiceProtocol::Http => service_protocol::HTTP,
    };
    ServicePort { port: service.port, protocol }
}

fn essentials(essentials: Essentials) -> u32 {
    [
        (essentials.neighbour_discovery, setting::NEIGHBOUR_DISCOVERY),
        (essentials.multicast_listener, setting::MULTICAST_LISTENER),
        (essentials.icmp_errors, setting::ICMP_ERRORS),
        (essentials.dhcp, setting::DHCP),
    ]
    .into_iter()
    .filter_map(|(on, flag)| on.then_some(flag))
    .sum()
}

/// Every rule as the conjunctions that it is made of, in the order of judgement.
fn expand(rules: &[Rule], interfaces: &mut InterfaceNumbers) -> Result<Vec<Entry>, CompileError> {
    let mut entries = Vec::new();
    let mut needed = 0;
    let mut largest: Option<(&Rule, usize)> = None;
    for (slot, rule) in rules.iter().enumerate() {
        let parts = Parts::of(rule);
        let of_rule = parts.entries();
        needed = of_rule.saturating_add(needed);
        if largest.is_none_or(|(_, most)| of_rule > most) {
            largest = Some((rule, of_rule));
        }
        // Counted first, expanded only while it fits: a large set must not exhaust memory.
        if needed <= image::ENTRIES_MAX as usize {
            let mut base = Entry::any(leaf(slot, rule.action));
            if let Some(names) = &rule.interfaces {
                base.interfaces = 0;
                for name in names {
                    base.interfaces |= 1 << interfaces.number(name)?;
                }
            }
            if let Some(flags) = rule.tcp_flags {
                base.needs |= needs::TCP_FLAGS;
                (base.tcp_flags_set, base.tcp_flags_of) = (flags.set, flags.of);
            }
            parts.expand(base, &mut entries);
        }
    }
    match largest {
        Some((rule, of_rule)) if needed > image::ENTRIES_MAX as usize => {
            Err(CompileError::TooLarge { needed, rule: rule.name.clone(), line: rule.line, of_rule })
        }
        _ => Ok(entries),
    }
}

/// The lists of a rule, of each of which any one member must hold.
struct Parts {
    from: Vec<Prefix>,
    to: Vec<Prefix>,
    protocols: Vec<u16>,
    ports: Vec<RangeInclusive<u16>>,
    from_ports: Vec<RangeInclusive<u16>>,
    /// Where a rule names ICMP types, they stand for its protocols.
    icmp: Option<Vec<IcmpMatch>>,
    needs_ports: bool,
}

impl Parts {
    fn of(rule: &Rule) -> Self {
        let (from, to) = prefixes(rule.from.as_deref(), rule.to.as_deref());
        let ranges =
            |list: &Option<Vec<RangeInclusive<u16>>>| list.clone().unwrap_or_else(|| vec![0..=u16::MAX]);
        Self {
            from,
            to,
            protocols: match &rule.protocols {
                Some(numbers) => numbers.iter().map(|&number| u16::from(number)).collect(),
                None => vec![ANY],
            },
            ports: ranges(&rule.ports),
            from_ports: ranges(&rule.from_ports),
            icmp: rule.icmp_types.clone(),
            needs_ports: rule.ports.is_some() || rule.from_ports.is_some(),
        }
    }

    /// How many entries [`expand`](Self::expand) makes.
    fn entries(&self) -> usize {
        let protocols = self.icmp.as_ref().map_or(self.protocols.len(), Vec::len);
        let ports = self.ports.len() * self.from_ports.len();
        self.from.len().saturating_mul(self.to.len()).saturating_mul(protocols).saturating_mul(ports)
    }

    fn expand(&self, base: Entry, entries: &mut Vec<Entry>) {
        for with_protocol in self.with_protocols(base) {
            for port in &self.ports {
                for from_port in &self.from_ports {
                    let mut entry = with_protocol;
                    if self.needs_ports {
                        entry.needs |= needs::PORTS;
                    }
                    (entry.port_first, entry.port_last) = (*port.start(), *port.end());
                    (entry.from_port_first, entry.from_port_last) = (*from_port.start(), *from_port.end());
                    for from in &self.from {
                        (entry.from, entry.from_mask) = (words(from.bits()), words(from.mask()));
                        for to in &self.to {
                            (entry.to, entry.to_mask) = (words(to.bits()), words(to.mask()));
                            entries.push(entry);
                        }
                    }
                }
            }
        }
    }

    fn with_protocols(&self, base: Entry) -> Vec<Entry> {
        match &self.icmp {
            Some(types) => {
                let with_type = |icmp: &IcmpMatch| Entry {
                    protocol: u16::from(icmp.protocol),
                    needs: base.needs | needs::ICMP,
                    icmp_kind: u16::from(icmp.kind),
                    icmp_code: icmp.code.map_or(ANY, u16::from),
                    ..base
                };
                types.iter().map(with_type).collect()
            }
            None => self.protocols.iter().map(|&protocol| Entry { protocol, ..base }).collect(),
        }
    }
}

/// The addresses of a rule as prefixes. A wide IPv6 set has the IPv4 block cut out of it, which
/// takes up to 96 prefixes. Where the destination is IPv6 only, no IPv4 packet can match, and
/// the source needs no hole.
fn prefixes(from: Option<&AddressSet>, to: Option<&AddressSet>) -> (Vec<Prefix>, Vec<Prefix>) {
    let any = || vec![Prefix::from_mapped(0, 0)];
    let to_prefixes = to.map_or_else(any, AddressSet::prefixes);
    let from_prefixes = from.map_or_else(any, AddressSet::prefixes);
    match (from, to) {
        (Some(from), Some(to)) if !from.is_empty() && !to.is_empty() && !to.has_ipv4() => {
            let whole = from.union(&AddressSet::ipv4()).prefixes();
            (if whole.len() < from_prefixes.len() { whole } else { from_prefixes }, to_prefixes)
        }
        _ => (from_prefixes, to_prefixes),
    }
}

fn leaf(slot: usize, verdict: Verdict) -> Leaf {
    let rule = u32::try_from(slot).unwrap_or(u32::MAX);
    Leaf { rule, verdict: verdict as u32, over_rate: NO_RATE, log: NO_LOG }
}

fn write_image(entries: &[Entry], ruleset: &Ruleset) -> Vec<u8> {
    let header = Header {
        magic: image::MAGIC,
        version: DATAPATH_VERSION,
        entries: u32::try_from(entries.len()).unwrap_or(u32::MAX),
        rule_slots: u32::try_from(ruleset.rules.len() + 1).unwrap_or(u32::MAX),
        policy: leaf(ruleset.rules.len(), ruleset.default),
        padding: [0; 4],
    };
    let mut bytes = Vec::with_capacity(size_of::<Header>() + size_of_val(entries));
    bytes.extend_from_slice(&header.to_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry.to_bytes());
    }
    bytes
}

fn words(bits: u128) -> [u64; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of 128 bits")]
    [(bits >> 64) as u64, bits as u64]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn everywhere(name: &str, from: Option<AddressSet>, to: Option<AddressSet>) -> Rule {
        Rule {
            name: name.to_owned(),
            line: 3,
            action: Verdict::Allow,
            from: from.map(Arc::new),
            to: to.map(Arc::new),
            protocols: None,
            ports: None,
            from_ports: None,
            icmp_types: None,
            tcp_flags: None,
            interfaces: None,
        }
    }

    fn entries(rules: Vec<Rule>) -> Result<usize, CompileError> {
        let ruleset = Ruleset { default: Verdict::Drop, essentials: Essentials::ALL, rules };
        let generation = compile(Some(&ruleset), &[], &mut InterfaceNumbers::default())?;
        Ok((generation.image.len() - size_of::<Header>()) / size_of::<Entry>())
    }

    #[test]
    fn all_of_ipv6_to_all_of_ipv6_is_not_the_square_of_its_prefixes() {
        let all = || Some(AddressSet::ipv6());
        assert!(entries(vec![everywhere("v6", all(), all())]).unwrap() <= 96);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_the_rule_that_needs_most() {
        let hosts = |count: u32| {
            let address = |n: u32| Prefix::host(std::net::Ipv4Addr::from(0x0a00_0000 + 2 * n).into());
            Some((0..count).map(address).collect::<AddressSet>())
        };
        assert_eq!(entries(vec![everywhere("fits", hosts(image::ENTRIES_MAX), None)]), Ok(1024));
        let rules =
            vec![everywhere("small", None, None), everywhere("large", hosts(image::ENTRIES_MAX), None)];
        let error = entries(rules).unwrap_err();
        assert!(error.to_string().contains("`large` alone needs 1024"), "{error}");
        let square = entries(vec![everywhere("square", hosts(70_000), hosts(70_000))]).unwrap_err();
        assert!(square.to_string().contains("4900000000"), "{square}");
    }
}
