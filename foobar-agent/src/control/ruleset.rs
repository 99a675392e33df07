//! The rules in force as they cross the control socket: with every name resolved, addresses and verdicts
//! as people write them, and each set of addresses once, however many rules share it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use foobar_ebpf::verdict::Verdict;
use serde::{Deserialize, Serialize};

use crate::firewall::address::{AddressSet, Prefix, mapped};
use crate::firewall::rate::Rate;
use crate::firewall::ruleset::{Essentials, IcmpMatch, Rule, Ruleset, TcpFlags};

/// What the agent judges by, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesetInForce {
    /// The generation that judges.
    pub generation: u64,
    /// The configuration that it was made from; `None`: the agent runs without one.
    pub file: Option<PathBuf>,
    /// The interfaces that it judges on.
    pub interfaces: Vec<String>,
    /// The rules; `None`: nothing is judged.
    pub ruleset: Option<RulesetText>,
}

/// A ruleset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesetText {
    default: String,
    /// Neighbour discovery, listener discovery, ICMP errors, DHCP.
    essentials: [bool; 4],
    /// Ranges of each set that rules name by number: as prefixes where they are one, else first and last
    /// address. A range can be as many prefixes as twice its addresses have bits.
    sets: Vec<Vec<String>>,
    rules: Vec<RuleText>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleText {
    name: String,
    line: u32,
    action: String,
    from: Option<usize>,
    to: Option<usize>,
    protocols: Option<Vec<u8>>,
    ports: Option<Vec<(u16, u16)>>,
    from_ports: Option<Vec<(u16, u16)>>,
    /// Protocol, type, code.
    icmp_types: Option<Vec<(u8, u8, Option<u8>)>>,
    /// Set, of.
    tcp_flags: Option<(u8, u8)>,
    interfaces: Option<Vec<String>>,
    #[serde(default)]
    rate: Option<Rate>,
    #[serde(default)]
    log: Option<Rate>,
}

/// What is no ruleset; the two ends are of different versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the agent's rules cannot be understood: {0}\n  hint: use the `foobar-agent` of the version that runs"
)]
pub struct NotARuleset(String);

impl From<&Ruleset> for RulesetText {
    fn from(ruleset: &Ruleset) -> Self {
        let mut numbers: HashMap<*const AddressSet, usize> = HashMap::new();
        let mut sets = Vec::new();
        let mut number = |set: &Option<Arc<AddressSet>>| {
            let set = set.as_ref()?;
            Some(*numbers.entry(Arc::as_ptr(set)).or_insert_with(|| {
                sets.push(set.ranges().iter().copied().map(range_text).collect());
                sets.len() - 1
            }))
        };
        let rules = ruleset.rules.iter().map(|rule| RuleText::of(rule, number(&rule.from), number(&rule.to)));
        let rules = rules.collect();
        let Essentials { neighbour_discovery, multicast_listener, icmp_errors, dhcp } = ruleset.essentials;
        Self {
            default: ruleset.default.as_str().to_owned(),
            essentials: [neighbour_discovery, multicast_listener, icmp_errors, dhcp],
            sets,
            rules,
        }
    }
}

impl RuleText {
    fn of(rule: &Rule, from: Option<usize>, to: Option<usize>) -> Self {
        let ranges = |ranges: &Vec<RangeInclusive<u16>>| {
            ranges.iter().map(|range| (*range.start(), *range.end())).collect()
        };
        let icmp =
            |types: &Vec<IcmpMatch>| types.iter().map(|icmp| (icmp.protocol, icmp.kind, icmp.code)).collect();
        Self {
            name: rule.name.clone(),
            line: rule.line,
            action: rule.action.as_str().to_owned(),
            from,
            to,
            protocols: rule.protocols.clone(),
            ports: rule.ports.as_ref().map(ranges),
            from_ports: rule.from_ports.as_ref().map(ranges),
            icmp_types: rule.icmp_types.as_ref().map(icmp),
            tcp_flags: rule.tcp_flags.map(|flags| (flags.set, flags.of)),
            interfaces: rule.interfaces.clone(),
            rate: rule.rate,
            log: rule.log,
        }
    }

    fn into_rule(self, sets: &[Arc<AddressSet>]) -> Result<Rule, NotARuleset> {
        let set = |number: Option<usize>| match number.map(|number| sets.get(number)) {
            None => Ok(None),
            Some(Some(set)) => Ok(Some(Arc::clone(set))),
            Some(None) => Err(NotARuleset(format!("the rule {} names a set that is not there", self.name))),
        };
        let (from, to) = (set(self.from)?, set(self.to)?);
        let ranges = |ranges: Vec<(u16, u16)>| ranges.into_iter().map(|(first, last)| first..=last).collect();
        let icmp = |(protocol, kind, code)| IcmpMatch { protocol, kind, code };
        Ok(Rule {
            action: verdict(&self.action)?,
            name: self.name,
            line: self.line,
            from,
            to,
            protocols: self.protocols,
            ports: self.ports.map(ranges),
            from_ports: self.from_ports.map(ranges),
            icmp_types: self.icmp_types.map(|types| types.into_iter().map(icmp).collect()),
            tcp_flags: self.tcp_flags.map(|(set, of)| TcpFlags { set, of }),
            interfaces: self.interfaces,
            rate: self.rate,
            log: self.log,
        })
    }
}

