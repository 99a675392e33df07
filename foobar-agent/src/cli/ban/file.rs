//! Files of addresses and prefixes to ban, as lists of others are written.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, anyhow, bail};

use crate::ban::Subject;
use crate::cli::Failure;
use crate::cli::explain::STDIN;
use crate::config::parse_listed;

/// Wrong lines that are said one by one.
const WRONG_SHOWN: usize = 10;

/// Those of a file, or what is wrong with it: then nobody is banned.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let lines: Box<dyn BufRead> = if path == Path::new(STDIN) {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?))
    };
    let (mut subjects, mut wrong, mut masked) = (Vec::new(), Vec::new(), 0);
    for (line, number) in lines.lines().zip(1..) {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        let content = line.split(['#', ';']).next().unwrap_or_default().trim();
        if content.is_empty() {
            continue;
        }
        match parse_listed(content) {
            Ok((prefix, host_bits)) => {
                masked += usize::from(host_bits);
                subjects.push(Subject::from(prefix).to_string());
            }
            Err((what, hint)) => {
                let content = content.escape_debug();
                wrong.push(format!("{}:{number}: `{content}` {what}\n  hint: {hint}", path.display()));
            }
        }
    }
    if masked > 0 {
        eprintln!("note: {masked} prefixes of {} have host bits set; they were cleared", path.display());
    }
    if !wrong.is_empty() {
        let all = wrong.len();
        wrong.truncate(WRONG_SHOWN);
        return Err(Failure::Usage(anyhow!(
            "{}\n{all} lines are wrong; nothing was changed",
            wrong.join("\n")
        ))
        .into());
    }
    if subjects.is_empty() {
        bail!("{} names no address", path.display());
    }
    Ok(subjects)
}
