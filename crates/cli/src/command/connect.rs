//! `galgo connect`: pipelines between topics and other systems.
//!
//! What a pipeline is and does is in the crate `connect`; here are its command line, its logins and its words.

mod conform;
mod dead;
mod dialer;
mod look;
mod position;
mod run;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use galgo_connect::config::ConfigError;
use galgo_connect::config::file::PipelineFile;

use crate::confirm::Confirm;
use crate::failure::{Failure, Outcome};
use crate::global::Global;

const AFTER_HELP: &str = "\
A pipeline is one file: where messages come from, what is made of them, where they go. One of its ends is
a topic. This one stores a topic in a database file, each message once, whatever is killed:

  name = \"orders-to-sqlite\"
  [from.galgo]
  stream = \"shop\"
  topics = [\"orders\"]
  [to.sqlite]
  file = \"orders.db\"
  table = \"orders\"

galgo connect new KIND prints a file with every key. docs/connect.md is the guide.";

/// What to do with pipelines.
#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(crate) enum ConnectCommand {
    /// Run pipelines until Ctrl-C; the same file, started again anywhere, shares the work
    Run(run::RunArgs),
    /// Look whether pipelines would work, with the newest messages; changes nothing anywhere
    Check(look::CheckArgs),
    /// Show where pipelines are: in the target, in Galgo, and how many messages are to be delivered
    Status(FilesArgs),
    /// Show where a pipeline is, or have it go on from another place; it must not run then
    Position(position::PositionArgs),
    /// Look at the messages that a target did not take, deliver them, or pass over them
    Dead(dead::DeadArgs),
    /// Remove what a pipeline made for itself, but nothing that it delivered
    Cleanup(look::CleanupArgs),
    /// Try a program out that is to be a target or an origin
    Conform(conform::ConformArgs),
    /// List the kinds of targets and origins, and what each promises
    Kinds,
    /// Print the file of a pipeline with every key of a kind
    New(look::NewArgs),
}

/// Files of pipelines.
#[derive(Args, Debug)]
pub(crate) struct FilesArgs {
    /// Files of pipelines; a folder stands for the files in it that end in .toml
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// One file.
#[derive(Args, Debug)]
pub(crate) struct FileArgs {
    /// The file of the pipeline
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// The question before something is removed.
#[derive(Args, Debug)]
pub(crate) struct RemovalArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    confirm: Confirm,
}

/// Runs the command.
pub(crate) fn run(command: ConnectCommand, global: &Global) -> Outcome {
    match command {
        ConnectCommand::Run(args) => run::run(args, global),
        ConnectCommand::Check(args) => super::block_on(look::check(args, global)),
        ConnectCommand::Status(args) => super::block_on(look::status(args, global)),
        ConnectCommand::Position(args) => super::block_on(position::position(args, global)),
        ConnectCommand::Dead(args) => dead::run(args, global),
        ConnectCommand::Conform(args) => super::block_on(conform::conform(args, global)),
        ConnectCommand::Cleanup(args) => super::block_on(look::cleanup(args, global)),
        ConnectCommand::Kinds => look::kinds(global.output()),
        ConnectCommand::New(args) => look::new(&args),
    }
}

/// A file that is read.
struct Loaded {
    path: PathBuf,
    pipeline: PipelineFile,
}

/// Files that are read, and what is wrong with the others.
struct Load {
    good: Vec<Loaded>,
    faults: Vec<ConfigError>,
}

impl FilesArgs {
    /// Reads the files; one that is wrong does not keep the others from being read.
    fn load(&self) -> Outcome<Load> {
        let paths =
            galgo_connect::process::files_of(&self.files).map_err(|error| of_file(&error))?;
        let mut load = Load { good: Vec::new(), faults: Vec::new() };
        for path in paths {
            match PipelineFile::read(&path) {
                Ok(pipeline) => load.good.push(Loaded { path, pipeline }),
                Err(fault) => load.faults.push(fault),
            }
        }
        let (paths, pipelines): (Vec<_>, Vec<_>) =
            load.good.iter().map(|it| (it.path.clone(), &it.pipeline)).unzip();
        galgo_connect::process::refuse_namesakes(&paths, &pipelines)
            .map_err(|error| of_file(&error))?;
        match load.good.is_empty() {
            true => {
                Err(load.faults.first().map_or_else(|| Failure::usage("there is no file"), of_file))
            }
            false => Ok(load),
        }
    }
}

impl FileArgs {
    fn load(&self) -> Outcome<PipelineFile> {
        PipelineFile::read(&self.file).map_err(|error| of_file(&error))
    }
}

/// A file that is wrong.
fn of_file(error: &ConfigError) -> Failure {
    Failure::usage(error)
        .hint("galgo connect new KIND prints a file with every key; docs/connect.md explains them")
}

/// What a pipeline or a check says when it could not be done.
fn of_pipeline(name: &str, failure: &galgo_connect::Failure) -> Failure {
    use galgo_connect::Failure as Cause;
    match failure {
        Cause::Refused { reason, advice } => {
            Failure::denied(format!("{name}: {reason}")).hint(advice.clone())
        }
        Cause::Away { .. } | Cause::Unknown { .. } => {
            Failure::connection(format!("{name}: {failure}"))
                .hint("is it running, and is the address in the file right?")
        }
        _ => Failure::denied(format!("{name}: {failure}")),
    }
}
