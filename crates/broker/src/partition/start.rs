//! Moving the start of the log: whole sealed segments are given up, oldest first.
//!
//! INV-START: a start moves for readers only after its record is durable, and files are removed only
//! after that; after a crash it is never below what was acknowledged.
//! Part of INV-BARRIER: no message goes that a consumer or group that holds messages has not committed, as of the
//! moment the move is staged. Whose position holds, and how long, [`Hold`] says.

use std::sync::Arc;

use galgo_storage::checkpoint::SealedSegment;
use galgo_storage::retention::KeptSegment;
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionId, PartitionUid, Timestamp};

use super::Partition;
use super::offsets::StagedHold;
use crate::offset_book::Hold;
use crate::shard::{Completion, Removal, ShardRecord, StartMove};
use crate::ticket::{Ticket, ticket};
use crate::upkeep::Times;

/// Why segments go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Somebody asked for it.
    Asked,
    /// Retention, because of age, size or both.
    Retention,
}

/// What the log says of segments that go.
#[derive(Clone, Debug)]
pub(crate) struct DropNote {
    pub(crate) stream: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: PartitionId,
    pub(crate) reason: DropReason,
    /// How many of the oldest segments are older than the topic keeps messages.
    pub(crate) expired: usize,
}

/// What a partition could give up now.
#[derive(Debug)]
pub(crate) struct Droppable {
    /// Sealed and published segments whose removal is not staged yet, oldest first.
    pub(crate) sealed: Vec<KeptSegment>,
    /// Bytes of all its other segments.
    pub(crate) other_bytes: u64,
    /// The smallest committed offset.
    pub(crate) committed: Option<Offset>,
}

/// Which segments are to go, if nobody needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// So many of the oldest.
    Oldest(u32),
    /// All that end at or below this offset.
    Below(Offset),
}

/// A start that is on its way to the journal.
#[derive(Debug)]
struct PartitionStart {
    partition: Arc<Partition>,
    start: Offset,
    note: DropNote,
}

/// Segments that are no part of the log any more; their files are to be removed.
#[derive(Debug)]
struct Dropped {
    partition: Arc<Partition>,
    segments: Vec<SealedSegment>,
    note: DropNote,
}

impl Droppable {
    /// Messages from here on are still wanted by somebody.
    pub(crate) fn barrier(&self) -> Option<Offset> {
        self.committed.map(|committed| Offset::new(committed.get().saturating_add(1)))
    }
}

impl Droppable {
    /// What `partition` could give up now.
    pub(crate) fn of(partition: &Partition, now: Times, hold: Hold) -> Self {
        // A forecast: what goes is looked at once more when it is staged, under the lock of the
        // positions (INV-BARRIER).
        let StagedHold { start, committed } = partition.positions().held(hold, now.steady);
        let reader = partition.log_reader();
        let mut sealed = reader.droppable(partition.high_watermark(), now.wall);
        let staged = sealed.iter().take_while(|kept| kept.segment.base < start);
        let staged: usize = staged.count();
        let gone: u64 = sealed.drain(..staged).map(|kept| kept.segment.bytes).sum();
        let droppable: u64 = sealed.iter().map(|kept| kept.segment.bytes).sum();
        // The segments were listed before the bytes are counted, and some may have gone meanwhile.
        let other_bytes = partition.bytes().saturating_sub(droppable + gone);
        Self { sealed, other_bytes, committed }
    }
}

