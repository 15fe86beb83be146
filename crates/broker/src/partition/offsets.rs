//! Consumer positions of one partition: the last offset each consumer has processed.
//!
//! A position is as durable as the partition's messages: every change is a record in the shard's
//! journal before it is acknowledged. It is seen in memory as soon as it is staged.
//!
//! A position belongs to the user that stored it, as long as there is one: others need the right to manage
//! the topic to change it. That a group's is changed by its members only, its state machine sees to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use galgo_storage::lock::{Held, Ranked, rank};
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionUid, Timestamp};

use crate::metadata::UserMark;
use crate::offset_book::{Hold, OffsetBook, Position, StoredPosition};
use crate::shard::{Completion, OffsetOwner, Shard, ShardMember, ShardRecord};
use crate::ticket::{Ticket, ticket};

/// The positions of all consumers of a partition.
#[derive(Debug)]
pub(crate) struct Positions {
    book: Ranked<{ rank::OFFSETS }, OffsetBook>,
    /// How many consumers found no place for their position, until that is told.
    no_place: AtomicU64,
}

/// Where a change of a position goes: to the journal, with whom to tell of its outcome.
pub(super) struct PositionJournal<'a> {
    pub(super) shard: &'a Shard,
    pub(super) uid: PartitionUid,
    pub(super) member: Arc<dyn ShardMember>,
    /// What the change is to survive.
    pub(super) durability: Durability,
}

/// A change that is on its way.
pub(super) struct PositionChange {
    pub(super) ticket: Ticket,
    /// Whether there may be messages again for whoever waits under this name.
    pub(super) goes_back: bool,
}

/// Where a log is to start and what of it is held.
pub(super) struct StagedHold {
    /// Counting a move that is staged.
    pub(super) start: Offset,
    /// The smallest position of those that hold messages.
    pub(super) committed: Option<Offset>,
}

/// What became of positions in a look for those that expire.
pub(super) struct ExpiredPositions {
    pub(super) expired: Vec<StoredPosition>,
    /// Whether the next checkpoint is to write them down.
    pub(super) is_new: bool,
}

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

impl PositionJournal<'_> {
    /// Under the book's lock, so that memory and journal see the changes in one order, and the outcome cannot come
    /// before the change is noted.
    fn stage(
        self,
        record: &ShardRecord<'_>,
        owner: OffsetOwner,
        to: Option<Position>,
    ) -> Result<Ticket, OffsetError> {
        let (waiting, resolver) = ticket();
        let completion = Completion::Position { member: self.member, owner, to };
        let staged = self.shard.stage(record, self.durability, completion, resolver);
        staged.map_err(|error| OffsetError::Refused(error.into()))?;
        Ok(waiting)
    }
}

impl Positions {
    pub(super) fn new(book: OffsetBook) -> Self {
        Self { book: Ranked::new(book), no_place: AtomicU64::new(0) }
    }

