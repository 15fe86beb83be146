//! Tells when a copy waits for a server, and when it goes on.

use std::cell::Cell;

use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

/// Whether a server is away, for all partitions: each of them sees the same outage.
#[derive(Debug)]
pub(crate) struct Outage {
    output: Output,
    lasts: Cell<bool>,
}

impl Outage {
    /// No server is away.
    pub(crate) fn new(output: Output) -> Self {
        Self { output, lasts: Cell::new(false) }
    }

    /// Copying broke; said once until it goes on.
    pub(super) fn goes_on(&self, failure: &Failure, progress: &Progress) {
        if !self.lasts.replace(true) {
            progress.make_way(|| {
                self.output.notice(&format!("{}; trying again", failure.what()));
            });
        }
    }

    /// Both servers answer.
    pub(super) fn is_over(&self, progress: &Progress) {
        if self.lasts.replace(false) {
            progress.make_way(|| self.output.notice("both servers answer again; going on"));
        }
    }
}
