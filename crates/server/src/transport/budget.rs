//! The memory all connections together may use for requests being received.
//!
//! INV-BUDGET: a receive buffer above the size every connection has anyway is covered by a grant for as
//! long as it exists. Who needs a larger grant gives back the one it has first, so that nobody waits
//! while holding what another waits for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one unit of the budget; semaphores count in 32 bits at a time.
const UNIT_BYTES: u64 = 4 << 10;

/// A pool of bytes.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    units: usize,
}

/// A share of the pool, given back when dropped.
#[derive(Debug)]
pub(crate) struct Grant {
    _permit: OwnedSemaphorePermit,
}

impl Budget {
    /// A pool of `bytes`.
    pub(crate) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT_BYTES).unwrap_or(usize::MAX);
        let units = units.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), units }
    }

    /// Takes `bytes` if they are free now.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Grant> {
        let permit = Arc::clone(&self.free).try_acquire_many_owned(self.units_of(bytes)).ok()?;
        Some(Grant { _permit: permit })
    }

    /// Takes `bytes`, waiting in line until they are free. More than there is takes all there is.
    pub(crate) async fn take(&self, bytes: usize) -> Option<Grant> {
        let units = self.units_of(bytes);
        let permit = Arc::clone(&self.free).acquire_many_owned(units).await.ok()?;
        Some(Grant { _permit: permit })
    }

    /// Whether so much is taken that idle buffers should be given back at once.
    pub(crate) fn is_tight(&self) -> bool {
        self.free.available_permits() < self.units / 4
    }

    fn units_of(&self, bytes: usize) -> u32 {
        let units = (bytes as u64).div_ceil(UNIT_BYTES).min(self.units as u64);
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_goes_back_when_dropped() {
        let budget = Budget::new(1 << 20);
        let grant = budget.try_take(1 << 20).unwrap();
        assert!(budget.is_tight());
        assert!(budget.try_take(1).is_none());
        drop(grant);
        assert!(!budget.is_tight());
        assert!(budget.try_take(1).is_some());
    }

    #[test]
    fn more_than_everything_takes_everything_instead_of_waiting_for_ever() {
        let budget = Budget::new(1 << 20);
        assert!(budget.try_take(usize::MAX).is_some());
    }
}
