//! The way of a batch through a partition: staged, committed, published; or taken back, and what stops it then.
//!
//! This is where the parts of a partition come together, and the order in which their locks are taken: the appender's
//! over the publication's, and that over the shard's.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_storage::journal::CommitError;
use galgo_storage::log::{AHEAD_US_MAX, BatchSize};
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, Timestamp};

use super::appender::{AppendContext, Batch, MessageOwner, Placed, WrittenBatch};
use super::dedup::DeduplicationBounds;
use super::publish::{Raised, Staging};
use super::{Partition, PollError, RescueStanding};
use crate::alarm::{News, Rung};
use crate::shard::{Completion, ShardRecord};
use crate::ticket::{Ticket, ticket};
use crate::upkeep::Times;

/// How far a batch has come.
#[derive(Debug)]
pub enum Appended {
    /// Published: it may be acknowledged.
    Published(Placed),
    /// Staged: it may be acknowledged when the ticket says so.
    Staged(Ticket, Placed),
    /// The partition is closed; look it up again.
    Closed,
    /// The ids stored lately are still to be read, with [`Partition::load_window`], which may block.
    /// The batch was not touched.
    Unloaded(Arc<Partition>),
    /// As many files are open as may be, all of them with bytes that are still to be synced: see
    /// [`Partition::append_in_room`], which may block. The batch was not touched.
    Crowded(Arc<Partition>),
}

/// Whether an append may exceed the bound of open files, by one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenFileRoom {
    /// It looks first.
    Asked,
    /// Room was made for it.
    Made,
}

impl Partition {
    /// Stages `batch`, and publishes it where the topic asks for no more than `os`. Never waits for a sync.
    ///
    /// # Errors
    /// The code for the sender. Nothing was written, or what was written was taken back.
    pub fn append(
        self: &Arc<Self>,
        batch: Batch<'_>,
        context: AppendContext<'_>,
    ) -> Result<Appended, ErrorCode> {
        self.stage(batch, context, OpenFileRoom::Asked)
    }

    /// As [`Partition::append`], after making room among the open files, which may block: somebody else's file
    /// may have to be synced. Never answers [`Appended::Crowded`].
    ///
    /// # Errors
    /// Those of [`Partition::append`].
    pub fn append_in_room(
        self: &Arc<Self>,
        batch: Batch<'_>,
        context: AppendContext<'_>,
    ) -> Result<Appended, ErrorCode> {
        // Without the lock of this partition: what is synced may be another's file.
        self.reader.make_room();
        self.stage(batch, context, OpenFileRoom::Made)
    }

    fn stage(
        self: &Arc<Self>,
        batch: Batch<'_>,
        context: AppendContext<'_>,
        room: OpenFileRoom,
    ) -> Result<Appended, ErrorCode> {
        let mut end = self.appender.hold();
        if end.is_closed() {
            return Ok(Appended::Closed);
        }
        // Under the lock of the appender, under which writes are stopped: what is written behind the look would be
        // behind what was taken back.
        if let Some(error) = self.fenced() {
            return Err(error.into());
        }
        // Also where the journal is not needed: a halt means that the files may be gone, the shard
        // another's, or that a deletion may be durable that nobody was told of.
        if self.shard.is_halted() {
            return Err(CommitError::Fenced.into());
        }
        // Both looks before the first stamp: a batch that has to wait is handed in again, and an id
        // that was made for one of its messages would pass for the sender's by then.
        if !end.prepare_window(self.appender.deduplicates()) {
            return Ok(Appended::Unloaded(Arc::clone(self)));
        }
        let size = BatchSize { bytes: batch.messages.len() as u64, count: batch.count };
        if room == OpenFileRoom::Asked && end.log.needs_room(size) {
            return Ok(Appended::Crowded(Arc::clone(self)));
        }
        let base = end.log.end();
        let vault = self.shard.vault().map(|vault| &**vault);
        let written = end.write(MessageOwner { uid: self.uid, vault }, batch, context);
        let ahead_us = end.take_started_over();
        if ahead_us > 0 {
            self.appender.started_over(ahead_us);
            // What a checkpoint says of the log until then would have an older program refuse the times after it, so
            // there is to be a new one.
            self.shard.ask_checkpoint();
        }
        let WrittenBatch { messages, placed } = match written {
            Ok(written) => written,
            Err(code) => {
                let is_lost = end.log.is_fenced();
                // Let go of first: fencing takes the lock itself.
                drop(end);
                if is_lost {
                    // What the file holds is not known: the whole partition stops, and is looked after.
                    self.fence(CommitError::Disk);
                }
                return Err(code);
            }
        };
        if placed.stored == 0 {
            // Nothing was written, so `base` is still the end: the answer waits for all that is
            // staged, the messages that these repeat among it.
            let staging = self.publication.stage_again(base, self.durability());
            return Ok(self.staged(staging, placed).appended);
        }
        // Before it can be published: a checkpoint that gives back the place of its bundle has to look at this log.
        self.touch();
        self.shard.stats().appended(placed.stored.into(), messages.len() as u64);
        let InPlace { appended, rung } = self.commit(placed, &messages);
        drop(end);
        // Without the lock: waking readers takes system calls, and the next sender waits for it.
        rung.ring(News::Look);
        Ok(appended)
    }

