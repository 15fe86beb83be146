//! Search by time.

use super::{Index, IndexEntry};
use galgo_wire::id::Timestamp;

impl Index {
    /// The last entry before this time: the first message at or after it comes later.
    pub(crate) fn before_time(&self, timestamp: Timestamp) -> Option<IndexEntry> {
        self.before(|entry| entry.timestamp < timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
