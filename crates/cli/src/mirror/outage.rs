//! Tells when a copy waits for a server, and when it goes on.

use std::cell::Cell;

use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

/// Whether a server is away, for all partitions: each of them sees the same outage, sooner or later.
#[derive(Debug)]
pub(crate) struct Outage {
    output: Output,
    /// Partitions that cannot go on.
    waiting: Cell<usize>,
}

/// Whether one partition cannot go on.
#[derive(Debug, Default)]
pub(super) struct Waits(Cell<bool>);

impl Outage {
    /// No server is away.
    pub(crate) fn new(output: Output) -> Self {
        Self { output, waiting: Cell::new(0) }
    }

    /// Copying a partition broke; said of the first.
    pub(super) fn holds_up(&self, partition: &Waits, failure: &Failure, progress: &Progress) {
        if partition.0.replace(true) {
            return;
        }
        if self.waiting.replace(self.waiting.get() + 1) == 0 {
            progress.make_way(|| {
                self.output.notice(&format!("{}; trying again", failure.what()));
            });
        }
    }

    /// Says something while the progress is shown.
    pub(super) fn tell(&self, what: &str, progress: &Progress) {
        progress.make_way(|| self.output.notice(what));
    }

    /// Both servers answered for a partition; said of the last.
    pub(super) fn is_over(&self, partition: &Waits, progress: &Progress) {
        if !partition.0.replace(false) {
            return;
        }
        self.waiting.set(self.waiting.get() - 1);
        if self.waiting.get() == 0 {
            progress.make_way(|| self.output.notice("both servers answer again; going on"));
        }
    }
}
