//! The result of a comparison: a table for people, JSON for programs.

use serde::Serialize;

use crate::bench::measurement::Measurement;
use crate::bench::plan::Unit;
use crate::output::{measure, table};

/// The whole result.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
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
    /// Whether bytes or requests are compared.
    #[serde(skip)]
    pub(crate) unit: Unit,
    /// The server.
    pub(crate) measured: Measurement,
    /// What it is held against.
    pub(crate) against: Measurement,
    /// `measured` divided by `against`.
    pub(crate) ratio: f64,
    /// The least ratio that is meant to be reached.
    pub(crate) goal: f64,
    /// Whether it was.
    pub(crate) reached: bool,
}

impl ComparedRow {
    /// Divides one side by the other.
    pub(crate) fn new(
        what: String,
        unit: Unit,
        sides: (Measurement, Measurement),
        goal: f64,
    ) -> Self {
        let (measured, against) = sides;
        let ratio = amount(unit, &measured) / amount(unit, &against).max(1e-9);
        Self { what, unit, measured, against, ratio, goal, reached: ratio >= goal }
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
}

impl FootprintRow {
    /// Holds `value` against `limit`.
    pub(crate) fn new(what: &str, value: f64, limit: f64, unit: &'static str) -> Self {
        Self { what: what.to_owned(), value, limit, unit, reached: value <= limit }
    }
}

impl Report {
    /// The report as two tables and the conditions.
    pub(crate) fn render(&self) -> String {
        let conditions = &self.conditions;
        let mut text = self.render_comparisons();
        text.push_str("\n\n");
        text.push_str(&self.render_footprints());
        text.push_str(&format!(
            "\n\nMedians of {} runs of {} s each, alternating, {}, data in {}.",
            conditions.rounds,
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
                speed(row.unit, &row.measured),
                speed(row.unit, &row.against),
                format!("{:.2}", row.ratio),
                format!("{:.2}", row.goal),
                verdict(row.reached),
                micros(row.measured.p50_us),
                micros(row.measured.p99_us),
                processor_time(row.unit, &row.measured),
                processor_time(row.unit, &row.against),
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
        table::text("SIZE AND START"),
        table::number("MEASURED"),
        table::number("LIMIT"),
        table::text(""),
    ];
    let rows = footprints.iter().map(|row| {
        vec![
            row.what.clone(),
            format!("{:.1} {}", row.value, row.unit),
            format!("{} {}", row.limit, row.unit),
            verdict(row.reached),
        ]
    });
    table::columns(&columns, rows, "no sizes on this system")
}

fn amount(unit: Unit, measurement: &Measurement) -> f64 {
    match unit {
        Unit::BytesPerSecond => measurement.bytes_per_second,
        Unit::RequestsPerSecond => measurement.requests_per_second,
    }
}

fn speed(unit: Unit, measurement: &Measurement) -> String {
    match unit {
        Unit::BytesPerSecond => measure::bytes_per_second(measurement.bytes_per_second),
        Unit::RequestsPerSecond => measure::per_second(measurement.requests_per_second),
    }
}

/// A word for whether a goal was reached.
pub(crate) fn verdict(reached: bool) -> String {
    if reached { "ok" } else { "missed" }.to_owned()
}

fn micros(value: f64) -> String {
    measure::duration(std::time::Duration::from_secs_f64(value / 1e6))
}

/// Processor time per gigabyte or per request, as the row compares one or the other.
fn processor_time(unit: Unit, measurement: &Measurement) -> String {
    let shown = match unit {
        Unit::BytesPerSecond => {
            measurement.cpu_seconds_per_gb.map(|time| format!("{time:.2} s/GB"))
        }
        Unit::RequestsPerSecond => {
            measurement.cpu_us_per_request.map(|time| format!("{time:.1} us"))
        }
    };
    shown.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed_of(bytes_per_second: f64, cpu: Option<f64>) -> Measurement {
        Measurement {
            requests_per_second: bytes_per_second / 1e6,
            bytes_per_second,
            p50_us: 850.0,
            p99_us: 2345.0,
            cpu_seconds_per_gb: cpu,
            cpu_us_per_request: cpu,
        }
    }

    fn report() -> Report {
        let sides = (speed_of(9e8, Some(0.7)), speed_of(1.2e9, None));
        Report {
            conditions: Conditions {
                processors: 2,
                seconds: 3.0,
                rounds: 3,
                dir: "/var/tmp".to_owned(),
                version: "0.1.0",
            },
            comparisons: vec![ComparedRow::new(
                "write".to_owned(),
                Unit::BytesPerSecond,
                sides,
                0.7,
            )],
            footprints: vec![FootprintRow::new("idle memory", 41.25, 30.0, "MiB")],
        }
    }

    #[test]
    fn a_report_reads_as_two_tables() {
        assert_eq!(
            report().render(),
            "\
MEASURED / AGAINST    MEASURED    AGAINST  RATIO  GOAL         P50     P99        CPU  (AGAINST)
write               900.0 MB/s  1.20 GB/s   0.75  0.70  ok  850 us  2.3 ms  0.70 s/GB          -

SIZE AND START  MEASURED   LIMIT
idle memory     41.2 MiB  30 MiB  missed

Medians of 3 runs of 3 s each, alternating, 2 processors, data in /var/tmp."
        );
    }

    #[test]
    fn json_has_the_ratio_and_the_verdict() {
        let value = serde_json::to_value(report()).unwrap();
        assert_eq!(value["comparisons"][0]["ratio"], 0.75);
        assert_eq!(value["comparisons"][0]["reached"], true);
        assert_eq!(value["footprints"][0]["reached"], false);
    }
}
