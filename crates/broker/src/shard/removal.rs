//! Removing files soon after what they held is gone, on a thread of its own.

use galgo_storage::lock::{Ranked, rank};
use parking_lot::Condvar;

/// Whether there are files to be removed, and who waits to hear of it; one for all shards of a node.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    state: Ranked<{ rank::REMOVALS }, RemovalState>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct RemovalState {
    asked: bool,
    is_stopping: bool,
}

impl Removals {
    /// Has files removed soon that nothing speaks of any more.
    pub(crate) fn ask(&self) {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.asked, true) {
            self.work.notify_one();
        }
    }

    /// Waits until files are to be removed; false when it is over.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.asked && !state.is_stopping {
            state.wait(&self.work);
        }
        // Taken back before the work begins: what is asked for meanwhile is for another round.
        state.asked = false;
        !state.is_stopping
    }

    /// Ends the waiting for good.
    pub(crate) fn stop(&self) {
        self.state.lock().is_stopping = true;
        self.work.notify_all();
    }
}
