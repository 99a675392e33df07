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
mod here;
mod host;
mod host_names;
mod icmp;
mod lint;
mod lists;
pub(crate) mod lookup;
mod members;
pub mod model;
mod monitor;
mod names;
mod pools;
mod ports;
mod prefix_file;
mod protocols;
mod rate;
mod reader;
mod report;
mod rules;
mod services;
mod sets;
mod source;
mod suggest;
mod syntax;
mod tcp_flags;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::diagnostics::{Diagnostic, Diagnostics, Excerpt, Severity};
use self::firewall::Places;
pub use self::here::{Here, LocalInterface, SshSession};
use self::host_names::HostNames;
use self::model::Config;
use self::reader::Table;
use self::report::Report;
use self::source::{Source, whole};
use crate::desk;
use crate::firewall::address::Prefix;
use crate::firewall::compile::{CompileError, compile};
use crate::firewall::numbers::InterfaceNumbers;

/// The configuration of an agent without a file, documented for people.
const DEFAULT: &str = include_str!("default.toml");
/// Longest configuration file, in bytes: room for several hundred thousand rules. Reading one
/// takes some thirty times its size in memory; large sets have files of their own.
pub(crate) const MAX_FILE_BYTES: usize = 64 << 20;

/// A configuration that can be used, and what somebody should look at all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Diagnostics,
    /// The files that it names: prefixes, certificates, keys.
    pub files: Vec<PathBuf>,
    /// Memory that the rules will take in the kernel, in bytes; worked out by [`check`] only.
    pub image_bytes: Option<usize>,
}

/// A configuration as somebody wrote it: a text, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its file; paths in the text are relative to that file's folder.
    pub path: PathBuf,
    /// What the file says.
    pub text: String,
}

impl Document {
    /// Reads a configuration file, and nothing that it names.
    ///
    /// # Errors
    /// When it cannot be read, or is no text.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        Ok(Self { text: read_text(path)?, path: path.to_owned() })
    }

    /// Checks it, with the prefix files that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, warnings included.
    pub fn load(&self) -> Result<Loaded, Diagnostics> {
        read(&source_of(&self.path, self.text.clone()), None)
    }
}

/// Reads an address or a prefix that stands alone, on a command line; else says what is wrong with the text,
/// and what would be right.
pub(crate) fn parse_subject(text: &str) -> Result<Prefix, (String, String)> {
    match parse_listed(text)? {
        (prefix, false) => Ok(prefix),
        (prefix, true) => {
            let address = text.split('/').next().unwrap_or_default();
            let hint = format!("write `{prefix}`, or `{address}` for the one address");
            Err(("has host bits set".to_owned(), hint))
        }
    }
}

/// As [`parse_subject`], for lists of others: host bits are cleared, and it is said whether there were any.
pub(crate) fn parse_listed(text: &str) -> Result<(Prefix, bool), (String, String)> {
    let written = addresses::parse_prefix(text).map_err(|error| (error.to_string(), error.hint()))?;
    Ok((written.prefix, written.host_bits))
}

/// Reads a configuration file and the prefix files that it names.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    read(&open(path)?, None)
}

/// Reads a configuration file as [`load`] does, and says besides what takes longer to find, or
/// a look at the host: whether it fits the kernel's image, what rules leave to later ones,
/// whether it would cut the session in which somebody asks.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn check(path: &Path, here: &Here) -> Result<Loaded, Diagnostics> {
    read(&open(path)?, Some(here))
}

/// A configuration that was right in every part, and is more than a generation holds.
pub fn refused(path: &Path, error: &CompileError) -> Diagnostics {
    Diagnostics::new(vec![whole(path, Severity::Error, error.to_string(), error.hint())])
}

/// The configuration of an agent without a file.
pub fn embedded_default() -> Loaded {
    let names = HostNames::default();
    let path = PathBuf::from("(embedded default)");
    match read(&Source::new(path, PathBuf::from("/"), DEFAULT.to_owned(), names), None) {
        Ok(loaded) => loaded,
        Err(errors) => unreachable!("the embedded default is part of the program, and tested: {errors}"),
    }
}

fn open(path: &Path) -> Result<Source, Diagnostics> {
    Ok(source_of(path, read_text(path)?))
}

fn source_of(path: &Path, text: String) -> Source {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or_else(|| Path::new("/")).to_owned();
    Source::new(path.to_owned(), folder, text, HostNames::default())
}

fn read_text(path: &Path) -> Result<String, Diagnostics> {
    let unusable = |message, hint| Diagnostics::new(vec![whole(path, Severity::Error, message, hint)]);
    let bytes = read_file(path).map_err(|error| {
        unusable(
            format!("cannot read the configuration: {error}"),
            "write the path of a configuration; without one it is /etc/foobar/foobar.toml",
        )
    })?;
    if bytes.len() > MAX_FILE_BYTES {
        let message = format!("the configuration has more than {MAX_FILE_BYTES} bytes");
        return Err(unusable(message, "move lists of addresses to files: set = { file = \"list.txt\" }"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let invalid = error.utf8_error().valid_up_to();
        let source = source_of(path, String::from_utf8_lossy(error.as_bytes()).into_owned());
        let report = Report::new(&source);
        report.error(&(invalid..invalid + 1), "the file is not UTF-8 from here on", "save it as UTF-8");
        report.finish()
    })
}

/// At most one byte more than a configuration may have. A pipe will do: `check` may be given one.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    desk::or_ask(File::open(path), path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read(source: &Source, here: Option<&Here>) -> Result<Loaded, Diagnostics> {
    let report = Report::new(source);
    let Some(document) = syntax::parse(source, &report) else {
        // What follows from a line that could not be read would only hide the cause.
        return Err(report.finish());
    };
    let mut root = Table::root(&report, &document);
    let mut listeners = HashMap::new();
    let mut places = Places::default();
    let config = Config {
        host: host::read(&mut root),
        firewall: firewall::read(&mut root, &mut places),
        balancer: balancer::read(&mut root, &mut listeners),
        monitor: monitor::read(&mut root, &mut listeners),
    };
    root.finish();
    let here = here.filter(|_| !report.has_errors());
    let image_bytes = here.and_then(|here| look_closer(&config, &places, here, &report));
    let failed = report.has_errors();
    let found = report.finish();
    if failed {
        Err(found)
    } else {
        Ok(Loaded { config, warnings: found, files: source.files(), image_bytes })
    }
}

/// What only [`check`] says; gives the bytes of the image.
fn look_closer(config: &Config, places: &Places, here: &Here, report: &Report<'_>) -> Option<usize> {
    let mut numbers = InterfaceNumbers::default();
    let ruleset = config.firewall.ruleset.as_ref();
    let generation = match compile(ruleset, &config.monitor.services, &mut numbers) {
        Ok(generation) => generation,
        Err(error) => {
            report.error(&places.section, error.to_string(), error.hint());
            return None;
        }
    };
    let ruleset = ruleset?;
    let judge = lint::Judge::new(&generation, numbers);
    lint::shadow::check(ruleset, places, report);
    lint::presence::check(&config.firewall, ruleset, places, here, report);
    lint::exposure::check(&config.firewall, ruleset, places, &judge, report);
    lint::session::check(&config.firewall, places, &judge, here, report);
    Some(generation.image_bytes().len())
}
