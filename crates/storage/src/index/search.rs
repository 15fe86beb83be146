//! Search by offset, by position and by time.

use super::{Index, IndexEntry};
use galgo_wire::id::Timestamp;

impl Index {
    /// The last entry at or before this offset (relative to the base), which may be behind all of them.
    pub(crate) fn at_offset(&self, relative_offset: u64) -> Option<IndexEntry> {
        self.before(|entry| u64::from(entry.relative_offset) <= relative_offset)
    }

    /// The last entry at or before this byte.
    pub(crate) fn at_position(&self, position: u64) -> Option<IndexEntry> {
        self.before(|entry| u64::from(entry.position) <= position)
    }

    /// The last entry before this time: the first message at or after it comes later.
    pub(crate) fn before_time(&self, timestamp: Timestamp) -> Option<IndexEntry> {
        self.before(|entry| entry.timestamp < timestamp)
    }

    /// The last entry for which `holds`; it holds for a first part of the entries.
    fn before(&self, holds: impl FnMut(&IndexEntry) -> bool) -> Option<IndexEntry> {
        let after = self.entries.partition_point(holds);
        after.checked_sub(1).and_then(|at| self.entries.get(at)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for (relative_offset, position, timestamp) in [(0, 0, 10), (5, 100, 10), (9, 300, 20)] {
            let timestamp = Timestamp::new(timestamp);
            index.push(IndexEntry { relative_offset, position, timestamp });
        }
        index
    }

    #[test]
    fn a_search_gives_the_entry_at_or_before() {
        let index = index();
        let found = |offset| index.at_offset(offset).map(|entry| entry.position);
        assert_eq!([0, 4, 5, 8, 9, 99].map(found), [0, 0, 100, 100, 300, 300].map(Some));
        let found = |position| index.at_position(position).map(|entry| entry.relative_offset);
        assert_eq!([0, 99, 100, 299, 5_000].map(found), [0, 0, 5, 5, 9].map(Some));
        assert_eq!(Index::default().at_offset(0), None);
    }

    /// INV-SORTED.
    #[test]
    fn an_entry_out_of_order_is_left_out_and_a_cut_takes_the_end() {
        let mut index = index();
        index.push(IndexEntry { relative_offset: 9, position: 400, timestamp: Timestamp::new(30) });
        index.push(IndexEntry { relative_offset: 10, position: 400, timestamp: Timestamp::new(9) });
        assert_eq!(index.entries().len(), 3);
        index.truncate(300);
        assert_eq!(index.entries().len(), 2);
    }

    #[test]
    fn equal_times_are_found_from_their_first_message() {
        let mut index = Index::default();
        for (at, timestamp) in [(0, 10), (1, 20), (2, 20), (3, 30)] {
            let timestamp = Timestamp::new(timestamp);
            index.push(IndexEntry { relative_offset: at, position: at, timestamp });
        }
        let found = |time| index.before_time(Timestamp::new(time)).map(|entry| entry.position);
        assert_eq!(found(10), None);
        assert_eq!(found(20), Some(0));
        assert_eq!(found(21), Some(2));
        assert_eq!(found(99), Some(3));
    }
}
