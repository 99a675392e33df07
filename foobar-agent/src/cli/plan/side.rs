//! One of the two things that are compared.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::cli::Failure;
use crate::cli::target::Target;
use crate::config;
use crate::config::model::{Interfaces, Service};
use crate::control::RulesetInForce;
use crate::firewall::compile::compile;
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::ruleset::Ruleset;

/// A ruleset, compiled, and what people call it.
pub(super) struct Side {
    pub(super) ruleset: Option<Ruleset>,
    pub(super) generation: Generation,
    /// The interfaces that are named.
    pub(super) interfaces: Vec<String>,
    file: PathBuf,
}

impl Side {
    /// What a file says.
    pub(super) fn of_file(file: &Path, numbers: &mut InterfaceNumbers) -> anyhow::Result<Self> {
        let config = config::load(file)?.config;
        let interfaces = match config.firewall.interfaces {
            Interfaces::Named(names) => names,
            Interfaces::Auto => Vec::new(),
        };
        Self::compiled(file, config.firewall.ruleset, &config.monitor.services, interfaces, numbers)
    }

    /// What an agent runs.
    pub(super) fn of_agent(target: &Target, numbers: &mut InterfaceNumbers) -> anyhow::Result<Self> {
        let RulesetInForce { file, interfaces, ruleset, .. } =
            target.ask(async |client| client.ruleset().await)?;
        let ruleset = ruleset.map(Ruleset::try_from).transpose()?;
        let file = file.unwrap_or_else(|| "(no file)".into());
        Self::compiled(&file, ruleset, &[], interfaces, numbers)
    }

    fn compiled(
        file: &Path,
        ruleset: Option<Ruleset>,
        services: &[Service],
        interfaces: Vec<String>,
        numbers: &mut InterfaceNumbers,
    ) -> anyhow::Result<Self> {
        let generation = compile(ruleset.as_ref(), services, numbers)
            .map_err(|error| Failure::Configuration(anyhow!("{}: error: {error}", file.display())))?;
        Ok(Self { ruleset, generation, interfaces, file: file.to_owned() })
    }

    /// File and line of a rule; none of the policy.
    pub(super) fn place(&self, slot: usize) -> Option<String> {
        let rule = self.ruleset.as_ref()?.rules.get(slot)?;
        Some(format!("{}:{}", self.file.display(), rule.line))
    }

    /// The name of a slot; the policy's is `policy`.
    pub(super) fn name(&self, slot: usize) -> &str {
        self.generation.rules.get(slot).map_or("", String::as_str)
    }

    /// The word of a rule's action.
    pub(super) fn action(&self, slot: usize) -> &'static str {
        let rule = self.ruleset.as_ref().and_then(|ruleset| ruleset.rules.get(slot));
        rule.map_or("", |rule| rule.action.as_str())
    }
}
