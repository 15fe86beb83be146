//! `galgo bench`: measure a server.

mod load;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::bench::load::plan::Kind;
use crate::bench::{compare, connections, echo, scratch, sink, source};
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::Output;

/// Arguments of `galgo bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Send messages, as fast as they are acknowledged or at a rate
    ///
    /// Against the server that --server, --profile or the environment name; without any of them, against
    /// one started for the run on this machine and gone after it. The streams of the run are made
    /// before and deleted after it, also when it fails or Ctrl-C ends it.
    #[command(after_help = load::AFTER_PRODUCE)]
    Produce(load::ProduceArgs),
    /// Read messages that were written before the run
    ///
    /// Each consumer reads its partitions again and again from their start; the members of a group read
    /// everything once. The server is the one galgo bench produce takes.
    #[command(after_help = load::AFTER_CONSUME)]
    Consume(load::ConsumeArgs),
    /// Send and read messages at the same time
    ///
    /// The server is the one galgo bench produce takes. A rate is that of the producers.
    #[command(after_help = load::AFTER_BOTH)]
    Both(load::BothArgs),
    /// Time messages from when they were due to be sent until they are received
    ///
    /// Sends at --rate, by default 1,000 messages a second, on a fixed schedule; each message carries
    /// when it was due. The server is the one galgo bench produce takes.
    #[command(after_help = load::AFTER_LATENCY)]
    Latency(load::BothArgs),
    /// Write a page with tables and charts that compares saved runs
    Report(load::ReportArgs),
    /// Compare the server with what this machine can do at best, and print the ratios
    ///
    /// Starts servers and bare programs of its own, one after the other, on free ports and with
    /// data of their own, which is removed afterwards. Each row has a goal, and says whether it is
    /// reached. Run it on an idle machine, from a release build; all of it takes some ten minutes.
    Compare(CompareArgs),
    /// Measure what connections cost: memory of idle ones, and what many do to latency
    ///
    /// Starts a server of its own, opens idle connections and looks at its memory; then sends one message
    /// at a time at the same total rate over few and over many connections, on a fixed schedule, and
    /// compares the latencies. Run it on an idle machine, from a release build.
    Connections(ConnectionsArgs),
    /// Run the bare sink: reads frames, appends each to a file of its connection, answers
    ///
    /// With --fsync, each frame is synced to the disk before it is answered, each file on its own.
    Sink(SinkArgs),
    /// Run the bare source: answers requests for ranges of a file with sendfile
    SendfileSource(SourceArgs),
    /// Run the bare echo: sends each frame back as it came
    Echo(EchoArgs),
}

/// Arguments of `galgo bench compare`.
#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// Seconds counted in each run
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Runs of each side; the figures are the medians
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Where the data of the runs goes, on the disk to be measured
    #[arg(long, value_name = "DIR", default_value_os_t = scratch::default_parent())]
    dir: PathBuf,
    /// Only the rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Arguments of `galgo bench connections`.
#[derive(Args, Debug)]
pub(crate) struct ConnectionsArgs {
    /// Idle connections to open
    #[arg(long, value_name = "N", default_value_t = 2000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=9000))]
    idle: u32,
    /// Messages per second, all connections together
    #[arg(long, value_name = "N", default_value_t = 2000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds counted in each run
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Runs of each side; the figures are the medians
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Where the data of the runs goes
    #[arg(long, value_name = "DIR", default_value_os_t = scratch::default_parent())]
    dir: PathBuf,
}

/// Arguments of `galgo bench sink`.
#[derive(Args, Debug)]
pub(crate) struct SinkArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where its files go
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Call fdatasync after each frame, before its answer
    #[arg(long)]
    fsync: bool,
    #[command(flatten)]
    life: Life,
}

/// Arguments of `galgo bench sendfile-source`.
#[derive(Args, Debug)]
pub(crate) struct SourceArgs {
    /// The file to serve
    file: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(flatten)]
    life: Life,
}

/// Arguments of `galgo bench echo`.
#[derive(Args, Debug)]
pub(crate) struct EchoArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(flatten)]
    life: Life,
}

/// How long a bare program lives.
#[derive(Args, Clone, Copy, Debug)]
struct Life {
    /// End when standard input ends, so that no program outlives the one that started it
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// Runs the command.
pub(crate) fn run(command: BenchCommand, global: &Global) -> Outcome {
    let output = global.output();
    match command {
        BenchCommand::Produce(args) => load::produce(args, global),
        BenchCommand::Consume(args) => load::consume(args, global),
        BenchCommand::Both(args) => load::both(Kind::Both, args, global),
        BenchCommand::Latency(args) => load::both(Kind::Latency, args, global),
        BenchCommand::Report(args) => load::report(&args, output),
        BenchCommand::Compare(args) => compare_sides(args, output),
        BenchCommand::Connections(args) => measure_connections(args, output),
        BenchCommand::Sink(args) => run_sink(args, output),
        BenchCommand::SendfileSource(args) => run_source(args, output),
        BenchCommand::Echo(args) => run_echo(args, output),
    }
}

fn warn_of_debug_build(output: Output) {
    if cfg!(debug_assertions) {
        output.remark("warning: this is a debug build; the figures say nothing about a release");
    }
}

fn measure_connections(args: ConnectionsArgs, output: Output) -> Outcome {
    warn_of_debug_build(output);
    let report = connections::run(&connections::Options {
        idle: args.idle,
        rate: args.rate,
        counted: Duration::from_secs_f64(args.seconds),
        rounds: args.rounds,
        dir: args.dir,
        output,
    })?;
    output.show(&report, connections::Report::render)
}

fn compare_sides(args: CompareArgs, output: Output) -> Outcome {
    warn_of_debug_build(output);
    let report = compare::run(&compare::Options {
        counted: Duration::from_secs_f64(args.seconds),
        rounds: args.rounds,
        dir: args.dir,
        only: args.only,
        output,
    })?;
    output.show(&report, compare::Report::render)
}

fn run_sink(args: SinkArgs, output: Output) -> Outcome {
    let listener = listen(args.listen, output)?;
    args.life.begin();
    sink::serve(&listener, &sink::SinkOptions { dir: args.dir, sync: args.fsync })
}

fn run_source(args: SourceArgs, output: Output) -> Outcome {
    let file = std::fs::File::open(&args.file)
        .map_err(|error| Failure::io(format!("cannot open {}: {error}", args.file.display())))?;
    let listener = listen(args.listen, output)?;
    args.life.begin();
    source::serve(&listener, file)
}

fn run_echo(args: EchoArgs, output: Output) -> Outcome {
    let listener = listen(args.listen, output)?;
    args.life.begin();
    echo::serve(&listener)
}

/// Binds and says where, so that whoever started the program can connect.
fn listen(address: SocketAddr, output: Output) -> Outcome<TcpListener> {
    let failed = |error| Failure::io(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let fact = serde_json::json!({ "address": bound.to_string() });
    output.done(&format!("listening on {bound}"), &fact)?;
    Ok(listener)
}

impl Life {
    fn begin(self) {
        if self.until_stdin_ends {
            std::thread::spawn(|| {
                // An unreadable input is an ended one.
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                std::process::exit(0);
            });
        }
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.05 to 3600".to_owned()),
    }
}
