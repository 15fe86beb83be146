//! The result of a comparison: a table for people, JSON for programs.

use std::collections::BTreeMap;

use galgo_bench::show::{measure, table};
use serde::Serialize;

use crate::goal::Goal;
use crate::measurement::Measurement;
use crate::rows::{Comparison, Figure};

/// The whole result.
#[derive(Debug, Serialize)]
pub(crate) struct CompareReport {
    /// What was run on.
    pub(crate) conditions: Conditions,
    /// Speeds, each against another.
    pub(crate) comparisons: Vec<ComparedRow>,
    /// Sizes and times, each against a fixed limit.
    pub(crate) footprints: Vec<FootprintRow>,
}

/// What the figures depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    /// Processors of the machine.
    pub(crate) processors: usize,
    /// Seconds counted in each run.
    pub(crate) seconds: f64,
    /// Runs of each side, alternating; the figures are their medians.
    pub(crate) rounds: u32,
    /// Where the data was.
    pub(crate) dir: String,
    /// Version of the program.
    pub(crate) version: &'static str,
}

/// One comparison, done.
#[derive(Debug, Serialize)]
pub(crate) struct ComparedRow {
    /// What was measured against what.
    pub(crate) what: String,
    /// Which figure of the two sides is compared.
    pub(crate) figure: Figure,
    /// The server: medians.
    pub(crate) measured: Measurement,
    /// What it is held against: medians.
    pub(crate) against: Measurement,
    /// The figure of the server in each round.
    pub(crate) measured_rounds: Vec<Option<f64>>,
    /// The figure of the other side in each round.
    pub(crate) against_rounds: Vec<Option<f64>>,
    /// The figure of `measured` divided by that of `against`, if there is one.
    pub(crate) ratio: Option<f64>,
    /// What the ratio is meant to be.
    pub(crate) goal: Goal,
    /// Whether it is.
    pub(crate) reached: bool,
}

impl ComparedRow {
    /// Divides one side by the other; `None` without a round of both.
    pub(crate) fn new(
        row: Comparison,
        measured: &[Measurement],
        against: &[Measurement],
    ) -> Option<Self> {
        let Comparison { what, figure, goal, .. } = row;
        let rounds = |runs: &[Measurement]| runs.iter().map(|run| figure.of(run)).collect();
        let (measured_rounds, against_rounds) = (rounds(measured), rounds(against));
        let (measured, against) = (Measurement::median(measured)?, Measurement::median(against)?);
        let ratio = figure
            .of(&measured)
            .zip(figure.of(&against))
            .filter(|(measured, against)| *measured > 0.0 && *against > 0.0)
            .map(|(measured, against)| measured / against);
        let reached = goal.is_reached_by(ratio);
        Some(Self {
            what,
            figure,
            measured,
            against,
            measured_rounds,
            against_rounds,
            ratio,
            goal,
            reached,
        })
    }
}

/// A size or a time, against its limit.
#[derive(Debug, Serialize)]
pub(crate) struct FootprintRow {
    /// What was measured.
    pub(crate) what: String,
    /// How much it is.
    pub(crate) value: f64,
    /// How much it may be.
    pub(crate) limit: f64,
    /// Of what.
    pub(crate) unit: &'static str,
    /// Whether it is at most that.
    pub(crate) reached: bool,
    /// What the value comes from, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) details: BTreeMap<&'static str, f64>,
}

impl FootprintRow {
    /// Holds `value` against `limit`.
    pub(crate) fn new(what: &str, value: f64, limit: f64, unit: &'static str) -> Self {
        let reached = Goal::AtMost(limit).is_reached_by(Some(value));
        Self { what: what.to_owned(), value, limit, unit, reached, details: BTreeMap::new() }
    }
}

impl CompareReport {
    /// The report as two tables and the conditions.
    pub(crate) fn render(&self) -> String {
        let conditions = &self.conditions;
        let mut text = String::new();
        if !self.comparisons.is_empty() {
            text.push_str(&self.render_comparisons());
        }
        if !self.footprints.is_empty() {
            text.push_str(if text.is_empty() { "" } else { "\n\n" });
            text.push_str(&self.render_footprints());
        }
        text.push_str(&format!(
            "\n\nMedians of {} of {} s each, alternating, {}, data in {}.",
            measure::counted(u64::from(conditions.rounds), "run"),
            conditions.seconds,
            measure::counted(conditions.processors as u64, "processor"),
            conditions.dir,
        ));
        text
    }

