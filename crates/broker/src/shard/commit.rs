//! Group commit: everything staged since the last round becomes durable in one.
//!
//! Connections stage records into a buffer under a short lock. One committer takes the whole
//! buffer, writes it as one bundle to the journal, and tells the partitions. While the disk works,
//! the next bundle gathers. Large batches do not pass through here: a few sync workers sync the
//! segments of their partitions, each partition at most once at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_storage::journal::{Bundle, JournalError, Lsn};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::Offset;

use super::evidence::PendingEnds;
use super::{Shard, ShardRecord};
use crate::alarm::{News, Rung};
use crate::causes::Causes;
use crate::partition::{OffsetMove, Partition, StartMove};
use crate::ticket::Resolver;

/// What waits for the next bundle.
#[derive(Debug, Default)]
pub struct Pending {
    pub(super) bytes: Vec<u8>,
    batches: Vec<(Arc<Partition>, Offset)>,
    starts: Vec<StartMove>,
    offsets: Vec<OffsetMove>,
    resolvers: Vec<Resolver>,
    /// Of the batches of a round that is being published; empty while it gathers.
    published: Vec<Resolver>,
    /// Readers that wait for those batches.
    rung: Vec<Rung>,
    pub(super) sync: bool,
    committer_waits: bool,
    /// Evidence that rides along.
    pub(super) ends: PendingEnds,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.ends.due
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.batches.clear();
        self.starts.clear();
        self.offsets.clear();
        self.resolvers.clear();
        self.sync = false;
        self.ends = PendingEnds::default();
    }
}

impl Shard {
    /// Stages a batch for the journal, if it is small enough and there is room; otherwise the
    /// caller has the segment synced.
    pub(crate) fn stage_batch(
        &self,
        record: &ShardRecord<'_>,
        partition: &Arc<Partition>,
        end: Offset,
    ) -> bool {
        let ShardRecord::Batch { messages, .. } = record else { return false };
        let len = messages.len();
        let too_large = len > self.options.journal_batch_bytes_max as usize;
        if too_large || self.is_fenced() {
            self.wrote_unjournaled(len as u64);
            return false;
        }
        let mut pending = self.pending.lock();
        if pending.bytes.len() + len > self.options.bundle_bytes_max {
            drop(pending);
            self.wrote_unjournaled(len as u64);
            return false;
        }
        record.encode(&mut pending.bytes);
        match pending.batches.last_mut() {
            Some((last, last_end)) if Arc::ptr_eq(last, partition) => *last_end = end,
            _ => pending.batches.push((Arc::clone(partition), end)),
        }
        pending.sync = true;
        self.wake_committer(&mut pending);
        true
    }

