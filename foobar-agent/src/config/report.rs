//! The [`Report`] into which every part of this module writes what it finds. Nothing here
//! stops at an error, and nothing takes longer or more memory than the file is worth: what is
//! listed and what is guessed is bounded.

use std::cell::{Cell, RefCell};

use super::diagnostics::{Diagnostic, Diagnostics, Severity};
use super::source::{Source, Span};
use super::suggest;

/// Diagnostics of each severity that are listed; of the others, only their number.
const MAX_LISTED: u32 = 10_000;
/// Words that may be compared to find what was meant, in all. A guess helps in the first
/// thousands of errors, and takes a file's errors times its names.
const MAX_COMPARED: usize = 500_000;

/// Longest text of the file that a hint repeats, in bytes.
const MAX_REPEATED_BYTES: usize = 100;

/// Collects what is found in one configuration file and the prefix files that it names.
pub(super) struct Report<'s> {
    source: &'s Source,
    found: RefCell<Vec<Diagnostic>>,
    errors: Cell<u32>,
    warnings: Cell<u32>,
    compared: Cell<usize>,
}

impl<'s> Report<'s> {
    pub(super) fn new(source: &'s Source) -> Self {
        Self {
            source,
            found: RefCell::default(),
            errors: Cell::new(0),
            warnings: Cell::new(0),
            compared: Cell::new(0),
        }
    }

    pub(super) fn source(&self) -> &'s Source {
        self.source
    }

    pub(super) fn error(&self, span: &Span, message: impl Into<String>, hint: impl Into<String>) {
        self.at(Severity::Error, span, || (message.into(), Some(hint.into())));
    }

    pub(super) fn warning(&self, span: &Span, message: impl Into<String>, hint: impl Into<String>) {
        self.at(Severity::Warning, span, || (message.into(), Some(hint.into())));
    }

    /// What the TOML parser has to say.
    pub(super) fn syntax_error(&self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        self.at(Severity::Error, &span, || {
            let written = self.source.text().get(span.clone()).unwrap_or_default();
            let is_short = (1..=MAX_REPEATED_BYTES).contains(&written.len());
            let hint = match error.message() {
                message if message.starts_with("duplicate key") => Some("remove one of the two".to_owned()),
                message if message.starts_with("string values must be quoted") && is_short => {
                    Some(format!("in quotes: \"{}\"", written.escape_debug()))
                }
                _ => None,
            };
            (error.message().to_owned(), hint)
        });
    }

    /// Something found outside the configuration file.
    pub(super) fn add(&self, diagnostic: Diagnostic) {
        if self.count(diagnostic.severity) {
            self.found.borrow_mut().push(diagnostic);
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors.get() > 0
    }

    /// "did you mean `x`?", for the nearest known word, if one is near.
    pub(super) fn did_you_mean<'w>(
        &self,
        word: &str,
        known: impl Iterator<Item = &'w str>,
    ) -> Option<String> {
        let left = MAX_COMPARED.saturating_sub(self.compared.get());
        let counted = known.take(left).inspect(|_| self.compared.set(self.compared.get() + 1));
        suggest::did_you_mean(word, counted)
    }

    pub(super) fn finish(self) -> Diagnostics {
        for (severity, count) in [(Severity::Error, &self.errors), (Severity::Warning, &self.warnings)] {
            let more = count.get().saturating_sub(MAX_LISTED);
            if more > 0 {
                let what = if severity == Severity::Error { "errors" } else { "warnings" };
                let message = format!("{more} more {what} are not listed");
                let whole = self.source.of_the_whole(severity, message, "mend those that are listed first");
                self.found.borrow_mut().push(whole);
            }
        }
        Diagnostics::new(self.found.into_inner())
    }

    fn at(&self, severity: Severity, span: &Span, what: impl FnOnce() -> (String, Option<String>)) {
        if self.count(severity) {
            let (message, hint) = what();
            self.found.borrow_mut().push(self.source.diagnostic(severity, span, message, hint));
        }
    }

    /// Whether one more of these is listed.
    fn count(&self, severity: Severity) -> bool {
        let count = if severity == Severity::Error { &self.errors } else { &self.warnings };
        count.set(count.get().saturating_add(1));
        count.get() <= MAX_LISTED
    }
}
