//! `galgo completions` and `galgo man`: what shells and `man` want to know of the command line.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;

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

/// Prints the completions of `command`, the whole command line.
pub(crate) fn completions(args: CompletionsArgs, mut command: Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "galgo", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Writes one page for each subcommand of `command`.
pub(crate) fn man(args: &ManArgs, command: Command, output: Output) -> Outcome {
    let dir = args.out.display();
    let failed =
        |error: io::Error| Failure::io(format!("cannot write manual pages to {dir}: {error}"));
    fs::create_dir_all(&args.out).map_err(failed)?;
    clap_mangen::generate_to(manual(command), &args.out).map_err(failed)?;
    let pages = fs::read_dir(&args.out).map_err(failed)?.count() as u64;
    let sentence = format!("{} in {dir}", measure::counted(pages, "manual page"));
    output.done(&sentence, &json!({ "written": "man", "directory": args.out, "pages": pages }))
}

/// The command line with a synopsis for each page: the usage of its help, which names arguments and
/// leaves the options, the same twenty on every page, to their own sections.
fn manual(command: Command) -> Command {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    with_synopsis(command)
}

fn with_synopsis(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    command.override_usage(usage).mut_subcommands(with_synopsis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synopsis_of_a_page_names_what_is_its_own() {
        let manual = manual(crate::args::command());
        let send = manual.find_subcommand("send").expect("there is a command to send");
        let mut page = Vec::new();
        clap_mangen::Man::new(send.clone()).render_synopsis_section(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("[OPTIONS] <STREAM> <TOPIC> [FILE]"), "{page}");
        assert!(!page.contains("tls"), "{page}");
    }
}
