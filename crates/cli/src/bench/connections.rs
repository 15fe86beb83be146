//! What connections cost: memory when they are idle, latency when they are many.
//!
//! Latencies are those of an open loop: requests are due on a schedule and count from when they were due,
//! whether or not the answer before has come.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::bench::frame;
use crate::bench::measurement::median;
use crate::bench::plan::SMALL;
use crate::bench::process::FreshServer;
use crate::bench::report::{FootprintRow, render_footprints};
use crate::bench::runs::server_connection;
use crate::bench::worker::{self, Clock, Connection, Pace, Share};
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;
use crate::output::{Output, measure};

/// The two numbers of connections that are compared.
const FEW: u32 = 20;
const MANY: u32 = 200;

/// Most an idle connection may cost.
const IDLE_KIB_MAX: f64 = 32.0;

/// How much worse the latency over many connections may be than over few.
const RATIO_MAX: f64 = 3.0;

/// Part of the counted time that is run before counting starts.
const WARM_UP_PART: f64 = 0.2;

/// Time a server is left alone before its memory is read.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// How to run it.
#[derive(Debug)]
pub(crate) struct Options {
    /// Idle connections.
    pub(crate) idle: u32,
    /// Messages per second.
    pub(crate) rate: u32,
    /// Time counted in each run.
    pub(crate) counted: Duration,
    /// Runs of each side.
    pub(crate) rounds: u32,
    /// Where the data goes.
    pub(crate) dir: PathBuf,
    /// Where remarks go.
    pub(crate) output: Output,
}

/// The result.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Each figure against its limit.
    pub(crate) figures: Vec<FootprintRow>,
    /// Messages per second, all connections together.
    pub(crate) rate: u32,
    /// Runs of each side.
    pub(crate) rounds: u32,
    /// Seconds counted in each.
    pub(crate) seconds: f64,
}

impl Report {
    /// The report as a table and its conditions.
    pub(crate) fn render(&self) -> String {
        format!(
            "{}\n\nMedians of {} of {} s each, {} messages of 100 bytes per second, fsync.",
            render_footprints(&self.figures),
            measure::counted(u64::from(self.rounds), "run"),
            self.seconds,
            measure::count(u64::from(self.rate)),
        )
    }
}

/// Runs everything.
pub(crate) fn run(options: &Options) -> Outcome<Report> {
    let stop = StopFlag::watch()?;
    allow_open_files(u64::from(options.idle) + 100)?;
    let mut figures = Vec::new();
    let mut costs = Vec::new();
    for _ in 0..options.rounds {
        stop.check()?;
        options.output.remark(&format!("running: {} idle connections", options.idle));
        costs.extend(idle_cost(options)?);
    }
    if let Some(cost) = median(costs) {
        let what = format!("memory of an idle connection, {} open", options.idle);
        figures.push(FootprintRow::new(&what, cost, IDLE_KIB_MAX, "KiB"));
    }
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        few.push(paced(options, FEW, &stop)?);
        many.push(paced(options, MANY, &stop)?);
    }
    let none = || Failure::usage("no rounds to run");
    let (few, many) = (median(few).ok_or_else(none)?, median(many).ok_or_else(none)?);
    let ratio = many / few.max(1e-9);
    let what = format!("p99 over {MANY} connections ({many:.1} ms) / over {FEW} ({few:.1} ms)");
    figures.push(FootprintRow::new(&what, ratio, RATIO_MAX, "times"));
    Ok(Report {
        figures,
        rate: options.rate,
        rounds: options.rounds,
        seconds: options.counted.as_secs_f64(),
    })
}

/// Memory in KiB that one more idle connection takes.
fn idle_cost(options: &Options) -> Outcome<Option<f64>> {
    let server = FreshServer::start(&options.dir, "fsync")?;
    let ping = frame::ping()?;
    let mut used = server_connection(&server.process)?;
    std::thread::sleep(IDLE_TIME);
    let before = server.process.resident_bytes();
    let mut open = Vec::new();
    for _ in 0..options.idle {
        let mut connection = Connection::open(server.process.address)?;
        connection.call(&ping)?;
        open.push(connection);
    }
    used.call(&ping)?;
    std::thread::sleep(IDLE_TIME);
    let after = server.process.resident_bytes();
    let more = after.zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(more.map(|bytes| bytes as f64 / 1024.0 / f64::from(options.idle)))
}

/// The 99th percentile in milliseconds of sends over this many connections at the rate that was asked for.
fn paced(options: &Options, connections: u32, stop: &StopFlag) -> Outcome<f64> {
    stop.check()?;
    options.output.remark(&format!("running: {} over {connections} connections", options.rate));
    let server = FreshServer::start(&options.dir, "fsync")?;
    let mut control = server_connection(&server.process)?;
    control.call(&frame::create_stream()?)?;
    control.call(&frame::create_topic("load", FEW)?)?;
    let between = Duration::from_secs_f64(1.0 / f64::from(options.rate));
    let open = |number: u32| {
        let request = frame::send("load", number % FEW, SMALL)?;
        Ok(Share {
            connection: server_connection(&server.process)?,
            frames: Arc::new(vec![request]),
            first: 0,
            pace: Some(Pace { delay: between * number, interval: between * connections }),
        })
    };
    let shares = (0..connections).map(open).collect::<Outcome<Vec<Share>>>()?;
    let counted = options.counted;
    let clock = Clock { warm_up: counted.mul_f64(WARM_UP_PART), counted };
    let work = worker::run(shares, clock, stop)?;
    Ok(work.latencies.quantile(0.99).as_secs_f64() * 1e3)
}

/// Raises this process's own limit; a shell's default is often below what is opened here.
fn allow_open_files(wanted: u64) -> Outcome {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| {
        Failure::usage(format!("cannot open {wanted} files at once: {error}"))
            .hint("use --idle with a smaller number, or raise the limit (ulimit -n)".to_owned())
    })
}
