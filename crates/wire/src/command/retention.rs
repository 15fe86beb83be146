//! What retention is held back by: the offsets that consumers and groups have stored, and the clock.

use crate::consumer::{ConsumerKind, PartitionChoice};
use crate::id::{Offset, PartitionId, Timestamp};
use crate::identifier::Identifier;
use crate::layout::{command, layout};
use crate::permission::{Action, Right};
use serde::Serialize;

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
    /// Asks what keeps retention from removing what is due.
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
        /// When it was stored; where that is not known, when the server first knew.
        stored_at: Timestamp,
        /// When its owner was last seen storing or polling; of polls to the hour.
        active_at: Timestamp,
        /// Until when messages behind it are kept for it by retention: 0 they are not, `u64::MAX` for ever.
        holds_until: Timestamp,
        /// The name of the user that stored it; empty where there is none any more.
        user: String,
    }
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
}
