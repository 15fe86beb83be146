//! Structured logs on standard error; standard output belongs to the ready line.
//!
//! A log line is a fixed phrase with fields. On a terminal it is colored for people; `json` gives one
//! object per line for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

use super::recent::KeepingStderr;
use crate::config::{Environment, Log, LogFormat};

/// Starts logging as `config` says. `RUST_LOG` wins over the configured level.
///
/// Does nothing when the program that embeds the server logs already. Returns the filter text when it
/// could not be understood and `info` is used in its place.
pub(crate) fn start(config: &Log, environment: &Environment) -> Option<String> {
    let text = environment.get("RUST_LOG").unwrap_or(&config.level);
    let (filter, refused) = match EnvFilter::try_new(text) {
        Ok(filter) if !is_mistyped_level(text) => (filter, None),
        _ => (EnvFilter::new("info"), Some(text.to_owned())),
    };
    let terminal = std::io::stderr().is_terminal();
    let lines = Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(|| KeepingStderr)
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

/// Whether `text` is one word that is neither a level nor one of Galgo's crates. As a filter it names a
/// crate that does not exist, and would silence the log, errors included.
fn is_mistyped_level(text: &str) -> bool {
    let word = text.trim();
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    let is_word = word.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_word
        && !word.is_empty()
        && !word.starts_with("galgo")
        && !levels.iter().any(|level| level.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::is_mistyped_level;

    #[test]
    fn a_word_that_is_no_level_is_mistyped() {
        for mistyped in ["louder", "warning", " inf "] {
            assert!(is_mistyped_level(mistyped), "{mistyped}");
        }
        for meant in ["", "info", "WARN", "off", "galgo_storage", "info,galgo_wire=debug", "3"] {
            assert!(!is_mistyped_level(meant), "{meant}");
        }
    }
}
