//! The moving line of a long command, on a terminal only.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Format;

/// How often the line is redrawn; more would cost the work it reports on.
const REDRAWS_PER_SECOND: u8 = 5;

const BAR: &str = "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}  eta {eta}";
const SPINNER: &str = "{spinner} {bytes}  {bytes_per_sec}  {msg}";

const MESSAGES_BAR: &str = "{bar:30} {human_pos}/{human_len} messages  {per_sec}  eta {eta}";
const MESSAGES_SPINNER: &str = "{spinner} {human_pos} messages  {per_sec}";

const LOAD_BAR: &str = "{bar:30} {human_pos}/{human_len} messages  {msg}";
const LOAD_SPINNER: &str = "{spinner} {human_pos} messages  {msg}";

/// A line that shows how far a transfer is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts a line for `bytes_total` bytes, or for an unknown number.
    pub(crate) fn start(format: Format, bytes_total: Option<u64>) -> Self {
        let template = if bytes_total.is_some() { BAR } else { SPINNER };
        Self::with(format, bytes_total, template)
    }

    /// No line, for a terminal on which somebody types.
    pub(crate) fn none() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// Starts a line for `total` messages, or for an unknown number.
    pub(crate) fn start_messages(format: Format, total: Option<u64>) -> Self {
        let template = if total.is_some() { MESSAGES_BAR } else { MESSAGES_SPINNER };
        Self::with(format, total, template)
    }

    /// Starts a line for a load of `total` messages, or of an unknown number.
    pub(crate) fn start_load(format: Format, total: Option<u64>) -> Self {
        Self::with(format, total, if total.is_some() { LOAD_BAR } else { LOAD_SPINNER })
    }

    fn with(format: Format, total: Option<u64>, template: &str) -> Self {
        if format != Format::Table || !std::io::stderr().is_terminal() {
            return Self::none();
        }
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
        let bar = ProgressBar::with_draw_target(total, target);
        let Ok(style) = ProgressStyle::with_template(template) else {
            unreachable!("the templates of this file are understood");
        };
        bar.set_style(style.progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// Moves the line on.
    pub(crate) fn advance(&self, amount: u64, message: impl FnOnce() -> String) {
        self.bar.inc(amount);
        if !self.bar.is_hidden() {
            self.bar.set_message(message());
        }
    }

    /// Moves the line to where things are.
    pub(crate) fn set(&self, amount: u64, message: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_position(amount);
            self.bar.set_message(message());
        }
    }

    /// Takes the line away while something else is said.
    pub(crate) fn make_way(&self, say: impl FnOnce()) {
        self.bar.suspend(say);
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_understood() {
        for template in [BAR, SPINNER, MESSAGES_BAR, MESSAGES_SPINNER, LOAD_BAR, LOAD_SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
