//! What is wrong with a configuration, and where: one [`Diagnostic`] each, collected in
//! [`Diagnostics`], for people ([`fmt::Display`]) and for tools (serde). Knows nothing of
//! what the configuration means.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::suggest::is_shown;

/// Longer source lines are not shown below their diagnostic; the position must do.
const MAX_EXCERPT_CHARS: usize = 160;

/// Whether the configuration can be used in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is taken; somebody should look.
    Warning,
}

/// One thing that is wrong, at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The configuration file or a prefix file that it names.
    pub file: PathBuf,
    /// From 1; 0 where the file as a whole is meant (it cannot be read).
    pub line: u32,
    /// In characters, from 1; 0 where `line` is.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The source line, with the characters that are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
}

/// A line of the source, ready to be printed: no control characters, and one column a character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// The line.
    pub text: String,
    /// How many characters from the diagnostic's column on are meant, at least 1.
    pub width: u32,
}

impl Excerpt {
    /// The excerpt of a line; `None` where the line is too long to help.
    pub(super) fn new(line: &str, width: u32) -> Option<Self> {
        if line.chars().nth(MAX_EXCERPT_CHARS).is_some() {
            return None;
        }
        let text = line.chars().map(|c| if is_shown(c) { c } else { ' ' }).collect();
        Some(Self { text, width: width.max(1) })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        if self.line == 0 {
            write!(f, "{}: {severity}: {}", self.file.display(), self.message)?;
        } else {
            let (line, column) = (self.line, self.column);
            write!(f, "{}:{line}:{column}: {severity}: {}", self.file.display(), self.message)?;
        }
        if let Some(excerpt) = &self.excerpt {
            let number = self.line.to_string();
            let (margin, indent) = (number.len(), self.column.saturating_sub(1) as usize);
            write!(f, "\n  {number} | {}", excerpt.text)?;
            write!(f, "\n  {:margin$} | {:indent$}{}", "", "", "^".repeat(excerpt.width as usize))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Errors and warnings in the order of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Orders what was found: file by file as first met, then by position.
    pub(super) fn new(mut found: Vec<Diagnostic>) -> Self {
        let mut files: HashMap<PathBuf, usize> = HashMap::new();
        for diagnostic in &found {
            let next = files.len();
            if !files.contains_key(&diagnostic.file) {
                files.insert(diagnostic.file.clone(), next);
            }
        }
        found.sort_by_key(|diagnostic| {
            let file = files.get(&diagnostic.file);
            (file.copied(), diagnostic.line, diagnostic.column, diagnostic.severity)
        });
        Self(found)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many diagnostics there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The diagnostics in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// How many of them are errors.
    pub fn error_count(&self) -> usize {
        self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// Whether the configuration is refused.
    pub fn has_errors(&self) -> bool {
        self.error_count() > 0
    }

    /// The exit code of a command that only validates: 1 with errors, else 0, warnings or not.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.has_errors())
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Diagnostics {
    /// Without a line feed at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(diagnostic, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
