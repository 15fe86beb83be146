//! `galgo`: the server and every client command, in one binary.
//!
//! A command is a file in `command/`: its arguments, what it asks of the server, how it shows the
//! answer. Results go to standard output, everything else to standard error, and the exit code
//! says who has to act ([`failure::Kind`]).

mod args;
mod bench;
mod command;
mod confirm;
mod connect;
mod failure;
mod interrupt;
mod output;
mod progress;
mod send;
mod tail;
mod value;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let output = cli.global.output();
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}
