//! Files of prefixes: one a line, `#` begins a comment, a million lines is normal. Read as a
//! stream, line by line. Lists come from others: set host bits are masked, with a warning.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::addresses::{AddressError, Members, Written, parse_prefix};
use super::diagnostics::{Diagnostic, Excerpt, Severity};
use super::reader::Value;
use super::source::{Report, saturating_u32};
use super::suggest::quoted;
use crate::firewall::address::AddressSet;

/// Longest line, in bytes: room for a comment, but not for a file that is no text.
const MAX_LINE_BYTES: usize = 4096;
/// Read at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// Lines reported one by one; of the others, of each severity, only their number.
const MAX_REPORTED: u32 = 5;

/// The members of the file that `named_by` names. That it cannot be read is reported there,
/// what is wrong in it is reported at its own lines.
pub(super) fn read(path: &Path, named_by: Value<'_>) -> Option<AddressSet> {
    let mut lines = Lines {
        path,
        report: named_by.report(),
        number: 0,
        errors: 0,
        warnings: 0,
        members: Members::default(),
    };
    if let Err(error) = lines.read() {
        let message = format!("cannot read {}: {error}", quoted(&path.to_string_lossy()));
        named_by.error(message, "paths are relative to the folder of this file");
        return None;
    }
    if lines.errors > MAX_REPORTED {
        let message = format!("the file has {} lines with errors in all", lines.errors);
        named_by.error(message, format!("the first {MAX_REPORTED} are listed"));
    }
    if lines.warnings > MAX_REPORTED {
        let message = format!("the file has {} prefixes with host bits set in all", lines.warnings);
        named_by.warning(message, format!("the first {MAX_REPORTED} are listed"));
    }
    Some(lines.members.into_set())
}

struct Lines<'r> {
    path: &'r Path,
    report: &'r Report<'r>,
    /// Of the current line, from 1.
    number: u32,
    errors: u32,
    warnings: u32,
    members: Members,
}

impl Lines<'_> {
    fn read(&mut self) -> io::Result<()> {
        let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(self.path)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = (&mut file).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line)?;
            if length == 0 {
                return Ok(());
            }
            self.number = self.number.saturating_add(1);
            if length == MAX_LINE_BYTES && !line.ends_with(b"\n") {
                let what = format!("begins a line longer than {MAX_LINE_BYTES} bytes");
                self.add(
                    Severity::Error,
                    &line,
                    0..1,
                    &what,
                    "one prefix a line; the rest is not read".into(),
                );
                return Ok(());
            }
            self.take(&line);
        }
    }

    fn take(&mut self, line: &[u8]) {
        // A byte-order mark, as some editors write at the start of a file.
        let line = if self.number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let end = line.iter().position(|&byte| byte == b'#').unwrap_or(line.len());
        let content = line[..end].trim_ascii();
        if content.is_empty() {
            return;
        }
        let start = end - line[..end].trim_ascii_start().len();
        let span = start..start + content.len();
        match std::str::from_utf8(content).map_err(|_| AddressError::Unknown).and_then(parse_prefix) {
            Ok(Written { prefix, host_bits }) => {
                self.members.push(prefix);
                if host_bits {
                    self.add(
                        Severity::Warning,
                        line,
                        span,
                        "has host bits set",
                        format!("taken as `{prefix}`"),
                    );
                }
            }
            Err(error) => self.add(Severity::Error, line, span, &error.to_string(), error.hint()),
        }
    }

    /// `what` is said of the bytes `span` of the line.
    fn add(
        &mut self,
        severity: Severity,
        line: &[u8],
        span: std::ops::Range<usize>,
        what: &str,
        hint: String,
    ) {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count = count.saturating_add(1);
        if *count > MAX_REPORTED {
            return;
        }
        let chars = |range: std::ops::Range<usize>| {
            let text = String::from_utf8_lossy(line.get(range).unwrap_or_default()).into_owned();
            (saturating_u32(text.chars().count()), text)
        };
        let (before, _) = chars(0..span.start);
        let (width, text) = chars(span);
        let (_, whole) = chars(0..line.trim_ascii_end().len());
        self.report.add(Diagnostic {
            severity,
            file: self.path.to_owned(),
            line: self.number,
            column: before + 1,
            message: format!("{} {what}", quoted(&text)),
            hint: Some(hint),
            excerpt: Excerpt::new(&whole, width),
        });
    }
}
