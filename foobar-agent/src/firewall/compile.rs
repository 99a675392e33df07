//! From a validated ruleset to a generation: rules become diagrams and those an image, names
//! become slots. Pure; knows no kernel. What is refused here is refused before anything changes.

use foobar_ebpf::abi::image::{
    DIAGRAMS_MAX, Edge, HEADER_UNITS, Header, MAGIC, RULE_SLOTS_MAX, Roots, UNIT_BYTES, UNITS_MAX, Unit,
};
use foobar_ebpf::abi::{DATAPATH_VERSION, SERVICES_MAX, ServicePort, service_protocol, setting};
use foobar_ebpf::verdict::Verdict;
use thiserror::Error;

use super::diagram::{Forest, Layout, LayoutError, NodeId, Store, TooManyNodes};
use super::numbers::{InterfaceNumbers, TooManyInterfaces};
use super::ruleset::{Essentials, Ruleset};
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
        flags: 0,
        image: Vec::new(),
        rules: Vec::new(),
        services: services.iter().map(|service| (service.name.clone(), service_port(service))).collect(),
    };
    if let Some(ruleset) = ruleset {
        for name in ruleset.rules.iter().filter_map(|rule| rule.interfaces.as_ref()).flatten() {
            interfaces.number(name)?;
        }
        generation.image = image(ruleset, interfaces)?;
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
        setting::JUDGE | essentials(ruleset.essentials) | rejects(ruleset) | flows(ruleset)
    })
}

/// Whether senders must be told: the flag, or nothing.
fn rejects(ruleset: &Ruleset) -> u32 {
    let mut verdicts = ruleset.rules.iter().map(|rule| rule.action).chain([ruleset.default]);
    if verdicts.any(|verdict| verdict == Verdict::Reject) { setting::REJECT } else { 0 }
}

/// Whether flows are needed: not where nothing can be refused.
fn flows(ruleset: &Ruleset) -> u32 {
    let mut verdicts = ruleset.rules.iter().map(|rule| rule.action).chain([ruleset.default]);
    if ruleset.flows && verdicts.any(|verdict| verdict != Verdict::Allow) { setting::FLOWS } else { 0 }
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

fn image(ruleset: &Ruleset, interfaces: &InterfaceNumbers) -> Result<Vec<Unit>, CompileError> {
    let policy_slot = ruleset.rules.len();
    if policy_slot >= RULE_SLOTS_MAX {
        return Err(CompileError::TooManyRules(policy_slot));
    }
    let mut store = Store::new(NODES_MAX);
    let forest = Forest::of_rules(&mut store, &ruleset.rules, interfaces, slot_number)?;
    let policy = Edge::policy(ruleset.default, slot_number(policy_slot));
    let mut layout = Layout::new(&mut store, HEADER_UNITS, |id: NodeId| {
        let slot = id.as_end().filter(|_| id != NodeId::NOTHING);
        let rule = slot.and_then(|slot| ruleset.rules.get(slot as usize).map(|rule| (rule.action, slot)));
        rule.map_or(policy, |(verdict, slot)| Edge::rule(verdict, slot))
    });
    let mut roots = [Roots { ipv4: policy, ipv6: policy }; DIAGRAMS_MAX];
    for (index, roots) in roots.iter_mut().enumerate() {
        if let Some(&tree) = forest.ipv4.get(index) {
            roots.ipv4 = layout.place(tree)?;
        }
        if let Some(&tree) = forest.ipv6.get(index) {
            roots.ipv6 = layout.place(tree)?;
        }
    }
    let mut units = layout.finish();
    let header = Header {
        magic: MAGIC,
        version: DATAPATH_VERSION,
        diagrams: slot_number(forest.ipv4.len().max(forest.ipv6.len())),
        rule_slots: slot_number(policy_slot + 1),
        roots,
        padding: [0; 4],
    };
    units[..HEADER_UNITS].copy_from_slice(&Unit::of_header(header));
    Ok(units)
}

fn slot_number(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}
