//! Removing files soon after what they held is gone, on a thread of its own.

use parking_lot::{Condvar, Mutex};

use super::Shard;

/// Whether there are files to be removed, and who waits to hear of it.
#[derive(Debug, Default)]
pub(super) struct Removals {
    asked: Mutex<bool>,
    work: Condvar,
}

impl Removals {
    /// Wakes the worker, so that it looks whether it is to end.
    pub(super) fn stop(&self) {
        drop(self.asked.lock());
        self.work.notify_all();
    }
}

impl Shard {
    /// Has files removed soon that nothing speaks of any more.
    pub(crate) fn ask_removal(&self) {
        let mut asked = self.removals.asked.lock();
        if !std::mem::replace(&mut *asked, true) {
            self.removals.work.notify_one();
        }
    }

    /// Waits until files are to be removed; false when the shard stops.
    pub(crate) fn await_removal(&self) -> bool {
        let mut asked = self.removals.asked.lock();
        while !*asked && !self.is_stopping() {
            self.removals.work.wait(&mut asked);
        }
        *asked = false;
        !self.is_stopping()
    }

    /// Removes the files of the segments whose removal is on record. Blocks on the disk.
    pub(crate) fn remove_dropped(&self) {
        let dropped = std::mem::take(&mut *self.dropped.lock());
        let mut failed: Vec<_> =
            dropped.into_iter().filter(|dropped| !dropped.remove_files(&self.stats)).collect();
        self.dropped.lock().append(&mut failed);
    }
}
