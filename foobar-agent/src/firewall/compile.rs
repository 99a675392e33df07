//! From a validated ruleset to a generation: rules become diagrams and those an image, names
//! become slots. Pure; knows no kernel. What is refused here is refused before anything changes.

use foobar_ebpf::abi::image::{
    DIAGRAMS_MAX, Edge, HEADER_UNITS, Header, MAGIC, NOTES_A_UNIT, Note, RULE_SLOTS_MAX, Roots, UNIT_BYTES,
    UNITS_MAX, Unit,
};
use foobar_ebpf::abi::limit::{LIMITS_MAX, LOGS_MAX};
use foobar_ebpf::abi::{DATAPATH_VERSION, SERVICES_MAX, ServicePort, service_protocol, setting};
use foobar_ebpf::verdict::Verdict;
use thiserror::Error;

use super::diagram::{Forest, Layout, LayoutError, NodeId, Store, TooManyNodes};
use super::numbers::{InterfaceNumbers, TooManyInterfaces};
use super::ruleset::{Essentials, Rule, Ruleset};
use crate::config::model::{Service, ServiceProtocol};
use crate::firewall::generation::Generation;

/// Name of the default verdict among the rules; no rule can have it.
pub const POLICY: &str = "policy";

/// Nodes that compiling one ruleset may make: about 1 GiB of memory while it lasts.
const NODES_MAX: usize = 1 << 24;

/// Why a valid ruleset cannot be a generation.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// More rules than an image can number.
    #[error("{0} rules; at most {max} can be told apart", max = RULE_SLOTS_MAX - 1)]
    TooManyRules(usize),
    /// More rates than a packet may be held to.
    #[error("{0} rules have a `rate`; at most {LIMITS_MAX} can")]
    TooManyLimits(usize),
    /// More logs than are kept apart.
    #[error("{0} rules have a `log`; at most {LOGS_MAX} can")]
    TooManyLogs(usize),
    /// The rules multiply each other on the way.
    #[error("compiling the rules takes more than {0} nodes of decision diagrams")]
    TooEntangled(usize),
    /// The rules do not fit the kernel's memory for them.
    #[error("the rules need more than {} MiB in the kernel", (UNITS_MAX * UNIT_BYTES) >> 20)]
    TooLarge,
    /// More interfaces than a rule can tell apart.
    #[error(transparent)]
    TooManyInterfaces(#[from] TooManyInterfaces),
    /// More services than a generation counts.
    #[error("the configuration names {0} services; at most {SERVICES_MAX} can be counted")]
    TooManyServices(usize),
}

impl From<TooManyNodes> for CompileError {
    fn from(TooManyNodes(limit): TooManyNodes) -> Self {
        Self::TooEntangled(limit)
    }
}

impl From<LayoutError> for CompileError {
    fn from(error: LayoutError) -> Self {
        match error {
            LayoutError::TooManyUnits => Self::TooLarge,
            LayoutError::TooManyNodes(error) => error.into(),
        }
    }
}

impl CompileError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooManyRules(_) => "merge rules: a rule takes lists and sets",
            Self::TooManyLimits(_) => {
                "a rule takes lists and sets, and with rate_per = \"source\" holds each source"
            }
            Self::TooManyLogs(_) => "log fewer rules: metrics count every rule",
            Self::TooEntangled(_) | Self::TooLarge => {
                "rules that name both sources and destinations multiply where their prefixes overlap: \
                 name sets once, in few rules"
            }
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
        services: services.iter().map(|service| (service.name.clone(), service_port(service))).collect(),
        ..Generation::default()
    };
    if let Some(ruleset) = ruleset {
        for name in ruleset.rules.iter().filter_map(|rule| rule.interfaces.as_ref()).flatten() {
            interfaces.number(name)?;
        }
        let noted = Noted::of(ruleset)?;
        generation.image = image(ruleset, interfaces, &noted)?;
        generation.limits = noted.limits.iter().map(|&slot| ruleset.rules[slot].name.clone()).collect();
        generation.meters = slot_number(noted.limits.len() + noted.logs.len());
        let is_per_source = |rule: &Rule| rule.rate.is_some_and(|rate| rate.per_source.is_some());
        generation.sources = ruleset.rules.iter().any(is_per_source);
        generation.rules = ruleset.rules.iter().map(|rule| rule.name.clone()).collect();
        generation.rules.push(POLICY.to_owned());
    }
    generation.flags = flags(ruleset);
    Ok(generation)
}

fn service_port(service: &Service) -> ServicePort {
    let protocol = match service.protocol {
        ServiceProtocol::Http => service_protocol::HTTP,
    };
    ServicePort { port: service.port, protocol }
}

/// What a program is told beside the image, see `foobar_ebpf::abi::setting`.
pub fn flags(ruleset: Option<&Ruleset>) -> u32 {
    ruleset.map_or(0, |ruleset| {
        setting::JUDGE | essentials(ruleset.essentials) | rejects(ruleset) | noted(ruleset)
    })
}

/// Whether rules have rates and logs: the flags.
fn noted(ruleset: &Ruleset) -> u32 {
    let limits = ruleset.rules.iter().any(|rule| rule.rate.is_some());
    let logs = ruleset.rules.iter().any(|rule| rule.log.is_some());
    (if limits { setting::LIMITS } else { 0 }) | (if logs { setting::LOG } else { 0 })
}