    /// Stages the change of a position; the partition is told before `resolver` when it is refused.
    ///
    /// # Errors
    /// 10009 when the journal has failed; 12001 when the bundle is full.
    pub(crate) fn stage_offset(
        &self,
        (record, sync): (&ShardRecord<'_>, bool),
        moved: OffsetMove,
        resolver: Resolver,
    ) -> Result<(), ErrorCode> {
        if self.is_fenced() || self.is_halted() {
            return Err(ErrorCode::CannotSyncFile);
        }
        self.stage_small(record, sync, |pending| {
            pending.offsets.push(moved);
            pending.resolvers.push(resolver);
        })
    }

    /// Stages the move of a start; the partition is told before `resolver`.
    ///
    /// # Errors
    /// Those of [`Shard::stage_offset`].
    pub(crate) fn stage_start(
        &self,
        record: &ShardRecord<'_>,
        moved: StartMove,
        resolver: Resolver,
    ) -> Result<(), ErrorCode> {
        if self.is_fenced() || self.is_halted() {
            return Err(ErrorCode::CannotSyncFile);
        }
        // Synced whatever the topic asks for: files are removed on the strength of it.
        self.stage_small(record, true, |pending| {
            pending.starts.push(moved);
            pending.resolvers.push(resolver);
        })
    }

    /// Stages a record that nothing follows from: who waits for it knows that whatever was staged before is
    /// settled.
    ///
    /// # Errors
    /// Those of [`Shard::stage_offset`].
    pub(crate) fn stage_marker(
        &self,
        record: &ShardRecord<'_>,
        resolver: Resolver,
    ) -> Result<(), ErrorCode> {
        if self.is_fenced() || self.is_halted() {
            return Err(ErrorCode::CannotSyncFile);
        }
        self.stage_small(record, true, |pending| pending.resolvers.push(resolver))
    }

    fn stage_small(
        &self,
        record: &ShardRecord<'_>,
        sync: bool,
        note: impl FnOnce(&mut Pending),
    ) -> Result<(), ErrorCode> {
        let mut pending = self.pending.lock();
        // Twice the room of batches: records are small, and should not wait for them.
        if pending.bytes.len() > 2 * self.options.bundle_bytes_max {
            return Err(ErrorCode::TaskTimeout);
        }
        record.encode(&mut pending.bytes);
        note(&mut pending);
        pending.sync |= sync;
        self.wake_committer(&mut pending);
        Ok(())
    }

    pub(super) fn wake_committer(&self, pending: &mut Pending) {
        if std::mem::take(&mut pending.committer_waits) {
            self.work_pending.notify_one();
        }
    }

    /// Counts bytes that a recovery would have to look for in segments, and asks for a checkpoint
    /// when there are many.
    pub(crate) fn wrote_unjournaled(&self, bytes: u64) {
        let before = self.unjournaled_bytes.fetch_add(bytes, Ordering::Relaxed);
        let due = self.options.checkpoint_bytes;
        if before < due && before + bytes >= due {
            self.ask_checkpoint();
        }
    }

    /// Commits what is staged, if anything; tells whether there was something.
    ///
    /// `spare` is the emptied buffer of the round before; it is swapped with the staged one.
    pub fn commit_round(&self, spare: &mut Pending) -> bool {
        spare.clear();
        {
            let mut pending = self.pending.lock();
            if pending.is_empty() {
                return false;
            }
            std::mem::swap(&mut *pending, spare);
        }
        self.encode_ends(spare);
        match self.commit_bundle(spare) {
            Ok(lsn) => self.publish_round(spare, lsn),
            Err(error) if wrote_nothing(&error) => self.bypass_journal(spare),
            Err(error) => {
                let error = Causes(&error);
                tracing::error!(
                    %error,
                    "journal commit failed; nothing more is acknowledged that needs the journal. \
                     Check the disk, then restart: what was acknowledged is kept"
                );
                self.fail_round(spare, ErrorCode::CannotSyncFile);
            }
        }
        if self.journal.needs_checkpoint() {
            self.ask_checkpoint();
        }
        true
    }

    fn commit_bundle(&self, round: &Pending) -> Result<Lsn, JournalError> {
        // A round that was fenced while it gathered must not reach the disk any more.
        if self.is_fenced() {
            return Err(JournalError::Fenced);
        }
        let bundle = Bundle { payload: &round.bytes, sync: round.sync };
        let mut committed = self.journal.commit(&bundle);
        if committed.as_ref().is_err_and(wrote_nothing) {
            // Writers outran the checkpoint worker, or the disk has no room or bad places: make room
            // here and now, which gives other files.
            if let Err(error) = self.checkpoint() {
                let error = Causes(&error);
                tracing::warn!(%error, "the journal is full and no checkpoint could be taken");
            }
            committed = self.journal.commit(&bundle);
        }
        committed
    }

    /// The journal has no room: batches have their segments synced, other records are refused.
    fn bypass_journal(&self, round: &mut Pending) {
        for (partition, end) in round.batches.drain(..) {
            if partition.not_journaled(end) {
                self.queue_sync(partition);
            }
        }
        round.starts.drain(..).for_each(|moved| moved.refused());
        round.offsets.drain(..).for_each(|moved| moved.refused());
        for resolver in round.resolvers.drain(..) {
            resolver.resolve(Err(ErrorCode::TaskTimeout));
        }
    }

    /// Refuses what is staged, as when the disk has no room.
    #[cfg(test)]
    pub(crate) fn refuse_round(&self) {
        let mut round = std::mem::take(&mut *self.pending.lock());
        self.bypass_journal(&mut round);
    }

    fn publish_round(&self, round: &mut Pending, lsn: Lsn) {
        self.stats.committed();
        for (partition, end) in round.batches.drain(..) {
            round.rung.push(partition.journaled(end, &mut round.published));
        }
        for moved in round.starts.drain(..) {
            if let Some(dropped) = moved.durable() {
                self.dropped.lock().push(dropped);
                self.ask_removal();
            }
        }
        round.offsets.drain(..).for_each(|moved| moved.durable());
        // From here on a checkpoint may give this bundle's place in the journal back.
        self.settled.store(lsn.get(), Ordering::Release);
        for resolver in round.published.drain(..).chain(round.resolvers.drain(..)) {
            resolver.resolve(Ok(()));
        }
        // Behind the acknowledgements: there may be many of them.
        round.rung.drain(..).for_each(|rung| rung.ring(News::Look));
    }

    fn fail_round(&self, round: &mut Pending, code: ErrorCode) {
        self.fenced.store(true, Ordering::Release);
        for (partition, _) in round.batches.drain(..) {
            partition.fence(code);
        }
        round.starts.drain(..).for_each(|moved| moved.refused());
        // They may be durable all the same; until the next start tells, only what surely is, is served.
        round.offsets.drain(..).for_each(|moved| moved.refused());
        for resolver in round.resolvers.drain(..) {
            resolver.resolve(Err(code));
        }
    }

    /// Has the segments of `partition` synced by a sync worker.
    pub(crate) fn queue_sync(&self, partition: Arc<Partition>) {
        self.syncs.lock().push_back(partition);
        self.work_sync.notify_one();
    }

    /// Syncs one queued partition, if any; tells whether there was one.
    pub fn sync_round(&self) -> bool {
        let Some(partition) = self.syncs.lock().pop_front() else { return false };
        // A failure has fenced the partition and answered everyone who waited for it.
        let _ = partition.sync();
        true
    }

    /// The committer's loop: rounds until [`Shard::stop`], sleeping while nothing is staged.
    pub fn run_committer(&self) {
        let mut spare = Pending::default();
        loop {
            while self.commit_round(&mut spare) {}
            let mut pending = self.pending.lock();
            if pending.is_empty() {
                if self.is_stopping() {
                    return;
                }
                pending.committer_waits = true;
                self.work_pending.wait(&mut pending);
            }
        }
    }

    /// A sync worker's loop, until [`Shard::stop`].
    pub fn run_sync_worker(&self) {
        loop {
            while self.sync_round() {}
            let mut syncs = self.syncs.lock();
            if syncs.is_empty() {
                if self.is_stopping() {
                    return;
                }
                self.work_sync.wait(&mut syncs);
            }
        }
    }
}

/// Whether the bundle does not count and the journal goes on.
fn wrote_nothing(error: &JournalError) -> bool {
    matches!(
        error,
        JournalError::Full { .. }
            | JournalError::TooLarge { .. }
            | JournalError::Prepare { .. }
            | JournalError::NotWritten { .. }
    )
}
