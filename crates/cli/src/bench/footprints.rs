//! Figures of a server that is left alone: memory and start, empty, with many partitions, with many segments.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::bench::compare::Options;
use crate::bench::measurement::median;
use crate::bench::plan::{Batch, MANY_PARTITIONS, MANY_PRODUCERS, SMALL};
use crate::bench::process::{FreshServer, Process};
use crate::bench::report::FootprintRow;
use crate::bench::runs::{self, Runner};
use crate::bench::scratch::Scratch;
use crate::bench::worker;
use crate::failure::Outcome;

/// Time a server is left alone before its memory is read.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// Most a server without data or clients may hold.
const IDLE_MIB_MAX: f64 = 30.0;

const MIB: f64 = 1024.0 * 1024.0;

/// Most memory and time with many partitions that never held a message.
const EMPTY_LIMITS: Limits = Limits { mib: 100.0, start_seconds: 2.0 };

/// The same when there are messages.
const FILLED_LIMITS: Limits = Limits { mib: 100.0, start_seconds: 1.0 };

/// Segments in each partition of the row about many segments.
const SEGMENTS_EACH: u32 = 1000;

/// Partitions of that row.
const SEGMENT_PARTITIONS: u32 = 10;

/// A size of segments that one message fills, so that ten thousand of them are small.
const SMALL_SEGMENTS: [(&str, &str); 1] = [("GALGO_STORAGE_SEGMENT_BYTES", "4 KiB")];

/// The message that does.
const SEGMENT_FILLER: Batch = Batch { messages: 1, message_bytes: 4096 };

/// What a server with much to keep may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    mib: f64,
    start_seconds: f64,
}

/// The rows that were asked for, in order.
pub(crate) fn measure(options: &Options, runner: Runner<'_>) -> Outcome<Vec<FootprintRow>> {
    let mut rows = Vec::new();
    rows.extend(idle_memory(options, runner)?);
    rows.extend(empty_partitions(options, runner)?);
    rows.extend(idle_partitions(options, runner)?);
    rows.extend(many_segments(options, runner)?);
    Ok(rows)
}

/// Memory of a server without data or clients.
fn idle_memory(options: &Options, runner: Runner<'_>) -> Outcome<Option<FootprintRow>> {
    let what = "resident memory, idle";
    if !options.wants(what) {
        return Ok(None);
    }
    options.announce(what);
    let mut figures = Vec::new();
    for _ in 0..options.rounds {
        runner.stop.check()?;
        let server = FreshServer::start(runner.dir, "fsync")?;
        figures.extend(idle_mib(&server.process));
    }
    Ok(median(figures).map(|value| FootprintRow::new(what, value, IDLE_MIB_MAX, "MiB")))
}

/// Partitions that never held a message.
fn empty_partitions(options: &Options, runner: Runner<'_>) -> Outcome<Vec<FootprintRow>> {
    let memory = "resident memory, 10,000 empty partitions";
    let start = "start, 10,000 empty partitions";
    if !options.announce_any(&[memory, start]) {
        return Ok(Vec::new());
    }
    let kept = Kept::create(runner, &[])?;
    let server = kept.start()?;
    drop(runs::create_partitions(&server, MANY_PARTITIONS)?);
    server.stop()?;
    let rows = kept.rows(options, runner, (memory, start), EMPTY_LIMITS)?;
    Ok(rows.into_iter().flatten().collect())
}

/// Partitions of one message each, of one segment therefore, that nobody uses any more.
fn idle_partitions(options: &Options, runner: Runner<'_>) -> Outcome<Vec<FootprintRow>> {
    let memory = "resident memory, 10,000 idle partitions of a message each";
    let start = "start, 10,000 partitions of a segment each";
    if !options.announce_any(&[memory, start]) {
        return Ok(Vec::new());
    }
    let kept = Kept::create(runner, &[])?;
    let server = kept.start()?;
    drop(runs::create_partitions(&server, MANY_PARTITIONS)?);
    let mut producers = runs::producers_of(&server, MANY_PRODUCERS, MANY_PARTITIONS, SMALL)?;
    worker::run_once(&mut producers)?;
    drop(producers);
    let before = idle_mib(&server);
    server.stop()?;
    let [mut memory, start] = kept.rows(options, runner, (memory, start), FILLED_LIMITS)?;
    if let Some(row) = &mut memory {
        row.details.extend(before.map(|mib| ("mib_before_the_restart", mib)));
    }
    Ok(memory.into_iter().chain(start).collect())
}

