//! The figures as a picture, `docs/firewall-cost.svg`: what a packet costs by the number of rules, and
//! packets a second over veth, both axes logarithmic.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::Report;
use crate::workspace;

const PLOT: &str = "docs/firewall-cost.svg";
const SIZE: (u32, u32) = (960, 460);
const BACKGROUND: RGBColor = RGBColor(255, 255, 255);
/// Told apart also by those who see few colours.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
];

/// One line: its name, and a value for each number of rules.
struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// One of the two diagrams.
struct Diagram {
    title: &'static str,
    unit: &'static str,
    series: Vec<Series>,
}

pub(super) fn write(report: &Report) -> Result<()> {
    draw(&workspace::root().join(PLOT), &[cost(report), rate(report)])
}

fn cost(report: &Report) -> Diagram {
    let mut series = Vec::new();
    for (kind, label) in [("many", "different packets"), ("typical", "one packet")] {
        for family in ["IPv4", "IPv6"] {
            let points = report
                .rulesets
                .iter()
                .filter(|ruleset| ruleset.shape == "mixed" && ruleset.families == family)
                .filter_map(|ruleset| point(ruleset.size, ruleset.above_empty(family, kind)?));
            series.push(Series { name: format!("foobar {family}, {label}"), points: points.collect() });
        }
    }
    let rows = report.xdp_filter.rows.iter();
    let rows = rows.filter(|row| row.packets.family == "IPv4" && row.packets.kind == "many");
    let points = rows.filter_map(|row| point(row.sources as u64, row.packets.spread.above_empty()));
    series.push(Series { name: "xdp-filter IPv4, different packets".to_owned(), points: points.collect() });
    Diagram { title: "Nanoseconds a packet above an empty program", unit: "ns", series }
}

fn rate(report: &Report) -> Diagram {
    let mut series: Vec<Series> = Vec::new();
    for row in &report.wire.rows {
        #[expect(clippy::cast_precision_loss, reason = "at most 100,000 rules")]
        let point = (row.rules as f64, row.median);
        match series.iter_mut().find(|series| series.name == row.candidate) {
            Some(series) => series.points.push(point),
            None => series.push(Series { name: row.candidate.clone(), points: vec![point] }),
        }
    }
    Diagram { title: "Packets dropped in a second over veth, one core", unit: "packets/s", series }
}

/// A logarithmic axis has no 0.
#[expect(clippy::cast_precision_loss, reason = "numbers of rules, and nanoseconds")]
fn point(rules: u64, nanoseconds: u64) -> Option<(f64, f64)> {
    (nanoseconds > 0).then_some((rules as f64, nanoseconds as f64))
}

fn draw(path: &Path, diagrams: &[Diagram; 2]) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&BACKGROUND).map_err(|error| anyhow!("cannot draw: {error}"))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    for (area, diagram) in [left, right].iter().zip(diagrams) {
        draw_one(area, diagram).map_err(|error| anyhow!("cannot draw {}: {error}", diagram.title))?;
    }
    root.present().map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw_one<'a>(area: &Area<'a>, diagram: &Diagram) -> Result<(), DrawError<'a>> {
    let points = || diagram.series.iter().flat_map(|series| &series.points);
    let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = points().map(|point| point.1).fold(1.0, f64::max);
    let most = points().map(|point| point.0).fold(10.0, f64::max);
    // Room below the lowest line for the legend.
    let low = if low.is_finite() { low / 4.0 } else { 0.1 };
    let mut chart = ChartBuilder::on(area)
        .caption(diagram.title, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..most).log_scale(), (low..high * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("rules")
        .y_desc(diagram.unit)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    for (series, colour) in diagram.series.iter().zip(COLOURS) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(series.points.iter().copied(), style).point_size(3))?
            .label(&series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(BACKGROUND.mix(0.8))
        .draw()
}

/// `10k`, `2.5M`.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_lines_and_survives_having_none() {
        let path = std::env::temp_dir().join(format!("foobar-plot-{}.svg", std::process::id()));
        let line = Series { name: "a line".into(), points: vec![(1.0, 20.0), (1000.0, 40.0)] };
        let diagrams = [
            Diagram { title: "one", unit: "ns", series: vec![line] },
            Diagram { title: "none", unit: "ns", series: Vec::new() },
        ];
        draw(&path, &diagrams).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(text.starts_with("<svg") && text.contains("a line"), "{text}");
        assert_eq!([1.0, 1e4, 2.5e6].map(short), ["1", "10k", "2.5M"]);
    }
}
