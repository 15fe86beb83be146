//! The charts of some runs: what is drawn, and on which scales.

use crate::html::axis::{Axis, nines_of};
use crate::html::chart::{Chart, ChartLine};
use crate::report;
use crate::show::measure;
use crate::summary::{LatencyFacts, NamedRun, OverTime};

/// Latency by percentile.
pub(crate) fn percentiles(runs: &[NamedRun]) -> Chart {
    let mut lines = Vec::new();
    for (color, NamedRun { name, run }) in runs.iter().enumerate() {
        for (number, (what, facts)) in report::named_latencies(run).into_iter().enumerate() {
            lines.push(ChartLine {
                name: format!("{name}, {what}"),
                color,
                is_dashed: number > 0,
                points: curve(facts),
            });
        }
    }
    let nines = extreme(&lines, |(x, _)| x).1;
    let (fastest, slowest) = extreme(&lines, |(_, y)| y);
    Chart {
        title: "Latency by percentile",
        x: Axis::percentiles("percentile", nines),
        y: Axis::logarithmic("latency", fastest, slowest, report::micros),
        lines,
    }
}

/// A curve by nines; the longest latency stands where one request in all of them is.
fn curve(facts: &LatencyFacts) -> Vec<(f64, f64)> {
    let last = (facts.count.max(1) as f64).log10();
    let place = |part: f64| if part >= 1.0 { last } else { nines_of(part).min(last) };
    facts.curve.iter().map(|(part, micros)| (place(*part), *micros)).collect()
}

/// Payload over time.
pub(crate) fn throughput(runs: &[NamedRun]) -> Chart {
    let lines = over_time(runs, |slices| &slices.bytes_per_second);
    let (x, y) = (extreme(&lines, |(x, _)| x).1, extreme(&lines, |(_, y)| y).1);
    Chart {
        title: "Payload over time",
        x: Axis::linear("seconds", x, short),
        y: Axis::linear("payload", y, measure::bytes_per_second),
        lines,
    }
}

/// The slowest over time.
pub(crate) fn slowest(runs: &[NamedRun]) -> Chart {
    let mut lines = over_time(runs, |slices| &slices.slowest_us);
    for line in &mut lines {
        // Nothing ended in this slice: that is no latency of zero.
        line.points.retain(|(_, micros)| *micros > 0.0);
    }
    let x = extreme(&lines, |(x, _)| x).1;
    let (fastest, slowest) = extreme(&lines, |(_, y)| y);
    Chart {
        title: "Slowest of each moment",
        x: Axis::linear("seconds", x, short),
        y: Axis::logarithmic("latency", fastest, slowest, report::micros),
        lines,
    }
}

fn over_time(runs: &[NamedRun], amounts: fn(&OverTime) -> &Vec<f64>) -> Vec<ChartLine> {
    let mut lines = Vec::new();
    for (color, NamedRun { name, run }) in runs.iter().enumerate() {
        for (side, work) in [("sent", &run.sent), ("received", &run.received)] {
            let Some(work) = work else { continue };
            let width = work.over_time.slice_seconds;
            let values = amounts(&work.over_time).iter().enumerate();
            lines.push(ChartLine {
                name: format!("{name}, {side}"),
                color,
                is_dashed: side == "received" && run.sent.is_some(),
                points: values.map(|(index, value)| (index as f64 * width, *value)).collect(),
            });
        }
    }
    lines
}

/// The smallest and the largest of all points.
fn extreme(lines: &[ChartLine], of: fn((f64, f64)) -> f64) -> (f64, f64) {
    let values = || lines.iter().flat_map(|line| &line.points).map(|point| of(*point));
    let largest = values().fold(0.0, f64::max);
    (values().fold(largest, f64::min), largest)
}

/// A number without needless zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
