//! What retention is held back by: the offsets that consumers and groups have stored, and the clock.

use crate::consumer::{ConsumerKind, PartitionChoice};
use crate::id::{Offset, PartitionId, Timestamp};
use crate::identifier::Identifier;
use crate::layout::{command, layout, shown};
use crate::permission::{Action, Right};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

command! {
    /// Lists the offsets stored in a topic, a page at a time.
    pub struct ListConsumerOffsets -> StoredOffsets {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The partition; none is all of them.
        partition_id: Option<PartitionId> as PartitionChoice,
        /// Where to go on: behind the last entry of the page before; all zeros begin.
        after: OffsetCursor,
    }
    right: |this| Right::topic(Action::ReadTopic, &this.stream, &this.topic);
}

command! {
    /// Tells what keeps retention from removing what is due.
    pub struct GetRetentionState -> RetentionState {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
    }
    right: |this| Right::topic(Action::ReadTopic, &this.stream, &this.topic);
}

layout! {
    /// A place in the list of stored offsets, which is in the order of partition, kind and number.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct OffsetCursor {
        /// The partition.
        partition_id: PartitionId,
        /// 1 for a consumer, 2 for a group; 0 is before all of the partition.
        kind: u8,
        /// What the list calls it.
        cursor_id: u32,
    }
}

layout! {
    /// A page of the offsets stored in a topic.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct StoredOffsets {
        /// Whether there are more behind the last one.
        more: bool,
        /// Zero; the answer is told from an empty one by its length.
        reserved: u8,
        /// The offsets.
        offsets: Vec<StoredOffset>,
    }
}

shown! {
    /// Offsets stored in a topic, and where the next page of them begins.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredOffsetsPage {
        /// The offsets.
        offsets: Vec<StoredOffset>,
        /// What `after` says to get the next page; null behind the last one.
        next: Option<OffsetCursor>,
    }
    json;
}

layout! {
    /// An offset that a consumer or group has stored in a partition.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct StoredOffset {
        /// The partition.
        partition_id: PartitionId,
        /// Whose it is.
        kind: ConsumerKind,
        /// The number of the consumer, which a name is turned into, or of the group.
        consumer_id: u32,
        /// What a cursor names it by.
        cursor_id: u32,
        /// The name of the group; empty for a consumer, whose name the server does not know.
        name: String,
        /// The last offset processed.
        offset: Offset,
        /// When it was stored, in microseconds since the Unix epoch; where that is not known, when the server first knew.
        stored_at: Timestamp,
        /// When its owner was last seen storing or polling; of polls to the hour.
        active_at: Timestamp,
        /// Until when messages behind it are kept for it by retention: 0 they are not, 2^64-1 for ever.
        holds_until: Timestamp,
        /// The name of the user that stored it; empty where there is none any more.
        user: String,
    }
    json;
}

layout! {
    /// What keeps retention from removing what is due in a topic.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct RetentionState {
        /// How far the clock was set forward without being believed yet, in microseconds: by that
        /// nothing is older.
        clock_lead: u64,
        /// How long it still has to hold, in microseconds.
        clock_waits: u64,
        /// How far the newest message of a partition is ahead of the clock at most, in microseconds.
        ahead: u64,
        /// Who holds sealed segments: in each partition the positions that hold messages of them, the
        /// one that is furthest behind first, at most 100.
        holders: Vec<StoredOffset>,
    }
    json;
}

impl OffsetCursor {
    /// The place of a stored offset.
    #[must_use]
    pub fn of(offset: &StoredOffset) -> Self {
        let StoredOffset { partition_id, kind, cursor_id, .. } = *offset;
        Self { partition_id, kind: kind.as_u8(), cursor_id }
    }
}

/// Partition, kind and number: `0-1-77`.
impl fmt::Display for OffsetCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.partition_id, self.kind, self.cursor_id)
    }
}

/// A text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is three numbers, such as `0-1-77`")]
pub struct CursorError;

impl FromStr for OffsetCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(CursorError);
        let (partition, kind, cursor) = (next()?, next()?, next()?);
        if next().is_ok() {
            return Err(CursorError);
        }
        let partition_id: u32 = partition.parse().map_err(|_| CursorError)?;
        let kind = kind.parse().map_err(|_| CursorError)?;
        let cursor_id = cursor.parse().map_err(|_| CursorError)?;
        Ok(Self { partition_id: PartitionId::new(partition_id), kind, cursor_id })
    }
}

impl From<StoredOffsets> for StoredOffsetsPage {
    fn from(page: StoredOffsets) -> Self {
        let StoredOffsets { more, offsets, .. } = page;
        let next = offsets.last().filter(|_| more).map(OffsetCursor::of);
        Self { offsets, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_shown_and_nothing_else_is() {
        let cursor =
            OffsetCursor { partition_id: PartitionId::new(3), kind: 2, cursor_id: u32::MAX };
        assert_eq!(cursor.to_string(), "3-2-4294967295");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in
            ["", "3", "3-2", "3-2-", "3-2-1-0", "3-2-x", "3-256-1", "-1-2-3", "4294967296-1-1"]
        {
            assert_eq!(text.parse::<OffsetCursor>(), Err(CursorError), "{text}");
        }
    }
}
