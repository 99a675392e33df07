//! The rules that packets are judged by, of a file or of a running agent: what the kernel is given,
//! and what people call it.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use foobar_ebpf::packet::Packet;

use crate::cli::Failure;
use crate::cli::target::Target;
use crate::config::model::Interfaces;
use crate::config::{self, Loaded};
use crate::explain::why::{self, Mismatch};
use crate::firewall::compile::{POLICY, compile};
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::rate::Rate;
use crate::firewall::ruleset::{Rule, Ruleset};
use crate::kernel::KernelError;
use crate::kernel::explain::Explainer;

/// An agent may reload between its answer and the look at its generation, but not for ever.
const ATTEMPTS: usize = 5;

/// The rules, ready to judge.
pub(super) struct Rules {
    pub(super) generation: Generation,
    /// Where packets arrive, as people say it.
    pub(super) interface: Option<String>,
    /// Its logical number.
    pub(super) logical: u32,
    /// The rules by slot, where they are known with their fields.
    in_order: Vec<Rule>,
    /// File and line by slot; none for the policy.
    places: Vec<String>,
    /// Rates by slot; none for the policy.
    rates: Vec<Option<Rate>>,
}

impl Rules {
    /// The rules of a file, for packets that arrive on the interface named, else on the only one that
    /// the file names.
    pub(super) fn of_file(file: &Path, interface: Option<&str>) -> anyhow::Result<(Self, Explainer)> {
        let Loaded { config, .. } = config::load(file)?;
        let mut numbers = InterfaceNumbers::default();
        let generation = compile(config.firewall.ruleset.as_ref(), &config.monitor.services, &mut numbers)
            .map_err(|error| Failure::Configuration(anyhow!("{}: error: {error}", file.display())))?;
        let named = match &config.firewall.interfaces {
            Interfaces::Named(names) => names.as_slice(),
            Interfaces::Auto => &[],
        };
        let rules = config.firewall.ruleset.map(|ruleset| ruleset.rules).unwrap_or_default();
        let asking = rules.iter().find(|rule| rule.interfaces.is_some()).map(|rule| rule.name.as_str());
        let interface = arrival(interface, named, asking);
        let logical = logical(interface.as_deref(), numbers);
        let places = rules.iter().map(|rule| place(file, rule.line)).collect();
        let rates = rules.iter().map(|rule| rule.rate).collect();
        let program = Explainer::new(&generation)?;
        Ok((Self { generation, interface, logical, in_order: rules, places, rates }, program))
    }

    /// The rules that an agent runs; with their fields where `fields` asks for them, which may be long.
    pub(super) fn of_agent(
        run_dir: Option<PathBuf>,
        interface: Option<&str>,
        fields: bool,
    ) -> anyhow::Result<(Self, Explainer)> {
        let target = Target::of_run_dir(run_dir);
        let mut gone = None;
        for _ in 0..ATTEMPTS {
            let in_force = target.ask(async |client| client.in_force().await)?;
            let (number, flags) = (in_force.generation, in_force.flags);
            let mut names: Vec<String> = in_force.rules.iter().map(|rule| rule.name.clone()).collect();
            if flags != 0 {
                names.push(POLICY.to_owned());
            }
            let (program, generation) = match Explainer::of_running(&in_force.pin_dir, number, flags, names) {
                Err(error @ KernelError::GenerationGone { .. }) => {
                    gone = Some(error);
                    continue;
                }
                loaded => loaded?,
            };
            let in_order = if fields {
                let whole = target.ask(async |client| client.ruleset().await)?;
                if whole.generation != number {
                    continue;
                }
                whole.ruleset.map(Ruleset::try_from).transpose()?.map(|ruleset| ruleset.rules)
            } else {
                None
            };
            let interface = arrival(interface, &in_force.interfaces, None);
            let logical = logical(interface.as_deref(), in_force.numbers);
            let file = in_force.file.unwrap_or_default();
            let places = in_force.rules.iter().map(|rule| place(&file, rule.line)).collect();
            let rates = in_force.rules.iter().map(|rule| rule.rate).collect();
            let in_order = in_order.unwrap_or_default();
            return Ok((Self { generation, interface, logical, in_order, places, rates }, program));
        }
        let hint = "run this where the agent's host.pin_dir is mounted, or judge by a file with --config";
        match gone {
            Some(error) => bail!("{error}\n  hint: {hint}"),
            None => bail!("the agent takes new rules all the time; try again"),
        }
    }

    /// The name of a slot; the policy's is `policy`.
    pub(super) fn name(&self, slot: u32) -> &str {
        self.generation.rules.get(slot as usize).map_or("", String::as_str)
    }

    /// File and line of a rule.
    pub(super) fn place(&self, slot: u32) -> Option<&str> {
        self.places.get(slot as usize).map(String::as_str)
    }

    /// The rate of a rule.
    pub(super) fn rate(&self, slot: u32) -> Option<Rate> {
        self.rates.get(slot as usize).copied().flatten()
    }

    /// Whether a slot is a rule's, and not the policy's.
    pub(super) fn is_rule(&self, slot: u32) -> bool {
        (slot as usize) < self.places.len()
    }

    /// The longest name and the longest place, for columns.
    pub(super) fn widths(&self) -> (usize, usize) {
        let longest = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        (longest(&self.generation.rules), longest(&self.places))
    }

    /// The rules before `slot`, all where there is none, each with the field that did not match.
    pub(super) fn passed_by<'a>(
        &'a self,
        slot: Option<u32>,
        packet: &'a Packet,
    ) -> impl Iterator<Item = (u32, Mismatch)> + 'a {
        let end = slot.map_or(usize::MAX, |slot| slot as usize);
        let mismatch = |rule| why::first_mismatch(rule, packet, self.interface.as_deref());
        (0..)
            .zip(self.in_order.iter().take(end))
            .filter_map(move |(slot, rule)| Some((slot, mismatch(rule)?)))
    }
}

fn place(file: &Path, line: u32) -> String {
    format!("{}:{line}", file.display())
}

/// A number that no rule has is as good as none.
fn logical(interface: Option<&str>, mut numbers: InterfaceNumbers) -> u32 {
    interface.and_then(|name| numbers.number(name).ok()).unwrap_or_default()
}

/// Where packets arrive: as said, else on the only interface that is named. Says what a person may
/// not expect; `asking` is a rule that names an interface.
fn arrival(said: Option<&str>, named: &[String], asking: Option<&str>) -> Option<String> {
    let arrival = match (said, named) {
        (Some(said), _) => Some(said.to_owned()),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    };
    match (&arrival, asking) {
        (None, Some(rule)) => {
            eprintln!("note: the rule `{rule}` names an interface, and none is named here: add --interface");
        }
        (Some(interface), _) if !named.is_empty() && !named.contains(interface) => {
            eprintln!("note: {interface} is not among firewall.interfaces: {}", named.join(", "));
        }
        _ => {}
    }
    arrival
}
