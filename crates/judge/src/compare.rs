//! Runs the rows: each side in turn, round after round, and takes medians.

use galgo_bench::{BenchError, Outcome, scratch};

use crate::footprints;
use crate::measurement::Measurement;
use crate::report::{CompareReport, ComparedRow, Conditions};
use crate::rows::{self, Comparison, SideRun, WantedRows};
use crate::runner::{Prepared, Runner};
use crate::steady;

/// Runs everything that was asked for: all rows, or those whose name contains `only`.
pub(crate) fn run(runner: &Runner, only: Option<&str>) -> Outcome<CompareReport> {
    let wanted = WantedRows { only };
    scratch::warn_of_memory(&runner.dir, &runner.say);
    let mut comparisons = Vec::new();
    for group in rows::groups() {
        let rows: Vec<_> = group.into_iter().filter(|row| wanted.has(&row.what)).collect();
        comparisons.extend(compare(runner, rows)?);
    }
    let mut footprints = steady::measure(runner, wanted)?;
    footprints.extend(footprints::measure(runner, wanted)?);
    if let (Some(part), true, true) = (only, comparisons.is_empty(), footprints.is_empty()) {
        return Err(BenchError::usage(format!("no row has `{part}` in its name")).hint(
            "the rows are listed in docs/performance.md, and compare without --only runs all",
        ));
    }
    Ok(CompareReport {
        conditions: Conditions {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            seconds: runner.counted.as_secs_f64(),
            rounds: runner.rounds,
            dir: runner.dir.display().to_string(),
            version: env!("CARGO_PKG_VERSION"),
        },
        comparisons,
        footprints,
    })
}

/// A run of a group, and what it gave so far.
#[derive(Debug)]
struct RunsTaken {
    run: SideRun,
    measured: Vec<Measurement>,
    kept: Option<Prepared>,
}

/// Alternates the runs, so that a machine that gets slower or faster does so for all of them.
fn compare(runner: &Runner, rows: Vec<Comparison>) -> Outcome<Vec<ComparedRow>> {
    let mut runs: Vec<RunsTaken> = Vec::new();
    for row in &rows {
        runner.announce(&row.what);
        for run in [&row.measured, &row.against] {
            if runs.iter().all(|known| known.run != *run) {
                runs.push(RunsTaken { run: run.clone(), measured: Vec::new(), kept: None });
            }
        }
    }
    for _ in 0..runner.rounds {
        for RunsTaken { run, measured, kept } in &mut runs {
            measured.push(runner.run(run, kept)?);
        }
    }
    let of = |wanted: &SideRun| {
        let found = runs.iter().find(|taken| taken.run == *wanted);
        let Some(taken) = found else {
            unreachable!("each side of a row was run");
        };
        taken.measured.as_slice()
    };
    let row = |row: Comparison| {
        let (measured, against) = (of(&row.measured), of(&row.against));
        ComparedRow::new(row, measured, against)
            .ok_or_else(|| BenchError::usage("no rounds to run"))
    };
    rows.into_iter().map(row).collect()
}
