//! Consumer positions of one partition: the last offset each consumer has processed.
//!
//! A position is as durable as the partition's messages: every change is a record in the shard's
//! journal before it is acknowledged. It is seen in memory as soon as it is staged.
//!
//! INV-SETTLED: a checkpoint holds no change that is still on its way, so that one which is refused
//! does not take effect after a crash; and once all changes of a position have an outcome, what is
//! served is the last one that is known to be durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::Offset;

use super::Partition;
use crate::alarm::News;
use crate::shard::{OffsetOwner, ShardRecord};
use crate::ticket::{Ticket, ticket};

/// Most consumers whose positions one partition keeps.
pub const OFFSET_OWNERS_MAX: usize = 100_000;

/// Positions by owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetBook {
    stored: BTreeMap<OffsetOwner, Offset>,
    /// Those with changes on their way to the journal.
    unsettled: BTreeMap<OffsetOwner, Unsettled>,
    /// Where the log starts once what is staged is durable.
    start: Offset,
}

/// A position that may still turn out to be another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unsettled {
    /// What is known to be durable.
    durable: Option<Offset>,
    /// How many changes are on their way.
    moves: u32,
}

/// A change of a position that is on its way to the journal.
#[derive(Debug)]
pub(crate) struct OffsetMove {
    partition: Arc<Partition>,
    owner: OffsetOwner,
    /// The position it makes; `None` when it deletes.
    to: Option<Offset>,
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
        self.stored.get(&owner).copied()
    }

    /// Applies a stored or recovered position.
    pub fn set(&mut self, owner: OffsetOwner, offset: Offset) {
        self.stored.insert(owner, offset);
    }

    /// Forgets a position; tells whether there was one.
    pub fn remove(&mut self, owner: OffsetOwner) -> bool {
        self.unsettled.remove(&owner);
        self.stored.remove(&owner).is_some()
    }

    /// Brings positions beyond the end of a recovered log back to its last offset; with an empty
    /// log there is nothing a position could mean.
    pub fn clamp(&mut self, end: Offset) {
        let Some(last) = end.get().checked_sub(1) else {
            self.stored.clear();
            return;
        };
        for offset in self.stored.values_mut() {
            *offset = (*offset).min(Offset::new(last));
        }
    }

    /// The position that is farthest on.
    #[must_use]
    pub fn largest(&self) -> Option<Offset> {
        self.stored.values().copied().max()
    }

    /// Forgets the positions of owners for which `keep` is false; tells whether there were any.
    pub fn retain(&mut self, keep: impl Fn(OffsetOwner) -> bool) -> bool {
        let before = self.stored.len();
        self.stored.retain(|owner, _| keep(*owner));
        self.stored.len() < before
    }

    /// Makes a change that is staged.
    fn stage(&mut self, owner: OffsetOwner, to: Option<Offset>) {
        let before = match to {
            Some(offset) => self.stored.insert(owner, offset),
            None => self.stored.remove(&owner),
        };
        let first = Unsettled { durable: before, moves: 0 };
        self.unsettled.entry(owner).or_insert(first).moves += 1;
    }

    /// Takes note of the outcome of a staged change: the position it made durable, or that it did not.
    /// With the last one on its way, what is served comes in line.
    fn settle(&mut self, owner: OffsetOwner, made: Option<Option<Offset>>) {
        // A consumer that is gone for good leaves no trace.
        let Some(unsettled) = self.unsettled.get_mut(&owner) else { return };
        if let Some(made) = made {
            unsettled.durable = made;
        }
        unsettled.moves = unsettled.moves.saturating_sub(1);
        if unsettled.moves > 0 {
            return;
        }
        let durable = unsettled.durable;
        self.unsettled.remove(&owner);
        match durable {
            Some(offset) => self.stored.insert(owner, offset),
            None => self.stored.remove(&owner),
        };
    }

    /// The smallest position of all, counting what an unsettled one may fall back to; `None` when
    /// nobody has one.
    #[must_use]
    pub fn smallest(&self) -> Option<Offset> {
        let durable = self.unsettled.values().filter_map(|known| known.durable);
        self.stored.values().copied().chain(durable).min()
    }

    /// Where the log starts, counting a move that is staged.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    pub(super) fn set_start(&mut self, start: Offset) {
        self.start = start;
    }

    /// All positions as far as they are known to be durable, ordered by owner.
    #[must_use]
    pub fn durable_entries(&self) -> Vec<(OffsetOwner, Offset)> {
        let settled = self.stored.iter().filter(|(owner, _)| !self.unsettled.contains_key(owner));
        let mut entries: Vec<_> = settled.map(|(owner, offset)| (*owner, *offset)).collect();
        if !self.unsettled.is_empty() {
            let durable =
                |(owner, known): (&OffsetOwner, &Unsettled)| Some((*owner, known.durable?));
            entries.extend(self.unsettled.iter().filter_map(durable));
            entries.sort_unstable_by_key(|(owner, _)| *owner);
        }
        entries
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
    /// The record is durable.
    pub(crate) fn durable(self) {
        self.partition.offsets.lock().settle(self.owner, Some(self.to));
        // A checkpoint that came before has the position without this change.
        self.partition.touch();
    }

    /// The record was not written, or nobody can tell: the position is what is known to be durable,
    /// unless another change is on its way. What was polled to be committed with it was not delivered,
    /// and is to be polled again; unless another reader of the same name has polled on behind it, and
    /// that position was taken.
    pub(crate) fn refused(self) {
        self.partition.offsets.lock().settle(self.owner, None);
        self.partition.position_moved_back();
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
        let moved = OffsetMove { partition: Arc::clone(self), owner, to: Some(offset) };
        let staged = self.stage_record(&record, moved)?;
        let back = offsets.get(owner).is_some_and(|before| before > offset);
        offsets.stage(owner, Some(offset));
        drop(offsets);
        if back {
            self.position_moved_back();
        }
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
        let moved = OffsetMove { partition: Arc::clone(self), owner, to: None };
        let staged = self.stage_record(&record, moved)?;
        offsets.stage(owner, None);
        drop(offsets);
        self.position_moved_back();
        Ok(staged)
    }

    /// Tells the polls that wait: for one of them there may be messages again. Called after the change,
    /// which a poll that hangs up its alarm later sees.
    fn position_moved_back(&self) {
        let rung = self.commits.lock().bell.all();
        rung.ring(News::Look);
    }

    fn stage_record(
        self: &Arc<Self>,
        record: &ShardRecord<'_>,
        moved: OffsetMove,
    ) -> Result<Ticket, OffsetError> {
        let (waiting, resolver) = ticket();
        let sync = self.durability() == Durability::Fsync;
        // The caller holds the offsets' lock, so the outcome cannot come before the change is noted.
        self.shard.stage_offset((record, sync), moved, resolver).map_err(OffsetError::Refused)?;
        Ok(waiting)
    }
}

#[cfg(test)]
mod tests {
    use galgo_wire::consumer::ConsumerKind;
    use galgo_wire::id::ConsumerId;

    use super::*;

    #[test]
    fn the_smallest_position_counts_what_a_refusal_would_bring_back() {
        let owner = OffsetOwner { kind: ConsumerKind::Group, id: ConsumerId::new(1) };
        let at = |offset| Some(Offset::new(offset));
        let mut book = OffsetBook::default();
        book.set(owner, Offset::new(3));
        book.stage(owner, at(9));
        assert_eq!((book.get(owner), book.smallest()), (at(9), at(3)));
        book.settle(owner, None);
        assert_eq!((book.get(owner), book.smallest()), (at(3), at(3)));
        book.stage(owner, None);
        assert_eq!(book.smallest(), at(3), "a deletion may be refused, too");
        book.settle(owner, Some(None));
        assert_eq!(book.smallest(), None);
        book.stage(owner, at(2));
        book.settle(owner, Some(at(2)));
        assert_eq!(book.smallest(), at(2));
    }
}
