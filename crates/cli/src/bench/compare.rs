//! Runs the plan: each side in turn, round after round, and takes medians.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bench::frame;
use crate::bench::measurement::{Measurement, Sample, median};
use crate::bench::plan::{self, Batch, Comparison, Load, PRELOADED_REQUESTS, Side};
use crate::bench::process::{FreshServer, Process};
use crate::bench::report::{ComparedRow, Conditions, FootprintRow};
use crate::bench::scratch::{self, Scratch};
use crate::bench::source;
use crate::bench::worker::{self, Clock, Connection, Share, Work};
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;
use crate::output::Output;

pub(crate) use crate::bench::report::Report;

/// Part of the counted time that is run before counting starts.
const WARM_UP_PART: f64 = 0.2;

/// Topics and partitions in each, for the rows about many partitions.
const MANY_TOPICS: u32 = 10;
const MANY_PARTITIONS: u32 = 1000;

/// Time a server is left alone before its memory is read.
const IDLE_TIME: Duration = Duration::from_secs(1);

const MIB: f64 = 1024.0 * 1024.0;

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

/// Runs everything that was asked for.
pub(crate) fn run(options: &Options) -> Outcome<Report> {
    let stop = StopFlag::watch()?;
    if scratch::is_in_memory(&options.dir) {
        options.output.remark(&format!(
            "warning: {} is in memory, where a sync costs nothing; use --dir with a disk",
            options.dir.display()
        ));
    }
    let bench = Bench { options, stop };
    let mut comparisons = Vec::new();
    for row in plan::comparisons().into_iter().filter(|row| bench.wants(&row.what)) {
        options.output.remark(&format!("running: {}", row.what));
        comparisons.push(bench.compare(row)?);
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
        footprints: bench.footprints()?,
    })
}

struct Bench<'a> {
    options: &'a Options,
    stop: StopFlag,
}

