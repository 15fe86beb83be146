//! What connections cost: memory when they are idle, latency when they are many.
//!
//! Latencies are those of an open loop: requests are due on a schedule and count from when they were due,
//! whether or not the answer before has come.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use galgo::Durability;
use galgo_bench::plan::{LoadKind, LoadPlan, Rate};
use galgo_bench::process::Process;
use galgo_bench::show::measure;
use galgo_bench::{BenchError, Outcome};
use galgo_wire::command::{Command as _, Ping};
use galgo_wire::frame::{ResponseHeader, put_request};
use galgo_wire::limits::RESPONSE_HEADER_BYTES;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::measurement::{Measurement, median};
use crate::report::{FootprintRow, render_footprints};
use crate::rows::{SMALL, produce};
use crate::runner::Runner;

/// The two numbers of connections that are compared.
const FEW: u32 = 20;
const MANY: u32 = 200;

/// Most an idle connection may cost.
const IDLE_KIB_MAX: f64 = 32.0;

/// How much worse the latency over many connections may be than over few.
const RATIO_MAX: f64 = 3.0;
const _: () = assert!(
    MANY as f64 / FEW as f64 > RATIO_MAX,
    "a latency that grows with the connections is told"
);

/// Time a server is left alone before its memory is read.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// Longest wait for the answer to a ping.
const PING_WAIT_MAX: Duration = Duration::from_secs(30);
const _: () = assert!(
    IDLE_TIME.as_secs() < PING_WAIT_MAX.as_secs(),
    "a server that was left alone is there to answer"
);

/// How many connections, and how much goes over them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionsOptions {
    /// Idle connections.
    pub(crate) idle: u32,
    /// Messages per second.
    pub(crate) rate: u32,
}

/// The result.
#[derive(Debug, Serialize)]
pub(crate) struct ConnectionsReport {
    /// Each figure against its limit.
    pub(crate) figures: Vec<FootprintRow>,
    /// Messages per second, all connections together.
    pub(crate) rate: u32,
    /// Runs of each side.
    pub(crate) rounds: u32,
    /// Seconds counted in each.
    pub(crate) seconds: f64,
}

impl ConnectionsReport {
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
pub(crate) fn run(runner: &Runner, options: ConnectionsOptions) -> Outcome<ConnectionsReport> {
    allow_open_files(u64::from(options.idle) + 100)?;
    let mut figures = Vec::new();
    let costs = runner.each_round(|| idle_cost(runner, options.idle))?;
    if let Some(cost) = median(costs) {
        let what = format!("memory of an idle connection, {} open", options.idle);
        figures.push(FootprintRow::new(&what, cost, IDLE_KIB_MAX, "KiB"));
    }
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..runner.rounds {
        few.push(paced(runner, options.rate, FEW)?);
        many.push(paced(runner, options.rate, MANY)?);
    }
    let none = || BenchError::usage("no rounds to run");
    let (few, many) = (median(few).ok_or_else(none)?, median(many).ok_or_else(none)?);
    let ratio = many / few.max(1e-9);
    let what = format!("p99 over {MANY} connections ({many:.1} ms) / over {FEW} ({few:.1} ms)");
    figures.push(FootprintRow::new(&what, ratio, RATIO_MAX, "times"));
    Ok(ConnectionsReport {
        figures,
        rate: options.rate,
        rounds: runner.rounds,
        seconds: runner.counted.as_secs_f64(),
    })
}

/// Memory in KiB that one more idle connection takes.
fn idle_cost(runner: &Runner, idle: u32) -> Outcome<Option<f64>> {
    runner.announce(&format!("{idle} idle connections"));
    let server = runner.server(Durability::Fsync, &LoadPlan::new(LoadKind::Produce))?;
    let address = server.of_process(|process| Some(process.address));
    let address = address.ok_or_else(|| BenchError::machine("the server has no process"))?;
    // What only the first connection costs is not that of one more.
    let first = pinged(address)?;
    std::thread::sleep(IDLE_TIME);
    let before = server.of_process(Process::resident_bytes);
    let open = (0..idle).map(|_| pinged(address)).collect::<Outcome<Vec<TcpStream>>>()?;
    std::thread::sleep(IDLE_TIME);
    let after = server.of_process(Process::resident_bytes);
    drop((first, open));
    let more = after.zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(more.map(|bytes| bytes as f64 / 1024.0 / f64::from(idle)))
}

/// A connection over which one ping was answered.
fn pinged(address: SocketAddr) -> Outcome<TcpStream> {
    let mut ping = Vec::new();
    put_request(&mut ping, Ping::CODE.as_u32(), |_| ())
        .map_err(|code| BenchError::machine(format!("a ping does not fit a frame: {code}")))?;
    let ask = || {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PING_WAIT_MAX))?;
        socket.write_all(&ping)?;
        let mut answer = [0; RESPONSE_HEADER_BYTES];
        socket.read_exact(&mut answer)?;
        match ResponseHeader::read(answer) {
            ResponseHeader { status: 0, payload_len: 0 } => Ok(socket),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    };
    ask().map_err(|error| BenchError::connection(format!("cannot ping {address}: {error}")))
}

/// The 99th percentile in milliseconds of sends over this many connections at the rate that was asked for.
fn paced(runner: &Runner, rate: u32, connections: u32) -> Outcome<f64> {
    runner.announce(&format!("{rate} over {connections} connections"));
    let rate = Some(Rate::Messages(f64::from(rate)));
    let plan = LoadPlan { rate, primes: false, ..produce(connections, FEW, SMALL) };
    let server = runner.server(Durability::Fsync, &plan)?;
    Ok(Measurement::of(&server.measure(runner, &plan)?)?.p99_us / 1e3)
}

/// Raises this process's own limit; a shell's default is often below what is opened here.
fn allow_open_files(wanted: u64) -> Outcome {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| {
        BenchError::usage(format!("cannot open {wanted} files at once: {error}"))
            .hint("use --idle with a smaller number, or raise the limit (ulimit -n)".to_owned())
    })
}
