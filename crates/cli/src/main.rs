//! `galgo`: the server and every client command, in one binary.
//!
//! A command is a file in `command/`: its arguments, what it asks of the server, how it shows the
//! answer. Results go to standard output, everything else to standard error, and the exit code
//! says who has to act ([`failure::ExitKind`]).

mod address;
mod args;
mod command;
mod confirm;
mod dial;
mod failure;
mod global;
mod interrupt;
mod mirror;
mod noun;
mod output;
mod profile;
mod progress;
mod secret;
mod send;
mod tail;
mod value;

use std::process::ExitCode;

use crate::failure::Failure;
use crate::output::{Format, Output};

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let output = cli.global.output();
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints help or what is wrong with the command line, in the form that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && args::wants_json(std::env::args()) {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        // What is wrong, then the usage and where to read more.
        let failure = match text.split_once("\n\n") {
            Some((what, more)) => Failure::usage(what).hint(more.trim()),
            None => Failure::usage(text),
        };
        Output { format: Format::Json }.failure(&failure);
        return ExitCode::from(failure.exit_code());
    }
    if let Err(unwritten) = error.print()
        && !error.use_stderr()
    {
        let failure = Failure::output(&unwritten);
        Output { format: Format::Table }.failure(&failure);
        return ExitCode::from(failure.exit_code());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}
