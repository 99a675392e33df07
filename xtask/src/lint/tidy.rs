//! The rules of this repository that no tool knows: what only some modules may do, and how a file looks.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::text;

/// Where `unsafe` may stand: the datapath, the one module that speaks to the kernel, and the test
/// harness's calls into libc.
const UNSAFE: [&str; 3] = ["foobar-ebpf/", "foobar-agent/src/kernel", "tests/src/sys.rs"];
/// Where aya may be named.
const AYA: [&str; 2] = ["foobar-ebpf/", "foobar-agent/src/kernel"];
const MAX_LINES: usize = 500;
/// Marks of unfinished work; split, so that this file may be checked like any other.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const UNFINISHED: [&str; 2] = [concat!("to", "do"), concat!("unimple", "mented")];

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// Checks every file of the workspace.
///
/// # Errors
/// Where a file cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for path in files {
        let extension = path.extension().unwrap_or_default();
        if !["rs", "toml", "md", "yml", "txt"].iter().any(|known| extension == *known) {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        findings.extend(check_file(&name, &text));
    }
    Ok(findings)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            files.push(entry.path());
        } else if kind.is_dir() && entry.file_name() != "target" && entry.file_name() != ".git" {
            walk(&entry.path(), files)?;
        }
    }
    Ok(())
}

fn check_file(name: &str, text: &str) -> Vec<Finding> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            found.push((index + 1, "white space at the end of the line".into()));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        found.push((text.lines().count(), "the last line has no end".into()));
    }
    if Path::new(name).extension().is_some_and(|extension| extension == "rs") {
        check_rust(name, text, &mut found);
    }
    if name.ends_with("/Cargo.toml") {
        check_manifest(text, &mut found);
    }
    found.into_iter().map(|(line, rule)| Finding { file: name.to_owned(), line, rule }).collect()
}

fn check_rust(name: &str, text: &str, found: &mut Vec<(usize, String)>) {
    if !text.starts_with("//!") {
        found.push((1, "a module begins with `//!`: what it owns, what it must not do".into()));
    }
    let count = text.lines().count();
    if count > MAX_LINES {
        found.push((count, format!("a file has at most {MAX_LINES} lines")));
    }
    let may = |places: &[&str]| places.iter().any(|place| name.starts_with(place));
    for (index, line) in text::split(text).iter().enumerate() {
        let mut report = |rule: &str| found.push((index + 1, rule.to_owned()));
        for word in text::words(&line.code) {
            if word == "unsafe" && !may(&UNSAFE) {
                report("`unsafe` stands only in the datapath and in foobar-agent/src/kernel");
            }
            if (word == "aya" || word.starts_with("aya_")) && !may(&AYA) {
                report("aya is named only in the datapath and in foobar-agent/src/kernel");
            }
            if UNFINISHED.contains(&word) && line.code.contains(&format!("{word}!")) {
                report("unfinished code");
            }
        }
        if line.code.contains("#[ignore") {
            report("a test that is ignored tests nothing");
        }
        if text::words(&line.comment).any(|word| MARKS.contains(&word)) {
            report("unfinished work is an issue, not a comment");
        }
    }
}

/// A member takes its lints and the versions of its dependencies from the workspace.
fn check_manifest(text: &str, found: &mut Vec<(usize, String)>) {
    if !text.contains("[lints]\nworkspace = true") {
        found.push((1, "a member inherits the lints of the workspace".into()));
    }
    let mut is_dependencies = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            is_dependencies = line.ends_with("dependencies]");
        } else if is_dependencies
            && line.contains('=')
            && !line.starts_with('#')
            && !line.contains("workspace")
        {
            found.push((index + 1, "versions stand in the workspace's Cargo.toml".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(name: &str, text: &str) -> Vec<(usize, String)> {
        check_file(name, text).into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    fn only(name: &str, text: &str, line: usize, word: &str) {
        let found = rules(name, text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, line);
        assert!(found[0].1.contains(word), "{found:?}");
    }

    #[test]
    fn each_rule_bites_where_it_should() {
        only("a/x.rs", "fn f() {}\n", 1, "//!");
        only("a/x.rs", "//! A.\nfn f() {} \n", 2, "white space");
        only("a/x.rs", "//! A.", 1, "no end");
        only("a/x.rs", &format!("//! A.\n{}", "\n".repeat(500)), 501, "500 lines");
        only("foobar-agent/src/x.rs", "//! A.\nunsafe { f() }\n", 2, "unsafe");
        only("foobar-agent/src/x.rs", "//! A.\nuse aya::Ebpf;\n", 2, "aya");
        only("a/x.rs", &format!("//! A.\n// {}: more\n", MARKS[0]), 2, "issue");
        only("a/x.rs", &format!("//! A.\nfn f() {{ {}!() }}\n", UNFINISHED[0]), 2, "unfinished");
        only("a/x.rs", "//! A.\n#[ignore]\n", 2, "ignored");
        only("a/Cargo.toml", "[package]\n", 1, "lints");
        only("a/Cargo.toml", "[dependencies]\nx = \"1\"\n[lints]\nworkspace = true\n", 2, "versions");
    }

    #[test]
    fn what_is_allowed_is_not_reported() {
        assert_eq!(rules("foobar-agent/src/kernel/load.rs", "//! A.\nuse aya::Ebpf; unsafe {}\n"), []);
        assert_eq!(
            rules("a/x.rs", "//! Only the kernel module knows aya or unsafe code.\nlet a = \"unsafe\";\n"),
            []
        );
        assert_eq!(
            rules("a/Cargo.toml", "[dependencies]\nx.workspace = true\n[lints]\nworkspace = true\n"),
            []
        );
        assert_eq!(rules("Cargo.toml", "[workspace.dependencies]\nx = \"1\"\n"), []);
    }
}
