//! How a metric family is declared, and how its samples are put together for one scrape.
//! Knows no particular family and keeps nothing between scrapes.

use std::collections::{BTreeMap, HashMap};

use prometheus::core::Desc;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// The declaration of one metric family.
#[derive(Debug)]
pub struct Family {
    /// Full name, with prefix and unit.
    pub name: &'static str,
    /// One sentence without a final stop.
    pub help: &'static str,
    /// The labels' names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What the values mean.
    pub kind: MetricType,
}

impl Family {
    /// A value that only grows, and starts again at zero with the agent.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, help, labels, kind: MetricType::COUNTER }
    }

    /// A value that goes up and down.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, help, labels, kind: MetricType::GAUGE }
    }

    /// A distribution in cumulative buckets.
    pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, help, labels, kind: MetricType::HISTOGRAM }
    }

    /// # Errors
    /// Where the name, a label or the help text is not what Prometheus allows.
    pub(super) fn desc(&self) -> prometheus::Result<Desc> {
        let labels = self.labels.iter().map(ToString::to_string).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }
}

/// A histogram's numbers. Buckets are cumulative, in ascending order, and without `+Inf`, which
/// is `count`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Upper bound and how many observations were not above it.
    pub buckets: Vec<(f64, u64)>,
    /// Sum of all observations.
    pub sum: f64,
    /// How many observations there were.
    pub count: u64,
}

/// The samples of one scrape, by family.
#[derive(Default)]
pub struct Samples {
    families: BTreeMap<&'static str, MetricFamily>,
}

impl Samples {
    /// Adds one sample of a counter.
    pub fn count(&mut self, family: &Family, values: &[&str], count: u64) {
        self.number(family, values, as_f64(count));
    }

    /// Adds one sample of a counter or gauge.
    pub fn number(&mut self, family: &Family, values: &[&str], value: f64) {
        let mut metric = labelled(family, values);
        if family.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.push(family, metric);
    }

    /// Adds one histogram.
    pub fn distribution(&mut self, family: &Family, values: &[&str], distribution: &Distribution) {
        let buckets = distribution.buckets.iter().map(|&(upper_bound, cumulative)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(upper_bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_sum(distribution.sum);
        histogram.set_sample_count(distribution.count);
        let mut metric = labelled(family, values);
        metric.set_histogram(histogram);
        self.push(family, metric);
    }

    pub(super) fn into_families(self) -> Vec<MetricFamily> {
        self.families.into_values().collect()
    }

    fn push(&mut self, family: &Family, metric: Metric) {
        let made = self.families.entry(family.name).or_insert_with(|| {
            let mut made = MetricFamily::default();
            made.set_name(family.name.to_owned());
            made.set_help(family.help.to_owned());
            made.set_field_type(family.kind);
            made
        });
        made.mut_metric().push(metric);
    }
}

fn labelled(family: &Family, values: &[&str]) -> Metric {
    debug_assert_eq!(family.labels.len(), values.len(), "labels of {}", family.name);
    let pairs = family.labels.iter().zip(values).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

/// Prometheus knows no other number than a double: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "the exposition format carries doubles")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}
