//! `galgo bench`: put a server under load.

mod load;
mod teller;

use clap::Subcommand;
use galgo_bench::plan::LoadKind;

use crate::failure::Outcome;
use crate::global::Global;

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
}

/// Runs the command.
pub(crate) fn run(command: BenchCommand, global: &Global) -> Outcome {
    match command {
        BenchCommand::Produce(args) => load::produce(args, global),
        BenchCommand::Consume(args) => load::consume(args, global),
        BenchCommand::Both(args) => load::both(LoadKind::Both, args, global),
        BenchCommand::Latency(args) => load::both(LoadKind::Latency, args, global),
        BenchCommand::Report(args) => load::report(&args, global.output()),
    }
}
