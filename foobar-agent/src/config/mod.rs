//! The configuration: from a file to [`model::Config`], with every error at once.
//!
//! ```text
//! file ─► TOML tree with positions (toml) ─► reader ─► one module a section ─► model
//!                                                └──► Report ─► Diagnostics
//! ```
//!
//! Reads the file, and the prefix files that it names, and nothing else of the host but
//! whether certificates exist. No key is ignored: one that nobody asks for is an error.

mod addresses;
mod balancer;
mod diagnostics;
mod firewall;
mod host;
mod icmp;
mod lint;
mod lists;
pub mod model;
mod monitor;
mod names;
mod pools;
mod prefix_file;
mod protocols;
mod reader;
mod rules;
mod sets;
mod source;
mod suggest;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use self::diagnostics::{Diagnostic, Diagnostics, Excerpt, Severity};
use self::model::Config;
use self::reader::Table;
use self::source::{Report, Source, unusable};
use crate::firewall::compile::compile;
use crate::firewall::numbers::InterfaceNumbers;

/// The configuration of an agent without a file, documented for people.
const DEFAULT: &str = include_str!("default.toml");

/// A configuration that can be used, and what somebody should look at all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Diagnostics,
}

/// Reads a configuration file and the prefix files that it names.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let bytes = std::fs::read(path).map_err(|error| {
        unusable(path, format!("cannot read the configuration: {error}"), "name a file with `--config`")
    })?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or_else(|| Path::new("/")).to_owned();
    let source = |text| Source::new(path.to_owned(), folder, text);
    match String::from_utf8(bytes) {
        Ok(text) => read(&source(text)),
        Err(error) => {
            let invalid = error.utf8_error().valid_up_to();
            let source = source(String::from_utf8_lossy(error.as_bytes()).into_owned());
            let report = Report::new(&source);
            report.error(&(invalid..invalid + 1), "the file is not UTF-8 from here on", "save it as UTF-8");
            Err(report.finish())
        }
    }
}

/// The configuration of an agent without a file.
pub fn embedded_default() -> Loaded {
    let source = Source::new(PathBuf::from("(embedded default)"), PathBuf::from("/"), DEFAULT.to_owned());
    match read(&source) {
        Ok(loaded) => loaded,
        Err(errors) => unreachable!("the embedded default is part of the program, and tested: {errors}"),
    }
}

fn read(source: &Source) -> Result<Loaded, Diagnostics> {
    let report = Report::new(source);
    let (document, syntax_errors) = DeTable::parse_recoverable(source.text());
    for error in &syntax_errors {
        report.syntax_error(error);
    }
    if !syntax_errors.is_empty() {
        // What follows from a line that could not be read would only hide the cause.
        return Err(report.finish());
    }
    let mut root = Table::root(&report, &document);
    let mut listeners = Vec::new();
    let config = Config {
        host: host::read(&mut root),
        firewall: firewall::read(&mut root),
        balancer: balancer::read(&mut root, &mut listeners),
        monitor: monitor::read(&mut root, &mut listeners),
    };
    root.finish();
    if !report.has_errors() {
        check_limits(&config, source, &report);
    }
    let failed = report.has_errors();
    let found = report.finish();
    if failed { Err(found) } else { Ok(Loaded { config, warnings: found }) }
}

/// A configuration that is right in every part can still be more than a generation holds. Better
/// said here than by an agent that refuses to start.
fn check_limits(config: &Config, source: &Source, report: &Report<'_>) {
    let mut numbers = InterfaceNumbers::default();
    if let Err(error) = compile(config.firewall.ruleset.as_ref(), &config.monitor.services, &mut numbers) {
        report.error(&source.line_span(1), error.to_string(), error.hint());
    }
}