/// Gives up the `wanted` segments, fewer where somebody still needs them; `None` when none goes. They
/// are gone when the ticket says so; their files go right behind it.
///
/// # Errors
/// The code of a partition or shard that takes no writes.
pub(crate) fn drop_oldest(
    partition: &Arc<Partition>,
    wanted: Wanted,
    hold: Hold,
    note: DropNote,
) -> Result<Option<Ticket>, ErrorCode> {
    if let Some(error) = partition.fenced() {
        return Err(error.into());
    }
    // Which segments go was decided; no time is needed here.
    let end = partition.high_watermark();
    let sealed = partition.log_reader().droppable(end, Timestamp::ZERO);
    let shard = &partition.shard;
    // Held over the staging: nobody commits an offset in between.
    let mut offsets = partition.positions().hold();
    let before = offsets.start();
    let committed = offsets.smallest(hold, shard.now());
    let sealed: Vec<&SealedSegment> = sealed.iter().map(|kept| &kept.segment).collect();
    let goes = |known: &&SealedSegment| {
        committed.is_none_or(|committed| known.end.get() <= committed.get().saturating_add(1))
    };
    let (count, below) = match wanted {
        Wanted::Oldest(count) => (count as usize, Offset::new(u64::MAX)),
        Wanted::Below(offset) => (usize::MAX, offset),
    };
    // What a move gives up that is still on its way is listed until its record is durable.
    let fresh = sealed.into_iter().skip_while(|known| known.base < before).take(count);
    let last = fresh.take_while(|known| known.end <= below).take_while(goes).last();
    let Some(start) = last.map(|last| last.end) else { return Ok(None) };
    assert!(
        before < start && start <= end,
        "INV-START: a start moves on, and never past what is published"
    );
    let uid = partition.uid();
    let record = ShardRecord::StartMoved { uid, start };
    let moved = PartitionStart { partition: Arc::clone(partition), start, note };
    let (waiting, resolver) = ticket();
    // Synced whatever the topic asks for: files are removed on the strength of it.
    let completion = Completion::Start(Box::new(moved));
    shard.stage(&record, Durability::Fsync, completion, resolver)?;
    // Only once it is staged, and in the same step: two moves that are both on their way are staged in their order.
    offsets.set_start(start);
    Ok(Some(waiting))
}

impl StartMove for PartitionStart {
    fn durable(self: Box<Self>) -> Option<Box<dyn Removal>> {
        let Self { partition, start, note } = *self;
        // The record is durable: only from here on do readers see it (INV-START). The files stay for now, so that whoever
        // reads from them just then goes on.
        let segments = partition.log_reader().drop_before(start);
        // A checkpoint that came before has the old start.
        partition.touch();
        let dropped = Dropped { partition, segments, note };
        (!dropped.segments.is_empty()).then(|| Box::new(dropped) as Box<dyn Removal>)
    }

    fn refused(self: Box<Self>) {
        let mut offsets = self.partition.positions().hold();
        // A later move may be staged; that one's outcome counts then.
        if offsets.start() == self.start {
            offsets.set_start(self.partition.start());
        }
    }
}

impl Removal for Dropped {
    fn uid(&self) -> PartitionUid {
        self.partition.uid()
    }

    fn remove_files(&self) -> bool {
        let DropNote { stream, topic, partition, reason, expired } = &self.note;
        let (partition, segments) = (partition.get(), self.segments.len());
        // Before: a file that is open when it is removed keeps its space until it is closed.
        self.partition.appender.hold().log.forget_dropped();
        if let Err(error) = self.partition.log_reader().remove_dropped(&self.segments) {
            tracing::warn!(stream = &**stream, topic = &**topic, partition, %error,
                "files of removed segments remain; they are tried again");
            return false;
        }
        let from = self.segments.first().map_or(0, |first| first.base.get());
        let to = self.segments.last().map_or(0, |last| last.end.get().saturating_sub(1));
        let bytes: u64 = self.segments.iter().map(|known| known.bytes).sum();
        let reason = match reason {
            DropReason::Asked => "asked for",
            DropReason::Retention if *expired == 0 => "size",
            DropReason::Retention if *expired >= segments => "expired",
            DropReason::Retention => "expired and size",
        };
        tracing::info!(
            stream = &**stream,
            topic = &**topic,
            partition,
            from,
            to,
            segments,
            bytes,
            reason,
            "segments removed"
        );
        self.partition.shard.stats().segments_removed(segments as u64, bytes);
        true
    }
}
