//! One partition: its log, what is staged above the high-watermark, and its consumers' offsets.
//!
//! An append has three steps. *Stage* stamps the batch and writes it to the segment, above the
//! high-watermark. *Commit* makes it as durable as the topic asks: nothing to do for `os`, a round
//! of the shard's journal for small batches, a sync of the segment for large ones. *Publish* raises
//! the high-watermark and resolves the tickets of everything below it.
//!
//! INV-ORDER: batches are published in the order in which they were staged.
//! INV-HW: no read passes the high-watermark, so nobody sees what a crash could take back.
//! INV-FENCE: after a failed sync nothing is staged or published until the partition is reopened.
//!
//! The order of its locks is that of their ranks, see [`galgo_storage::lock`].

/// Writes a line about a partition to the log, by its name: `tell!(warn, name, other = fields, "the phrase")`.
macro_rules! tell {
    ($level:ident, $name:expr, $($rest:tt)+) => {{
        let name = $name;
        let (stream, topic) = (name.stream.as_str(), name.topic.as_str());
        tracing::$level!(stream, topic, partition = name.partition, $($rest)+);
    }};
}

mod append;
mod appender;
mod dedup;
mod ids;
mod member;
mod offsets;
mod pieces;
mod publish;
mod read;
mod refusal;
mod rescue;
mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use galgo_storage::journal::CommitError;
use galgo_storage::lock::{Ranked, rank};
use galgo_storage::log::{Log, LogReader, PartitionName};
use galgo_wire::command::Durability;
use galgo_wire::consumer::PollingStrategy;
use galgo_wire::id::{Life, Offset, PartitionUid, Timestamp};

pub use append::Appended;
pub use appender::{AppendContext, Batch, Placed};
pub use dedup::DeduplicationBounds;
pub use ids::IdKey;
pub use offsets::{OffsetError, StoredBy};
pub(crate) use pieces::Gathering;
pub use pieces::{Piece, Rest};
pub use read::{AnswerBounds, COLD_PIECE_BYTES_MAX, PollError, PolledRange, ReadPlan, ReadRequest};
pub(crate) use rescue::RescueStanding;
pub(crate) use start::{DropNote, DropReason, Droppable, Wanted, drop_oldest};

use self::appender::Appender;
use self::offsets::{ExpiredPositions, PositionJournal, Positions};
use self::publish::Publication;
use self::read::{MessageFinder, ReadableRange, begin_of};
use self::rescue::Rescue;
use crate::alarm::{Alarm, News};
use crate::offset_book::{OffsetBook, StoredPosition};
use crate::shard::{OffsetOwner, Shard, ShardMember};
use crate::ticket::Ticket;

/// A partition that is open for appends and reads.
pub struct Partition {
    uid: PartitionUid,
    /// What clients call this life of the partition.
    life: Life,
    shard: Arc<Shard>,
    appender: Appender,
    publication: Publication,
    positions: Positions,
    finder: Arc<MessageFinder>,
    /// How it comes to take writes again after a sync that failed.
    rescue: Rescue,
    /// Held over a sync and what follows from its outcome. The kernel reports a failed write-back to
    /// one caller only; a second sync at the same time would take the pages for written.
    syncing: Ranked<{ rank::SYNCING }, ()>,
    reader: Arc<LogReader>,
    durability: AtomicU8,
    /// Whether the shard's next checkpoint has to look at this partition.
    touched: AtomicBool,
    /// The end that the journal was last told of, of what is in no batch of it.
    noted_end: AtomicU64,
    /// Whether it was told that the newest message is ahead of the clock.
    told_ahead: AtomicBool,
    /// Whether its log could not be opened.
    is_offline: AtomicBool,
}

/// Counts of a partition, for topic details and stats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionStats {
    /// Segments, at least one.
    pub segments: u32,
    /// Bytes of messages on disk.
    pub bytes: u64,
    /// Published messages that are retained.
    pub messages: u64,
    /// The last published offset; 0 when there is none.
    pub current_offset: Offset,
}

