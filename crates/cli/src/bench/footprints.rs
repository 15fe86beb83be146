//! Figures of one side: memory and start, empty and with many partitions.

use std::time::{Duration, Instant};

use crate::bench::compare::Options;
use crate::bench::measurement::median;
use crate::bench::plan::MANY_PARTITIONS;
use crate::bench::process::{FreshServer, Process};
use crate::bench::report::FootprintRow;
use crate::bench::runs::{self, Runner};
use crate::bench::scratch::Scratch;
use crate::failure::Outcome;

/// Time a server is left alone before its memory is read.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// Most a server without data or clients may hold.
const IDLE_MIB_MAX: f64 = 30.0;

const MIB: f64 = 1024.0 * 1024.0;

/// The rows that were asked for, in order.
pub(crate) fn measure(options: &Options, runner: Runner<'_>) -> Outcome<Vec<FootprintRow>> {
    let mut rows = Vec::new();
    rows.extend(idle_memory(options, runner)?);
    rows.extend(many_partitions(options, runner)?);
    Ok(rows)
}

/// Memory of a server without data or clients.
fn idle_memory(options: &Options, runner: Runner<'_>) -> Outcome<Option<FootprintRow>> {
    let what = "resident memory, idle";
    if !options.wants(what) {
        return Ok(None);
    }
    options.announce(what);
    let figure = || {
        let server = FreshServer::start(runner.dir, "fsync")?;
        Ok(idle_mib(&server.process))
    };
    let value = median_of(options, runner, figure)?;
    Ok(value.map(|value| FootprintRow::new(what, value, IDLE_MIB_MAX, "MiB")))
}

/// Memory and start of a server with many partitions that hold nothing.
fn many_partitions(options: &Options, runner: Runner<'_>) -> Outcome<Vec<FootprintRow>> {
    let memory = "resident memory, 10,000 empty partitions";
    let start = "start, 10,000 empty partitions";
    if !options.wants(memory) && !options.wants(start) {
        return Ok(Vec::new());
    }
    options.announce(memory);
    runner.stop.check()?;
    let scratch = Scratch::create(runner.dir)?;
    let data = scratch.path().join("data");
    let server = Process::server(&data, "fsync")?;
    drop(runs::create_partitions(&server, MANY_PARTITIONS)?);
    server.stop()?;
    let begun = Instant::now();
    let server = Process::server(&data, "fsync")?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut rows = vec![FootprintRow::new(start, seconds, 2.0, "s")];
    rows.extend(idle_mib(&server).map(|value| FootprintRow::new(memory, value, 100.0, "MiB")));
    Ok(rows)
}

fn median_of(
    options: &Options,
    runner: Runner<'_>,
    figure: impl Fn() -> Outcome<Option<f64>>,
) -> Outcome<Option<f64>> {
    let mut figures = Vec::new();
    for _ in 0..options.rounds {
        runner.stop.check()?;
        figures.extend(figure()?);
    }
    Ok(median(figures))
}

/// Memory of a server that has been left alone for a moment, where the system tells.
fn idle_mib(server: &Process) -> Option<f64> {
    std::thread::sleep(IDLE_TIME);
    server.resident_bytes().map(|bytes| bytes as f64 / MIB)
}
