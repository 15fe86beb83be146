//! A run for a user: makes what it needs on the server, measures, and removes it.

use std::path::PathBuf;

use galgo::Durability;

use crate::engine::Engine;
use crate::error::{BenchError, Outcome};
use crate::host::Host;
use crate::observer::Observer;
use crate::plan::LoadPlan;
use crate::scratch;
use crate::stage::{Stage, StreamNames};
use crate::stop::StopFlag;
use crate::summary::RunSummary;

/// How to run a plan.
#[derive(Debug)]
pub struct RunOptions {
    /// The plan.
    pub plan: LoadPlan,
    /// Whether what was made stays on the server.
    pub keep: bool,
    /// The durability of the topics, if not the server's default.
    pub durability: Option<Durability>,
    /// Where the data of a fresh server is.
    pub dir: PathBuf,
}

/// Puts `host` under the load of a plan.
///
/// # Errors
/// The server cannot be reached, refuses, or breaks off. What the user ends early is no error.
pub fn run(
    host: &Host,
    options: &RunOptions,
    stop: &StopFlag,
    observer: &dyn Observer,
) -> Outcome<RunSummary> {
    let plan = &options.plan;
    if plan.in_flight > 1 && plan.kind.sends() && !host.pipelines() {
        return Err(BenchError::usage("over QUIC a connection has one request in flight")
            .hint("leave out --in-flight, or take another --transport"));
    }
    if options.keep && host.is_fresh() {
        return Err(BenchError::usage(
            "--keep makes no sense for a server that is gone after the run",
        )
        .hint("name a server with --server"));
    }
    if host.is_fresh() {
        scratch::warn_of_memory(&options.dir, observer);
    }
    let names = StreamNames::unique();
    let mut stage = Stage::open(host, observer)?;
    stage.build(plan, &names, options.durability, stop)?;
    let waits = plan.prefers_waiting() && stage.can_wait()?;
    let engine = Engine::new(host, plan, &names, stop)
        .waits(waits)
        .durability(options.durability)
        .server(host.process_id(|| stage.process_id()));
    let mut summary = engine.measure(observer)?;
    if options.keep {
        summary.kept_streams = stage.keep();
    }
    // The streams of a fresh server go with it.
    if host.is_fresh() {
        stage.keep();
    }
    stage.clear()?;
    Ok(summary)
}
