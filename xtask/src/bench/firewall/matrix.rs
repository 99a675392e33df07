//! Rulesets of every shape and size: how long each takes to make, how large it is, and what a packet
//! costs under it.

use anyhow::Result;
use foobar_tests::corpus::{Families, Shape};
use serde::{Deserialize, Serialize};

use super::table::{Table, bytes, milliseconds, thousands};
use super::tool::{Spread, Tool};
use super::{Volume, table};

/// One ruleset, as the benchmark prints it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Ruleset {
    pub(super) shape: String,
    pub(super) families: String,
    pub(super) size: u64,
    rules: u64,
    read_ms: f64,
    #[serde(flatten)]
    pub(super) made: Option<Made>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Made {
    compile_ms: f64,
    install_ms: f64,
    image_bytes: u64,
    diagrams: u64,
    verified_instructions: u64,
    pub(super) packets: Vec<Row>,
}

/// Packets of one kind.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Row {
    pub(super) family: String,
    pub(super) kind: String,
    packets: u64,
    #[serde(flatten)]
    pub(super) spread: Spread,
}

/// Sizes of a shape in some families.
struct Case {
    shape: Shape,
    families: Families,
    sizes: &'static [usize],
}

const SIZES: &[usize] = &[1, 10, 100, 1000, 10_000, 100_000];
const LARGE: &[usize] = &[10_000, 100_000];

fn cases(volume: Volume) -> Vec<Case> {
    let case = |shape, families, sizes| Case { shape, families, sizes };
    let mut cases = Vec::new();
    match volume {
        Volume::Quick => {
            for shape in Shape::ALL {
                cases.push(case(shape, Families::Both, &[100]));
            }
            cases.push(case(Shape::Mixed, Families::V4, &[1, 1000]));
        }
        Volume::Full => {
            for families in [Families::V4, Families::V6] {
                cases.push(case(Shape::Mixed, families, SIZES));
                cases.push(case(Shape::Set, families, &[1_000_000]));
            }
            for shape in Shape::ALL {
                let sizes = if shape == Shape::Set { &[1_000_000] } else { LARGE };
                cases.push(case(shape, Families::Both, sizes));
            }
        }
    }
    cases
}

pub(super) fn run(tool: &Tool, volume: Volume) -> Result<Vec<Ruleset>> {
    let mut rulesets = Vec::new();
    for Case { shape, families, sizes } in cases(volume) {
        for size in sizes {
            eprintln!("measuring {} {} of {}", thousands(*size as u64), shape.name(), families.name());
            let size = size.to_string();
            let mut arguments = vec!["rulesets", "--shape", shape.name(), "--families", families.name()];
            arguments.extend(["--size", &size, "--packets", volume.pick("1024", "65536")]);
            arguments.extend(volume.options());
            // A process each, so that none finds the memory of the one before.
            rulesets.extend(tool.ask::<Ruleset>(&arguments)?);
        }
    }
    Ok(rulesets)
}

/// What packets cost.
pub(super) fn packet_table(rulesets: &[Ruleset]) -> Table {
    let mut table = Table::new(&[
        "rules",
        "size",
        "image",
        "packet",
        "kind",
        "min",
        "median",
        "max",
        "empty",
        "above empty",
    ]);
    for ruleset in rulesets {
        let Some(made) = &ruleset.made else { continue };
        for row in &made.packets {
            let kind = match row.packets {
                1 => row.kind.clone(),
                packets => format!("{} different", thousands(packets)),
            };
            let mut cells = vec![ruleset.name(), thousands(ruleset.size), bytes(made.image_bytes)];
            cells.extend([row.family.clone(), kind]);
            cells.extend(table::figures(&row.spread));
            table.push(cells);
        }
    }
    table
}

/// What rulesets cost to make.
pub(super) fn making_table(rulesets: &[Ruleset]) -> Table {
    let mut table = Table::new(&[
        "rules",
        "size",
        "read and check",
        "compile",
        "load and switch",
        "image",
        "diagrams",
        "verified",
    ]);
    for ruleset in rulesets {
        let mut cells = vec![ruleset.name(), thousands(ruleset.size), milliseconds(ruleset.read_ms)];
        match (&ruleset.made, &ruleset.refused) {
            (Some(made), _) => cells.extend([
                milliseconds(made.compile_ms),
                milliseconds(made.install_ms),
                bytes(made.image_bytes),
                made.diagrams.to_string(),
                thousands(made.verified_instructions),
            ]),
            (None, reason) => cells.push(reason.clone().unwrap_or_else(|| "refused".to_owned())),
        }
        table.push(cells);
    }
    table
}

impl Ruleset {
    fn name(&self) -> String {
        format!("{}, {}", self.shape, self.families)
    }

    /// What many different packets of a family cost above the empty program.
    pub(super) fn above_empty(&self, family: &str, kind: &str) -> Option<u64> {
        let rows = self.made.iter().flat_map(|made| &made.packets);
        let mut rows = rows.filter(|row| row.family == family && row.kind == kind);
        rows.next().map(|row| row.spread.above_empty())
    }
}
