//! Moving the start of the log: whole sealed segments are given up, oldest first.
//!
//! INV-START: a start moves for readers only after its record is durable, and files are removed only
//! after that; after a crash it is never below what was acknowledged.
//! Part of INV-BARRIER: no message goes that a consumer or group that holds messages has not committed, as of the
//! moment the move is staged. Whose position holds, and how long, [`Hold`] says.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_storage::checkpoint::SealedSegment;
use galgo_storage::log::AHEAD_US_MAX;
use galgo_storage::retention::KeptSegment;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionId, PartitionUid, Timestamp};

use super::Partition;
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

impl Partition {
    /// By when the messages of the oldest segment had been stored, when that could go.
    pub(crate) fn oldest_droppable(&self, now: Timestamp) -> Option<Timestamp> {
        let oldest = self.reader.oldest_sealed(now)?;
        (oldest.end <= self.high_watermark()).then_some(oldest.stored_by)
    }

    /// How far the newest message is ahead of the clock, in microseconds, when it matters and was not
    /// asked before; and takes note of segments that are.
    pub(crate) fn newly_ahead(&self, now: Timestamp) -> Option<u64> {
        let ahead_us = self.reader.note_ahead(now);
        let told = self.told_ahead.swap(ahead_us.is_some(), Ordering::Relaxed);
        ahead_us.filter(|_| !told)
    }

    /// The time of the newest message.
    pub(crate) fn newest_time(&self) -> Timestamp {
        self.reader.newest_time()
    }

    /// Where the log starts, counting a move that is staged.
    #[cfg(test)]
    pub(crate) fn staged_start(&self) -> Offset {
        self.offsets.lock().start()
    }

    /// Begins another segment when the one that is written has been for `age_us`, or is ahead of the clock; tells
    /// whether it did. What cannot be done now is tried at the next look. May block on the disk.
    pub(crate) fn roll_if_old(self: &Arc<Self>, now: Times, age_us: u64) -> bool {
        let since = match self.reader.written_since() {
            Ok(Some(since)) => since,
            Ok(None) => return false,
            Err(error) => {
                tracing::debug!(partition = self.uid.get(), %error, "age of a segment not read");
                return false;
            }
        };
        if since.get().saturating_add(age_us) > now.steady.get()
            && since.get() <= now.wall.get().saturating_add(AHEAD_US_MAX)
        {
            return false;
        }
        self.reader.make_room();
        let rolled = {
            let mut writer = self.writer.lock();
            if writer.closed || self.fenced().is_some() {
                return false;
            }
            writer.log.roll()
        };
        match rolled {
            Ok(false) => return false,
            Ok(true) => {}
            Err(error) => {
                tracing::debug!(partition = self.uid.get(), %error, "no other segment begun");
                return false;
            }
        }
        // Neither the end of the one that is sealed nor the name of the next is durable yet.
        let schedule = self.commits.lock().schedule_sync();
        if schedule {
            self.shard.queue_sync(self.member());
        }
        true
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.reader.stats().bytes
    }

    /// What could go now.
    pub(crate) fn droppable(&self, now: Times, hold: Hold) -> Droppable {
        let (start, committed) = {
            let offsets = self.offsets.lock();
            (offsets.start(), offsets.smallest(hold, now.steady))
        };
        let mut sealed = self.reader.droppable(self.high_watermark(), now.wall);
        let staged = sealed.iter().take_while(|kept| kept.segment.base < start);
        let staged: usize = staged.count();
        let gone: u64 = sealed.drain(..staged).map(|kept| kept.segment.bytes).sum();
        let droppable: u64 = sealed.iter().map(|kept| kept.segment.bytes).sum();
        let other_bytes = self.bytes().saturating_sub(droppable + gone);
        Droppable { sealed, other_bytes, committed }
    }

    /// Gives up the `wanted` segments, fewer where somebody still needs them; `None` when none goes. They
    /// are gone when the ticket says so; their files go right behind it.
    ///
    /// # Errors
    /// The code of a partition or shard that takes no writes.
    pub(crate) fn drop_oldest(
        self: &Arc<Self>,
        wanted: Wanted,
        (hold, note): (Hold, DropNote),
    ) -> Result<Option<Ticket>, ErrorCode> {
        if let Some(error) = self.fenced() {
            return Err(error.into());
        }
        // Which segments go was decided; no time is needed here.
        let sealed = self.reader.droppable(self.high_watermark(), Timestamp::ZERO);
        // Held over the staging: nobody commits an offset in between.
        let mut offsets = self.offsets.lock();
        let before = offsets.start();
        let committed = offsets.smallest(hold, self.shard.now());
        let sealed: Vec<&SealedSegment> = sealed.iter().map(|kept| &kept.segment).collect();
        let goes = |known: &&SealedSegment| {
            committed.is_none_or(|committed| known.end.get() <= committed.get().saturating_add(1))
        };
        let (count, below) = match wanted {
            Wanted::Oldest(count) => (count as usize, Offset::new(u64::MAX)),
            Wanted::Below(offset) => (usize::MAX, offset),
        };
        let fresh = sealed.into_iter().skip_while(|known| known.base < before).take(count);
        let last = fresh.take_while(|known| known.end <= below).take_while(goes).last();
        let Some(start) = last.map(|last| last.end) else { return Ok(None) };
        let record = ShardRecord::StartMoved { uid: self.uid, start };
        let moved = PartitionStart { partition: Arc::clone(self), start, note };
        let (waiting, resolver) = ticket();
        // Synced whatever the topic asks for: files are removed on the strength of it.
        self.shard.stage((&record, true), Completion::Start(Box::new(moved)), resolver)?;
        offsets.set_start(start);
        Ok(Some(waiting))
    }
}

impl StartMove for PartitionStart {
    fn durable(self: Box<Self>) -> Option<Box<dyn Removal>> {
        let Self { partition, start, note } = *self;
        let segments = partition.reader.drop_before(start);
        // A checkpoint that came before has the old start.
        partition.touch();
        let dropped = Dropped { partition, segments, note };
        (!dropped.segments.is_empty()).then(|| Box::new(dropped) as Box<dyn Removal>)
    }

    fn refused(self: Box<Self>) {
        let mut offsets = self.partition.offsets.lock();
        // A later move may be staged; that one's outcome counts then.
        if offsets.start() == self.start {
            offsets.set_start(self.partition.start());
        }
    }
}

impl Removal for Dropped {
    fn uid(&self) -> PartitionUid {
        self.partition.uid
    }

    fn remove_files(&self) -> bool {
        let DropNote { stream, topic, partition, reason, expired } = &self.note;
        let (partition, segments) = (partition.get(), self.segments.len());
        // Before: a file that is open when it is removed keeps its space until it is closed.
        self.partition.writer.lock().log.forget_dropped();
        if let Err(error) = self.partition.reader.remove_dropped(&self.segments) {
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