    /// Sends what was staged on its way. Runs under the appender's lock, so that the order of the
    /// log, of the commit queue and of the journal is the same.
    fn commit(self: &Arc<Self>, placed: Placed, messages: &[u8]) -> InPlace {
        let Placed { first: base_offset, end, .. } = placed;
        let mut is_offered = false;
        let journal = |high_watermark| {
            is_offered = true;
            let record =
                ShardRecord::Batch { uid: self.uid, base_offset, high_watermark, messages };
            self.shard.stage_batch(&record, self, end)
        };
        let staging = self.publication.stage(end, self.durability(), journal);
        // The shard counted only what was offered to it. A topic that is `os`, or was a moment ago, would never ask for
        // a checkpoint, and a start after a kill would read again all that was written to it.
        if !is_offered {
            self.shard.wrote_unjournaled(messages.len() as u64);
        }
        self.staged(staging, placed)
    }

    fn staged(self: &Arc<Self>, staging: Staging, placed: Placed) -> InPlace {
        match staging {
            Staging::Published(rung) => InPlace { appended: Appended::Published(placed), rung },
            Staging::Waits { ticket, sync } => {
                if sync {
                    self.shard.queue_sync(self.member());
                }
                InPlace { appended: Appended::Staged(ticket, placed), rung: Rung::default() }
            }
        }
    }

    /// Reads the ids stored lately from the log. May block on the disk.
    ///
    /// # Errors
    /// [`PollError`] when the disk does not give them.
    pub fn load_window(&self, context: AppendContext<'_>) -> Result<(), PollError> {
        self.appender.load_window(&self.reader, self.shard.now(), context)
    }

    /// Forgets the ids that are too old, so that a partition nobody sends to any more keeps no memory of
    /// them.
    pub(crate) fn expire_window(&self, running_us: u64, bounds: &DeduplicationBounds) {
        self.appender.expire_window(running_us, bounds);
    }

    /// How many ids are remembered.
    #[cfg(test)]
    pub(crate) fn window_len(&self) -> usize {
        self.appender.window_len()
    }

    /// How far the log was ahead of the clock when its times started over, if they did since the last
    /// call; in microseconds.
    pub(crate) fn take_started_over(&self) -> Option<u64> {
        self.appender.take_started_over()
    }

    /// By when the messages of the oldest segment had been stored, when that could go.
    pub(crate) fn oldest_droppable(&self, now: Timestamp) -> Option<Timestamp> {
        let oldest = self.reader.oldest_sealed(now)?;
        // Sealed is not published: what is above the high-watermark may still be taken back.
        (oldest.end <= self.high_watermark()).then_some(oldest.stored_by)
    }

