//! A table of figures: the same for a terminal and for Markdown. Knows nothing of what is in it.

use std::fmt;

use super::tool::Spread;

/// Rows of text below a header; the first column is aligned left, the others right.
#[derive(Clone, Debug)]
pub(super) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        for (index, row) in all().enumerate() {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "| {cell:<width$} |")?,
                    _ => write!(f, " {cell:>width$} |")?,
                }
            }
            writeln!(f)?;
            if index == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    match column {
                        0 => write!(f, "| {} |", "-".repeat(width))?,
                        _ => write!(f, " {}: |", "-".repeat(width.saturating_sub(1)))?,
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Minimum, median, maximum, the empty program's median, and what is left above it.
pub(super) fn figures(spread: &Spread) -> [String; 5] {
    let [min, median, max] = spread.ns;
    [min, median, max, spread.empty_ns[1], spread.above_empty()].map(|figure| figure.to_string())
}

/// A number with a comma between thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that leaves few digits.
pub(super) fn bytes(number: u64) -> String {
    match number {
        0..10_240 => format!("{number} B"),
        10_240..10_485_760 => format!("{} KiB", number >> 10),
        _ => format!("{} MiB", number >> 20),
    }
}

/// Milliseconds with as many digits as mean something.
pub(super) fn milliseconds(number: f64) -> String {
    if number < 10.0 { format!("{number:.1} ms") } else { format!("{number:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown_with_aligned_columns() {
        let mut table = Table::new(&["rules", "ns"]);
        table.push(vec![thousands(1_000_000), "7".into()]);
        assert_eq!(table.to_string(), "| rules     | ns |\n| --------- | -: |\n| 1,000,000 |  7 |\n");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1000, 65_536].map(thousands), ["0", "999", "1,000", "65,536"]);
        assert_eq!([64, 32 << 10, 33 << 20].map(bytes), ["64 B", "32 KiB", "33 MiB"]);
        assert_eq!([0.25, 9.94, 1234.5].map(milliseconds), ["0.2 ms", "9.9 ms", "1234 ms"]);
    }
}
