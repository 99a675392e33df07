//! Reads the parsed TOML tree key by key, so that each section is written as a list of
//! what it takes. A [`Table`] remembers which keys were asked for and reports every other
//! one; a [`Value`] knows its key and its place. A getter that returns `None` has reported why.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::Report;
use super::source::Span;
use super::suggest::{one_of, quoted};

/// A table on its way through one section's reader.
pub(super) struct Table<'a> {
    report: &'a Report<'a>,
    /// As a person writes it: `[firewall]`.
    label: &'static str,
    span: Span,
    entries: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

/// A value, its key and its place.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    report: &'a Report<'a>,
    key: &'a str,
    item: &'a Spanned<DeValue<'a>>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(super) fn root(report: &'a Report<'a>, document: &'a Spanned<DeTable<'a>>) -> Self {
        let (span, entries) = (document.span(), document.get_ref());
        Self { report, label: "the file", span, entries, known: Vec::new() }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn report(&self) -> &'a Report<'a> {
        self.report
    }

    /// The value of a key, if the key is there.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        self.entries.get(key).map(|item| Value { report: self.report, key, item })
    }

    /// The value of a key; its absence is an error at the table's header. `example` is one line that would do.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let value = self.optional(key);
        if value.is_none() {
            let message = format!("{} lacks `{key}`", self.label);
            self.report.error(&self.span, message, format!("add: {example}"));
        }
        value
    }

    /// A sub-table, if the key is there.
    pub(super) fn table(&mut self, key: &'static str, label: &'static str) -> Option<Table<'a>> {
        self.optional(key)?.table(label)
    }

    /// An array of tables; none where the key is absent.
    pub(super) fn tables(&mut self, key: &'static str, label: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.optional(key) else { return Vec::new() };
        match value.item.get_ref() {
            DeValue::Array(items) => {
                let values = items.iter().map(|item| Value { item, ..value });
                values.filter_map(|value| value.table(label)).collect()
            }
            DeValue::Table(_) => {
                value.error(
                    format!("`{key}` is a list of tables"),
                    format!("write {label}, in double brackets"),
                );
                Vec::new()
            }
            _ => {
                value.wrong_type(&format!("a list of tables, {label}"));
                Vec::new()
            }
        }
    }

    /// Every key with its place and value: for tables whose keys are names that the user gives.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (&'a str, Span, Value<'a>)> {
        let report = self.report;
        self.entries.iter().map(move |(key, item)| {
            let name: &'a str = key.get_ref();
            (name, key.span(), Value { report, key: name, item })
        })
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.entries {
            let name: &str = key.get_ref();
            if !self.known.contains(&name) {
                let message = format!("unknown key {} in {}", quoted(name), self.label);
                let hint = self
                    .report
                    .did_you_mean(name, self.known.iter().copied())
                    .unwrap_or_else(|| format!("known here: {}", one_of(&self.known)));
                self.report.error(&key.span(), message, hint);
            }
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn span(self) -> Span {
        self.item.span()
    }

    /// The line where the value begins, from 1.
    pub(super) fn line(self) -> u32 {
        self.report.source().line_of(self.span().start)
    }

    pub(super) fn report(self) -> &'a Report<'a> {
        self.report
    }

    pub(super) fn error(self, message: impl Into<String>, hint: impl Into<String>) {
        self.report.error(&self.span(), message, hint);
    }

    pub(super) fn warning(self, message: impl Into<String>, hint: impl Into<String>) {
        self.report.warning(&self.span(), message, hint);
    }

    /// Reports that something else was expected here.
    pub(super) fn wrong_type(self, expected: &str) {
        let message = format!("`{}` takes {expected}, not {}", self.key, a_type(self.item.get_ref()));
        let hint = match self.item.get_ref() {
            DeValue::Integer(number) if expected.contains("string") => format!("in quotes: \"{number}\""),
            DeValue::String(text) if expected.contains("integer") && text.parse::<i64>().is_ok() => {
                format!("without quotes: {text}")
            }
            DeValue::String(text) if text == "true" || text == "false" => format!("without quotes: {text}"),
            _ => format!("write {expected}"),
        };
        self.error(message, hint);
    }

    pub(super) fn as_str(self) -> Option<&'a str> {
        self.item.get_ref().as_str()
    }

    pub(super) fn is_empty_list(self) -> bool {
        self.item.get_ref().as_array().is_some_and(|items| items.is_empty())
    }

    pub(super) fn is_boolean(self) -> bool {
        self.item.get_ref().is_bool()
    }

    pub(super) fn is_table(self) -> bool {
        self.item.get_ref().is_table()
    }

    pub(super) fn is_integer(self) -> bool {
        self.item.get_ref().is_integer()
    }

    pub(super) fn table(self, label: &'static str) -> Option<Table<'a>> {
        match self.item.get_ref() {
            DeValue::Table(entries) => {
                Some(Table { report: self.report, label, span: self.span(), entries, known: Vec::new() })
            }
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                let message = format!("{label} is there once");
                self.error(message, format!("write {label} once, in single brackets"));
                None
            }
            _ => {
                self.wrong_type(&format!("a table, {label}"));
                None
            }
        }
    }

    pub(super) fn string(self) -> Option<&'a str> {
        let text = self.as_str();
        if text.is_none() {
            self.wrong_type("a string");
        }
        text
    }

    pub(super) fn boolean(self) -> Option<bool> {
        let boolean = self.item.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type("true or false");
        }
        boolean
    }

    /// An integer from `low` to `high`, both included.
    pub(super) fn integer(self, low: u16, high: u16) -> Option<u16> {
        let Some(number) = self.item.get_ref().as_integer() else {
            self.wrong_type(&format!("an integer from {low} to {high}"));
            return None;
        };
        let number = u16::from_str_radix(number.as_str(), number.radix()).ok();
        let number = number.filter(|number| (low..=high).contains(number));
        if number.is_none() {
            let message = format!("`{}` is out of range", self.key);
            self.error(message, format!("write an integer from {low} to {high}"));
        }
        number
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.string()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|&(_, meaning)| meaning);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
            let message = format!("`{}` knows no {}", self.key, quoted(text));
            let takes = format!("it takes {}", one_of(&known));
            let hint = match self.report.did_you_mean(text, known.iter().copied()) {
                Some(guess) => format!("{guess} {takes}"),
                None => takes,
            };
            self.error(message, hint);
        }
        found
    }

    /// Reports a `!` where nothing can be negated.
    pub(super) fn negates(self, text: &str) -> bool {
        let negates = text.starts_with('!');
        if negates {
            let message = format!("{} negates, which only `from` and `to` can", quoted(text));
            self.error(message, "write a rule for what shall not match, before this one");
        }
        negates
    }

    /// An array's values; an empty array has none.
    pub(super) fn list(self) -> Option<Vec<Value<'a>>> {
        let items = self.item.get_ref().as_array();
        if items.is_none() {
            self.wrong_type("a list, in brackets");
        }
        Some(items?.iter().map(|item| Value { item, ..self }).collect())
    }

    /// An array's values, or the one value that stands for itself. An empty array is an error,
    /// because it could be read as "any" as well as "none".
    pub(super) fn one_or_list(self) -> Vec<Value<'a>> {
        match self.item.get_ref() {
            DeValue::Array(items) if items.is_empty() => {
                self.error(
                    format!("`{}` is an empty list", self.key),
                    "remove the key, or name at least one",
                );
                Vec::new()
            }
            DeValue::Array(items) => items.iter().map(|item| Value { item, ..self }).collect(),
            _ => vec![self],
        }
    }
}

fn a_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
