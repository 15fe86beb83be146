//! Structured logs on standard error; standard output belongs to the ready line.
//!
//! A log line is a fixed phrase with fields. On a terminal it is colored for people; `json` gives one
//! object per line for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

use crate::config::{Environment, Log, LogFormat};

/// Starts logging as `config` says. `RUST_LOG` wins over the configured level.
///
/// Does nothing when the program that embeds the server logs already. Returns the filter text when it
/// could not be understood and `info` is used in its place.
pub(crate) fn start(config: &Log, environment: &Environment) -> Option<String> {
    let text = environment.get("RUST_LOG").unwrap_or(&config.level);
    let (filter, refused) = match EnvFilter::try_new(text) {
        Ok(filter) => (filter, None),
        Err(_) => (EnvFilter::new("info"), Some(text.to_owned())),
    };
    let terminal = std::io::stderr().is_terminal();
    let lines = Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal && environment.get("NO_COLOR").is_none());
    // Logging may be set up already by the embedding program or an earlier server of the process.
    let _ = match config.format {
        LogFormat::Json => {
            tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish())
        }
        LogFormat::Pretty => tracing::subscriber::set_global_default(lines.finish()),
        LogFormat::Auto if terminal => {
            tracing::subscriber::set_global_default(lines.with_target(false).finish())
        }
        LogFormat::Auto => tracing::subscriber::set_global_default(lines.with_ansi(false).finish()),
    };
    refused
}
