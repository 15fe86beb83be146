//! Structured logs on standard error; standard output belongs to the ready line.
//!
//! A log line is a fixed phrase with fields. On a terminal it is colored for people; `json` gives one
//! object per line for machines. Lines leave by way of [`super::outlet`], so that logging waits for nobody.

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

use super::recent::KeepingLog;
use super::streams;
use crate::ServeError;
use crate::config::{Environment, Log, LogFilter, LogFormat};

/// How long a process that ends waits for its last lines to be taken.
pub(crate) const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// How the log of this process is written, once it is.
static STARTED: OnceLock<LogFormat> = OnceLock::new();

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
    if let Err(error) = streams::open_log() {
        // It waits in memory then; nothing can be started without a thread, and that is told.
        tracing::error!(%error, "no thread for the log");
    }
    let lines = Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(|| KeepingLog)
        // It would be told with a macro that panics when standard error is closed.
        .log_internal_errors(false)
        .with_ansi(terminal && environment.get("NO_COLOR").is_none());
    // Logging may be set up already by the embedding program or an earlier server of the process.
    let installed = match config.format {
        LogFormat::Json => {
            tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish())
        }
        LogFormat::Pretty => tracing::subscriber::set_global_default(lines.finish()),
        LogFormat::Auto if terminal => {
            tracing::subscriber::set_global_default(lines.with_target(false).finish())
        }
        LogFormat::Auto => tracing::subscriber::set_global_default(lines.with_ansi(false).finish()),
    };
    if installed.is_ok() {
        let _ = STARTED.set(config.format);
    }
    refused
}

/// How the end of a process is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FatalForm {
    /// Whether a program reads the text, and nothing but the text of a start that failed.
    pub(crate) only_text: bool,
    /// Whether the log was to be for machines, should the process end before there is one.
    pub(crate) wants_json: bool,
}

/// Tells why the process ends: as a line of the log where that is for machines, else as `text` where the log
/// goes.
pub(crate) fn fatal(error: &ServeError, text: &str, form: FatalForm) {
    streams::drop_held_log();
    if form.wants_json && STARTED.get().is_none() {
        let config = Log { level: LogFilter::info(), format: LogFormat::Json };
        start(&config, &Environment::default());
    }
    if STARTED.get() == Some(&LogFormat::Json) && !form.only_text {
        tracing::error!(exit_code = error.exit_code(), "server ended: {error}");
    } else if streams::open_log().is_ok() {
        streams::log(format!("{text}\n").as_bytes());
    }
}

/// Makes a thread that panics say so in the log. What the standard library does by itself waits for
/// whoever reads standard error.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let reason = panic.payload_as_str().unwrap_or("of no known kind");
        let backtrace = std::backtrace::Backtrace::capture();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(thread, place, reason, %backtrace, "a thread failed");
    }));
}

/// Whether `text` is one word that is neither a level nor one of Galgo's crates. As a filter it names a
/// crate that does not exist, and would silence the log, errors included.
pub(crate) fn is_mistyped_level(text: &str) -> bool {
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
