//! Tests of the whole way from text to model.

mod balancer;
mod documentation;
mod full;
mod general;
mod host;
mod hostile;
mod lints;
mod mutations;
mod names;
mod negation;
mod prefix_files;
mod rules;
mod sets;

use std::path::{Path, PathBuf};

use super::source::Source;
use super::*;

/// A folder of this test alone, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("foobar-config-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Reads a text that lies in a folder that does not exist.
fn read_text(text: &str) -> Result<Loaded, Diagnostics> {
    read_text_in(Path::new("/nonexistent"), text)
}

fn read_text_in(folder: &Path, text: &str) -> Result<Loaded, Diagnostics> {
    read(&source(folder, text), None)
}

/// Reads a text as `check` does, on a host of which nothing is known.
fn check_text(text: &str) -> Result<Loaded, Diagnostics> {
    check_text_on(text, &Here::default())
}

fn check_text_on(text: &str, here: &Here) -> Result<Loaded, Diagnostics> {
    read(&source(Path::new("/nonexistent"), text), Some(here))
}

/// Names of services and protocols are the built-in ones, and those of files in `folder`.
fn source(folder: &Path, text: &str) -> Source {
    let names = HostNames::new(folder.to_owned());
    Source::new(folder.join("foobar.toml"), folder.to_owned(), text.to_owned(), names)
}

/// What was found, errors or warnings, as `line:column severity: message`.
fn findings(result: &Result<Loaded, Diagnostics>) -> Vec<String> {
    let found = match result {
        Ok(loaded) => &loaded.warnings,
        Err(errors) => errors,
    };
    let line = |d: &Diagnostic| {
        let severity = if d.severity == Severity::Error { "error" } else { "warning" };
        format!("{}:{} {severity}: {}", d.line, d.column, d.message)
    };
    found.iter().map(line).collect()
}

/// Each text has exactly the findings `line:column severity: start of the message`, in this order.
fn check(cases: &[(&str, &[&str])]) {
    check_by(read_text, cases);
}

fn check_by(read: impl Fn(&str) -> Result<Loaded, Diagnostics>, cases: &[(&str, &[&str])]) {
    let mut failures = Vec::new();
    for (text, expected) in cases {
        let found = findings(&read(text));
        let as_expected = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, expected)| found.starts_with(expected));
        if !as_expected {
            failures.push(format!("{text}\nexpected {expected:#?}\nfound {found:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n----\n"));
}
