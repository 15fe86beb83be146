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
use galgo_wire::id::{Life, Offset, PartitionUid};

pub use append::{AppendContext, Appended, Batch, Placed};
pub use dedup::DeduplicationBounds;
pub use ids::IdKey;
pub use offsets::{OffsetError, StoredBy};
pub(crate) use pieces::Gathering;
pub use pieces::{Piece, Rest};
pub use publish::Commits;
pub use read::{AnswerBounds, COLD_PIECE_BYTES_MAX, PollError, PolledRange, ReadPlan, ReadRequest};
pub(crate) use rescue::RescueStanding;
pub(crate) use start::{DropNote, DropReason, Droppable, Wanted};

use self::dedup::Window;
use self::refusal::Refusals;
use self::rescue::RescueState;
use crate::alarm::News;
use crate::offset_book::OffsetBook;
use crate::shard::{Member, Shard};

/// A partition that is open for appends and reads.
pub struct Partition {
    uid: PartitionUid,
    /// What clients call this life of the partition.
    life: Life,
    shard: Arc<Shard>,
    writer: Ranked<{ rank::WRITER }, Writer>,
    commits: Ranked<{ rank::COMMITS }, Commits>,
    /// Held over a sync and what follows from its outcome. The kernel reports a failed write-back to
    /// one caller only; a second sync at the same time would take the pages for written.
    syncing: Ranked<{ rank::SYNCING }, ()>,
    offsets: Ranked<{ rank::OFFSETS }, OffsetBook>,
    reader: Arc<LogReader>,
    /// The offset after the last published message.
    high_watermark: AtomicU64,
    durability: AtomicU8,
    /// Whether messages with an id that was stored lately are dropped.
    deduplication: AtomicBool,
    /// Held while the window of ids is read from the log.
    loading: Ranked<{ rank::LOADING }, ()>,
    /// Whether the shard's next checkpoint has to look at this partition.
    touched: AtomicBool,
    /// The end that the journal was last told of, of what is in no batch of it.
    noted_end: AtomicU64,
    /// How far the log was ahead of the clock when its times last started over, until that is told.
    started_over_us: AtomicU64,
    /// How many consumers found no place for their position, until that is told.
    no_place: AtomicU64,
    /// Whether it was told that the newest message is ahead of the clock.
    told_ahead: AtomicBool,
    /// How it comes to take writes again after a sync that failed.
    rescue: Ranked<{ rank::RESCUE }, RescueState>,
    /// Whether its log could not be opened.
    is_offline: AtomicBool,
}

/// The appending side; one at a time.
struct Writer {
    log: Log,
    /// Deleted or purged: appends go to the partition's successor, if it has one.
    closed: bool,
    refusals: Refusals,
    /// The ids stored lately; `None` when nobody asked for them, or they are still to be read.
    window: Option<Window>,
    /// How far the log was ahead of the clock when its times started over just now, in microseconds.
    started_over_us: u64,
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
            shard.stats().fenced();
            shard.has_fenced();
        }
        Self {
            uid,
            life: shard.lives().of(uid),
            shard,
            writer: Ranked::new(Writer {
                log,
                closed: false,
                refusals: Refusals::default(),
                window: None,
                started_over_us: 0,
            }),
            commits: Ranked::new(Commits::new(end, fenced)),
            syncing: Ranked::new(()),
            offsets: Ranked::new(offsets),
            reader,
            high_watermark: AtomicU64::new(end.get()),
            durability: AtomicU8::new(durability.as_u8()),
            deduplication: AtomicBool::new(false),
            loading: Ranked::new(()),
            touched: AtomicBool::new(false),
            noted_end: AtomicU64::new(end.get()),
            started_over_us: AtomicU64::new(0),
            no_place: AtomicU64::new(0),
            told_ahead: AtomicBool::new(false),
            rescue: Ranked::default(),
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
        Offset::new(self.high_watermark.load(Ordering::Acquire))
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
        self.deduplication.store(on, Ordering::Relaxed);
    }

    /// Refuses later appends: the partition was deleted or purged. What is staged still commits.
    pub fn close(&self) {
        self.writer.lock().closed = true;
        // Polls that are under way find nothing, rather than files that are gone.
        self.reader.retire();
        let rung = self.commits.lock().bell.close();
        rung.ring(News::Over);
    }

    /// Whether the partition was deleted or purged.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.writer.lock().closed
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
        self.commits.lock().fenced()
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

    /// Whether its writes go through this shard.
    pub(crate) fn is_on(&self, shard: &Arc<Shard>) -> bool {
        Arc::ptr_eq(&self.shard, shard)
    }

    /// As its shard knows it.
    fn member(self: &Arc<Self>) -> Arc<dyn Member> {
        Arc::clone(self) as Arc<dyn Member>
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
