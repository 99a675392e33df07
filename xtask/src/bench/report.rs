//! What a measurement prints: a table for people, the same as JSON for tools. Knows nothing of what is
//! measured.

use std::fmt;

use serde::Serialize;

/// All candidates of one subject.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) subject: &'static str,
    /// How it was measured, in a sentence or two.
    pub(super) method: String,
    pub(super) unit: &'static str,
    pub(super) rows: Vec<Row>,
}

/// One candidate, with one value for each run.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) runs: Vec<f64>,
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
    /// Our median by this one's: below 1 we need less.
    pub(super) ratio: f64,
}

impl Report {
    /// The first of `candidates` is ours, to which the others are compared.
    pub(super) fn new(
        subject: &'static str,
        method: String,
        unit: &'static str,
        candidates: Vec<(String, Vec<f64>)>,
    ) -> Self {
        let ours = candidates.first().map_or(f64::NAN, |(_, runs)| median(runs));
        let row = |(name, runs): (String, Vec<f64>)| Row {
            name,
            min: runs.iter().copied().fold(f64::INFINITY, f64::min),
            median: median(&runs),
            max: runs.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ratio: ours / median(&runs),
            runs,
        };
        Self { subject, method, unit, rows: candidates.into_iter().map(row).collect() }
    }
}

fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}: {}", self.subject, self.unit)?;
        writeln!(formatter, "{}", self.method)?;
        writeln!(formatter, "{:<24} {:>9} {:>9} {:>9} {:>15}", "", "min", "median", "max", "ours / theirs")?;
        for row in &self.rows {
            writeln!(
                formatter,
                "{:<24} {:>9.2} {:>9.2} {:>9.2} {:>15.2}",
                row.name, row.min, row.median, row.max, row.ratio
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_the_spread_and_how_we_compare() {
        let candidates =
            vec![("ours".to_owned(), vec![3.0, 1.0, 2.0]), ("theirs".to_owned(), vec![5.0, 3.0])];
        let report = Report::new("test", String::new(), "µs", candidates);
        let theirs = &report.rows[1];
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(near(theirs.min, 3.0) && near(theirs.median, 4.0) && near(theirs.max, 5.0), "{theirs:?}");
        assert!(near(theirs.ratio, 0.5) && near(report.rows[0].ratio, 1.0), "{report:?}");
    }
}
