//! Where results go: tables for people, JSON for programs, both on standard output.
//!
//! Everything else (progress, warnings, errors, questions) goes to standard error, so that the
//! output of any command can be piped.

pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod text;
pub(crate) mod words;

use std::io::{self, Write as _};

use clap::ValueEnum;
pub(crate) use galgo_bench::show::{measure, table};
use serde::Serialize;
use serde_json::Value;

use crate::failure::{Failure, Outcome};

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns and sentences.
    #[default]
    Table,
    /// One JSON document on standard output; errors as a JSON object on standard error.
    Json,
}

/// Prints results in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// The form.
    pub(crate) format: Format,
}

impl Output {
    /// Prints `value` as JSON, or as the text `render` makes of it.
    pub(crate) fn show<T: Serialize>(
        self,
        value: &T,
        render: impl FnOnce(&T) -> String,
    ) -> Outcome {
        match self.format {
            Format::Json => write_line(&json::pretty(value)?),
            Format::Table => write_line(render(value).trim_end()),
        }
    }

    /// Prints `value`, which holds answers of a server, as JSON in the tool's [words], or as the text
    /// `render` makes of it.
    pub(crate) fn tell<T: Serialize>(
        self,
        value: &T,
        render: impl FnOnce(&T) -> String,
    ) -> Outcome {
        match self.format {
            Format::Json => write_line(&json::pretty(&words::tell(value)?)?),
            Format::Table => write_line(render(value).trim_end()),
        }
    }

    /// Reports something done: a sentence, or a JSON object.
    pub(crate) fn done(self, sentence: &str, value: &Value) -> Outcome {
        self.tell(value, |_| sentence.to_owned())
    }

    /// Tells a person something that is no result; says nothing to a program.
    pub(crate) fn remark(self, sentence: &str) {
        if self.format == Format::Table {
            complain(sentence);
        }
    }

    /// Tells anybody, a program as well, what happens to a command that goes on: a sentence, or a JSON object.
    pub(crate) fn notice(self, sentence: &str) {
        match self.format {
            Format::Json => complain(&serde_json::json!({ "notice": sentence }).to_string()),
            Format::Table => complain(sentence),
        }
    }

    /// Reports the end of a failed command.
    pub(crate) fn failure(self, failure: &Failure) {
        if !failure.is_quiet() {
            complain(&self.failure_text(failure));
        }
    }

    /// What [`Output::failure`] reports.
    pub(crate) fn failure_text(self, failure: &Failure) -> String {
        match self.format {
            Format::Json => failure.to_json().to_string(),
            Format::Table => failure.to_string(),
        }
    }
}

/// Writes `text` and a line end to standard output.
fn write_line(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))
}

/// Writes `text` and a line end to standard error; there is nobody left to tell when that fails.
fn complain(text: &str) {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "{text}");
}
