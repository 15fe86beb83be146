//! Checkpoints: make everything the journal holds durable elsewhere, note how far, recycle files.
//!
//! Part of INV-CARRY: a partition that takes no writes stops no checkpoint. It stays noted as of its last good one, and
//! what the journal holds of it since is committed once more, durable before the checkpoint is saved, so that
//! whatever is recycled is still there behind the checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use galgo_storage::checkpoint::{
    CheckpointStore, CheckpointStoreError, CheckpointedOffset, ShardCheckpoint,
};
use galgo_storage::journal::{JournalError, Lsn};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::PartitionUid;

use super::carry::{Carried, Damage, carry_forward};
use super::stamps::Stamps;
use super::{Member, MemberCheckpoint, OffsetOwner, Shard};
use crate::causes::Causes;
use crate::offset_book::Position;

/// The pause behind a checkpoint that carried records forward.
const CARRY_PAUSE: Duration = Duration::from_secs(1);

/// One more pause for so many bytes of it: it is read, written and synced again by each checkpoint.
const CARRY_BYTES: u64 = 4 << 20;

/// Most pauses: the journal may fill meanwhile.
const CARRY_PAUSES_MAX: u64 = 15;

/// The last saved checkpoint and where it is kept.
#[derive(Debug)]
pub(super) struct Checkpointer {
    pub(super) store: CheckpointStore,
    pub(super) last: ShardCheckpoint,
    /// Where the journal goes on behind the last one that was saved.
    pub(super) saved: Lsn,
    /// Consumer offsets by partition; `last.offsets` is made from them when it is saved.
    pub(super) offsets: BTreeMap<PartitionUid, Vec<(OffsetOwner, Position)>>,
    pub(super) stamps: Stamps,
}

