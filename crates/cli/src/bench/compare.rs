//! Runs the plan: each side in turn, round after round, and takes medians.

use std::path::PathBuf;
use std::time::Duration;

use crate::bench::footprints;
use crate::bench::measurement::Measurement;
use crate::bench::plan::{self, Comparison, Run};
use crate::bench::process::FreshServer;
use crate::bench::report::{ComparedRow, Conditions};
use crate::bench::runs::Runner;
use crate::bench::scratch;
use crate::bench::steady;
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;
use crate::output::Output;

pub(crate) use crate::bench::report::Report;

/// How to run it.
#[derive(Debug)]
pub(crate) struct Options {
    /// Time counted in each run.
    pub(crate) counted: Duration,
    /// Runs of each side.
    pub(crate) rounds: u32,
    /// Where the data goes.
    pub(crate) dir: PathBuf,
    /// Only rows whose name contains this.
    pub(crate) only: Option<String>,
    /// Where remarks go.
    pub(crate) output: Output,
}

impl Options {
    /// Whether the row of this name was asked for.
    pub(crate) fn wants(&self, what: &str) -> bool {
        self.only.as_ref().is_none_or(|part| what.contains(part))
    }

    /// Says that the row of this name comes next.
    pub(crate) fn announce(&self, what: &str) {
        self.output.remark(&format!("running: {what}"));
    }
}

/// Runs everything that was asked for.
pub(crate) fn run(options: &Options) -> Outcome<Report> {
    let stop = StopFlag::watch()?;
    if scratch::is_in_memory(&options.dir) {
        options.output.remark(&format!(
            "warning: {} is in memory, where a sync costs nothing; use --dir with a disk",
            options.dir.display()
        ));
    }
    let runner = Runner { dir: &options.dir, counted: options.counted, stop: &stop };
    let mut comparisons = Vec::new();
    for group in plan::groups() {
        let rows: Vec<_> = group.into_iter().filter(|row| options.wants(&row.what)).collect();
        comparisons.extend(compare(options, runner, rows)?);
    }
    let mut footprints = steady::measure(options, runner)?;
    footprints.extend(footprints::measure(options, runner)?);
    if let (Some(part), true, true) = (&options.only, comparisons.is_empty(), footprints.is_empty())
    {
        return Err(Failure::usage(format!("no row has `{part}` in its name")).hint(
            "the rows are listed in docs/cli.md, and galgo bench compare without --only runs all",
        ));
    }
    Ok(Report {
        conditions: Conditions {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            seconds: options.counted.as_secs_f64(),
            rounds: options.rounds,
            dir: options.dir.display().to_string(),
            version: env!("CARGO_PKG_VERSION"),
        },
        comparisons,
        footprints,
    })
}

/// A run of a group, and what it gave so far.
#[derive(Debug)]
struct Taken {
    run: Run,
    measured: Vec<Measurement>,
    kept: Option<FreshServer>,
}

/// Alternates the runs, so that a machine that gets slower or faster does so for all of them.
fn compare(
    options: &Options,
    runner: Runner<'_>,
    rows: Vec<Comparison>,
) -> Outcome<Vec<ComparedRow>> {
    let mut runs: Vec<Taken> = Vec::new();
    for row in &rows {
        options.announce(&row.what);
        for run in [row.measured, row.against] {
            if runs.iter().all(|known| known.run != run) {
                runs.push(Taken { run, measured: Vec::new(), kept: None });
            }
        }
    }
    for _ in 0..options.rounds {
        for Taken { run, measured, kept } in &mut runs {
            measured.push(runner.run(*run, kept)?);
        }
    }
    let of = |wanted: Run| {
        let found = runs.iter().find(|taken| taken.run == wanted);
        found.map_or(&[][..], |taken| &taken.measured)
    };
    let row = |row: Comparison| {
        let (measured, against) = (of(row.measured), of(row.against));
        ComparedRow::new(row, measured, against).ok_or_else(|| Failure::usage("no rounds to run"))
    };
    rows.into_iter().map(row).collect()
}
