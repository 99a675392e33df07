//! One scrape of an agent, and what a test asks of it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};

/// The samples of one scrape in the Prometheus text format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
    text: String,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Metrics {
    /// Reads the text format.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| parse_line(line).with_context(|| format!("not a sample: {line}")));
        Ok(Self { samples: samples.collect::<Result<_>>()?, text: text.to_owned() })
    }

    /// All samples, in the order of the scrape.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The scrape as received.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The samples of one metric that have all these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let has = |sample: &Sample| {
            labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        };
        self.samples.iter().filter(move |sample| sample.name == name && has(sample))
    }

    /// Sum of the samples of one metric that have all these labels; 0 if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// As [`Metrics::sum`], of a counter: whole and not negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter, below 2^53")]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, labels) as u64
    }

    /// Whether the scrape declares this metric family, with or without samples.
    pub fn has_family(&self, name: &str) -> bool {
        self.text
            .lines()
            .any(|line| line.strip_prefix("# TYPE ").and_then(|l| l.split(' ').next()) == Some(name))
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `name{key="value",…} number`; timestamps are not used by anything here.
fn parse_line(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = unquote(after)?;
            labels.insert(key.trim_start_matches(',').trim().to_owned(), value);
            rest = after;
        }
        rest = rest.strip_prefix('}')?;
    }
    Some(Sample { name: name.to_owned(), labels, value: rest.trim().parse().ok()? })
}

/// The text up to the closing quote, its escapes resolved, and what follows the quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total what\n# TYPE a_total counter\na_total{rule=\"x\",v=\"1\"} 2\n\
                        a_total{rule=\"y\",v=\"q\\\"}\\\\\"} 3\nb 1.5e3\nb_bucket{le=\"+Inf\"} 7\n";

    #[test]
    fn samples_are_found_by_some_of_their_labels() {
        let metrics = Metrics::parse(TEXT).unwrap();
        assert_eq!(metrics.samples().len(), 4);
        assert_eq!(metrics.count("a_total", &[]), 5);
        assert_eq!(metrics.count("a_total", &[("rule", "x")]), 2);
        assert_eq!(metrics.count("a_total", &[("v", "q\"}\\")]), 3);
        assert_eq!(metrics.count("a_total", &[("rule", "z")]), 0);
        assert_eq!(metrics.count("b", &[]), 1500);
        assert_eq!(metrics.count("b_bucket", &[("le", "+Inf")]), 7);
        assert!(metrics.has_family("a_total") && !metrics.has_family("b"));
    }

    #[test]
    fn what_is_no_sample_is_an_error() {
        for line in ["a", "a{x=\"1} 2", "a{x} 1", "a x"] {
            assert!(Metrics::parse(line).is_err(), "{line}");
        }
    }
}