impl TryFrom<RulesetText> for Ruleset {
    type Error = NotARuleset;

    fn try_from(text: RulesetText) -> Result<Self, NotARuleset> {
        let set = |texts: Vec<String>| {
            let ranges: Result<Vec<_>, _> = texts.iter().map(|text| range(text)).collect();
            ranges.map(|ranges| Arc::new(AddressSet::of_ranges(ranges)))
        };
        let sets = text.sets.into_iter().map(set).collect::<Result<Vec<_>, _>>()?;
        let [neighbour_discovery, multicast_listener, icmp_errors, dhcp] = text.essentials;
        Ok(Self {
            default: verdict(&text.default)?,
            essentials: Essentials { neighbour_discovery, multicast_listener, icmp_errors, dhcp },
            rules: text.rules.into_iter().map(|rule| rule.into_rule(&sets)).collect::<Result<_, _>>()?,
        })
    }
}

fn verdict(word: &str) -> Result<Verdict, NotARuleset> {
    let known = Verdict::ALL.iter().find(|verdict| verdict.as_str() == word);
    known.copied().ok_or_else(|| NotARuleset(format!("no verdict is called {word}")))
}

/// A range in the mapped 128-bit space.
fn range_text((first, last): (u128, u128)) -> String {
    let common = (first ^ last).leading_zeros();
    let prefix = Prefix::from_mapped(first, u8::try_from(common).unwrap_or(128));
    if (prefix.bits(), prefix.last()) == (first, last) {
        return prefix.to_string();
    }
    let [first, last] = [first, last].map(|bits| Ipv6Addr::from(bits).to_canonical());
    format!("{first}-{last}")
}

fn range(text: &str) -> Result<(u128, u128), NotARuleset> {
    let whole = || {
        let (address, length) = text.split_once('/')?;
        let prefix = Prefix::new(address.parse().ok()?, length.parse().ok()?)?;
        Some((prefix.bits(), prefix.last()))
    };
    let between = || {
        let (first, last) = text.split_once('-')?;
        let [first, last] = [first, last].map(|text| text.parse::<IpAddr>().ok().map(mapped));
        first.zip(last).filter(|(first, last)| first <= last)
    };
    whole().or_else(between).ok_or_else(|| NotARuleset(format!("{text} is no range of addresses")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const RULES: &str = r#"
[firewall]
interfaces = ["eth0"]
default = "reject"
essentials = ["nd", "dhcp"]
[firewall.sets]
office = ["203.0.113.0/24", "2001:db8:1::/48"]
[[firewall.rules]]
name = "ssh"
action = "allow"
from = ["@office", "!203.0.113.7"]
to = "!192.0.2.0/24"
protocol = "tcp"
port = [22, "8000-8080"]
from_port = "1024-65535"
tcp_flags = "syn/syn,ack"
interface = ["eth0", "eth1"]
[[firewall.rules]]
name = "ping"
action = "drop"
from = "@office"
protocol = ["icmp", "icmpv6"]
icmp_type = "echo-request"
[[firewall.rules]]
name = "unreachable"
action = "reject"
from = "@office"
protocol = "icmp"
icmp_type = ["3/4", 11]
"#;

    fn ruleset() -> Ruleset {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web1.toml");
        std::fs::write(&path, RULES).unwrap();
        config::load(&path).unwrap_or_else(|errors| panic!("{errors}")).config.firewall.ruleset.unwrap()
    }

    #[test]
    fn rules_come_back_as_they_went_and_a_shared_set_goes_once() {
        let ruleset = ruleset();
        let text = RulesetText::from(&ruleset);
        assert_eq!(text.sets.len(), 3, "{:?}", text.sets);
        let json = serde_json::to_vec(&text).unwrap();
        let read: RulesetText = serde_json::from_slice(&json).unwrap();
        assert_eq!(Ruleset::try_from(read).unwrap(), ruleset);
    }

    #[test]
    fn a_range_is_one_text_however_many_prefixes_it_is() {
        let exact = [
            "0.0.0.0/0",
            "203.0.113.7/32",
            "2001:db8::/32",
            "::/0",
            "203.0.113.1-203.0.113.254",
            "2001:db8::1-2001:db8:ffff::",
            "::-192.0.1.255",
        ];
        for text in exact {
            assert_eq!(range_text(range(text).unwrap()), text);
        }
    }

    #[test]
    fn what_another_version_may_say_is_refused_in_words() {
        let text = RulesetText::from(&ruleset());
        let refused = |change: fn(&mut RulesetText)| {
            let mut text = text.clone();
            change(&mut text);
            Ruleset::try_from(text).unwrap_err().to_string()
        };
        assert!(refused(|text| text.default = "log".to_owned()).contains("no verdict is called log"));
        assert!(refused(|text| text.rules[0].from = Some(9)).contains("ssh"));
        for text in ["203.0.113.0/33", "203.0.113.9-203.0.113.8", "203.0.113.9-", "2001:db8::1"] {
            assert!(range(text).unwrap_err().to_string().contains(text));
        }
    }
}