impl Partition {
    /// Opens a partition over a log whose whole content counts as published. One whose log could not be opened takes
    /// no writes.
    #[must_use]
    pub fn new(
        uid: PartitionUid,
        shard: Arc<Shard>,
        log: Log,
        mut offsets: OffsetBook,
        durability: Durability,
    ) -> Self {
        let reader = log.reader();
        let (end, is_offline) = (log.end(), log.is_offline());
        offsets.set_start(reader.start());
        let fenced = is_offline.then_some(CommitError::Fenced);
        if is_offline {
            // Tried again like one that is fenced, by a tick that looks only where it was told of
            // one.
            shard.stats().fenced();
            shard.has_fenced();
        }
        let vault = shard.vault().cloned();
        let finder = MessageFinder::new(uid, Arc::clone(&reader), vault);
        Self {
            uid,
            life: shard.lives().of(uid),
            shard,
            appender: Appender::new(log),
            // All of it counts as published: a recovery has synced what it accepted
            // (INV-RECOVERED).
            publication: Publication::new(end, fenced),
            positions: Positions::new(offsets),
            finder: Arc::new(finder),
            rescue: Rescue::default(),
            syncing: Ranked::new(()),
            reader,
            durability: AtomicU8::new(durability.as_u8()),
            touched: AtomicBool::new(false),
            noted_end: AtomicU64::new(end.get()),
            told_ahead: AtomicBool::new(false),
            is_offline: AtomicBool::new(is_offline),
        }
    }

    /// The name of its log on disk.
    #[must_use]
    pub fn uid(&self) -> PartitionUid {
        self.uid
    }

    /// What clients call this life of the partition; a purge begins another one.
    #[must_use]
    pub fn life(&self) -> Life {
        self.life
    }

    /// What it is called in the log.
    pub(crate) fn name(&self) -> Arc<PartitionName> {
        self.reader.name().get()
    }

    /// Gives it the name of its stream and topic.
    pub(crate) fn set_name(&self, name: PartitionName) {
        self.reader.name().set(name);
    }

