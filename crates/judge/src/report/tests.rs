//! What a report shows, and when a goal counts as reached.

use super::*;
use crate::rows;

fn speed_of(bytes_per_second: f64, cpu: Option<f64>) -> Measurement {
    Measurement {
        requests_per_second: bytes_per_second / 1e6,
        bytes_per_second,
        p50_us: 850.0,
        p99_us: 2345.0,
        p999_us: 4000.0,
        cpu_seconds_per_gb: cpu,
        cpu_us_per_request: cpu,
    }
}

fn row(what: &str, figure: Figure, goal: Goal) -> Comparison {
    let any = rows::groups().into_iter().flatten().next().unwrap();
    Comparison { what: what.to_owned(), figure, goal, ..any }
}

fn report() -> CompareReport {
    let measured = [9e8, 8e8, 9.5e8].map(|speed| speed_of(speed, Some(0.75)));
    let against = [1.2e9, 1.2e9, 1.3e9].map(|speed| speed_of(speed, Some(0.5)));
    let compared = |row| ComparedRow::new(row, &measured, &against).unwrap();
    let mut idle = FootprintRow::new("idle memory", 41.25, 30.0, "MiB");
    idle.details = BTreeMap::from([("p50_us", 1234.5), ("rate_per_second", 500.0)]);
    CompareReport {
        conditions: Conditions {
            processors: 2,
            seconds: 3.0,
            rounds: 3,
            dir: "/var/tmp".to_owned(),
            version: "0.1.0",
        },
        comparisons: vec![
            compared(row("write", Figure::BytesPerSecond, Goal::AtLeast(0.7))),
            compared(row("CPU", Figure::CpuPerGb, Goal::AtMost(1.35))),
        ],
        footprints: vec![idle, FootprintRow::new("start", 0.5, 1.0, "s")],
    }
}

#[test]
fn a_report_reads_as_two_tables() {
    assert_eq!(
        report().render(),
        "\
MEASURED / AGAINST    MEASURED    AGAINST  RATIO     GOAL             P50     P99        CPU  (AGAINST)
write               900.0 MB/s  1.20 GB/s   0.75  >= 0.70  ok      850 us  2.3 ms  0.75 s/GB  0.50 s/GB
CPU                  0.75 s/GB  0.50 s/GB   1.50  <= 1.35  missed  850 us  2.3 ms  0.75 s/GB  0.50 s/GB

SIZES AND TIMES  MEASURED      LIMIT
idle memory      41.2 MiB  <= 30 MiB  missed  p50 us 1234.5, rate per second 500.0
start              0.50 s     <= 1 s  ok

Medians of 3 runs of 3 s each, alternating, 2 processors, data in /var/tmp."
    );
}

#[test]
fn json_has_every_value_and_the_verdict() {
    let value = serde_json::to_value(report()).unwrap();
    let write = &value["comparisons"][0];
    assert_eq!(write["ratio"], 0.75);
    assert_eq!(write["figure"], "bytes_per_second");
    assert_eq!(write["goal"]["at_least"], 0.7);
    assert_eq!(write["reached"], true);
    assert_eq!(write["measured_rounds"], serde_json::json!([9e8, 8e8, 9.5e8]));
    assert_eq!(value["comparisons"][1]["goal"]["at_most"], 1.35);
    assert_eq!(value["comparisons"][1]["reached"], false);
    assert_eq!(value["footprints"][0]["reached"], false);
    assert_eq!(value["footprints"][0]["details"]["p50_us"], 1234.5);
}

#[test]
fn a_ratio_to_nothing_is_no_ratio() {
    for against in [Some(0.0), None] {
        let sides = ([speed_of(1e9, Some(0.5))], [speed_of(1e9, against)]);
        let turned = (sides.1, sides.0);
        let cpu = row("CPU", Figure::CpuPerGb, Goal::AtMost(1.35));
        let done = ComparedRow::new(cpu, &sides.0, &sides.1).unwrap();
        assert_eq!((done.ratio, done.reached), (None, false));
        let cpu = row("CPU", Figure::CpuPerGb, Goal::AtMost(1.35));
        let done = ComparedRow::new(cpu, &turned.0, &turned.1).unwrap();
        assert_eq!(
            (done.ratio, done.reached),
            (None, false),
            "too little to be measured is not free"
        );
        let speed = row("write", Figure::BytesPerSecond, Goal::AtLeast(1.0));
        let done = ComparedRow::new(speed, &sides.0, &sides.1).unwrap();
        assert_eq!((done.ratio, done.reached), (Some(1.0), true));
    }
    let cpu = row("CPU", Figure::CpuPerGb, Goal::AtMost(1.35));
    assert!(ComparedRow::new(cpu, &[], &[]).is_none());
}
