//! Checkpoints: make everything the journal holds durable elsewhere, note how far, recycle files.
//!
//! Part of INV-CARRY: a partition that takes no writes stops no checkpoint. It stays noted as of its last good one, and
//! what the journal holds of it since is committed once more, durable before the checkpoint is saved, so that
//! whatever is recycled is still there behind the checkpoint.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galgo_storage::checkpoint::{
    CheckpointStore, CheckpointStoreError, CheckpointedOffset, ShardCheckpoint,
};
use galgo_storage::journal::{Journal, JournalError, Lsn};
use galgo_storage::lock::{Held, Ranked, rank};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Epoch, PartitionUid};
use parking_lot::Condvar;

use super::carry::{Carried, LostFrames, Uncovered, carry_forward};
use super::queues::TouchedMembers;
use super::recovery::RecoveredPartition;
use super::stamps::Stamps;
use super::{MemberCheckpoint, ShardMember};
use crate::offset_book::StoredPosition;

/// The pause behind a checkpoint that carried records forward.
const CARRY_PAUSE: Duration = Duration::from_secs(1);

/// One more pause for so many bytes of it: it is read, written and synced again by each checkpoint.
const CARRY_BYTES: u64 = 4 << 20;

/// Most pauses: the journal may fill meanwhile.
const CARRY_PAUSES_MAX: u64 = 15;
const _: () =
    assert!(CARRY_PAUSES_MAX > 0, "a checkpoint that carries is not followed by another at once");

/// The last saved checkpoint and where it is kept.
#[derive(Debug)]
pub(super) struct Checkpointer {
    pub(super) store: CheckpointStore,
    pub(super) last: ShardCheckpoint,
    /// Where the journal goes on behind the last one that was saved.
    pub(super) saved: Lsn,
    /// Consumer offsets by partition; `last.offsets` is made from them when it is saved.
    pub(super) offsets: BTreeMap<PartitionUid, Vec<StoredPosition>>,
    pub(super) stamps: Stamps,
}

impl Checkpointer {
    /// Saves what is noted, as of `lsn`.
    pub(super) fn save(&mut self, lsn: Lsn) -> Result<(), CheckpointStoreError> {
        self.last.lsn = lsn;
        let offsets = self.offsets.iter().flat_map(|(uid, entries)| {
            let entry = |StoredPosition { owner, position }: &StoredPosition| CheckpointedOffset {
                uid: *uid,
                kind: owner.kind.as_u8(),
                id: owner.id.get(),
                offset: position.offset,
                note: Some(position.note()),
            };
            entries.iter().map(entry)
        });
        self.last.offsets = offsets.collect();
        self.store.save(&self.last)?;
        // Only now: where it was not saved, the journal is to be read from where the one before ends.
        self.saved = lsn;
        Ok(())
    }

    /// Takes in what a start has recovered: all of it is durable in the logs, but for those that are offline.
    pub(super) fn note_recovered(
        &mut self,
        partitions: &BTreeMap<PartitionUid, RecoveredPartition>,
    ) {
        for (uid, partition) in partitions {
            // Of one that was never written there is nothing to say, and of one that is offline
            // what the last checkpoint says stays: neither has a report.
            if partition.report.is_some() {
                self.last.logs.insert(*uid, partition.log.checkpoint());
            }
            if !partition.offsets.is_empty() {
                self.offsets.insert(*uid, partition.offsets.durable_entries());
            }
        }
        // INV-OFFLINE: nothing is written to the directory of one that could not be opened.
        let is_offline =
            |uid: &PartitionUid| partitions.get(uid).is_some_and(|it| it.offline.is_some());
        for (uid, known) in self.last.logs.iter().filter(|(uid, _)| !is_offline(uid)) {
            self.stamps.stamp(*uid, known);
        }
    }

    fn note(&mut self, uid: PartitionUid, noted: MemberCheckpoint) {
        self.stamps.stamp(uid, &noted.log);
        self.last.logs.insert(uid, noted.log);
        self.offsets.insert(uid, noted.positions);
    }
}