impl Checkpointer {
    /// Saves what is noted, as of `lsn`.
    pub(super) fn save(&mut self, lsn: Lsn) -> Result<(), CheckpointStoreError> {
        self.last.lsn = lsn;
        let offsets = self.offsets.iter().flat_map(|(uid, entries)| {
            let entry = |(owner, position): &(OffsetOwner, Position)| CheckpointedOffset {
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
        self.saved = lsn;
        Ok(())
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

impl Shard {
    /// Asks the checkpoint worker for a checkpoint soon.
    pub(crate) fn ask_checkpoint(&self) {
        let mut asked = self.checkpoint_asked.lock();
        if !*asked {
            *asked = true;
            self.work_checkpoint.notify_one();
        }
    }

    /// Syncs all partitions written since the last checkpoint, saves how far they are durable and
    /// all consumer offsets, and gives journal files back.
    ///
    /// # Errors
    /// [`CheckpointError`]; nothing is given back then.
    pub fn checkpoint(&self) -> Result<(), CheckpointError> {
        // Let go of behind the lock: the last owner of a member resolves its tickets.
        let mut looked_at: Vec<Arc<dyn Member>> = Vec::new();
        let mut checkpointer = self.checkpointer.lock();
        if self.is_abandoned() {
            return Err(CheckpointError::Gone);
        }
        if self.is_fenced() {
            return Err(CheckpointError::Fenced);
        }
        // Taken first: whatever the journal holds up to here is in the segments' page cache, and settled
        // in the offset books and the starts, so syncing and noting those now covers it.
        let upto = Lsn::new(self.settled.load(Ordering::Acquire));
        self.unjournaled_bytes.store(0, Ordering::Relaxed);
        looked_at.append(&mut self.touched.lock());
        let mut failed = Vec::new();
        // A closed partition's files may be gone; its records will not be asked for again.
        for partition in looked_at.iter().filter(|partition| !partition.is_closed()) {
            match partition.checkpoint() {
                Ok(noted) => checkpointer.note(partition.uid(), noted),
                Err(_) if partition.is_closed() => {}
                Err(_) => failed.push(Arc::clone(partition)),
            }
        }
        if !failed.is_empty() {
            // Where nothing was settled since, this checkpoint gives nothing back.
            let gives_back = upto > checkpointer.saved;
            self.keep_failed((&failed, gives_back), &mut checkpointer)?;
        }
        checkpointer.save(upto)?;
        self.journal.checkpoint(upto)?;
        self.stats.checkpointed();
        Ok(())
    }

    /// Partitions that could not be synced stay on the list, as what is carried forward now has to be again by
    /// the next checkpoint; what is stored of their consumers is noted.
    fn keep_failed(
        &self,
        (failed, gives_back): (&[Arc<dyn Member>], bool),
        checkpointer: &mut Checkpointer,
    ) -> Result<(), CheckpointError> {
        // Not simply put back: a stored offset may have put it on the list meanwhile.
        failed.iter().for_each(|member| Arc::clone(member).touch());
        let ends = failed.iter().map(|partition| {
            let end = (!partition.is_offline()).then(|| partition.high_watermark());
            (partition.uid(), end)
        });
        let ends: BTreeMap<_, _> = ends.collect();
        // Not up to where the checkpoint covers the others: what was acknowledged after that, and before writes
        // stopped, has to come behind what was before it.
        let range = checkpointer.saved.next()..=self.journal.last();
        if gives_back {
            let carried =
                carry_forward((&*self.journal, self.epoch), range, (&ends, Damage::Refused))
                    .map_err(|source| CheckpointError::Partitions {
                        count: failed.len(),
                        source,
                    })?;
            self.note_carried(carried);
        }
        for partition in failed {
            checkpointer.offsets.insert(partition.uid(), partition.durable_positions());
        }
        Ok(())
    }

    fn note_carried(&self, carried: Carried) {
        self.carried_upto.fetch_max(carried.last.get(), Ordering::Relaxed);
        self.carried_bytes.store(carried.bytes, Ordering::Relaxed);
    }

    /// Forgets deleted and purged partitions; their files are removed next.
    pub fn forget(&self, uids: &[PartitionUid]) {
        let mut checkpointer = self.checkpointer.lock();
        for uid in uids {
            checkpointer.last.logs.remove(uid);
            checkpointer.offsets.remove(uid);
            checkpointer.stamps.forget(*uid);
        }
        drop(checkpointer);
        let gone: Vec<_> =
            self.touched.lock().extract_if(.., |member| uids.contains(&member.uid())).collect();
        let dropped: Vec<_> =
            self.dropped.lock().extract_if(.., |dropped| uids.contains(&dropped.uid())).collect();
        // Outside of the locks: the last owner of a member resolves its tickets.
        drop((gone, dropped));
    }

    /// The checkpoint worker's loop, until [`Shard::stop`].
    pub fn run_checkpointer(&self) {
        loop {
            {
                let mut asked = self.checkpoint_asked.lock();
                while !*asked && !self.is_stopping() {
                    asked.wait(&self.work_checkpoint);
                }
                if self.is_stopping() {
                    return;
                }
                *asked = false;
            }
            self.rescue_round();
            let before = self.journal.last();
            if let Err(error) = self.checkpoint() {
                let error = Causes(&error);
                tracing::error!(%error, "checkpoint not taken; the journal keeps its files");
            }
            if let Err(error) = self.journal.make_ready() {
                tracing::warn!(error = %Causes(&error), "no room made ready ahead in the journal");
            }
            // What was carried forward may fill files by itself, for which another checkpoint would be asked at once.
            if self.carried_upto.load(Ordering::Relaxed) > before.get() {
                let bytes = self.carried_bytes.load(Ordering::Relaxed);
                let pauses = 1 + bytes / CARRY_BYTES;
                for _ in 0..pauses.min(CARRY_PAUSES_MAX) {
                    let mut asked = self.checkpoint_asked.lock();
                    if self.is_stopping() {
                        return;
                    }
                    // Whoever asks meanwhile is heard when it is over; only a stop ends it.
                    asked.wait_for(&self.carry_pause_over, CARRY_PAUSE);
                    drop(asked);
                    // These do not wait for it.
                    self.rescue_round();
                }
            }
        }
    }
}

impl From<CheckpointError> for ErrorCode {
    fn from(_: CheckpointError) -> Self {
        Self::CannotSyncFile
    }
}