/// Whether senders must be told: the flag, or nothing.
fn rejects(ruleset: &Ruleset) -> u32 {
    let mut verdicts = ruleset.rules.iter().map(|rule| rule.action).chain([ruleset.default]);
    if verdicts.any(|verdict| verdict == Verdict::Reject) { setting::REJECT } else { 0 }
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

/// The rules of which there is more to know than their verdicts, by slot: their places here are the numbers
/// of their meters, those of logs behind those of rates.
struct Noted {
    limits: Vec<usize>,
    logs: Vec<usize>,
}

impl Noted {
    fn of(ruleset: &Ruleset) -> Result<Self, CompileError> {
        let slots = |is: fn(&Rule) -> bool| {
            ruleset.rules.iter().enumerate().filter(move |(_, rule)| is(rule)).map(|(slot, _)| slot).collect()
        };
        let limits: Vec<usize> = slots(|rule| rule.rate.is_some());
        let logs: Vec<usize> = slots(|rule| rule.log.is_some());
        if limits.len() > LIMITS_MAX {
            return Err(CompileError::TooManyLimits(limits.len()));
        }
        if logs.len() > LOGS_MAX {
            return Err(CompileError::TooManyLogs(logs.len()));
        }
        Ok(Self { limits, logs })
    }

    fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.logs.is_empty()
    }

    /// Puts meters and notes behind the units, and says in the header where.
    fn append(&self, ruleset: &Ruleset, units: &mut Vec<Unit>, header: &mut Header) {
        if self.is_empty() {
            return;
        }
        header.meters = slot_number(units.len());
        let rates = self.limits.iter().filter_map(|&slot| ruleset.rules[slot].rate);
        let logs = self.logs.iter().filter_map(|&slot| ruleset.rules[slot].log);
        units.extend(rates.chain(logs).map(|rate| Unit::of_meter(rate.meter())));
        header.notes = slot_number(units.len());
        // One for the policy too.
        let mut notes = vec![(None, None); ruleset.rules.len() + 1];
        for (number, &slot) in (0..).zip(&self.limits) {
            notes[slot].0 = Some(number);
        }
        for (number, &slot) in (0..).zip(&self.logs).map(|(number, slot)| (number + self.limits.len(), slot))
        {
            notes[slot].1 = u16::try_from(number).ok();
        }
        units.extend(notes.chunks(NOTES_A_UNIT).map(|some| {
            let mut notes = [Note::default(); NOTES_A_UNIT];
            notes.iter_mut().zip(some).for_each(|(note, &(limit, log))| *note = Note::new(limit, log));
            Unit::of_notes(notes)
        }));
    }
}

fn image(ruleset: &Ruleset, interfaces: &InterfaceNumbers, noted: &Noted) -> Result<Vec<Unit>, CompileError> {
    let policy_slot = ruleset.rules.len();
    if policy_slot >= RULE_SLOTS_MAX {
        return Err(CompileError::TooManyRules(policy_slot));
    }
    let rules = &ruleset.rules;
    let mut store = Store::new(NODES_MAX);
    let mut forests = vec![Forest::of_rules(&mut store, rules, interfaces, slot_number)?];
    forests.extend(Forest::of_rules_behind(&mut store, rules, &noted.limits, interfaces, slot_number)?);
    let policy = Edge::policy(ruleset.default, slot_number(policy_slot));
    let mut layout = Layout::new(&mut store, HEADER_UNITS + noted.limits.len(), |id: NodeId| {
        let slot = id.as_end().filter(|_| id != NodeId::NOTHING);
        let rule = slot.and_then(|slot| rules.get(slot as usize).map(|rule| (rule, slot)));
        rule.map_or(policy, |(rule, slot)| {
            let end = Edge::rule(rule.action, slot);
            if rule.rate.is_some() { end.noted() } else { end }
        })
    });
    let mut stages = Vec::with_capacity(forests.len());
    for forest in &forests {
        let mut roots = [Roots { ipv4: policy, ipv6: policy }; DIAGRAMS_MAX];
        for (index, roots) in roots.iter_mut().enumerate() {
            if let Some(&tree) = forest.ipv4.get(index) {
                roots.ipv4 = layout.place(tree)?;
            }
            if let Some(&tree) = forest.ipv6.get(index) {
                roots.ipv6 = layout.place(tree)?;
            }
        }
        stages.push(roots);
    }
    let mut units = layout.finish();
    let diagrams = forests.iter().map(|forest| forest.ipv4.len().max(forest.ipv6.len())).max().unwrap_or(1);
    let mut header = Header {
        magic: MAGIC,
        version: DATAPATH_VERSION,
        diagrams: slot_number(diagrams),
        rule_slots: slot_number(policy_slot + 1),
        roots: stages[0],
        meters: 0,
        notes: 0,
        generation: 0,
    };
    noted.append(ruleset, &mut units, &mut header);
    if units.len() > UNITS_MAX {
        return Err(CompileError::TooLarge);
    }
    units[..HEADER_UNITS].copy_from_slice(&Unit::of_header(header));
    for (unit, stage) in units[HEADER_UNITS..].iter_mut().zip(&stages[1..]) {
        *unit = Unit::of_stage(*stage);
    }
    Ok(units)
}

fn slot_number(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}