/// Why a checkpoint was not taken; the journal keeps its files then.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Partitions could not be synced, and what the journal holds of them could not be kept otherwise.
    #[error(
        "{count} partitions could not be synced, and their part of the journal not be carried forward"
    )]
    Partitions {
        /// How many.
        count: usize,
        /// Why it could not.
        source: JournalError,
    },
    /// The checkpoint file could not be written.
    #[error("the checkpoint was not written")]
    Store(#[from] CheckpointStoreError),
    /// The checkpoint is written, but the journal could not give its files back.
    #[error("the journal was not shortened")]
    Journal(#[from] JournalError),
    /// The journal has failed.
    #[error("the journal has failed")]
    Fenced,
    /// The data directory was removed or replaced, so there is nowhere to write it.
    #[error("the data directory was removed or replaced; nothing was written to what is there now")]
    Gone,
}

/// The checkpoints of a shard: the last one, and what became of the journal behind it.
///
/// The lock is held over a whole checkpoint, the reading of what is carried forward included: all frames behind the last
/// one, twice, at most the journal. Who waits for it meanwhile: the next checkpoint, whoever removes files, a tick that
/// saves positions, and the committer where the journal is full, which would wait for room anyway. All of them are threads
/// that may block: nothing on the way of a request takes it.
#[derive(Debug)]
pub(super) struct Checkpoints {
    last: Ranked<{ rank::CHECKPOINTER }, Checkpointer>,
    /// The last frame that was carried forward.
    carried_upto: AtomicU64,
    /// How much was carried forward last.
    carried_bytes: AtomicU64,
}

/// Whether a checkpoint was asked for, and the worker that waits to hear of it.
#[derive(Debug, Default)]
pub(super) struct CheckpointCalls {
    asked: Ranked<{ rank::CHECKPOINT_ASKED }, bool>,
    work: Condvar,
    /// Ends the pause behind what was carried forward.
    pause_over: Condvar,
}

impl CheckpointCalls {
    pub(super) fn ask(&self) {
        let mut asked = self.asked.lock();
        if !*asked {
            *asked = true;
            self.work.notify_one();
        }
    }

    /// Sleeps until one is asked for; false when it is time to end.
    pub(super) fn wait(&self, stops: impl Fn() -> bool) -> bool {
        let mut asked = self.asked.lock();
        while !*asked && !stops() {
            asked.wait(&self.work);
        }
        // Taken back before the work begins: who asks meanwhile gets a checkpoint of their own.
        *asked = false;
        !stops()
    }

    /// Sleeps for a pause, whoever asks meanwhile: that is heard when it is over. False when it is time to end.
    pub(super) fn pause(&self, stops: impl Fn() -> bool) -> bool {
        let mut asked = self.asked.lock();
        if stops() {
            return false;
        }
        // Not on the bell of those who ask: they would end every pause at once.
        asked.wait_for(&self.pause_over, CARRY_PAUSE);
        true
    }

    /// Wakes the worker, so that it looks whether it is to end.
    pub(super) fn wake_all(&self) {
        // Taken once: the worker is not between its look and its sleep then.
        drop(self.asked.lock());
        self.work.notify_all();
        self.pause_over.notify_all();
    }
}

impl Checkpoints {
    pub(super) fn new(last: Checkpointer, carried: Carried) -> Self {
        Self {
            last: Ranked::new(last),
            carried_upto: AtomicU64::new(carried.last.get()),
            carried_bytes: AtomicU64::new(carried.bytes),
        }
    }

    /// The last one, held: no other is taken meanwhile.
    pub(super) fn hold(&self) -> Held<'_, { rank::CHECKPOINTER }, Checkpointer> {
        self.last.lock()
    }

    /// Syncs all members on the list, saves how far they are durable and all consumer offsets, and gives journal files
    /// back. `begin` tells up to which frame all members know the outcome, or why there is to be none.
    ///
    /// # Errors
    /// [`CheckpointError`]; nothing is given back then.
    pub(super) fn take(
        &self,
        journal: &dyn Journal,
        epoch: Epoch,
        touched: &TouchedMembers,
        begin: impl FnOnce() -> Result<Lsn, CheckpointError>,
    ) -> Result<(), CheckpointError> {
        // Let go of behind the lock: the last owner of a member resolves its tickets.
        let mut looked_at = touched.looked_at();
        let mut checkpointer = self.last.lock();
        // Taken first: whatever the journal holds up to here is in the segments' page cache, and settled
        // in the offset books and the starts, so syncing and noting those now covers it.
        let upto = begin()?;
        assert!(
            upto >= checkpointer.saved,
            "INV-CHECKPOINT: what was given back of the journal does not come back"
        );
        let looked_at = looked_at.take();
        let mut failed = Vec::new();
        // A closed partition's files may be gone; its records will not be asked for again.
        for partition in looked_at.iter().filter(|partition| !partition.is_closed()) {
            match partition.checkpoint() {
                // It is off the list from here on, and noted: where this checkpoint is not saved,
                // the next one says it.
                Ok(noted) => checkpointer.note(partition.uid(), noted),
                // Closed while it was synced: as if it had been before.
                Err(_) if partition.is_closed() => {}
                Err(_) => failed.push(Arc::clone(partition)),
            }
        }
        if !failed.is_empty() {
            // Not simply put back: a stored offset may have put it on the list meanwhile.
            // And before anything that may fail: they stay on the list whatever comes of this one.
            failed.iter().for_each(|member| Arc::clone(member).touch());
            // Not up to where the checkpoint covers the others: what was acknowledged after that, and before writes
            // stopped, has to come behind what was before it. Where nothing was settled since, this checkpoint gives
            // nothing back, and nothing is carried.
            let range = checkpointer.saved.next()..=journal.last();
            if upto > checkpointer.saved {
                self.carry(journal, epoch, range, &failed)?;
            }
            for partition in &failed {
                // Its positions are in this checkpoint although its log is not: what is carried
                // leaves them out.
                checkpointer.offsets.insert(partition.uid(), partition.durable_positions());
            }
        }
        // In this order: a journal file that is given back is written over, and the checkpoint before this one needs it.
        checkpointer.save(upto)?;
        journal.checkpoint(upto)?;
        Ok(())
    }

    /// Partitions that could not be synced stay on the list, as what is carried forward now has to be again by
    /// the next checkpoint; what is stored of their consumers is noted.
    fn carry(
        &self,
        journal: &dyn Journal,
        epoch: Epoch,
        range: RangeInclusive<Lsn>,
        failed: &[Arc<dyn ShardMember>],
    ) -> Result<(), CheckpointError> {
        let ends = failed.iter().map(|partition| {
            let end = (!partition.is_offline()).then(|| partition.high_watermark());
            (partition.uid(), end)
        });
        let ends: Uncovered = ends.collect();
        let carried = carry_forward(journal, epoch, range, &ends, LostFrames::Refused);
        let carried = carried
            .map_err(|source| CheckpointError::Partitions { count: failed.len(), source })?;
        self.carried_upto.fetch_max(carried.last.get(), Ordering::Relaxed);
        self.carried_bytes.store(carried.bytes, Ordering::Relaxed);
        Ok(())
    }

    /// How many pauses there are to be behind a checkpoint before which the journal ended at `before`: what was carried
    /// forward may fill files by itself, for which another checkpoint would be asked at once.
    pub(super) fn pauses_behind(&self, before: Lsn) -> u64 {
        if self.carried_upto.load(Ordering::Relaxed) <= before.get() {
            return 0;
        }
        let bytes = self.carried_bytes.load(Ordering::Relaxed);
        (1 + bytes / CARRY_BYTES).min(CARRY_PAUSES_MAX)
    }

    /// Forgets deleted and purged partitions; their files are removed next.
    pub(super) fn forget(&self, uids: &[PartitionUid]) {
        // Waits for one that is under way: behind this no checkpoint that is saved names them.
        let mut checkpointer = self.last.lock();
        for uid in uids {
            checkpointer.last.logs.remove(uid);
            checkpointer.offsets.remove(uid);
            checkpointer.stamps.forget(*uid);
        }
    }
}

impl From<CheckpointError> for ErrorCode {
    fn from(_: CheckpointError) -> Self {
        Self::CannotSyncFile
    }
}
