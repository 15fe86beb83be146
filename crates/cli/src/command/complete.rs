//! `galgo completions` and `galgo man`: what shells and `man` want to know of the command line.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde_json::json;

use crate::args::Cli;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, measure};

const AFTER_HELP: &str = "\
For example:
  galgo completions bash > ~/.local/share/bash-completion/completions/galgo
  galgo completions zsh > ~/.zfunc/_galgo
  galgo completions fish > ~/.config/fish/completions/galgo.fish";

/// Arguments of `galgo completions`.
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Arguments of `galgo man`.
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The directory to write the pages to; made when it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints the completions.
pub(crate) fn completions(args: CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "galgo", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Writes one page for each command.
pub(crate) fn man(args: &ManArgs, output: Output) -> Outcome {
    let dir = args.out.display();
    let failed =
        |error: io::Error| Failure::io(format!("cannot write manual pages to {dir}: {error}"));
    fs::create_dir_all(&args.out).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.out).map_err(failed)?;
    let pages = fs::read_dir(&args.out).map_err(failed)?.count() as u64;
    let sentence = format!("{} in {dir}", measure::counted(pages, "manual page"));
    output.done(&sentence, &json!({ "written": "man", "directory": args.out, "pages": pages }))
}
