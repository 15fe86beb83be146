//! Figures of a server that is left alone: memory and start, empty, with many partitions, with many segments.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use galgo::Durability;
use galgo_bench::Outcome;
use galgo_bench::process::{OnePort, Process, ProcessOptions};
use galgo_bench::scratch::Scratch;

use crate::measurement::median;
use crate::report::FootprintRow;
use crate::rows::{MANY_PARTITIONS, MANY_PRODUCERS, RequestSize, SMALL, WantedRows, produce};
use crate::runner::Runner;

/// Time a server is left alone before its memory is read.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// Most a server without data or clients may hold.
pub(crate) const IDLE_MIB_MAX: f64 = 30.0;

const MIB: f64 = 1024.0 * 1024.0;

/// Most memory and time with many partitions that never held a message.
const EMPTY_LIMITS: FootprintLimits = FootprintLimits { mib: 100.0, start_seconds: 2.0 };

/// The same when there are messages.
const FILLED_LIMITS: FootprintLimits = FootprintLimits { mib: 100.0, start_seconds: 1.0 };
const _: () = assert!(
    EMPTY_LIMITS.mib > IDLE_MIB_MAX && FILLED_LIMITS.mib > IDLE_MIB_MAX,
    "a server with many partitions may hold more than one without any"
);

/// Segments in each partition of the row about many segments.
const SEGMENTS_EACH: u32 = 1000;

/// Partitions of that row.
const SEGMENT_PARTITIONS: u32 = 10;
const _: () = assert!(
    SEGMENTS_EACH * SEGMENT_PARTITIONS == 10_000 && MANY_PARTITIONS == 10_000,
    "rows say in their names of how many they are"
);

/// A size of segments that one message fills, so that ten thousand of them are small.
const SMALL_SEGMENTS: [(&str, &str); 1] = [("GALGO_STORAGE_SEGMENT_BYTES", "4 KiB")];

/// The message that does.
const SEGMENT_FILLER: RequestSize = RequestSize { messages: 1, message_bytes: 4096 };

/// What a server with much to keep may take.
#[derive(Clone, Copy, Debug)]
struct FootprintLimits {
    mib: f64,
    start_seconds: f64,
}

/// The names of two rows: of memory, and of the start.
#[derive(Clone, Copy, Debug)]
struct RowNames {
    memory: &'static str,
    start: &'static str,
}

impl RowNames {
    /// Whether one of them was asked for; if so, says that they come next.
    fn announced(self, runner: &Runner, wanted: WantedRows<'_>) -> bool {
        let asked: Vec<_> =
            [self.memory, self.start].into_iter().filter(|row| wanted.has(row)).collect();
        asked.iter().for_each(|row| runner.announce(row));
        !asked.is_empty()
    }
}

/// The rows that were asked for, in order.
pub(crate) fn measure(runner: &Runner, wanted: WantedRows<'_>) -> Outcome<Vec<FootprintRow>> {
    let mut rows = Vec::new();
    rows.extend(idle_memory(runner, wanted)?);
    rows.extend(empty_partitions(runner, wanted)?);
    rows.extend(idle_partitions(runner, wanted)?);
    rows.extend(many_segments(runner, wanted)?);
    // Memory and start come from the same runs, and only one may have been asked for.
    rows.retain(|row| wanted.has(&row.what));
    Ok(rows)
}

/// Memory of a server without data or clients.
fn idle_memory(runner: &Runner, wanted: WantedRows<'_>) -> Outcome<Option<FootprintRow>> {
    let what = "resident memory, idle";
    if !wanted.has(what) {
        return Ok(None);
    }
    runner.announce(what);
    let figures = runner.each_round(|| Ok(idle_mib(&KeptData::create(runner, &[])?.start()?)))?;
    Ok(median(figures).map(|value| FootprintRow::new(what, value, IDLE_MIB_MAX, "MiB")))
}

