//! `galgo-judge`: holds the server against what this machine can do. `cargo xtask bench` builds and runs it.
//!
//! The server and the bare program it is compared with get the same bytes from the
//! same load engine, in alternating runs of one session.

mod args;
mod bare;
mod compare;
mod connections;
mod footprints;
mod goal;
mod measurement;
mod report;
mod rows;
mod runner;
mod side;
mod steady;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Judge, OutputForm};

fn main() -> ExitCode {
    let judge = Judge::parse();
    let form = judge.form;
    match judge.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match form {
                OutputForm::Table => eprintln!("error: {error}"),
                OutputForm::Json => {
                    eprintln!("{}", serde_json::json!({ "error": error.to_string() }))
                }
            }
            ExitCode::FAILURE
        }
    }
}
