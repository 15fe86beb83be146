//! `galgo connect conform`: tries a program out.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use galgo_connect::Weight;
use galgo_connect::exec::{Conformance, ProgramRole};
use galgo_connect::manage::Examination;

use super::look::show;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::measure;
use crate::value::duration::parse_duration;

const AFTER_HELP: &str = "\
The program is started, spoken to, stopped, killed and told the same again, and may store what it is given: a few
messages of stream conform. Point it at something that can be thrown away.

  galgo connect conform -- python3 crm.py

docs/connect/exec.md is the protocol.";

/// Arguments of `galgo connect conform`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ConformArgs {
    /// The program is an origin: wait for its messages; else that is seen by what it says in its first two seconds
    #[arg(long)]
    source: bool,
    /// What the program is told as its settings, a document of JSON
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = parse_settings)]
    settings: serde_json::Value,
    /// How long each answer may take
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    timeout: Duration,
    /// The program and what it is called with, behind --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn parse_settings(text: &str) -> Result<serde_json::Value, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match value.is_object() {
        true => Ok(value),
        false => Err("settings are an object, {\"table\": \"orders\"} for example".to_owned()),
    }
}

/// Runs the command.
pub(super) async fn conform(args: ConformArgs, global: &Global) -> Outcome {
    let ConformArgs { source, settings, timeout, command } = args;
    let name = command.join(" ");
    let role = if source { ProgramRole::Origin } else { ProgramRole::AsItSays };
    let conformance = Conformance { command, folder: PathBuf::from("."), settings, timeout, role };
    let found = Examination { findings: conformance.run().await, rows: Vec::new() };
    show(global.output(), &name, &found)?;
    match found.findings.iter().filter(|it| it.weight == Weight::Fault).count() {
        0 => Ok(()),
        faults => {
            Err(Failure::denied(format!("{} found", measure::counted(faults as u64, "fault"))))
        }
    }
}
