//! Programs of any language as targets and origins: lines of JSON on their standard input and output.
//!
//! The protocol is told in `docs/connect/exec.md`; [`conform()`] tries a program out.
//!
//! INV-EXEC-BOUND: a program can be slow, wrong, or write without end: each wait for it ends, each line of it has a limit, and a line
//! that is none of the protocol ends it, with all processes it has started.
//!
//! What a program writes to its standard error, and as the reason of a refusal, goes to the log as its own words, cut to a limit: what
//! is in them is the program's to answer for (INV-MUTE).

mod conform;
mod lines;
mod program;
mod protocol;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use toml::Table;

pub use conform::{Conformance, ProgramRole, conform};
pub(crate) use lines::{NoLine, ProgramLines};
pub(crate) use program::{ChildProgram, EXIT_PATIENCE, ProgramInput, STOP_PATIENCE};
pub(crate) use protocol::{SaidLine, SaidMessage, batch_line, own_words};

use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings};
use crate::failure::Finding;
use crate::secret::SecretSource;

/// What both sections have in common.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The program and what it is called with.
    pub(crate) command: Vec<String>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// What is added to its environment, read at each start.
    pub(crate) secrets: Vec<(String, SecretSource)>,
    /// The pipeline it works for.
    pub(crate) pipeline: String,
    /// What it is told at its start.
    pub(crate) settings: Value,
    /// How long each answer may take.
    pub(crate) timeout: Duration,
}

/// The keys that both sections have.
#[derive(Debug)]
pub(crate) struct LaunchKeys {
    pub(crate) command: Vec<String>,
    pub(crate) settings: Table,
    pub(crate) env: std::collections::BTreeMap<String, SecretSource>,
    pub(crate) timeout: Option<Span>,
}

/// How long an answer may take if nothing is said.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Launch {
    pub(crate) fn new(
        section: &str,
        keys: LaunchKeys,
        surroundings: &Surroundings,
    ) -> Result<Self, ConfigError> {
        let fault = |what: &str| ConfigError { at: format!("[{section}]"), what: what.to_owned() };
        if keys.command.first().is_none_or(String::is_empty) {
            return Err(fault(
                "command is a list that begins with a program: [\"python3\", \"crm.py\"]",
            ));
        }
        let timeout = keys.timeout.map_or(TIMEOUT, |span| span.0);
        if timeout.is_zero() {
            return Err(fault("timeout is more than nothing"));
        }
        let folder = match surroundings.folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => surroundings.folder.clone(),
        };
        Ok(Self {
            command: keys.command,
            folder,
            secrets: keys.env.into_iter().collect(),
            pipeline: surroundings.pipeline.clone(),
            settings: to_json(toml::Value::Table(keys.settings)),
            timeout,
        })
    }

    /// What can be said without starting it.
    pub(crate) fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let name = self.command.first().map_or("", String::as_str);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = match name.contains('/') {
            true => Some(self.folder.join(name)).filter(|file| file.is_file()),
            false => {
                let files = std::env::split_paths(&path).map(|folder| folder.join(name));
                files.into_iter().find(|file| file.is_file())
            }
        };
        findings.push(match found {
            Some(file) => Finding::good(format!("program {} is there", file.display())),
            None => Finding::fault(
                format!("program {name} is not there"),
                "install it, or write its whole path",
            ),
        });
        for (variable, secret) in &self.secrets {
            if let Err(error) = secret.read() {
                let text = format!("{variable} for the program: {error}");
                findings.push(Finding::fault(text, "correct env"));
            }
        }
        findings.push(Finding::good(
            "the program itself is tried out by galgo connect conform, not here: it may change things",
        ));
        findings
    }
}

/// Settings as JSON; times as the text they were written as.
fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(is) => is.into(),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, to_json(value))).collect()
        }
    }
}
