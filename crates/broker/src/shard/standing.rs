//! Whether a shard takes writes, and for how long it still works.
//!
//! Flags that are raised once and never lowered: whoever has seen one may rely on it.

use std::sync::atomic::{AtomicBool, Ordering};

/// What has become of a shard.
#[derive(Debug, Default)]
pub(super) struct ShardStanding {
    fenced: AtomicBool,
    halted: AtomicBool,
    abandoned: AtomicBool,
    stopping: AtomicBool,
}

impl ShardStanding {
    /// The journal failed.
    pub(super) fn fence(&self) {
        self.fenced.store(true, Ordering::Release);
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// No more is taken; tells whether some was until now.
    pub(super) fn halt(&self) -> bool {
        // Swapped, so that of several who find a reason at once one tells it.
        !self.halted.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }

    /// The files are gone.
    pub(super) fn abandon(&self) {
        // Before the others: whoever finds the journal fenced is not to write down anywhere why.
        self.abandoned.store(true, Ordering::Release);
        self.halted.store(true, Ordering::Release);
        self.fenced.store(true, Ordering::Release);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// The workers are to end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
