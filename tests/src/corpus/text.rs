//! A corpus as a configuration of the agent.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Action, Corpus, From, Rule};

/// The file of the set, beside the configuration.
const SET_FILE: &str = "set.txt";

impl Corpus {
    /// The name that the rule at a place has in the configuration.
    pub fn rule_name(place: usize) -> String {
        format!("r{place}")
    }

    /// The `[firewall]` section for some interfaces; a set is expected in `set.txt` beside it.
    pub fn toml(&self, interfaces: &[&str]) -> String {
        let mut text = format!("[firewall]\ninterfaces = {interfaces:?}\ndefault = \"drop\"\n");
        if !self.set.is_empty() {
            let _ = writeln!(text, "\n[firewall.sets]\nset = {{ file = \"{SET_FILE}\" }}");
        }
        for (place, rule) in self.rules.iter().enumerate() {
            write_rule(&mut text, place, rule);
        }
        text
    }

    /// The set as a file of prefixes.
    pub fn set_text(&self) -> String {
        self.set.iter().fold(String::with_capacity(self.set.len() * 20), |mut text, network| {
            let _ = writeln!(text, "{network}");
            text
        })
    }

    /// Writes configuration and set to a folder; returns the configuration's path.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, interfaces: &[&str]) -> Result<PathBuf> {
        let path = folder.join("foobar.toml");
        fs::write(&path, self.toml(interfaces))
            .with_context(|| format!("cannot write {}", path.display()))?;
        if !self.set.is_empty() {
            let set = folder.join(SET_FILE);
            fs::write(&set, self.set_text()).with_context(|| format!("cannot write {}", set.display()))?;
        }
        Ok(path)
    }
}

fn write_rule(text: &mut String, place: usize, rule: &Rule) {
    let action = match rule.action {
        Action::Allow => "allow",
        Action::Drop => "drop",
    };
    let name = Corpus::rule_name(place);
    let _ = writeln!(text, "\n[[firewall.rules]]\nname = \"{name}\"\naction = \"{action}\"");
    match rule.from {
        From::Any => {}
        From::Network(network) => _ = writeln!(text, "from = \"{network}\""),
        From::Set => text.push_str("from = \"@set\"\n"),
    }
    if let Some(to) = rule.to {
        let _ = writeln!(text, "to = \"{to}\"");
    }
    if let Some(protocol) = rule.protocol {
        let _ = writeln!(text, "protocol = {protocol}");
    }
    for (key, ports) in [("from_port", rule.from_ports), ("port", rule.ports)] {
        match ports {
            Some((first, last)) if first == last => _ = writeln!(text, "{key} = {first}"),
            Some((first, last)) => _ = writeln!(text, "{key} = \"{first}-{last}\""),
            None => {}
        }
    }
}