    /// How far the newest message is ahead of the clock, in microseconds, when it matters and was not
    /// asked before; and takes note of segments that are.
    pub(crate) fn newly_ahead(&self, now: Timestamp) -> Option<u64> {
        let ahead_us = self.reader.note_ahead(now);
        // With every look, so that it is told again when it comes back.
        let told = self.told_ahead.swap(ahead_us.is_some(), Ordering::Relaxed);
        ahead_us.filter(|_| !told)
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
        // Without the appender's lock: what is synced to make room may be somebody else's file.
        self.reader.make_room();
        let rolled = {
            let mut end = self.appender.hold();
            // Under the lock under which writes are stopped: a log that is closed or fenced gets no
            // file.
            if end.is_closed() || self.fenced().is_some() {
                return false;
            }
            end.log.roll()
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
        if self.publication.schedule_sync() {
            self.shard.queue_sync(self.member());
        }
        true
    }

    /// Syncs the segments written since the last sync and publishes what that covers.
    ///
    /// Runs without the appender's lock while the disk works. A failure fences the partition and is
    /// never tried again: the kernel may have dropped the pages it could not write.
    ///
    /// # Errors
    /// What everyone who waits for this partition is told.
    pub fn sync(&self) -> Result<(), CommitError> {
        let end = self.sync_segments()?;
        // What is on record as synced need not be told as written by the next tick.
        self.noted_end.fetch_max(end.get(), Ordering::Relaxed);
        // INV-EVIDENCE: behind the sync. A note that is durable before it would have a start after a power cut take a
        // write that was cut short for damage.
        self.shard.note_synced_end(self.uid, end);
        Ok(())
    }

    /// As [`Partition::sync`], without a note in the journal; tells up to where it is durable.
    pub(super) fn sync_segments(&self) -> Result<Offset, CommitError> {
        let _alone = self.syncing.lock();
        self.publication.begin_sync()?;
        // Both in one look: what is written behind it is in none of both.
        let (dirty, end) = {
            let end = self.appender.hold();
            (end.log.dirty(), end.log.end())
        };
        match dirty.sync().or_else(|error| self.excuse(error)) {
            Ok(()) => {
                self.appender.hold().log.synced(&dirty);
                let Raised { published, rung } = self.publication.synced(end)?;
                // Acknowledgements before wake-ups, of which there may be many.
                published.into_iter().for_each(|resolver| resolver.resolve(Ok(())));
                rung.ring(News::Look);
                Ok(end)
            }
            Err(error) => {
                tell!(
                    error,
                    self.name(),
                    %error,
                    "segment sync failed; the partition takes no writes until its messages were written anew, \
                     which is tried from now on"
                );
                self.fence(CommitError::Disk);
                Err(CommitError::Disk)
            }
        }
    }

    /// The files of a closed partition may be gone before its last batches are synced. Nothing of
    /// them is to be kept: they were sent before the deletion or purge, which is durable already.
    fn excuse(&self, error: io::Error) -> io::Result<()> {
        if self.is_closed() { Ok(()) } else { Err(error) }
    }

    /// Refuses later writes, fails what is staged and takes it back.
    pub fn fence(&self, error: CommitError) {
        let refused = {
            // Over both steps: an append in between would be behind what is taken back.
            let mut end = self.appender.hold();
            let Some(refused) = self.publication.fence(error) else { return };
            // Nothing above the high-watermark was acknowledged. Cutting it off keeps bytes that may
            // exist in the page cache only from being taken for durable ones after a restart.
            end.rewind(self.high_watermark());
            refused
        };
        self.shard.stats().fenced();
        self.shard.has_fenced();
        // Behind all of it, and outside of the locks: whoever is told, and sends again, is refused.
        refused.into_iter().for_each(|resolver| resolver.resolve(Err(error)));
    }

    /// Whether it is time to try and take writes again; stages the marker where that is to be done.
    pub(crate) fn rescue_is_due(&self, now_us: u64) -> bool {
        self.rescue.is_due(now_us, || {
            // In one that is offline nothing was staged.
            if self.is_offline() {
                return None;
            }
            let end = self.high_watermark();
            // Staged now that writes have stopped, so it lies behind every batch that was refused
            // (INV-VOID). Any record would do; this one is true whatever becomes of the rescue.
            let record = ShardRecord::EndReached { uid: self.uid, end, synced: false };
            let (waiting, resolver) = ticket();
            let (durability, marker) = (Durability::Fsync, Completion::Marker);
            let staged = self.shard.stage(&record, durability, marker, resolver);
            staged.is_ok().then_some(waiting)
        })
    }

    /// How the rescue stands at this time of the monotonic clock.
    pub(crate) fn rescue_standing(&self, now_us: u64) -> RescueStanding {
        let standing = self.rescue.standing(now_us);
        if self.shard.is_fenced() {
            // The journal is not tried again: what it holds of others can be told by a recovery only.
            let cause =
                "the journal has stopped, and all that needs it waits for a restart".to_owned();
            return RescueStanding { cause, is_hopeless: true, ..standing };
        }
        standing
    }

    /// Makes the next try due at once, and those after it follow as after the first failure.
    pub(crate) fn hasten_rescue(&self) {
        self.rescue.hasten();
    }

    /// Whether only a checkpoint is missing: all of the log is durable, and so is the marker.
    pub(crate) fn lacks_only_a_checkpoint(&self) -> bool {
        self.publication.stop().is_some_and(|stop| stop.is_written_anew) && self.rescue.is_marked()
    }

    /// Nothing more is tried to have it take writes again.
    pub(super) fn give_up(&self, why: &str) {
        // Before the hope is gone: whoever waits for this try looks at both, and tells the cause.
        self.rescue.failed(why.to_owned());
        self.rescue.give_up();
        tell!(
            error,
            self.name(),
            why,
            "partition takes no writes until the server is started again: look at the disk, then restart"
        );
    }
}

/// How far a batch has come, and whom that wakes.
struct InPlace {
    appended: Appended,
    /// To be rung outside of the appender's lock.
    rung: Rung,
}