    /// The offset after the last published message.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.publication.high_watermark()
    }

    /// The offset of the oldest retained message.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.reader.start()
    }

    /// The last published offset; 0 when there is none, as the protocol has it.
    #[must_use]
    pub fn current_offset(&self) -> Offset {
        Offset::new(self.high_watermark().get().saturating_sub(1))
    }

    /// What an acknowledgement of this partition survives.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match Durability::from_u8(self.durability.load(Ordering::Relaxed)) {
            Some(Durability::Os) => Durability::Os,
            _ => Durability::Fsync,
        }
    }

    /// Changes what later acknowledgements survive.
    pub fn set_durability(&self, durability: Durability) {
        self.durability.store(durability.as_u8(), Ordering::Relaxed);
    }

    /// Turns deduplication on or off for later appends.
    pub fn set_deduplication(&self, on: bool) {
        self.appender.set_deduplication(on);
    }

    /// Refuses later appends: the partition was deleted or purged. What is staged still commits.
    pub fn close(&self) {
        // First: an append behind it would be acknowledged, and gone with the files.
        self.appender.close();
        // Polls that are under way find nothing, rather than files that are gone.
        self.reader.retire();
        // Last: the polls that wait look again, and are to find all of it closed.
        self.publication.close().ring(News::Over);
    }

    /// Whether the partition was deleted or purged.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.appender.is_closed()
    }

    /// Counts of this moment.
    #[must_use]
    pub fn stats(&self) -> PartitionStats {
        // Asked of the reader: the writer's lock is held over writes to the disk, and whoever counts
        // holds the catalog.
        let log = self.reader.stats();
        let messages = self.high_watermark().get().saturating_sub(self.start().get());
        PartitionStats {
            segments: log.segments.max(1),
            bytes: log.bytes,
            messages,
            current_offset: self.current_offset(),
        }
    }

    /// Ranges of messages that cannot be read, as far as is known.
    #[must_use]
    pub fn damaged_ranges(&self) -> u64 {
        self.reader.fenced().len() as u64
    }

    /// Why appends are refused, if they are.
    #[must_use]
    pub fn fenced(&self) -> Option<CommitError> {
        self.publication.stop().map(|stop| stop.error)
    }

    /// Whether its log could not be opened: nothing of it can be read, and what the journal and the last checkpoint
    /// know of it has to stay.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Acquire)
    }

    /// The reading half of its log.
    pub(crate) fn log_reader(&self) -> &LogReader {
        &self.reader
    }

    /// The positions of its consumers.
    pub(crate) fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Whether its writes go through this shard.
    pub(crate) fn is_on(&self, shard: &Arc<Shard>) -> bool {
        Arc::ptr_eq(&self.shard, shard)
    }

    /// As its shard knows it.
    fn member(self: &Arc<Self>) -> Arc<dyn ShardMember> {
        Arc::clone(self) as Arc<dyn ShardMember>
    }

    /// The time of the newest message.
    pub(crate) fn newest_time(&self) -> Timestamp {
        self.reader.newest_time()
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.reader.stats().bytes
    }

    /// Where the log starts, counting a move that is staged.
    #[cfg(test)]
    pub(crate) fn staged_start(&self) -> Offset {
        self.positions.hold().start()
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
        owner: OffsetOwner,
        by: StoredBy,
        offset: Offset,
    ) -> Result<Ticket, OffsetError> {
        // What is behind it may be taken back; a position there would skip what gets these offsets
        // next, and a start takes a position for evidence that its message was published.
        let end = self.high_watermark();
        if offset >= end && self.is_offline() {
            // Where it ends is not known better.
            return Err(OffsetError::Refused(CommitError::Fenced.into()));
        }
        if offset >= end {
            return Err(OffsetError::Beyond { offset: offset.get(), end: end.get() });
        }
        let change = self.positions.store(owner, by, offset, self.position_journal())?;
        if change.goes_back {
            self.position_moved_back();
        }
        Ok(change.ticket)
    }

    /// Deletes the stored offset of `owner`.
    ///
    /// # Errors
    /// [`OffsetError::NotStored`]; [`OffsetError::Foreign`]; [`OffsetError::Refused`].
    pub fn delete_offset(
        self: &Arc<Self>,
        owner: OffsetOwner,
        by: StoredBy,
    ) -> Result<Ticket, OffsetError> {
        let change = self.positions.delete(owner, by, self.position_journal())?;
        self.position_moved_back();
        Ok(change.ticket)
    }

    /// Forgets the offset of an owner that will never come again, without a record of it: whoever reads
    /// the journal or a checkpoint knows who exists.
    pub(crate) fn forget_offset(self: &Arc<Self>, owner: OffsetOwner) {
        if self.positions.forget(owner) {
            self.touch();
        }
    }

    /// Forgets what consumers stored that were not seen for so long; returns it. There is no record of it:
    /// what a crash brings back is as old as before, and expires again.
    pub(crate) fn expire_offsets(
        self: &Arc<Self>,
        now: Timestamp,
        expire_after_us: u64,
    ) -> Vec<StoredPosition> {
        if self.is_offline() {
            // Whoever would be seen polling is refused.
            return Vec::new();
        }
        let ExpiredPositions { expired, is_new } = self.positions.expire(now, expire_after_us);
        if is_new {
            // The next checkpoint is to write it down.
            self.touch();
        }
        expired
    }

    /// Positions are as old after a leap of the time they are noted by as before it.
    pub(crate) fn leap_offsets(self: &Arc<Self>, by_us: u64, now: Timestamp) {
        if self.positions.leap(by_us, now) {
            self.touch();
        }
    }

    fn position_journal(self: &Arc<Self>) -> PositionJournal<'_> {
        let (uid, member, durability) = (self.uid, self.member(), self.durability());
        PositionJournal { shard: &self.shard, uid, member, durability }
    }

    /// Tells the polls that wait: for one of them there may be messages again. Called after the change,
    /// which a poll that hangs up its alarm later sees.
    fn position_moved_back(&self) {
        self.publication.all_waiting().ring(News::Look);
    }

    /// Finds what a poll is to read; a plan may be empty.
    ///
    /// # Errors
    /// [`PollError`] when a search by time, or for the newest that fit, meets a damaged or unreadable
    /// index or message.
    pub fn plan_read(&self, request: &ReadRequest) -> Result<ReadPlan, PollError> {
        self.finder.plan(request, self.readable()?, || self.seen(request.owner))
    }

    /// As [`Partition::plan_read`], without waiting for the disk: `None` when that would have to be waited
    /// for.
    ///
    /// # Errors
    /// As [`Partition::plan_read`].
    pub fn plan_cached(&self, request: &ReadRequest) -> Result<Option<ReadPlan>, PollError> {
        self.finder.plan_cached(request, self.readable()?, || self.seen(request.owner))
    }

    /// How many messages there are from the first that is asked for. Waits for the disk in searches by time
    /// only.
    ///
    /// # Errors
    /// Those of [`Partition::plan_read`].
    pub fn available(&self, request: &ReadRequest) -> Result<u64, PollError> {
        let readable = self.readable()?;
        let asked = self.finder.asked(request, readable, || self.seen(request.owner))?;
        let asked = asked.max(readable.start);
        Ok(readable.upto.get().saturating_sub(asked.get()))
    }

    /// Where a poll begins that nothing is read for: with this offset, if it is there, and one by time at the end.
    #[must_use]
    pub fn begins_at(&self, request: &ReadRequest) -> Offset {
        request.begins_at(self.extent(), || self.seen(request.owner))
    }

    /// Reads without waiting for the disk: `None` when a part of the range is not in the page cache
    /// or has not been verified, when what is needed to find it is not in memory, or when it takes more
    /// than one piece.
    ///
    /// # Errors
    /// [`PollError`] when the range is damaged or its segment cannot be opened.
    pub fn read_cached(&self, plan: ReadPlan) -> Result<Option<PolledRange>, PollError> {
        self.finder.read_cached(plan)
    }

    /// Hangs up the alarm of a poll that waits for `messages` from where its strategy starts.
    pub(crate) fn hang(
        &self,
        alarm: &Arc<Alarm>,
        strategy: &PollingStrategy,
        owner: OffsetOwner,
        messages: u32,
    ) {
        let (from, messages) = match *strategy {
            // How many of what comes are young enough is not known before.
            PollingStrategy::Timestamp(_) => (self.high_watermark(), 1),
            _ => {
                let stored = || self.seen(owner);
                (begin_of(strategy, messages, self.extent(), stored), messages)
            }
        };
        self.publication.hang(alarm, from.get().saturating_add(messages.into()));
    }

    /// Takes an alarm off.
    pub(crate) fn take_off(&self, alarm: &Arc<Alarm>) {
        self.publication.take_off(alarm);
    }

    /// Where its messages begin and end at this moment.
    ///
    /// # Errors
    /// INV-OFFLINE: not even an empty answer is given.
    fn readable(&self) -> Result<ReadableRange, PollError> {
        if self.is_offline() { Err(PollError::Offline) } else { Ok(self.extent()) }
    }

    fn extent(&self) -> ReadableRange {
        ReadableRange { start: self.start(), upto: self.high_watermark() }
    }

    /// Where `owner` has come to, now that it polls.
    fn seen(&self, owner: OffsetOwner) -> Option<Offset> {
        self.positions.seen(owner, &self.shard)
    }

    /// Puts the partition on the list of the shard's next checkpoint.
    pub(crate) fn touch(self: &Arc<Self>) {
        if !self.touched.load(Ordering::Acquire) {
            // Marked under the list's lock, so that whoever finds the mark finds it on the list too, and
            // a checkpoint that does not have it yet waits for it.
            // One that is closed was forgotten, or is now: nothing is to keep its files open.
            self.shard.touched(|| {
                let is_new =
                    !self.reader.is_retired() && !self.touched.swap(true, Ordering::AcqRel);
                is_new.then(|| self.member())
            });
        }
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition")
            .field("uid", &self.uid)
            .field("high_watermark", &self.high_watermark())
            .finish_non_exhaustive()
    }
}
