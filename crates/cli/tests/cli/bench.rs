//! `galgo bench compare`, as short as it can be.

use crate::harness::{galgo, run};

#[test]
fn a_comparison_prints_ratios_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = galgo();
    command.args(["--output", "json", "bench", "compare", "--seconds", "0.1", "--rounds", "1"]);
    command.args(["--only", "1 producer", "--dir"]).arg(dir.path());
    let report = run(command).ok().json();
    let rows = report["comparisons"].as_array().unwrap();
    let figures: Vec<_> = rows.iter().map(|row| row["figure"].as_str().unwrap()).collect();
    assert_eq!(figures, ["bytes_per_second", "cpu_per_gb"]);
    assert!(rows[0]["ratio"].as_f64().unwrap() > 0.0);
    assert_eq!(rows[0]["goal"]["at_least"], 0.85);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn reads_are_compared_with_sendfile() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = galgo();
    command.args(["bench", "compare", "--seconds", "0.1", "--rounds", "1", "--only", "read"]);
    command.arg("--dir").arg(dir.path());
    let report = run(command).ok();
    assert!(report.out.contains("read 1 MB, 2 consumers / bare sendfile"), "{}", report.out);
}

#[test]
fn more_requests_in_flight_are_compared_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = galgo();
    command.args(["--output", "json", "bench", "compare", "--seconds", "0.1", "--rounds", "1"]);
    command.args(["--only", "in flight", "--dir"]).arg(dir.path());
    let report = run(command).ok().json();
    let row = &report["comparisons"][0];
    assert_eq!(row["goal"]["at_least"], 10.0);
    for side in ["measured", "against"] {
        assert!(row[side]["requests_per_second"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn the_way_to_a_reader_is_compared_with_an_echo() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = galgo();
    command.args(["--output", "json", "bench", "compare", "--seconds", "0.2", "--rounds", "1"]);
    command.args(["--only", "end to end", "--dir"]).arg(dir.path());
    let report = run(command).ok().json();
    let row = &report["comparisons"][0];
    assert_eq!(row["goal"]["at_most"], 3.0);
    for side in ["measured", "against"] {
        assert!(row[side]["p99_us"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn a_running_server_is_held_to_its_latencies_and_its_memory() {
    for (only, unit) in [("p99.9", "times"), ("100 B requests", "MiB")] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = galgo();
        command.args(["--output", "json", "bench", "compare", "--seconds", "0.5", "--rounds", "1"]);
        command.args(["--only", only, "--dir"]).arg(dir.path());
        let report = run(command).ok().json();
        let rows = report["footprints"].as_array().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["unit"], unit);
        assert!(rows[0]["value"].as_f64().unwrap() > 0.0, "{rows:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
