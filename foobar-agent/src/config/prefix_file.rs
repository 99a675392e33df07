//! Files of prefixes: one prefix, address or range a line, `#` or `;` begins a comment, a
//! million lines is normal. Read as a stream, line by line. Lists come from others: set host
//! bits are masked, with a warning, and what is no such list is refused before it fills memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::addresses::{AddressError, Written, parse_prefix, parse_range};
use super::diagnostics::{Diagnostic, Excerpt, Severity};
use super::members::Members;
use super::reader::Value;
use super::report::Report;
use super::source::saturating_u32;
use super::suggest::quoted;
use crate::desk;

/// Longest line, in bytes: room for a comment, but not for a file that is no text.
const MAX_LINE_BYTES: usize = 4096;
/// Longest file, in bytes and in lines. All of IPv4 in /24 prefixes is as many lines; the set
/// of them takes 32 bytes each.
const MAX_FILE_BYTES: u64 = 1 << 30;
const MAX_LINES: u32 = 1 << 24;
/// Read at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// Lines reported one by one; of the others, of each severity, only their number.
const MAX_REPORTED: u32 = 10;

/// Why a file is no file of prefixes.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read {path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("{path} is {kind}, not a file")]
    NoFile { path: String, kind: &'static str },
    #[error("{path} has more than {MAX_FILE_BYTES} bytes, too many for a set")]
    TooLong { path: String },
    #[error("{path} has more than {MAX_LINES} lines, too many for a set")]
    TooManyLines { path: String },
}

impl FileError {
    fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "paths are relative to the folder of this file",
            Self::NoFile { .. } => "name a regular file: it is read again at each reload",
            Self::TooLong { .. } | Self::TooManyLines { .. } => {
                "is it a list of prefixes? merge those that adjoin, or name fewer"
            }
        }
    }
}

/// Adds the members of the file that `named_by` names. That it cannot be read is reported there,
/// what is wrong in it is reported at its own lines.
pub(super) fn read(path: &Path, named_by: Value<'_>, members: &mut Members) {
    let report = named_by.report();
    let mut lines = Lines { path, report, number: 0, errors: 0, warnings: 0, members };
    if let Err(error) = lines.read() {
        named_by.error(error.to_string(), error.hint());
        return;
    }
    if lines.errors > MAX_REPORTED {
        let message = format!("the file has {} lines with errors in all", lines.errors);
        named_by.error(message, format!("the first {MAX_REPORTED} are listed"));
    }
    if lines.warnings > MAX_REPORTED {
        let message = format!("the file has {} prefixes with host bits set in all", lines.warnings);
        named_by.warning(message, format!("the first {MAX_REPORTED} are listed"));
    }
}

struct Lines<'r> {
    path: &'r Path,
    report: &'r Report<'r>,
    /// Of the current line, from 1.
    number: u32,
    errors: u32,
    warnings: u32,
    members: &'r mut Members,
}

impl Lines<'_> {
    fn read(&mut self) -> Result<(), FileError> {
        // A byte more than a list may have, so that one that grows meanwhile is found out, too.
        let mut file = BufReader::with_capacity(BUFFER_BYTES, self.open()?.take(MAX_FILE_BYTES + 1));
        let (mut line, mut total) = (Vec::new(), 0);
        loop {
            line.clear();
            let bytes = (&mut file).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line);
            let bytes = bytes.map_err(|error| FileError::Io { path: self.quoted(), error })?;
            if bytes == 0 {
                return Ok(());
            }
            total += bytes as u64;
            if total > MAX_FILE_BYTES {
                return Err(FileError::TooLong { path: self.quoted() });
            }
            if self.number == MAX_LINES {
                return Err(FileError::TooManyLines { path: self.quoted() });
            }
            self.number += 1;
            if bytes == MAX_LINE_BYTES && !line.ends_with(b"\n") {
                let what = format!("begins a line longer than {MAX_LINE_BYTES} bytes");
                let hint = "one prefix a line; the rest is not read";
                self.add(Severity::Error, &line, 0..1, &what, hint.to_owned());
                return Ok(());
            }
            self.take(&line);
        }
    }

    /// Opens without waiting for a writer, as a FIFO would have it.
    fn open(&self) -> Result<File, FileError> {
        let io = |error| FileError::Io { path: self.quoted(), error };
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(self.path);
        let file = desk::or_ask(opened, self.path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let kind = metadata.file_type();
        if !kind.is_file() {
            let kind = match kind {
                kind if kind.is_dir() => "a folder",
                kind if kind.is_fifo() => "a pipe",
                kind if kind.is_char_device() || kind.is_block_device() => "a device",
                _ => "something else",
            };
            return Err(FileError::NoFile { path: self.quoted(), kind });
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(FileError::TooLong { path: self.quoted() });
        }
        Ok(file)
    }

    fn quoted(&self) -> String {
        quoted(&self.path.to_string_lossy())
    }

    fn take(&mut self, line: &[u8]) {
        // A byte-order mark, as some editors write at the start of a file.
        let line = if self.number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let end = line.iter().position(|byte| b"#;".contains(byte)).unwrap_or(line.len());
        let content = line[..end].trim_ascii();
        if content.is_empty() {
            return;
        }
        let start = end - line[..end].trim_ascii_start().len();
        let span = start..start + content.len();
        if let Err(error) = self.add_members(content, line, &span) {
            self.add(Severity::Error, line, span, &error.to_string(), error.hint());
        }
    }

    fn add_members(&mut self, content: &[u8], line: &[u8], span: &Range<usize>) -> Result<(), AddressError> {
        let text = std::str::from_utf8(content).map_err(|_| AddressError::Unknown)?;
        if let Some(range) = parse_range(text) {
            let (first, last) = range?;
            self.members.push_range(first, last);
            return Ok(());
        }
        let Written { prefix, host_bits } = parse_prefix(text)?;
        self.members.push(prefix);
        if host_bits {
            let hint = format!("taken as `{prefix}`");
            self.add(Severity::Warning, line, span.clone(), "has host bits set", hint);
        }
        Ok(())
    }

    /// `what` is said of the bytes `span` of the line.
    fn add(&mut self, severity: Severity, line: &[u8], span: Range<usize>, what: &str, hint: String) {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count > MAX_REPORTED {
            return;
        }
        let chars = |range: Range<usize>| {
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