    fn render_comparisons(&self) -> String {
        let columns = [
            table::text("MEASURED / AGAINST"),
            table::number("MEASURED"),
            table::number("AGAINST"),
            table::number("RATIO"),
            table::number("GOAL"),
            table::text(""),
            table::number("P50"),
            table::number("P99"),
            table::number("CPU"),
            table::number("(AGAINST)"),
        ];
        let rows = self.comparisons.iter().map(|row| {
            vec![
                row.what.clone(),
                row.figure.shown(&row.measured),
                row.figure.shown(&row.against),
                row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
                row.goal.to_string(),
                if row.ratio.is_some() { verdict(row.reached) } else { "not measured".to_owned() },
                micros(row.measured.p50_us),
                micros(row.measured.p99_us),
                row.figure.processor_time(&row.measured),
                row.figure.processor_time(&row.against),
            ]
        });
        table::columns(&columns, rows, "nothing was compared")
    }

    fn render_footprints(&self) -> String {
        render_footprints(&self.footprints)
    }
}

/// Sizes and times against their limits, as a table.
pub(crate) fn render_footprints(footprints: &[FootprintRow]) -> String {
    let columns = [
        table::text("SIZES AND TIMES"),
        table::number("MEASURED"),
        table::number("LIMIT"),
        table::text(""),
        table::text(""),
    ];
    let rows = footprints.iter().map(|row| {
        let details: Vec<String> = row
            .details
            .iter()
            .map(|(name, value)| format!("{} {value:.1}", name.replace('_', " ")))
            .collect();
        vec![
            row.what.clone(),
            amount(row.value, row.unit),
            format!("<= {} {}", row.limit, row.unit),
            verdict(row.reached),
            details.join(", "),
        ]
    });
    table::columns(&columns, rows, "no sizes or times were asked for")
}

/// Two digits where one would hide how far a small value is from its limit.
fn amount(value: f64, unit: &str) -> String {
    if value < 10.0 { format!("{value:.2} {unit}") } else { format!("{value:.1} {unit}") }
}

/// A word for whether a goal was reached.
pub(crate) fn verdict(reached: bool) -> String {
    if reached { "ok" } else { "missed" }.to_owned()
}

fn micros(value: f64) -> String {
    measure::duration(std::time::Duration::from_secs_f64(value / 1e6))
}

impl Figure {
    /// This figure of a run, where the system tells it.
    fn of(self, measurement: &Measurement) -> Option<f64> {
        match self {
            Self::BytesPerSecond => Some(measurement.bytes_per_second),
            Self::RequestsPerSecond => Some(measurement.requests_per_second),
            Self::CpuPerGb => measurement.cpu_seconds_per_gb,
            Self::CpuPerRequest => measurement.cpu_us_per_request,
            Self::P99 => Some(measurement.p99_us),
        }
    }

    fn shown(self, measurement: &Measurement) -> String {
        match self {
            Self::BytesPerSecond => measure::bytes_per_second(measurement.bytes_per_second),
            Self::RequestsPerSecond => measure::per_second(measurement.requests_per_second),
            Self::CpuPerGb | Self::CpuPerRequest => self.processor_time(measurement),
            Self::P99 => micros(measurement.p99_us),
        }
    }

    /// Processor time per gigabyte or per request, as the row compares one or the other.
    fn processor_time(self, measurement: &Measurement) -> String {
        let shown = match self {
            Self::BytesPerSecond | Self::CpuPerGb => {
                measurement.cpu_seconds_per_gb.map(|time| format!("{time:.2} s/GB"))
            }
            Self::RequestsPerSecond | Self::CpuPerRequest | Self::P99 => {
                measurement.cpu_us_per_request.map(|time| format!("{time:.1} us"))
            }
        };
        shown.unwrap_or_else(|| "-".to_owned())
    }
}

#[cfg(test)]
mod tests;
