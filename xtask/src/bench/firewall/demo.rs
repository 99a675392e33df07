//! Nanoseconds a packet by the rules of the demo's servers, for each kind of packet.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::table::Table;
use super::tool::{Spread, Tool};
use super::{Volume, table};
use crate::demo;

/// A packet of one kind and family.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Case {
    #[serde(rename = "case")]
    name: String,
    verdict: String,
    #[serde(flatten)]
    spread: Spread,
}

pub(super) fn run(tool: &Tool, volume: Volume) -> Result<Vec<Case>> {
    eprintln!("measuring packets by the rules of the demo");
    let (rules, path) = (demo::server_rules(), tool.folder.join("server.toml"));
    fs::write(&path, rules.config).with_context(|| format!("cannot write {}", path.display()))?;
    let mut arguments = vec!["packets".to_owned(), "--config".to_owned(), path.display().to_string()];
    for (from, to) in rules.paths {
        arguments.extend(["--from".to_owned(), from.to_string(), "--to".to_owned(), to.to_string()]);
    }
    arguments.extend(volume.options().map(str::to_owned));
    tool.ask(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(super) fn table(cases: &[Case]) -> Table {
    let mut table = Table::new(&["packet", "verdict", "min", "median", "max", "empty", "above empty"]);
    for case in cases {
        let mut row = vec![case.name.clone(), case.verdict.clone()];
        row.extend(table::figures(&case.spread));
        table.push(row);
    }
    table
}