/// Segments, many in each of a few partitions.
fn many_segments(options: &Options, runner: Runner<'_>) -> Outcome<Vec<FootprintRow>> {
    let memory = "resident memory, 10,000 segments of 10 partitions";
    let start = "start, 10,000 segments of 10 partitions";
    if !options.announce_any(&[memory, start]) {
        return Ok(Vec::new());
    }
    let kept = Kept::create(runner, &SMALL_SEGMENTS)?;
    let server = kept.start()?;
    drop(runs::create_partitions(&server, SEGMENT_PARTITIONS)?);
    let (partitions, filler) = (SEGMENT_PARTITIONS, SEGMENT_FILLER);
    let mut producers = runs::producers_of(&server, partitions, partitions, filler)?;
    for _ in 0..SEGMENTS_EACH {
        runner.stop.check()?;
        worker::run_once(&mut producers)?;
    }
    drop(producers);
    server.stop()?;
    let segments = kept.segments() as f64;
    let mut rows = kept.rows(options, runner, (memory, start), FILLED_LIMITS)?;
    for row in rows.iter_mut().flatten() {
        row.details.extend([("segments", segments)]);
    }
    Ok(rows.into_iter().flatten().collect())
}

impl Options {
    /// Whether a row of these was asked for; if so, says that they come next.
    fn announce_any(&self, rows: &[&str]) -> bool {
        let wanted: Vec<_> = rows.iter().filter(|row| self.wants(row)).collect();
        wanted.iter().for_each(|row| self.announce(row));
        !wanted.is_empty()
    }
}

/// Data that a server is started over again and again.
#[derive(Debug)]
struct Kept<'a> {
    data: PathBuf,
    settings: &'a [(&'a str, &'a str)],
    _scratch: Scratch,
}

impl<'a> Kept<'a> {
    fn create(runner: Runner<'_>, settings: &'a [(&'a str, &'a str)]) -> Outcome<Self> {
        runner.stop.check()?;
        let scratch = Scratch::create(runner.dir)?;
        Ok(Self { data: scratch.path().join("data"), settings, _scratch: scratch })
    }

    fn start(&self) -> Outcome<Process> {
        Process::server_with(&self.data, "fsync", self.settings)
    }

    /// Memory and start over several starts, as the rows of these two names.
    fn rows(
        &self,
        options: &Options,
        runner: Runner<'_>,
        (memory, start): (&str, &str),
        limits: Limits,
    ) -> Outcome<[Option<FootprintRow>; 2]> {
        let (mut sizes, mut times) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            runner.stop.check()?;
            let begun = Instant::now();
            let server = self.start()?;
            times.push(begun.elapsed().as_secs_f64());
            sizes.extend(idle_mib(&server));
            server.stop()?;
        }
        let row = |what: &str, values, limit, unit| {
            let value = median(values).filter(|_| options.wants(what));
            value.map(|value| FootprintRow::new(what, value, limit, unit))
        };
        Ok([row(memory, sizes, limits.mib, "MiB"), row(start, times, limits.start_seconds, "s")])
    }

    /// Segment files that there are.
    fn segments(&self) -> usize {
        let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
        let is_segment = |path: PathBuf| path.extension().is_some_and(|name| name == "log");
        entries(&self.data.join("partitions"))
            .flat_map(|partition| entries(&partition.path()))
            .filter(|file| is_segment(file.path()))
            .count()
    }
}

/// Memory of a server that has been left alone for a moment, where the system tells.
fn idle_mib(server: &Process) -> Option<f64> {
    std::thread::sleep(IDLE_TIME);
    server.resident_bytes().map(|bytes| bytes as f64 / MIB)
}
