//! Names that the user gives: of rules, sets, pools and the like, of sites, of interfaces.

use std::collections::BTreeMap;

use super::reader::Value;
use super::source::Span;
use super::suggest::quoted;

/// Label of what no rule decided, in metrics and counters.
const RESERVED: &str = "policy";
/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 63;
/// Longest interface name, in bytes: the kernel's IFNAMSIZ less the final zero.
const MAX_INTERFACE_BYTES: usize = 15;
/// Longest host name and longest label in it, in bytes (RFC 1035, section 2.3.4).
const MAX_HOST_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// The names of one kind, which must differ.
pub(super) struct Names {
    /// "rule", "set", "pool"…
    kind: &'static str,
    /// The line where each was first given.
    lines: BTreeMap<String, u32>,
}

impl Names {
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, lines: BTreeMap::new() }
    }

    /// A name in a value, checked and remembered.
    pub(super) fn take(&mut self, value: Value<'_>) -> Option<String> {
        let text = value.string()?;
        self.take_text(text, &value.span(), value).then(|| text.to_owned())
    }

    /// A name at any place, checked and remembered; false is reported.
    pub(super) fn take_text(&mut self, text: &str, span: &Span, value: Value<'_>) -> bool {
        let (kind, report) = (self.kind, value.report());
        if !is_name(text) {
            let hint = "a letter or digit, then letters, digits, `_`, `.` or `-`, lower case, 63 at most";
            report.error(span, format!("{} is no name for a {kind}", quoted(text)), hint);
            return false;
        }
        if text == RESERVED {
            report.error(span, "`policy` is reserved: it counts what no rule decided", "choose another name");
            return false;
        }
        if let Some(line) = self.lines.get(text) {
            let message = format!("duplicate {kind} `{text}`, first on line {line}");
            report.error(span, message, "names are metric labels: choose another");
            return false;
        }
        self.lines.insert(text.to_owned(), report.source().line_of(span.start));
        true
    }
}

/// `[a-z0-9][a-z0-9_.-]{0,62}`
fn is_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_NAME_BYTES
        && text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().all(|byte| alphanumeric(byte) || b"_.-".contains(&byte))
}

/// The name of a network interface, as the kernel would take it.
pub(super) fn read_interface(value: Value<'_>) -> Option<String> {
    let text = value.string()?;
    if value.negates(text) {
        return None;
    }
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/:*?".contains(c);
    if text.is_empty()
        || text.len() > MAX_INTERFACE_BYTES
        || text == "."
        || text == ".."
        || text.contains(forbidden)
    {
        let hint = "up to 15 characters, no space, `/` or `:`; patterns are not known: name each one";
        value.error(format!("{} is no interface name", quoted(text)), hint);
        return None;
    }
    Some(text.to_owned())
}

/// A site's host name, in lower case.
pub(super) fn read_site_host(value: Value<'_>) -> Option<String> {
    let text = value.string()?;
    match site_host_problem(text) {
        None => Some(text.to_ascii_lowercase()),
        Some((problem, hint)) => {
            value.error(format!("{} {problem}", quoted(text)), hint);
            None
        }
    }
}

fn site_host_problem(text: &str) -> Option<(&'static str, &'static str)> {
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label_fits = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(in_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.starts_with("*.") || text == "*" {
        Some(("is a wildcard, which this version does not know", "name each host"))
    } else if text.contains("://") {
        Some(("is a URL", "write the host name alone"))
    } else if text.contains(':') {
        Some(("has a port, or is an IPv6 address", "write the host name alone"))
    } else if !text.is_ascii() {
        Some(("is not ASCII", "write the name in its ASCII form, which begins with xn--"))
    } else if text.ends_with('.') && text.len() > 1 {
        Some(("ends with a dot", "remove the dot"))
    } else if text.len() > MAX_HOST_BYTES || !text.split('.').all(label_fits) {
        Some(("is no host name", "such as www.foobar.com"))
    } else {
        None
    }
}