impl Bench<'_> {
    fn wants(&self, what: &str) -> bool {
        self.options.only.as_ref().is_none_or(|part| what.contains(part))
    }

    /// Alternates the sides, so that a machine that gets slower or faster does so for both.
    fn compare(&self, row: Comparison) -> Outcome<ComparedRow> {
        let (mut measured, mut against) = (Vec::new(), Vec::new());
        for _ in 0..self.options.rounds {
            measured.push(self.run_side(row.measured, row.load)?);
            against.push(self.run_side(row.against, row.load)?);
        }
        let median = |runs: &[Measurement]| {
            Measurement::median(runs).ok_or_else(|| Failure::usage("no rounds to run"))
        };
        let sides = (median(&measured)?, median(&against)?);
        Ok(ComparedRow::new(row.what, row.unit, sides, row.goal))
    }

    fn run_side(&self, side: Side, load: Load) -> Outcome<Measurement> {
        self.stop.check()?;
        match side {
            Side::Server(durability) => self.run_server(durability, load),
            Side::Sink { sync } => self.run_sink(sync, load),
            Side::Source => self.run_source(load),
        }
    }

    fn run_server(&self, durability: &str, load: Load) -> Outcome<Measurement> {
        let server = FreshServer::start(&self.options.dir, durability)?;
        let address = server.process.address;
        let mut control = Connection::open(address)?;
        control.call(&frame::login()?)?;
        control.call(&frame::create_stream()?)?;
        let shares = match load {
            Load::Produce { producers, partitions, batch } => {
                control.call(&frame::create_topic("load", partitions)?)?;
                let open = |producer: u32| {
                    let request = frame::send("load", producer % partitions, batch)?;
                    share(server_connection(&server.process)?, vec![request], 0)
                };
                (0..producers).map(open).collect::<Outcome<Vec<Share>>>()?
            }
            Load::Consume { consumers, batch } => {
                control.call(&frame::create_topic("load", consumers)?)?;
                let open = |consumer: u32| {
                    let request = frame::send("load", consumer, batch)?;
                    for _ in 0..PRELOADED_REQUESTS {
                        control.call(&request)?;
                    }
                    let frames = (0..PRELOADED_REQUESTS)
                        .map(|part| frame::poll("load", consumer, part * batch.messages, batch))
                        .collect::<Outcome<Vec<_>>>()?;
                    share(server_connection(&server.process)?, frames, consumer as usize)
                };
                (0..consumers).map(open).collect::<Outcome<Vec<Share>>>()?
            }
        };
        self.measure(&server.process, shares, load.batch())
    }

    fn run_sink(&self, sync: bool, load: Load) -> Outcome<Measurement> {
        let Load::Produce { producers, batch, .. } = load else {
            return Err(Failure::usage("the sink takes writes only"));
        };
        let scratch = Scratch::create(&self.options.dir)?;
        let dir = scratch.path().to_string_lossy().into_owned();
        let mut arguments = vec!["bench", "sink", "--dir", &dir];
        if sync {
            arguments.push("--fsync");
        }
        let sink = Process::bare(&arguments)?;
        let open = |_| {
            let request = frame::send("load", 0, batch)?;
            share(Connection::open(sink.address)?, vec![request], 0)
        };
        let shares = (0..producers).map(open).collect::<Outcome<Vec<Share>>>()?;
        self.measure(&sink, shares, batch)
    }

    fn run_source(&self, load: Load) -> Outcome<Measurement> {
        let Load::Consume { consumers, batch } = load else {
            return Err(Failure::usage("the source takes reads only"));
        };
        let scratch = Scratch::create(&self.options.dir)?;
        let file = scratch.path().join("messages");
        let answer_bytes = frame::polled_bytes(batch);
        write_like_a_log(&file, answer_bytes, PRELOADED_REQUESTS)?;
        let file = file.to_string_lossy().into_owned();
        let source = Process::bare(&["bench", "sendfile-source", &file])?;
        let frames: Vec<_> = (0..u64::from(PRELOADED_REQUESTS))
            .map(|part| source::request(part * answer_bytes, answer_bytes).to_vec())
            .collect();
        let open = |consumer: u32| {
            share(Connection::open(source.address)?, frames.clone(), consumer as usize)
        };
        let shares = (0..consumers).map(open).collect::<Outcome<Vec<Share>>>()?;
        self.measure(&source, shares, batch)
    }

    fn measure(&self, process: &Process, shares: Vec<Share>, batch: Batch) -> Outcome<Measurement> {
        let counted = self.options.counted;
        let clock = Clock { warm_up: counted.mul_f64(WARM_UP_PART), counted };
        let before = process.cpu_time();
        let Work { latencies, requests } = worker::run(shares, clock, &self.stop)?;
        let spent = process.cpu_time().zip(before).map(|(after, before)| after.abs_diff(before));
        Ok(Measurement::of(&Sample {
            latencies: &latencies,
            elapsed: counted,
            bytes_per_request: batch.bytes(),
            cpu: spent.map(|time| (time, requests)),
        }))
    }

    /// Memory and start, empty and with many partitions.
    fn footprints(&self) -> Outcome<Vec<FootprintRow>> {
        let many = u64::from(MANY_TOPICS * MANY_PARTITIONS);
        let many = crate::output::measure::count(many);
        let idle = "resident memory, idle".to_owned();
        let resident = format!("resident memory, {many} empty partitions");
        let start = format!("start, {many} empty partitions");
        let mut rows = Vec::new();
        if self.wants(&idle) {
            self.options.output.remark(&format!("running: {idle}"));
            if let Some(value) = self.median_of(|| self.idle_memory())? {
                rows.push(FootprintRow::new(&idle, value, 30.0, "MiB"));
            }
        }
        if self.wants(&resident) || self.wants(&start) {
            self.options.output.remark(&format!("running: {resident}"));
            let (memory, seconds) = self.many_partitions()?;
            rows.extend(memory.map(|value| FootprintRow::new(&resident, value, 150.0, "MiB")));
            rows.push(FootprintRow::new(&start, seconds, 2.0, "s"));
        }
        Ok(rows)
    }

    fn median_of(&self, figure: impl Fn() -> Outcome<Option<f64>>) -> Outcome<Option<f64>> {
        let figures = (0..self.options.rounds).map(|_| figure()).collect::<Outcome<Vec<_>>>()?;
        Ok(median(figures.into_iter().flatten().collect()))
    }

    fn idle_memory(&self) -> Outcome<Option<f64>> {
        self.stop.check()?;
        let server = FreshServer::start(&self.options.dir, "fsync")?;
        std::thread::sleep(IDLE_TIME);
        Ok(server.process.resident_bytes().map(|bytes| bytes as f64 / MIB))
    }

    /// Memory in MiB and start in seconds of a server that finds many empty partitions.
    fn many_partitions(&self) -> Outcome<(Option<f64>, f64)> {
        self.stop.check()?;
        let scratch = Scratch::create(&self.options.dir)?;
        let data = scratch.path().join("data");
        let server = Process::server(&data, "fsync")?;
        let mut control = Connection::open(server.address)?;
        control.call(&frame::login()?)?;
        control.call(&frame::create_stream()?)?;
        for topic in 0..MANY_TOPICS {
            control.call(&frame::create_topic(&format!("topic-{topic}"), MANY_PARTITIONS)?)?;
        }
        drop(control);
        server.stop()?;
        let begun = Instant::now();
        let server = Process::server(&data, "fsync")?;
        let seconds = begun.elapsed().as_secs_f64();
        std::thread::sleep(IDLE_TIME);
        Ok((server.resident_bytes().map(|bytes| bytes as f64 / MIB), seconds))
    }
}

pub(crate) fn server_connection(server: &Process) -> Outcome<Connection> {
    let mut connection = Connection::open(server.address)?;
    connection.call(&frame::login()?)?;
    Ok(connection)
}

fn share(connection: Connection, frames: Vec<Vec<u8>>, number: usize) -> Outcome<Share> {
    // Readers begin at different places, as independent consumers would.
    let first = number * frames.len() / 2 % frames.len().max(1);
    Ok(Share { connection, frames: Arc::new(frames), first, pace: None })
}

/// Writes a file as a log gets written, one batch at a time: the sizes of the writes decide how large
/// the pieces are in which the page cache keeps a file, and by that what reading it costs.
fn write_like_a_log(path: &Path, batch_bytes: u64, batches: u32) -> Outcome {
    let failed = |error| Failure::io(format!("cannot write {}: {error}", path.display()));
    let mut file = File::create(path).map_err(failed)?;
    let batch = vec![0; usize::try_from(batch_bytes).unwrap_or_default()];
    for _ in 0..batches {
        file.write_all(&batch).map_err(failed)?;
    }
    Ok(())
}
