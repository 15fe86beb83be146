//! How much of what was read and not yet delivered may be in memory.
//!
//! INV-CONNECT-BUDGET: what the lanes of a pipeline hold is within its budget, but for one fetch of each lane; who waits for memory
//! holds no batch that could be delivered.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What memory is counted in.
const UNIT: usize = 1 << 10;
/// The largest budget: 256 GiB.
const UNITS_MAX: usize = 1 << 28;

const _: () = assert!(
    UNITS_MAX <= u32::MAX as usize && UNITS_MAX <= Semaphore::MAX_PERMITS,
    "INV-CONNECT-BUDGET: all of a budget can be taken at once"
);

/// The memory of a pipeline.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    units: u32,
    free: Arc<Semaphore>,
}

/// Memory that is in use, until this is dropped.
#[derive(Debug, Default)]
pub struct TakenMemory(Vec<OwnedSemaphorePermit>);

impl MemoryBudget {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let Ok(units) = u32::try_from(bytes.div_ceil(UNIT).clamp(1, UNITS_MAX)) else {
            unreachable!("INV-CONNECT-BUDGET: a budget is no larger than the largest")
        };
        assert!(units > 0, "INV-CONNECT-BUDGET: of nothing nothing could be taken, for ever");
        Self { units, free: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Takes memory if it is free.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<TakenMemory> {
        let permit = Arc::clone(&self.free).try_acquire_many_owned(self.units_of(bytes)).ok()?;
        Some(TakenMemory(vec![permit]))
    }

    /// Takes memory; waits until it is free. What is larger than all of it takes all of it.
    pub async fn take(&self, bytes: usize) -> TakenMemory {
        match Arc::clone(&self.free).acquire_many_owned(self.units_of(bytes)).await {
            Ok(permit) => TakenMemory(vec![permit]),
            Err(_) => unreachable!("nobody closes the semaphore"),
        }
    }

    /// Bytes that are in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        let free = self.free.available_permits();
        assert!(
            free <= self.units as usize,
            "INV-CONNECT-BUDGET: no more is given back than was taken"
        );
        (self.units as usize - free) as u64 * UNIT as u64
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).map_or(self.units, |units| units.min(self.units))
    }
}

impl TakenMemory {
    /// Adds what another has taken.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INV-CONNECT-BUDGET
    #[tokio::test]
    async fn memory_is_taken_and_given_back() {
        let budget = MemoryBudget::new(10 * UNIT);
        let mut first = budget.try_take(6 * UNIT).unwrap();
        assert!(budget.try_take(5 * UNIT).is_none());
        first.add(budget.try_take(1).unwrap());
        assert_eq!(budget.used(), 7 * UNIT as u64);
        drop(first);
        let all = budget.take(usize::MAX).await;
        assert_eq!(budget.used(), 10 * UNIT as u64, "what is larger than all takes all");
        drop(all);
        assert_eq!(budget.used(), 0);
    }
}
