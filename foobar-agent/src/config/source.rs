//! The text of the configuration file, positions in it, and the [`Report`] into which
//! every part of this module writes what it finds. Nothing here stops at an error.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::diagnostics::{Diagnostic, Diagnostics, Excerpt, Severity};

/// Bytes of the source.
pub(super) type Span = Range<usize>;

/// A configuration file in memory.
pub(super) struct Source {
    path: PathBuf,
    folder: PathBuf,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// `folder` is what relative paths in the text are relative to.
    pub(super) fn new(path: PathBuf, folder: PathBuf, text: String) -> Self {
        let line_feeds = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let line_starts = std::iter::once(0).chain(line_feeds.map(|(at, _)| at + 1)).collect();
        Self { path, folder, text, line_starts }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A path that the file names, absolute.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The line of a byte, from 1.
    pub(super) fn line_of(&self, offset: usize) -> u32 {
        saturating_u32(self.line_starts.partition_point(|&start| start <= offset))
    }

    /// Where a line begins, from 1.
    pub(super) fn line_span(&self, line: u32) -> Span {
        let start = self.line_starts.get((line as usize).saturating_sub(1)).copied().unwrap_or_default();
        start..start + 1
    }

    fn diagnostic(
        &self,
        severity: Severity,
        span: &Span,
        message: String,
        hint: Option<String>,
    ) -> Diagnostic {
        let line = self.line_of(span.start);
        let start = self.line_starts.get(line as usize - 1).copied().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        let line_text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let before = line_text.char_indices().take_while(|(at, _)| start + at < span.start).count();
        let until = line_text.char_indices().take_while(|(at, _)| start + at < span.end).count();
        Diagnostic {
            severity,
            file: self.path.clone(),
            line,
            column: saturating_u32(before + 1),
            message,
            hint,
            excerpt: Excerpt::new(line_text, saturating_u32(until.saturating_sub(before))),
        }
    }
}

/// Collects what is found in one configuration file and the prefix files that it names.
pub(super) struct Report<'s> {
    source: &'s Source,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'s> Report<'s> {
    pub(super) fn new(source: &'s Source) -> Self {
        Self { source, found: RefCell::default() }
    }

    pub(super) fn source(&self) -> &'s Source {
        self.source
    }

    pub(super) fn error(&self, span: &Span, message: impl Into<String>, hint: impl Into<String>) {
        self.add(self.source.diagnostic(Severity::Error, span, message.into(), Some(hint.into())));
    }

    pub(super) fn warning(&self, span: &Span, message: impl Into<String>, hint: impl Into<String>) {
        self.add(self.source.diagnostic(Severity::Warning, span, message.into(), Some(hint.into())));
    }

    /// What the TOML parser has to say.
    pub(super) fn syntax_error(&self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        let written = self.source.text.get(span.clone()).unwrap_or_default();
        let hint = match error.message() {
            message if message.starts_with("duplicate key") => Some("remove one of the two".to_owned()),
            message if message.starts_with("string values must be quoted") && !written.is_empty() => {
                Some(format!("in quotes: \"{}\"", written.escape_debug()))
            }
            _ => None,
        };
        self.add(self.source.diagnostic(Severity::Error, &span, error.message().to_owned(), hint));
    }

    /// Something found outside the configuration file.
    pub(super) fn add(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub(super) fn finish(self) -> Diagnostics {
        Diagnostics::new(self.found.into_inner())
    }
}

/// A whole file that cannot be used.
pub(super) fn unusable(path: &Path, message: String, hint: impl Into<String>) -> Diagnostics {
    Diagnostics::new(vec![Diagnostic {
        severity: Severity::Error,
        file: path.to_owned(),
        line: 0,
        column: 0,
        message,
        hint: Some(hint.into()),
        excerpt: None,
    }])
}

/// A count for people; beyond 4 thousand million they do not count along.
pub(super) fn saturating_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