    /// All of them, for changes that go with others: nobody stores a position meanwhile.
    pub(super) fn hold(&self) -> Held<'_, { rank::OFFSETS }, OffsetBook> {
        self.book.lock()
    }

    /// The stored offset of `owner`.
    pub(crate) fn get(&self, owner: OffsetOwner) -> Option<Offset> {
        self.book.lock().get(owner)
    }

    /// Where `owner` has come to, now that it polls: that keeps its position from expiring.
    pub(super) fn seen(&self, owner: OffsetOwner, shard: &Shard) -> Option<Offset> {
        let mut book = self.book.lock();
        // Under the lock, as of a position that is stored.
        book.seen(owner, shard.now())
    }

    /// The positions behind `after`, at most `most`, in the order of their owners.
    pub(crate) fn behind(&self, after: Option<OffsetOwner>, most: usize) -> Vec<StoredPosition> {
        self.book.lock().behind(after).take(most).collect()
    }

    /// The position furthest behind of those that hold messages.
    pub(crate) fn furthest_behind(&self, hold: Hold, now: Timestamp) -> Option<StoredPosition> {
        self.book.lock().holding(hold, now).min_by_key(|held| held.position.offset)
    }

    /// The positions that hold messages below `end`, the one that is furthest behind first, at most `most`.
    pub(crate) fn holders_below(
        &self,
        end: Offset,
        hold: Hold,
        now: Timestamp,
        most: usize,
    ) -> Vec<StoredPosition> {
        let below =
            |held: &StoredPosition| held.position.offset.get().saturating_add(1) < end.get();
        let mut holding: Vec<_> = self.book.lock().holding(hold, now).filter(below).collect();
        // Without the lock, for which polls and commits wait: there may be a hundred thousand of them.
        holding.sort_by_key(|held| held.position.offset);
        holding.truncate(most);
        holding
    }

    /// Where the log is to start, and up to where somebody who holds messages has come: both at one moment.
    pub(super) fn held(&self, hold: Hold, now: Timestamp) -> StagedHold {
        let book = self.book.lock();
        StagedHold { start: book.start(), committed: book.smallest(hold, now) }
    }

    /// When somebody who has stored a position was last seen before this start, as far as known.
    pub(crate) fn last_activity(&self) -> Option<Timestamp> {
        Some(self.book.lock().seen_before()).filter(|seen| *seen > Timestamp::ZERO)
    }

    /// Lets go of who stored what, where `exists` does not know the user.
    pub(crate) fn disown(&self, exists: &dyn Fn(UserMark) -> bool) {
        self.book.lock().disown(exists);
    }

    /// How many consumers found no place for their position since the last call.
    pub(crate) fn take_no_place(&self) -> u64 {
        match self.no_place.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.no_place.swap(0, Ordering::Relaxed),
        }
    }

    /// The positions that are in the journal or in a checkpoint.
    pub(super) fn durable(&self) -> Vec<StoredPosition> {
        self.book.lock().durable_entries()
    }

    /// Forgets what consumers stored that were not seen for so long.
    pub(super) fn expire(&self, now: Timestamp, expire_after_us: u64) -> ExpiredPositions {
        let mut book = self.book.lock();
        let expired = book.expire(now, expire_after_us);
        // Also where only times have moved: after a start, whoever polls all the time would be
        // taken for silent since they were last written down.
        let is_new = book.take_moved() || !expired.is_empty();
        ExpiredPositions { expired, is_new }
    }

    /// Positions are as old after a leap of the time they are noted by as before it; tells whether there are any.
    pub(super) fn leap(&self, by_us: u64, now: Timestamp) -> bool {
        self.book.lock().leap(by_us, now)
    }

    /// Forgets a position without a record of it; tells whether there was one.
    pub(super) fn forget(&self, owner: OffsetOwner) -> bool {
        self.book.lock().remove(owner)
    }

    /// Brings positions beyond the end of a log back to its last message.
    pub(super) fn clamp(&self, end: Offset) {
        self.book.lock().clamp(end);
    }

    /// Stores `offset`, which is that of a message.
    ///
    /// # Errors
    /// [`OffsetError::Foreign`], [`OffsetError::Refused`].
    pub(super) fn store(
        &self,
        owner: OffsetOwner,
        by: StoredBy,
        offset: Offset,
        journal: PositionJournal<'_>,
    ) -> Result<PositionChange, OffsetError> {
        // Held over the staging, so that memory and journal see the changes in one order: the other order would come
        // back after a crash.
        let mut book = self.book.lock();
        // Asked under the lock: positions follow a clock that leaps under it, and one that was stored with the time of
        // before behind that would be a whole leap too old, and let go of what it holds.
        let now = journal.shard.now();
        // Before anything is staged. Groups always have a place (INV-GROUPS-FIT), and a consumer
        // that has one keeps it.
        if book.is_full_for(owner) {
            self.no_place.fetch_add(1, Ordering::Relaxed);
            return Err(OffsetError::Refused(ErrorCode::CannotOpenConsumerOffsetsFile));
        }
        by.may_change(book.position(owner))?;
        let to = Position { offset, stored_at: now, active_at: now, user: by.user };
        let (uid, note) = (journal.uid, Some(to.note()));
        let record = ShardRecord::OffsetStored { uid, owner, offset, note };
        // Noted only once it is staged: a change that the shard refuses leaves the book as it was.
        let ticket = journal.stage(&record, owner, Some(to))?;
        let goes_back = book.get(owner).is_some_and(|before| before > offset);
        book.stage(owner, Some(to));
        Ok(PositionChange { ticket, goes_back })
    }

    /// Deletes the stored offset of `owner`.
    ///
    /// # Errors
    /// [`OffsetError::NotStored`]; [`OffsetError::Foreign`]; [`OffsetError::Refused`].
    pub(super) fn delete(
        &self,
        owner: OffsetOwner,
        by: StoredBy,
        journal: PositionJournal<'_>,
    ) -> Result<PositionChange, OffsetError> {
        // Held over the staging, as for a store.
        let mut book = self.book.lock();
        let position = book.position(owner).ok_or(OffsetError::NotStored)?;
        by.may_change(Some(position))?;
        let record = ShardRecord::OffsetGone { uid: journal.uid, owner };
        let ticket = journal.stage(&record, owner, None)?;
        book.stage(owner, None);
        Ok(PositionChange { ticket, goes_back: true })
    }

    /// Takes note of the outcome of a change of a position: the position it made durable, or, where the record was
    /// not written or nobody can tell, that it did not.
    ///
    /// The position is what is known to be durable then, unless another change is on its way. What was polled
    /// to be committed with it was not delivered, and is to be polled again; unless another reader of the same
    /// name has polled on behind it, and that position was taken.
    pub(super) fn settled(&self, owner: OffsetOwner, made: Option<Option<Position>>) {
        self.book.lock().settle(owner, made);
    }
}
