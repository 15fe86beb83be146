//! `galgo repair`: restore what a data directory has lost, while no server runs on it.

use std::path::PathBuf;

use clap::Args;
use galgo_server::{Environment, Overrides, RepairOptions, RepairReport, ServerOptions};
use serde_json::json;

use crate::command::server::failure;
use crate::failure::{Failure, Outcome};
use crate::output::Output;

const AFTER_HELP: &str = "\
Metadata, identity and the list of keys are kept twice: in their own place and under copy/. What is
damaged or missing in one is restored from the other. What is lost in both stands in the way of a start;
with --accept-loss it is given up: damaged files are kept beside, as .damaged, and directories of
partitions that nobody knows any more are moved to aside/. Nothing is deleted.

Exit codes: 0 the directory is whole; 1 a file or the system failed; 2 the configuration makes no sense;
4 the directory is in use, or something is lost and --accept-loss was not given.";

/// Arguments of `galgo repair`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RepairArgs {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The settings of the server, for its data directory and its encryption keys
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change nothing, only tell what would be done; the journal is not looked into
    #[arg(long)]
    dry_run: bool,
    /// Give up what is lost for good
    #[arg(long)]
    accept_loss: bool,
}

/// Repairs the directory and tells what was done.
pub(crate) fn run(args: RepairArgs, output: Output) -> Outcome {
    let RepairArgs { data_dir, config, dry_run, accept_loss } = args;
    let overrides = Overrides { data_dir, ..Overrides::default() };
    let options = ServerOptions { config_file: config, overrides, ..ServerOptions::default() };
    let asked = RepairOptions { dry_run, accept_loss };
    let (data_dir, report) = galgo_server::repair(&options, &Environment::of_process(), asked)
        .map_err(|error| failure(&error))?;
    let lines = lines_of(&report, asked);
    let restored = report.restored.iter().map(|file| json!({"path": file.path, "from": file.from}));
    let moved = report.moved_aside.iter().map(|(from, to)| json!({"from": from, "to": to}));
    let document = json!({
        "data_dir": data_dir,
        "dry_run": dry_run,
        "whole": report.is_whole,
        "restored": restored.collect::<Vec<_>>(),
        "lost": report.lost,
        "moved_aside": moved.collect::<Vec<_>>(),
    });
    output.done(&lines.join("\n"), &document)?;
    if report.is_whole {
        return Ok(());
    }
    let what =
        format!("nothing was changed: data directory {} has lost something", data_dir.display());
    Err(Failure::data_dir_refused(what)
        .hint("restore it from a backup, or give up what is lost with --accept-loss"))
}

fn lines_of(report: &RepairReport, asked: RepairOptions) -> Vec<String> {
    let changed = !asked.dry_run && report.is_whole;
    let mut lines = Vec::new();
    for file in &report.restored {
        let verb = if changed { "restored" } else { "to be restored" };
        lines.push(format!("{verb} from {}: {}", file.from, file.path.display()));
    }
    for lost in &report.lost {
        let verb = if changed { "given up" } else { "lost" };
        lines.push(format!("{verb}: {lost}"));
    }
    for (from, to) in &report.moved_aside {
        lines.push(format!("moved aside: {} to {}", from.display(), to.display()));
    }
    if lines.is_empty() {
        lines.push("nothing to repair".to_owned());
    }
    lines
}
