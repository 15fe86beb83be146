//! Bounded memory for the indexes of segments that are read.
//!
//! The entries kept take at most the bytes allowed, or are those of a single index.

use super::{Index, IndexEntry};
use crate::lock::{Ranked, rank};
use galgo_wire::id::Offset;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes counted for an index besides its entries.
const OVERHEAD_BYTES: usize = 128;

/// Indexes of segments in use, the least recently used given up first; one per process.
pub struct IndexCache {
    bytes_max: usize,
    next_log: AtomicU64,
    kept: Ranked<{ rank::INDEX_CACHE }, CachedIndexes>,
}

#[derive(Default)]
struct CachedIndexes {
    indexes: HashMap<IndexKey, CachedSlot>,
    bytes: usize,
    clock: u64,
}

struct CachedSlot {
    index: Arc<CachedIndex>,
    used: u64,
}

/// Which part of which segment an index describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct IndexKey {
    /// The log, numbered by [`IndexCache::number_log`].
    pub(crate) log: u64,
    /// The segment.
    pub(crate) base: Offset,
    /// How many bytes of it.
    pub(crate) bytes: u64,
}

/// An index in memory.
pub(crate) struct CachedIndex {
    /// Its entries.
    pub(crate) index: Index,
    /// Whether this process made all of them from the log (INV-INDEX).
    pub(crate) trusted: bool,
}

impl CachedIndex {
    fn cost(&self) -> usize {
        size_of_val::<[IndexEntry]>(self.index.entries()) + OVERHEAD_BYTES
    }
}

impl IndexCache {
    /// A cache of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let (next_log, kept) = (AtomicU64::new(0), Ranked::default());
        Self { bytes_max, next_log, kept }
    }

    /// A number for a log that opens, different from that of every other.
    pub(crate) fn number_log(&self) -> u64 {
        self.next_log.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self, key: &IndexKey) -> Option<Arc<CachedIndex>> {
        let mut kept = self.kept.lock();
        // A count of uses stands for the time: it is enough to tell which was used last.
        kept.clock += 1;
        let clock = kept.clock;
        let slot = kept.indexes.get_mut(key)?;
        slot.used = clock;
        Some(Arc::clone(&slot.index))
    }

    /// Keeps an index, in place of one of the same key.
    pub(crate) fn insert(&self, key: IndexKey, index: CachedIndex) -> Arc<CachedIndex> {
        let index = Arc::new(index);
        let mut kept = self.kept.lock();
        kept.remove(&key);
        let cost = index.cost();
        // Before it is taken in, so that the bound holds at every moment; one that is larger than all is kept alone, as
        // somebody reads that segment right now.
        while kept.bytes + cost > self.bytes_max {
            let oldest = kept.indexes.iter().min_by_key(|(_, slot)| slot.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else { break };
            kept.remove(&oldest);
        }
        kept.clock += 1;
        kept.bytes += cost;
        let slot = CachedSlot { index: Arc::clone(&index), used: kept.clock };
        kept.indexes.insert(key, slot);
        assert!(
            kept.bytes <= self.bytes_max || kept.indexes.len() == 1,
            "indexes take the memory they may, or there is a single one"
        );
        index
    }

    /// Forgets the indexes of one segment.
    pub(crate) fn forget(&self, log: u64, base: Offset) {
        self.forget_where(|key| key.log == log && key.base == base);
    }

    /// Forgets all indexes of a log.
    pub(crate) fn forget_log(&self, log: u64) {
        self.forget_where(|key| key.log == log);
    }

    fn forget_where(&self, gone: impl Fn(&IndexKey) -> bool) {
        let mut kept = self.kept.lock();
        let gone: Vec<IndexKey> = kept.indexes.keys().filter(|key| gone(key)).copied().collect();
        for key in &gone {
            kept.remove(key);
        }
    }
}

impl CachedIndexes {
    fn remove(&mut self, key: &IndexKey) {
        if let Some(slot) = self.indexes.remove(key) {
            let cost = slot.index.cost();
            assert!(
                cost <= self.bytes,
                "what is given up of the cache was counted when it was taken in"
            );
            self.bytes -= cost;
        }
    }
}

impl std::fmt::Debug for IndexCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexCache").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use galgo_wire::id::Timestamp;

    fn index(entries: u32) -> CachedIndex {
        let mut index = Index::default();
        for at in 0..entries {
            let timestamp = Timestamp::ZERO;
            index.push(IndexEntry { relative_offset: at, position: at, timestamp });
        }
        CachedIndex { index, trusted: true }
    }

    fn key(base: u64) -> IndexKey {
        IndexKey { log: 1, base: Offset::new(base), bytes: 9 }
    }

    #[test]
    fn the_least_recently_used_index_is_given_up() {
        let cache = IndexCache::new(2 * (10 * 16 + OVERHEAD_BYTES));
        cache.insert(key(1), index(10));
        cache.insert(key(2), index(10));
        assert!(cache.get(&key(1)).is_some());
        cache.insert(key(3), index(10));
        assert!(cache.get(&key(2)).is_none());
        assert!(cache.get(&key(1)).is_some() && cache.get(&key(3)).is_some());
    }

    #[test]
    fn an_index_over_the_budget_is_kept_alone() {
        let cache = IndexCache::new(100);
        cache.insert(key(1), index(10));
        cache.insert(key(2), index(1_000));
        assert!(cache.get(&key(1)).is_none() && cache.get(&key(2)).is_some());
        cache.forget(1, Offset::new(2));
        assert!(cache.get(&key(2)).is_none());
        assert_eq!(cache.kept.lock().bytes, 0);
    }
}
