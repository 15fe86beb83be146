//! Consumer positions of one partition: the last offset each consumer has processed.
//!
//! A position is as durable as the partition's messages: every change is a record in the shard's
//! journal before it is acknowledged. It is seen in memory as soon as it is staged.
//!
//! A position belongs to the user that stored it, as long as there is one: others need the right to manage
//! the topic to change it. That a group's is changed by its members only, its state machine sees to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_storage::journal::CommitError;
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, Timestamp};

use super::Partition;
use crate::alarm::News;
use crate::metadata::UserMark;
use crate::offset_book::{Hold, Position};
use crate::shard::{Completion, OffsetOwner, ShardRecord};
use crate::ticket::{Ticket, ticket};

/// On whose behalf a position is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBy {
    /// The user; `None` for a group, whose members own its offsets together.
    pub user: Option<UserMark>,
    /// Whether it may change what others have stored.
    pub manages: bool,
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
    /// Another user has stored it.
    #[error("another user has stored the offset of this consumer")]
    Foreign,
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
            Self::Foreign => ErrorCode::Unauthorized,
            Self::NotStored => ErrorCode::ConsumerOffsetNotFound,
            Self::Refused(code) => code,
        }
    }
}

impl StoredBy {
    fn may_change(&self, position: Option<&Position>) -> Result<(), OffsetError> {
        let other =
            position.and_then(|position| position.user).filter(|user| Some(*user) != self.user);
        if other.is_some() && !self.manages { Err(OffsetError::Foreign) } else { Ok(()) }
    }
}

impl Partition {
    /// The stored offset of `owner`.
    #[must_use]
    pub fn stored_offset(&self, owner: OffsetOwner) -> Option<Offset> {
        self.offsets.lock().get(owner)
    }

    /// Where `owner` has come to, now that it polls: that keeps its position from expiring.
    pub(crate) fn offset_of_poll(&self, owner: OffsetOwner) -> Option<Offset> {
        self.offsets.lock().seen(owner, self.shard.now())
    }

    /// Forgets what consumers stored that were not seen for so long; returns it. There is no record of it:
    /// what a crash brings back is as old as before, and expires again.
    pub(crate) fn expire_offsets(
        self: &Arc<Self>,
        now: Timestamp,
        expire_after_us: u64,
    ) -> Vec<(OffsetOwner, Position)> {
        if self.is_offline() {
            // Whoever would be seen polling is refused.
            return Vec::new();
        }
        let (expired, moved) = {
            let mut offsets = self.offsets.lock();
            (offsets.expire(now, expire_after_us), offsets.take_moved())
        };
        if moved || !expired.is_empty() {
            // The next checkpoint is to write it down.
            self.touch();
        }
        expired
    }

    /// The positions behind `after`, at most `most`, in the order of their owners.
    pub(crate) fn offsets_behind(
        &self,
        after: Option<OffsetOwner>,
        most: usize,
    ) -> Vec<(OffsetOwner, Position)> {
        let offsets = self.offsets.lock();
        offsets.behind(after).take(most).map(|(owner, position)| (owner, *position)).collect()
    }

    /// The position furthest behind of those that hold messages.
    pub(crate) fn furthest_behind(
        &self,
        hold: Hold,
        now: Timestamp,
    ) -> Option<(OffsetOwner, Position)> {
        let offsets = self.offsets.lock();
        let furthest = offsets.holding(hold, now).min_by_key(|(_, position)| position.offset);
        furthest.map(|(owner, position)| (owner, *position))
    }

    /// The positions that hold messages below `end`, the one that is furthest behind first, at most `most`.
    pub(crate) fn holders_below(
        &self,
        end: Offset,
        (hold, now): (Hold, Timestamp),
        most: usize,
    ) -> Vec<(OffsetOwner, Position)> {
        let offsets = self.offsets.lock();
        let below = |position: &Position| position.offset.get().saturating_add(1) < end.get();
        let holding = offsets.holding(hold, now).filter(|(_, position)| below(position));
        let mut holding: Vec<_> = holding.map(|(owner, at)| (owner, *at)).collect();
        drop(offsets);
        holding.sort_by_key(|(_, position)| position.offset);
        holding.truncate(most);
        holding
    }

    /// When somebody who has stored a position was last seen before this start, as far as known.
    pub(crate) fn last_activity(&self) -> Option<Timestamp> {
        Some(self.offsets.lock().seen_before()).filter(|seen| *seen > Timestamp::ZERO)
    }

