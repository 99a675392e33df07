//! What was claimed, what was seen: printed row by row as it becomes known.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::tally::Tally;

/// Width of the column of claims.
const CLAIM_WIDTH: usize = 74;

/// The table under way.
#[derive(Debug)]
pub(in crate::demo) struct Table {
    tally: Tally,
    section: &'static str,
    start: Instant,
}

impl Table {
    /// An empty one.
    pub(in crate::demo) fn new() -> Self {
        Self { tally: Tally::default(), section: "", start: Instant::now() }
    }

    /// A line above the rows that follow.
    pub(super) fn section(&mut self, title: &'static str) {
        self.section = title;
        println!("\n{title}");
    }

    /// Checks one claim: the function says what it saw, or why the claim is false.
    pub(super) fn row(&mut self, claim: &str, look: impl FnOnce() -> Result<String>) -> Result<()> {
        let seen = look();
        self.tally.count(seen.is_ok());
        match seen {
            Ok(seen) => {
                println!("  ok    {claim:CLAIM_WIDTH$}  {seen}");
                Ok(())
            }
            Err(error) => {
                println!("  FAIL  {claim}");
                Err(error).with_context(|| format!("false ({}): {claim}", self.section))
            }
        }
    }

    /// The last line, which `cargo xtask test` reads.
    pub(in crate::demo) fn finish(&self) {
        println!("\nchecked in {:.0} s", self.start.elapsed().as_secs_f64());
        println!("{}", self.tally);
    }
}
