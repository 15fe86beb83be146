//! The checkpoint of a shard: what is durable in its logs, so that its journal may forget it.
//!
//! INV-CHECKPOINT: everything the journal holds up to `lsn` is durable in the logs as described here
//! before the checkpoint is saved; the journal recycles nothing above the last saved checkpoint.
//! INV-TWO: the checkpoint before the last stays on disk until the next one is durable.

pub(crate) mod format;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use galgo_wire::id::{Epoch, Offset, PartitionUid, Timestamp};

use crate::journal::Lsn;

pub use store::{CheckpointStore, CheckpointStoreError, FoundCheckpoint};

/// State of one shard at a place in its journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardCheckpoint {
    /// The last journal record that needs no replay.
    pub lsn: Lsn,
    /// Of the owner of the journal that took it; 0 when that was not written down.
    pub epoch: Epoch,
    /// The logs of the shard's partitions.
    pub logs: BTreeMap<PartitionUid, LogCheckpoint>,
    /// Stored consumer offsets.
    pub offsets: Vec<CheckpointedOffset>,
}

/// How far a consumer or group has come in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointedOffset {
    /// The partition.
    pub uid: PartitionUid,
    /// 1 for a consumer, 2 for a group.
    pub kind: u8,
    /// Its number.
    pub id: u32,
    /// The last processed offset.
    pub offset: Offset,
    /// When and by whom it was stored; `None` when that was not written down, as before version 2.
    pub note: Option<OffsetNote>,
}

/// When and by whom an offset was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetNote {
    /// When it was stored.
    pub stored_at: Timestamp,
    /// When its owner was last seen, storing or polling.
    pub active_at: Timestamp,
    /// The mark of the user that stored it; [`OffsetNote::NOBODY`] where that is not known.
    pub user: u64,
}

impl OffsetNote {
    /// Stands for a user that is not known.
    pub const NOBODY: u64 = u64::MAX;
}

/// What is durable of one partition's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogCheckpoint {
    /// The oldest offset that may be read; retention moves it.
    pub start: Offset,
    /// Segments that never change again, oldest first.
    pub sealed: Vec<SealedSegment>,
    /// The segment being written; `None` before the first append.
    pub active: Option<ActiveSegment>,
}

/// A segment that never changes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSegment {
    /// Offset of the first message.
    pub base: Offset,
    /// Offset after the last message.
    pub end: Offset,
    /// Length of the `.log` file.
    pub bytes: u64,
    /// Checksum over the checksums of its messages.
    pub checksum: u64,
    /// Timestamp of the last message.
    pub last_timestamp: Timestamp,
}

/// The durable part of the segment being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSegment {
    /// Offset of the first message.
    pub base: Offset,
    /// Bytes of the `.log` file known to be durable.
    pub durable_bytes: u64,
    /// Offset after the last durable message.
    pub durable_end: Offset,
    /// Timestamp of the last durable message.
    pub last_timestamp: Timestamp,
    /// The running checksum at `durable_end`, when it can be resumed from one word; without it the
    /// headers of the segment are read again before it is sealed.
    pub running_checksum: Option<u64>,
}
