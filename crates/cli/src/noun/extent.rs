//! How far a partition goes.

use galgo::model::Partition;

/// The offsets of a partition: `start..end`, empty when they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Offset of the oldest message.
    pub(crate) start: u64,
    /// Offset after the newest message.
    pub(crate) end: u64,
}

impl Extent {
    /// Offsets are gapless, so count and last offset give the first one.
    pub(crate) fn of(partition: &Partition) -> Self {
        let count = partition.messages_count;
        // An empty partition says 0 for its last offset, like one with a single message.
        let end = match (count, partition.current_offset.get()) {
            (0, 0) => 0,
            (_, last) => last.saturating_add(1),
        };
        Self { start: end.saturating_sub(count), end }
    }

    /// The offset of the newest message.
    pub(crate) fn last(self) -> Option<u64> {
        if self.start < self.end { Some(self.end - 1) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extent_of_a_partition_follows_from_count_and_last_offset() {
        let extent = |messages_count, current_offset: u64| {
            Extent::of(&Partition {
                id: 0.into(),
                created_at: 0.into(),
                segments_count: 1,
                current_offset: current_offset.into(),
                size: 0,
                messages_count,
            })
        };
        for (count, last, expected) in [
            (0, 0, Extent { start: 0, end: 0 }),
            (1, 0, Extent { start: 0, end: 1 }),
            (10, 9, Extent { start: 0, end: 10 }),
            // Retention took the first messages, or all of them.
            (4, 9, Extent { start: 6, end: 10 }),
            (0, 9, Extent { start: 10, end: 10 }),
        ] {
            assert_eq!(extent(count, last), expected);
            assert_eq!(expected.last().is_some(), count > 0);
        }
    }
}
