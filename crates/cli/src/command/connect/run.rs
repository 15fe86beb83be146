//! `galgo connect run`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use galgo_connect::outbound::PipelineEnd;
use galgo_connect::process::{self, Ended, RunOptions};
use galgo_connect::{Failure as Cause, manage};
use serde_json::json;
use tokio::sync::watch;

use super::dialer::Dialer;
use super::{FilesArgs, Load, of_file, of_pipeline};
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::interrupt::Interrupt;
use crate::output::{Format, Output, measure};
use crate::value::duration::parse_duration;
use crate::value::size::parse_size;

/// Messages of a topic that a dry run shows.
const SHOWN: u32 = 20;

/// What is said at the first signal.
pub(super) const STOPPING: &str =
    "stopping: what is under way is finished first; Ctrl-C again ends at once";

/// Arguments of `galgo connect run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// End where the origins end now, as a job for cron does
    #[arg(long)]
    once: bool,
    /// Show what would be written of the newest messages, and write nothing
    #[arg(long, conflicts_with_all = ["once", "http"])]
    dry_run: bool,
    /// Serve /metrics, /healthz, /readyz and /status there
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<SocketAddr>,
    /// How much of what was read and not yet delivered may be in memory, of all pipelines together
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    memory: u64,
    /// How long what is under way may take after Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    stop_timeout: Duration,
}

/// Runs the command.
pub(super) fn run(args: RunArgs, global: &Global) -> Outcome {
    let output = global.output();
    log_to_stderr(output)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        let load = args.files.load()?;
        match args.dry_run {
            true => dry_run(&load, &Dialer::new(global), output).await,
            false => run_all(load, &args, Dialer::new(global), output).await,
        }
    });
    // What is in the middle of a write may be left there: the next process finds out.
    runtime.shutdown_background();
    outcome
}

async fn run_all(load: Load, args: &RunArgs, dialer: Dialer, output: Output) -> Outcome {
    let Load { good, faults } = load;
    for fault in &faults {
        output.notice(&format!("left out: {fault}"));
    }
    let (stopping, stop) = watch::channel(false);
    let mut interrupt = Interrupt::watch()?;
    let options = RunOptions {
        once: args.once,
        http: args.http,
        memory: galgo_wire::index::to_usize(args.memory),
        stop_timeout: args.stop_timeout,
    };
    for loaded in &good {
        output.notice(&format!("running {} ({})", loaded.pipeline.name, loaded.path.display()));
    }
    let files = good.into_iter().map(|loaded| loaded.pipeline).collect();
    let told = |ended: &Ended| output.notice(&sentence(ended));
    let running = process::run(files, options, Arc::new(dialer), stop, told);
    tokio::pin!(running);
    let mut signals = 0;
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            () = interrupt.wait() => {
                signals += 1;
                if signals > 1 {
                    return Err(ended_at_once());
                }
                stopping.send_replace(true);
                output.notice(STOPPING);
            }
        }
    };
    let ended = ended.map_err(|error| {
        Failure::io(format!("cannot serve metrics: {error}"))
            .hint("choose another address with --http")
    })?;
    let worst = ended.iter().find_map(failure_of);
    match (worst, faults.first()) {
        (Some(failure), _) => Err(failure),
        (None, Some(fault)) => Err(of_file(fault)),
        (None, None) => output.done(
            &format!("{} ended", measure::counted(ended.len() as u64, "pipeline")),
            &json!({ "ended": ended.iter().map(|it| &it.pipeline).collect::<Vec<_>>() }),
        ),
    }
}

/// What is said at the second signal.
pub(super) fn ended_at_once() -> Failure {
    Failure::io("ended at the second signal; what was under way may come again")
}

/// How a pipeline ended, for people.
fn sentence(ended: &Ended) -> String {
    let name = &ended.pipeline;
    match &ended.end {
        PipelineEnd::Stopped => format!("{name} has stopped"),
        PipelineEnd::Complete => format!("{name} has delivered all there was"),
        PipelineEnd::Refused { reason, advice } => format!("{name} cannot run: {reason}; {advice}"),
        PipelineEnd::GaveUp(failure) => format!("{name} has given up: {failure}"),
        PipelineEnd::Stands(why) => format!("{name} stands: {why}"),
    }
}

/// Why a pipeline that has ended did not end well.
pub(super) fn failure_of(ended: &Ended) -> Option<Failure> {
    let name = &ended.pipeline;
    match &ended.end {
        PipelineEnd::Stopped | PipelineEnd::Complete => None,
        PipelineEnd::Refused { reason, advice } => {
            let cause = Cause::refused(reason.clone(), advice.clone());
            Some(of_pipeline(name, &cause))
        }
        PipelineEnd::GaveUp(failure) => {
            let hint = "it was tried for as long as errors.retry_for says; the next run goes on where this one stopped";
            Some(Failure::gave_up(format!("{name} has given up: {failure}")).hint(hint))
        }
        PipelineEnd::Stands(why) => Some(Failure::gave_up(format!("{name} stands: {why}"))),
    }
}

async fn dry_run(load: &Load, dialer: &Dialer, output: Output) -> Outcome {
    for loaded in &load.good {
        let name = &loaded.pipeline.name;
        let shown = manage::dry_run(&loaded.pipeline, dialer, SHOWN).await;
        let shown = shown.map_err(|failure| of_pipeline(name, &failure))?;
        super::look::show(output, name, &shown)?;
    }
    load.faults.first().map_or(Ok(()), |fault| Err(of_file(fault)))
}

/// Has what pipelines say of themselves written to standard error.
pub(super) fn log_to_stderr(output: Output) -> Outcome {
    let filter = std::env::var("GALGO_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = filter.parse::<tracing_subscriber::EnvFilter>().map_err(|error| {
        Failure::usage(format!("GALGO_LOG is no filter: {error}"))
            .hint("for example GALGO_LOG=info")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match output.format {
        Format::Json => log.json().try_init(),
        Format::Table => {
            log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
    };
    set.map_err(|error| Failure::io(format!("cannot write a log: {error}")))
}
