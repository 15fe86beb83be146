//! The command line.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use galgo_bench::{BenchError, Observer as _, Outcome, StopFlag, scratch};
use serde::Serialize;

use crate::bare::{echo, sink, source};
use crate::compare;
use crate::connections::{self, ConnectionsReport};
use crate::report::CompareReport;
use crate::runner::{Runner, Say};

/// Holds the server against what this machine can do
#[derive(Debug, Parser)]
#[command(name = "galgo-judge", version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Judge {
    /// The form of results
    #[arg(long = "output", global = true, value_enum, value_name = "FORMAT", default_value_t = OutputForm::Table)]
    pub(crate) form: OutputForm,
    #[command(subcommand)]
    command: JudgeCommand,
}

/// The form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    /// Aligned columns and sentences
    Table,
    /// One JSON document
    Json,
}

#[derive(Debug, Subcommand)]
enum JudgeCommand {
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
    /// Run the bare echo: answers each frame with itself
    Echo(EchoArgs),
}

/// What is common to all that is measured.
#[derive(Args, Debug)]
struct Measuring {
    /// Seconds counted in each run [default: 2; connections: 5]
    #[arg(long, value_name = "N", value_parser = parse_seconds)]
    seconds: Option<Duration>,
    /// Runs of each side; the figures are the medians [default: 5; connections: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Where the data of the runs goes, on the disk to be measured
    #[arg(long, value_name = "DIR", default_value_os_t = scratch::default_parent())]
    dir: PathBuf,
    /// The program galgo whose server is measured [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    galgo: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct CompareArgs {
    #[command(flatten)]
    measuring: Measuring,
    /// Only the rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

#[derive(Args, Debug)]
struct ConnectionsArgs {
    #[command(flatten)]
    measuring: Measuring,
    /// Idle connections to open
    #[arg(long, value_name = "N", default_value_t = 2000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=9000))]
    idle: u32,
    /// Messages per second, all connections together
    #[arg(long, value_name = "N", default_value_t = 2000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
}

#[derive(Args, Debug)]
struct SinkArgs {
    /// Where its files go
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Call fdatasync after each frame, before its answer
    #[arg(long)]
    fsync: bool,
    #[command(flatten)]
    place: BarePlace,
}

#[derive(Args, Debug)]
struct SourceArgs {
    /// The file to serve
    file: PathBuf,
    #[command(flatten)]
    place: BarePlace,
}

#[derive(Args, Debug)]
struct EchoArgs {
    #[command(flatten)]
    place: BarePlace,
}

/// Where a bare program listens, and how long it lives.
#[derive(Args, Clone, Copy, Debug)]
struct BarePlace {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when standard input ends, so that no program outlives the one that started it
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

impl Judge {
    /// Does what was asked for.
    pub(crate) fn run(self) -> Outcome {
        let form = self.form;
        match self.command {
            JudgeCommand::Compare(args) => {
                let runner = args.measuring.runner(form, Duration::from_secs(2), 5)?;
                let only = args.only.as_deref();
                form.show(&compare::run(&runner, only)?, CompareReport::render)
            }
            JudgeCommand::Connections(args) => {
                let runner = args.measuring.runner(form, Duration::from_secs(5), 3)?;
                let options = connections::ConnectionsOptions { idle: args.idle, rate: args.rate };
                form.show(&connections::run(&runner, options)?, ConnectionsReport::render)
            }
            JudgeCommand::Sink(args) => {
                let options = sink::SinkOptions { dir: args.dir, sync: args.fsync };
                sink::serve(&args.place.listen(form)?, options)
            }
            JudgeCommand::SendfileSource(args) => {
                let file = std::fs::File::open(&args.file).map_err(|error| {
                    BenchError::machine(format!("cannot open {}: {error}", args.file.display()))
                })?;
                source::serve(&args.place.listen(form)?, file)
            }
            JudgeCommand::Echo(args) => echo::serve(&args.place.listen(form)?),
        }
    }
}

impl Measuring {
    fn runner(self, form: OutputForm, seconds: Duration, rounds: u32) -> Outcome<Runner> {
        let say = Say { is_quiet: form == OutputForm::Json };
        if cfg!(debug_assertions) {
            say.remark("warning: this is a debug build; the figures say nothing about a release");
        }
        let this = std::env::current_exe()
            .map_err(|error| BenchError::machine(format!("cannot find this program: {error}")))?;
        let galgo = self.galgo.unwrap_or_else(|| this.with_file_name("galgo"));
        if !galgo.is_file() {
            return Err(BenchError::usage(format!("there is no {}", galgo.display()))
                .hint("build it, or name another with --galgo"));
        }
        Ok(Runner {
            galgo,
            this,
            dir: self.dir,
            counted: self.seconds.unwrap_or(seconds),
            rounds: self.rounds.unwrap_or(rounds),
            stop: StopFlag::watch()?,
            say,
        })
    }
}

impl OutputForm {
    /// Prints `value` as JSON, or as the text `render` makes of it.
    fn show<T: Serialize>(self, value: &T, render: impl FnOnce(&T) -> String) -> Outcome {
        let text = match self {
            Self::Table => render(value),
            Self::Json => serde_json::to_string_pretty(value)
                .map_err(|error| BenchError::machine(format!("cannot write JSON: {error}")))?,
        };
        println!("{}", text.trim_end());
        Ok(())
    }
}

impl BarePlace {
    /// Binds and says where, so that whoever started the program can connect.
    fn listen(self, form: OutputForm) -> Outcome<TcpListener> {
        let address = self.listen;
        let failed = |error| BenchError::machine(format!("cannot listen on {address}: {error}"));
        let listener = TcpListener::bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?.to_string();
        form.show(&serde_json::json!({ "address": bound }), |_| format!("listening on {bound}"))?;
        if self.until_stdin_ends {
            std::thread::spawn(|| {
                // An unreadable input is an ended one.
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                std::process::exit(0);
            });
        }
        Ok(listener)
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.05 to 3600".to_owned()),
    }
}
