//! Consumer positions of one partition: the last offset each consumer has processed.
//!
//! A position is as durable as the partition's messages: every change is a record in the shard's
//! journal before it is acknowledged. It is seen in memory as soon as it is staged.

use std::collections::BTreeMap;
use std::sync::Arc;

use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::Offset;

use super::Partition;
use crate::shard::{OffsetOwner, ShardRecord};
use crate::ticket::{Ticket, ticket};

/// Most consumers whose positions one partition keeps.
pub const OFFSET_OWNERS_MAX: usize = 100_000;

/// Positions by owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetBook {
    stored: BTreeMap<OffsetOwner, Position>,
    /// Changes so far.
    changes: u64,
    /// Where the log starts once what is staged is durable.
    start: Offset,
}

/// A position, and the number of the change that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    offset: Offset,
    change: u64,
}

/// A change of a position that is on its way to the journal.
#[derive(Debug)]
pub(crate) struct OffsetMove {
    partition: Arc<Partition>,
    owner: OffsetOwner,
    before: Option<Position>,
    /// Of the position it makes; `None` when it deletes.
    change: Option<u64>,
}

/// Why an offset was not stored or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    /// Beyond the last message, or the partition is empty.
    #[error("offset {offset} is beyond the last message (the next one gets {end})")]
    Beyond {
        /// The offset asked for.
        offset: u64,
        /// The partition's high-watermark.
        end: u64,
    },
    /// Nothing is stored for this owner.
    #[error("no offset is stored for this consumer")]
    NotStored,
    /// The shard takes no writes, or the partition keeps no more positions.
    #[error("the position was refused")]
    Refused(ErrorCode),
}

impl OffsetError {
    /// The number for the client.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Beyond { .. } => ErrorCode::InvalidOffset,
            Self::NotStored => ErrorCode::ConsumerOffsetNotFound,
            Self::Refused(code) => code,
        }
    }
}

impl OffsetBook {
    /// The stored offset of `owner`.
    #[must_use]
    pub fn get(&self, owner: OffsetOwner) -> Option<Offset> {
        self.stored.get(&owner).map(|position| position.offset)
    }

    /// Applies a stored or recovered position.
    pub fn set(&mut self, owner: OffsetOwner, offset: Offset) {
        self.changes += 1;
        self.stored.insert(owner, Position { offset, change: self.changes });
    }

    /// Forgets a position; tells whether there was one.
    pub fn remove(&mut self, owner: OffsetOwner) -> bool {
        self.stored.remove(&owner).is_some()
    }

    /// Brings positions beyond the end of a recovered log back to its last offset; with an empty
    /// log there is nothing a position could mean.
    pub fn clamp(&mut self, end: Offset) {
        let Some(last) = end.get().checked_sub(1) else {
            self.stored.clear();
            return;
        };
        for position in self.stored.values_mut() {
            position.offset = position.offset.min(Offset::new(last));
        }
    }

    /// Forgets the positions of owners for which `keep` is false; tells whether there were any.
    pub fn retain(&mut self, keep: impl Fn(OffsetOwner) -> bool) -> bool {
        let before = self.stored.len();
        self.stored.retain(|owner, _| keep(*owner));
        self.stored.len() < before
    }

    /// The change that comes next, to the position of `owner`.
    fn moves(&self, partition: &Arc<Partition>, owner: OffsetOwner, stores: bool) -> OffsetMove {
        let before = self.stored.get(&owner).copied();
        let partition = Arc::clone(partition);
        OffsetMove { partition, owner, before, change: stores.then_some(self.changes + 1) }
    }

    /// The smallest position of all; `None` when nobody has one.
    #[must_use]
    pub fn smallest(&self) -> Option<Offset> {
        self.stored.values().map(|position| position.offset).min()
    }

    /// Where the log starts, counting a move that is staged.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    pub(super) fn set_start(&mut self, start: Offset) {
        self.start = start;
    }

    /// All positions, ordered by owner.
    #[must_use]
    pub fn entries(&self) -> Vec<(OffsetOwner, Offset)> {
        self.stored.iter().map(|(owner, position)| (*owner, position.offset)).collect()
    }

    /// How many positions are stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }
}

impl OffsetMove {
    /// The record was not written: the position is what it was, unless it was changed again since. What
    /// was polled to be committed with it was not delivered, and is to be polled again.
    pub(crate) fn refused(self) {
        let mut offsets = self.partition.offsets.lock();
        if offsets.stored.get(&self.owner).map(|position| position.change) != self.change {
            return;
        }
        match self.before {
            Some(before) => offsets.stored.insert(self.owner, before),
            None => offsets.stored.remove(&self.owner),
        };
        drop(offsets);
        // A checkpoint may have seen the change.
        self.partition.touch();
    }
}

impl Partition {
    /// The stored offset of `owner`.
    #[must_use]
    pub fn stored_offset(&self, owner: OffsetOwner) -> Option<Offset> {
        self.offsets.lock().get(owner)
    }

    /// Stores the last processed offset; it may move back.
    ///
    /// # Errors
    /// [`OffsetError::Beyond`] when no message has that offset yet; [`OffsetError::Refused`] when the
    /// shard takes no writes or [`OFFSET_OWNERS_MAX`] others have positions already.
    pub fn store_offset(
        self: &Arc<Self>,
        owner: OffsetOwner,
        offset: Offset,
    ) -> Result<Ticket, OffsetError> {
        let end = self.high_watermark();
        if offset >= end {
            return Err(OffsetError::Beyond { offset: offset.get(), end: end.get() });
        }
        // Held over the staging, so that memory and journal see the changes in one order.
        let mut offsets = self.offsets.lock();
        if offsets.len() >= OFFSET_OWNERS_MAX && offsets.get(owner).is_none() {
            return Err(OffsetError::Refused(ErrorCode::CannotOpenConsumerOffsetsFile));
        }
        let record = ShardRecord::OffsetStored { uid: self.uid, owner, offset };
        let staged = self.stage_record(&record, offsets.moves(self, owner, true))?;
        offsets.set(owner, offset);
        Ok(staged)
    }

    /// Forgets the offset of an owner that will never come again, without a record of it: whoever reads
    /// the journal or a checkpoint knows who exists.
    pub(crate) fn forget_offset(self: &Arc<Self>, owner: OffsetOwner) {
        if self.offsets.lock().remove(owner) {
            self.touch();
        }
    }

    /// Deletes the stored offset of `owner`.
    ///
    /// # Errors
    /// [`OffsetError::NotStored`]; [`OffsetError::Refused`].
    pub fn delete_offset(self: &Arc<Self>, owner: OffsetOwner) -> Result<Ticket, OffsetError> {
        let mut offsets = self.offsets.lock();
        if offsets.get(owner).is_none() {
            return Err(OffsetError::NotStored);
        }
        let record = ShardRecord::OffsetGone { uid: self.uid, owner };
        let staged = self.stage_record(&record, offsets.moves(self, owner, false))?;
        offsets.remove(owner);
        Ok(staged)
    }

    fn stage_record(
        self: &Arc<Self>,
        record: &ShardRecord<'_>,
        moved: OffsetMove,
    ) -> Result<Ticket, OffsetError> {
        let (waiting, resolver) = ticket();
        let sync = self.durability() == Durability::Fsync;
        // Before the record can be in the journal: a checkpoint that recycles it must have seen this
        // partition. The caller holds the offsets' lock, so the checkpoint sees the change too.
        self.touch();
        self.shard.stage_offset((record, sync), moved, resolver).map_err(OffsetError::Refused)?;
        Ok(waiting)
    }
}
