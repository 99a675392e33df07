//! The rules that packets are judged by: what the kernel is given, and what people call it.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::Failure;
use crate::config::model::Interfaces;
use crate::config::{self, Loaded};
use crate::explain::why::{self, Mismatch};
use crate::firewall::compile::compile;
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::ruleset::{Rule, Ruleset};

/// The rules, ready to judge.
pub(super) struct Rules {
    pub(super) generation: Generation,
    /// Where packets arrive, as people say it.
    pub(super) interface: Option<String>,
    /// Its logical number.
    pub(super) logical: u32,
    ruleset: Option<Ruleset>,
    /// File and line by slot; none for the policy.
    places: Vec<String>,
}

impl Rules {
    /// The rules of a file, for packets that arrive on the interface named, else on the only one that
    /// the file names.
    pub(super) fn of_file(file: &Path, interface: Option<&str>) -> anyhow::Result<Self> {
        let Loaded { config, .. } = config::load(file)?;
        let mut numbers = InterfaceNumbers::default();
        let generation = compile(config.firewall.ruleset.as_ref(), &config.monitor.services, &mut numbers)
            .map_err(|error| Failure::Configuration(anyhow!("{}: error: {error}", file.display())))?;
        let named = match &config.firewall.interfaces {
            Interfaces::Named(names) => names.as_slice(),
            Interfaces::Auto => &[],
        };
        let interface = match (interface, named) {
            (Some(interface), _) => Some(interface.to_owned()),
            (None, [only]) => Some(only.clone()),
            (None, _) => None,
        };
        let ruleset = config.firewall.ruleset;
        note_interface(interface.as_deref(), named, ruleset.as_ref());
        // A number that no rule has is as good as none.
        let logical = interface.as_deref().and_then(|name| numbers.number(name).ok()).unwrap_or_default();
        let rules = ruleset.iter().flat_map(|ruleset| &ruleset.rules);
        let places = rules.map(|rule| format!("{}:{}", file.display(), rule.line)).collect();
        Ok(Self { generation, interface, logical, ruleset, places })
    }

    /// The name of a slot; the policy's is `policy`.
    pub(super) fn name(&self, slot: u32) -> &str {
        self.generation.rules.get(slot as usize).map_or("", String::as_str)
    }

    /// File and line of a rule.
    pub(super) fn place(&self, slot: u32) -> Option<&str> {
        self.places.get(slot as usize).map(String::as_str)
    }

    /// The rule of a slot, unless it is the policy's.
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
        packet: &'a foobar_ebpf::packet::Packet,
    ) -> impl Iterator<Item = (u32, Mismatch)> + 'a {
        let rules: &[Rule] = self.ruleset.as_ref().map_or(&[], |ruleset| &ruleset.rules);
        let end = slot.map_or(usize::MAX, |slot| slot as usize);
        let mismatch = |rule| why::first_mismatch(rule, packet, self.interface.as_deref());
        (0..).zip(rules.iter().take(end)).filter_map(move |(slot, rule)| Some((slot, mismatch(rule)?)))
    }
}

/// Says what a person may not expect: no rule that names an interface can match then.
fn note_interface(interface: Option<&str>, named: &[String], ruleset: Option<&Ruleset>) {
    let asks = |rule: &&Rule| rule.interfaces.is_some();
    let asking = ruleset.and_then(|ruleset| ruleset.rules.iter().find(asks));
    match (interface, asking) {
        (None, Some(rule)) => {
            let name = &rule.name;
            eprintln!("note: the rule `{name}` names an interface, and none is named here: add --interface");
        }
        (Some(interface), _) if !named.is_empty() && !named.iter().any(|name| name == interface) => {
            eprintln!("note: {interface} is not among firewall.interfaces: {}", named.join(", "));
        }
        _ => {}
    }
}
