//! The judge as it is run, as short as it can be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// The program `galgo` of the same build; a test of the whole workspace has built it, one of this package has not.
fn galgo() -> &'static Path {
    static GALGO: OnceLock<PathBuf> = OnceLock::new();
    GALGO.get_or_init(|| {
        let galgo = Path::new(env!("CARGO_BIN_EXE_galgo-judge")).with_file_name("galgo");
        if !galgo.is_file() {
            let built = Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--package", "galgo-cli"])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status();
            assert!(built.unwrap().success(), "galgo is not there and cannot be built");
        }
        galgo
    })
}

fn judge(line: &str, dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galgo-judge"));
    command.args(line.split_whitespace()).arg("--galgo").arg(galgo()).arg("--dir").arg(dir);
    command.output().unwrap()
}

/// Runs it in a directory of its own, which it leaves as it was.
#[track_caller]
fn judged(line: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let done = judge(line, dir.path());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    String::from_utf8(done.stdout).unwrap()
}

/// The rows whose names contain a text.
#[track_caller]
fn compared(only: &str, seconds: f64) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_galgo-judge"));
    command.args(["compare", "--output", "json", "--rounds", "1", "--only", only, "--galgo"]);
    command.arg(galgo()).arg("--dir").arg(dir.path());
    let done = command.args(["--seconds", &seconds.to_string()]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn a_comparison_prints_ratios_and_leaves_nothing_behind() {
    let report = compared("1 producer", 0.1);
    let rows = report["comparisons"].as_array().unwrap();
    let figures: Vec<_> = rows.iter().map(|row| row["figure"].as_str().unwrap()).collect();
    assert_eq!(figures, ["bytes_per_second", "cpu_per_gb"]);
    assert!(rows[0]["ratio"].as_f64().unwrap() > 0.0);
    assert_eq!(rows[0]["goal"]["at_least"], 0.85);
}

#[test]
fn reads_are_compared_with_sendfile() {
    let shown = judged("compare --seconds 0.1 --rounds 1 --only read");
    assert!(shown.contains("read 1 MB, 2 consumers / bare sendfile"), "{shown}");
}

#[test]
fn more_requests_in_flight_are_compared_with_one() {
    let report = compared("in flight", 0.1);
    let row = &report["comparisons"][0];
    assert_eq!(row["goal"]["at_least"], 10.0);
    for side in ["measured", "against"] {
        assert!(row[side]["requests_per_second"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn the_way_to_a_reader_is_compared_with_an_echo() {
    let report = compared("end to end", 0.2);
    let row = &report["comparisons"][0];
    assert_eq!(row["goal"]["at_most"], 3.0);
    for side in ["measured", "against"] {
        assert!(row[side]["p99_us"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn a_running_server_is_held_to_its_latencies_and_its_memory() {
    for (only, unit) in [("p99.9", "times"), ("100 B requests", "MiB")] {
        let report = compared(only, 0.5);
        let rows = report["footprints"].as_array().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["unit"], unit);
        assert!(rows[0]["value"].as_f64().unwrap() > 0.0, "{rows:?}");
    }
}

#[test]
fn an_idle_server_is_held_to_its_memory() {
    let report = compared("resident memory, idle", 0.1);
    assert_eq!(report["footprints"][0]["limit"], 30.0);
    assert!(report["footprints"][0]["value"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn connections_are_held_to_what_they_cost() {
    let shown = judged("connections --output json --idle 20 --rate 200 --seconds 0.3 --rounds 1");
    let report: Value = serde_json::from_str(&shown).unwrap();
    let units: Vec<_> =
        report["figures"].as_array().unwrap().iter().map(|row| &row["unit"]).collect();
    assert_eq!(units, ["KiB", "times"]);
    assert_eq!(report["rate"], 200);
}

#[test]
fn a_row_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let done = judge("compare --only nonsense --rounds 1", dir.path());
    assert!(!done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("no row has `nonsense` in its name"));
}
