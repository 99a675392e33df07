//! How numbers, times and tables look: for people on a terminal, or plain for what reads a pipe.

use std::io::{self, IsTerminal};
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table};
use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Columns of the terminal; `None`: there is none, so nothing is wrapped, ruled or grouped.
    pub(super) width: Option<u16>,
}

impl Style {
    /// Of standard output.
    pub(super) fn of_terminal() -> Self {
        let out = io::stdout();
        let width =
            out.is_terminal().then(|| terminal_size_of(&out).map_or(80, |(Width(columns), _)| columns));
        Self { width }
    }

    /// A count, with its thousands marked where a person reads it.
    pub(super) fn count(self, count: u64) -> String {
        let digits = count.to_string();
        if self.width.is_none() {
            return digits;
        }
        let mut grouped = String::with_capacity(digits.len() * 4 / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    }

    /// A table with a line feed at the end. A heading that begins with `>` is of a column of numbers.
    pub(super) fn table(self, headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        if let Some(width) = self.width {
            let rule = LineStyle::none().fill('─');
            table.load_style(NOTHING.header_separator(rule));
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        table.set_header(headings.iter().map(|heading| heading.trim_start_matches('>')));
        table.add_rows(rows);
        for (column, heading) in table.column_iter_mut().zip(headings) {
            column.set_padding((0, 2));
            if heading.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt() + "\n"
    }
}

/// Pretty, because a person at a terminal reads it too.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// "1568 bytes", "685 KiB", "40 MiB".
pub(super) fn bytes(count: usize) -> String {
    match count {
        ..=9_999 => format!("{count} bytes"),
        10_000..=9_999_999 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

/// `1 rule`, `2 rules`.
pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Seconds since the Unix epoch.
pub(super) fn now_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A span in its two largest units; what is below a second is `0 s`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is for people")]
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: Style = Style { width: Some(80) };
    const PIPE: Style = Style { width: None };

    #[test]
    fn thousands_are_marked_for_people_only() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (100_000, "100,000")];
        for (count, text) in cases {
            assert_eq!(PERSON.count(count), text);
            assert_eq!(PIPE.count(count), count.to_string());
        }
    }

    #[test]
    fn spans_have_two_units() {
        let cases = [
            (-1.0, "0 s"),
            (0.4, "0 s"),
            (59.9, "59 s"),
            (61.0, "1 min 1 s"),
            (7_260.0, "2 h 1 min"),
            (273_600.0, "3 d 4 h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn a_pipe_gets_one_line_a_row_however_long() {
        let long = "x".repeat(300);
        let table = PIPE.table(&["NAME", ">COUNT"], [vec![long.clone(), "7".to_owned()]]);
        assert_eq!(table, format!("NAME{}  COUNT\n{long}      7\n", " ".repeat(296)));
    }

    #[test]
    fn a_terminal_gets_no_line_wider_than_itself() {
        let table = PERSON.table(&["NAME", ">COUNT"], [vec!["x".repeat(300), "7".to_owned()]]);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        assert!(table.contains('─'));
    }
}
