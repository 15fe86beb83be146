//! What a shard knows of those whose writes it makes durable, and nothing else of them.
//!
//! A member stages bytes with what is to be done once their outcome is known. The shard commits them, checkpoints
//! the member, and has it tried again when it took no writes. It is below its members: no file of the shard
//! names what they are.

use std::sync::Arc;

use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::journal::CommitError;
use galgo_storage::log::{Log, LogReader, RecoveryReport};
use galgo_wire::id::{Offset, PartitionUid};

use super::OffsetOwner;
use crate::alarm::Rung;
use crate::causes::Causes;
use crate::offset_book::{Position, StoredPosition};
use crate::ticket::Resolver;

/// A log that writes through a shard.
pub(crate) trait ShardMember: Send + Sync {
    /// The name of its log on disk.
    fn uid(&self) -> PartitionUid;

    /// Whether it was deleted or purged, so that its files may be gone.
    fn is_closed(&self) -> bool;

    /// Whether its log could not be opened: what is on record of it has to stay as it is.
    fn is_offline(&self) -> bool;

    /// The offset after the last message that was published.
    fn high_watermark(&self) -> Offset;

    /// Tells that the journal holds everything staged below `end` that went its way. Whoever waits for
    /// what is published by it is left in `published` and the answer, to be told outside of the locks.
    fn journaled(&self, end: Offset, published: &mut Vec<Resolver>) -> Rung;

    /// Tells that the journal did not take what was staged below `end` for it; true when the shard
    /// is to have the segment synced.
    fn not_journaled(&self, end: Offset) -> bool;

    /// Tells the outcome of a change of a position: what it made durable, `None` where it did not.
    fn position_settled(self: Arc<Self>, owner: OffsetOwner, made: Option<Option<Position>>);

    /// Refuses later writes, fails what is staged and takes it back.
    fn fence(&self, error: CommitError);

    /// Syncs the segments written since the last sync and publishes what that covers. Everyone who waits is
    /// told, whatever comes of it. Blocks on the disk.
    ///
    /// # Errors
    /// What everyone who waits was told.
    fn sync(&self) -> Result<(), CommitError>;

    /// What a checkpoint says of it, once its segments have been synced. Blocks on the disk.
    ///
    /// # Errors
    /// As [`ShardMember::sync`].
    fn checkpoint(&self) -> Result<MemberCheckpoint, CommitError>;

    /// The positions that are in the journal or in a checkpoint.
    fn durable_positions(&self) -> Vec<StoredPosition>;

    /// The end of what was published from the page cache alone, when the journal was not told of it yet.
    fn take_unnoted_end(&self) -> Option<Offset>;

    /// Puts it on the list of the next checkpoint.
    fn touch(self: Arc<Self>);

    /// Writes anew what no sync covered; true when all of the log is durable. Blocks on the disk.
    fn write_anew(self: Arc<Self>) -> bool;

    /// Notes that what was written anew is not enough yet, because no checkpoint could be taken.
    fn not_rescued(&self, error: &Causes<'_>);

    /// Whether all that was staged before writes stopped is settled, so that a checkpoint from now on covers
    /// it.
    fn is_marked(&self) -> bool;

    /// Takes writes again: a checkpoint covers everything that was staged before.
    fn unfence(&self);

    /// The reading half of its log.
    fn log_reader(&self) -> &LogReader;

    /// Takes the log, all of it durable, that could be opened after all.
    fn come_online(self: Arc<Self>, log: Log, report: &RecoveryReport);

    /// Is not tried again: a sync had failed, and another one may succeed without having written anything.
    fn stays_offline(&self);

    /// Says that the log still could not be opened, and why.
    fn tell_still_offline(&self, error: &Causes<'_>);
}

/// What a checkpoint notes of one member.
#[derive(Debug)]
pub(crate) struct MemberCheckpoint {
    pub(crate) log: LogCheckpoint,
    pub(crate) positions: Vec<StoredPosition>,
}

/// What follows once the outcome of a record is known, before whoever waits for it is told.
pub(crate) enum Completion {
    /// Nothing: who waits for it knows that whatever was staged before is settled.
    Marker,
    /// A position is the one it makes; `None` where it deletes.
    Position { member: Arc<dyn ShardMember>, owner: OffsetOwner, to: Option<Position> },
    /// A log starts later.
    Start(Box<dyn StartMove>),
}

/// A start that is on its way to the journal.
pub(crate) trait StartMove: Send {
    /// The record is durable: readers see it. Files that nothing speaks of any more are to be removed.
    fn durable(self: Box<Self>) -> Option<Box<dyn Removal>>;

    /// The record was not written: the start is where it was, and may be moved again.
    fn refused(self: Box<Self>);
}

/// Files of a member that are to be removed.
pub(crate) trait Removal: Send {
    /// Whose they are.
    fn uid(&self) -> PartitionUid;

    /// Removes them and tells of it; `false` when that is to be tried again. Blocks on the disk.
    fn remove_files(&self) -> bool;
}

impl Completion {
    /// The record is durable.
    pub(super) fn durable(self) -> Option<Box<dyn Removal>> {
        match self {
            Self::Marker => None,
            Self::Position { member, owner, to } => {
                member.position_settled(owner, Some(to));
                None
            }
            Self::Start(moved) => moved.durable(),
        }
    }

    /// The record was not written, or nobody can tell until the next start.
    pub(super) fn refused(self) {
        match self {
            Self::Marker => {}
            Self::Position { member, owner, .. } => member.position_settled(owner, None),
            Self::Start(moved) => moved.refused(),
        }
    }
}