    /// The positions that are in the journal or in a checkpoint.
    pub(crate) fn durable_positions(&self) -> Vec<(OffsetOwner, Position)> {
        self.offsets.lock().durable_entries()
    }

    /// Positions are as old after a leap of the time they are noted by as before it.
    pub(crate) fn leap_offsets(self: &Arc<Self>, by_us: u64, now: Timestamp) {
        if self.offsets.lock().leap(by_us, now) {
            self.touch();
        }
    }

    /// Lets go of who stored what, where `exists` does not know the user.
    pub(crate) fn disown_offsets(&self, exists: &dyn Fn(UserMark) -> bool) {
        self.offsets.lock().disown(exists);
    }

    /// How many consumers found no place for their position since the last call.
    pub(crate) fn take_no_place(&self) -> u64 {
        match self.no_place.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.no_place.swap(0, Ordering::Relaxed),
        }
    }

    /// Stores the last processed offset; it may move back.
    ///
    /// # Errors
    /// [`OffsetError::Beyond`] when no message has that offset yet; [`OffsetError::Foreign`] when somebody
    /// else has stored it, who still exists, and `by` does not manage the topic;
    /// [`OffsetError::Refused`] when the shard takes no writes or [`crate::offset_book::OFFSET_OWNERS_MAX`] other consumers
    /// have positions already.
    pub fn store_offset(
        self: &Arc<Self>,
        (owner, by): (OffsetOwner, StoredBy),
        offset: Offset,
    ) -> Result<Ticket, OffsetError> {
        let end = self.high_watermark();
        if offset >= end && self.is_offline() {
            // Where it ends is not known better.
            return Err(OffsetError::Refused(CommitError::Fenced.into()));
        }
        if offset >= end {
            return Err(OffsetError::Beyond { offset: offset.get(), end: end.get() });
        }
        // Held over the staging, so that memory and journal see the changes in one order.
        let mut offsets = self.offsets.lock();
        if offsets.is_full_for(owner) {
            self.no_place.fetch_add(1, Ordering::Relaxed);
            return Err(OffsetError::Refused(ErrorCode::CannotOpenConsumerOffsetsFile));
        }
        by.may_change(offsets.position(owner))?;
        let now = self.shard.now();
        let to = Position { offset, stored_at: now, active_at: now, user: by.user };
        let note = to.note();
        let record = ShardRecord::OffsetStored { uid: self.uid, owner, offset, note: Some(note) };
        let staged = self.stage_position(&record, (owner, Some(to)))?;
        let back = offsets.get(owner).is_some_and(|before| before > offset);
        offsets.stage(owner, Some(to));
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
    /// [`OffsetError::NotStored`]; [`OffsetError::Foreign`]; [`OffsetError::Refused`].
    pub fn delete_offset(
        self: &Arc<Self>,
        (owner, by): (OffsetOwner, StoredBy),
    ) -> Result<Ticket, OffsetError> {
        let mut offsets = self.offsets.lock();
        let position = offsets.position(owner).ok_or(OffsetError::NotStored)?;
        by.may_change(Some(position))?;
        let record = ShardRecord::OffsetGone { uid: self.uid, owner };
        let staged = self.stage_position(&record, (owner, None))?;
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

    fn stage_position(
        self: &Arc<Self>,
        record: &ShardRecord<'_>,
        (owner, to): (OffsetOwner, Option<Position>),
    ) -> Result<Ticket, OffsetError> {
        let (waiting, resolver) = ticket();
        let sync = self.durability() == Durability::Fsync;
        let completion = Completion::Position { member: self.member(), owner, to };
        // The caller holds the offsets' lock, so the outcome cannot come before the change is noted.
        let staged = self.shard.stage((record, sync), completion, resolver);
        staged.map_err(|error| OffsetError::Refused(error.into()))?;
        Ok(waiting)
    }

    /// Takes note of the outcome of a change of a position: the position it made durable, or, where the record was
    /// not written or nobody can tell, that it did not.
    ///
    /// The position is what is known to be durable then, unless another change is on its way. What was polled
    /// to be committed with it was not delivered, and is to be polled again; unless another reader of the same
    /// name has polled on behind it, and that position was taken.
    pub(super) fn position_settled(
        self: &Arc<Self>,
        owner: OffsetOwner,
        made: Option<Option<Position>>,
    ) {
        self.offsets.lock().settle(owner, made);
        match made {
            // A checkpoint that came before has the position without this change.
            Some(_) => self.touch(),
            None => self.position_moved_back(),
        }
    }
}
