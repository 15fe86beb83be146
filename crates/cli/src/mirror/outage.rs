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

/// Whether one partition cannot go on, and why.
#[derive(Debug, Default)]
pub(super) struct Waits(Cell<Option<Why>>);

/// What a partition waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// A server that answers, with what it is asked for.
    Away,
    /// A target that takes messages: it answers all the while.
    NoRoom,
}

impl Outage {
    /// No server is away.
    pub(crate) fn new(output: Output) -> Self {
        Self { output, waiting: Cell::new(0) }
    }

    /// Copying a partition broke; said of the first.
    pub(super) fn holds_up(&self, partition: &Waits, failure: &Failure, progress: &Progress) {
        let why = if failure.has_no_room() { Why::NoRoom } else { Why::Away };
        if partition.0.replace(Some(why)).is_some() {
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
    pub(super) fn answered(&self, partition: &Waits, progress: &Progress) {
        if partition.0.get() == Some(Why::Away) {
            self.is_over(partition, "both servers answer again", progress);
        }
    }

    /// The target took messages of a partition; said of the last.
    pub(super) fn taken(&self, partition: &Waits, progress: &Progress) {
        if partition.0.get().is_some() {
            self.is_over(partition, "the target takes messages again", progress);
        }
    }

    fn is_over(&self, partition: &Waits, what: &str, progress: &Progress) {
        let waited = partition.0.replace(None).is_some();
        assert!(waited && self.waiting.get() > 0, "each partition that waits is counted once");
        self.waiting.set(self.waiting.get() - 1);
        if self.waiting.get() == 0 {
            progress.make_way(|| self.output.notice(&format!("{what}; going on")));
        }
    }
}
