//! From text to a TOML tree with positions, or to every syntax error of it.

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::report::Report;
use super::source::Source;

/// How far behind the first error others are looked for, in bytes: each takes some hundred times
/// the byte that it may be.
const SEARCHED_BYTES: usize = 1 << 20;

/// The tree; `None` with errors, which are reported.
pub(super) fn parse<'s>(source: &'s Source, report: &Report<'_>) -> Option<Spanned<DeTable<'s>>> {
    let text = source.text();
    let first = match DeTable::parse(text) {
        Ok(document) => return Some(document),
        Err(error) => error,
    };
    let searched = first.span().unwrap_or_default().end.saturating_add(SEARCHED_BYTES);
    let line_feed =
        text.as_bytes().get(searched..).and_then(|rest| rest.iter().position(|&byte| byte == b'\n'));
    // What is said of the end of a part may be wrong of the whole.
    let end = line_feed.map_or(text.len(), |at| searched + at + 1);
    let part = text.get(..end).unwrap_or(text);
    let last = part.trim_end().len();
    let is_of_the_cut = |error: &Error| end < text.len() && error.span().is_none_or(|span| span.end >= last);
    let (_, mut errors) = DeTable::parse_recoverable(part);
    errors.retain(|error| !is_of_the_cut(error));
    if errors.is_empty() {
        errors.push(first);
    }
    for error in &errors {
        report.syntax_error(error);
    }
    None
}