/// Partitions that never held a message.
fn empty_partitions(runner: &Runner, wanted: WantedRows<'_>) -> Outcome<Vec<FootprintRow>> {
    let names = RowNames {
        memory: "resident memory, 10,000 empty partitions",
        start: "start, 10,000 empty partitions",
    };
    if !names.announced(runner, wanted) {
        return Ok(Vec::new());
    }
    let kept = KeptData::create(runner, &[])?;
    let server = kept.start()?;
    runner.prepare_process(&server, &produce(MANY_PRODUCERS, MANY_PARTITIONS, SMALL))?;
    server.stop()?;
    kept.rows(names, EMPTY_LIMITS)
}

/// Partitions of one message each, of one segment therefore, that nobody uses any more.
fn idle_partitions(runner: &Runner, wanted: WantedRows<'_>) -> Outcome<Vec<FootprintRow>> {
    let names = RowNames {
        memory: "resident memory, 10,000 idle partitions of a message each",
        start: "start, 10,000 partitions of a segment each",
    };
    if !names.announced(runner, wanted) {
        return Ok(Vec::new());
    }
    let kept = KeptData::create(runner, &[])?;
    let server = kept.start()?;
    let plan = produce(MANY_PRODUCERS, MANY_PARTITIONS, SMALL);
    runner.prepare_process(&server, &plan)?.fill(runner, &plan, 1)?;
    let before = idle_mib(&server);
    server.stop()?;
    let mut rows = kept.rows(names, FILLED_LIMITS)?;
    if let Some(row) = rows.iter_mut().find(|row| row.what == names.memory) {
        row.details.extend(before.map(|mib| ("mib_before_the_restart", mib)));
    }
    Ok(rows)
}

/// Segments, many in each of a few partitions.
fn many_segments(runner: &Runner, wanted: WantedRows<'_>) -> Outcome<Vec<FootprintRow>> {
    let names = RowNames {
        memory: "resident memory, 10,000 segments of 10 partitions",
        start: "start, 10,000 segments of 10 partitions",
    };
    if !names.announced(runner, wanted) {
        return Ok(Vec::new());
    }
    let kept = KeptData::create(runner, &SMALL_SEGMENTS)?;
    let server = kept.start()?;
    let plan = produce(SEGMENT_PARTITIONS, SEGMENT_PARTITIONS, SEGMENT_FILLER);
    runner.prepare_process(&server, &plan)?.fill(runner, &plan, SEGMENTS_EACH)?;
    server.stop()?;
    let segments = kept.segments() as f64;
    let mut rows = kept.rows(names, FILLED_LIMITS)?;
    for row in &mut rows {
        row.details.extend([("segments", segments)]);
    }
    Ok(rows)
}

/// Data that a server is started over again and again.
#[derive(Debug)]
struct KeptData<'a> {
    data: PathBuf,
    settings: &'a [(&'a str, &'a str)],
    runner: &'a Runner,
    _scratch: Scratch,
}

impl<'a> KeptData<'a> {
    fn create(runner: &'a Runner, settings: &'a [(&'a str, &'a str)]) -> Outcome<Self> {
        runner.stop.check()?;
        let scratch = Scratch::create(&runner.dir)?;
        Ok(Self { data: scratch.path().join("data"), settings, runner, _scratch: scratch })
    }

    fn start(&self) -> Outcome<Process> {
        Process::server(&ProcessOptions {
            program: &self.runner.galgo,
            data_dir: &self.data,
            durability: Durability::Fsync,
            listener: OnePort::TCP,
            settings: self.settings,
        })
    }

    /// Memory and start over several starts.
    fn rows(&self, names: RowNames, limits: FootprintLimits) -> Outcome<Vec<FootprintRow>> {
        let mut times = Vec::new();
        let sizes = self.runner.each_round(|| {
            let begun = Instant::now();
            let server = self.start()?;
            times.push(begun.elapsed().as_secs_f64());
            let size = idle_mib(&server);
            server.stop()?;
            Ok(size)
        })?;
        let row = |what, values, limit, unit| {
            median(values).map(|value| FootprintRow::new(what, value, limit, unit))
        };
        let memory = row(names.memory, sizes, limits.mib, "MiB");
        let start = row(names.start, times, limits.start_seconds, "s");
        Ok(memory.into_iter().chain(start).collect())
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
