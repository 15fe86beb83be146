//! The shard: the unit between partition and durability. Its partitions share one journal, one
//! group commit and one checkpoint. It is below them, and knows them as [`ShardMember`]s that stage bytes.
//!
//! A node has one shard today, in a map of the broker; nothing here assumes so. The shard owns no thread: the shell (or a
//! simulator) calls [`Shard::commit_round`], [`Shard::sync_round`] and [`Shard::checkpoint`].
//!
//! INV-JOURNAL: a bundle is acknowledged only after the [`Journal`] has settled it.
//! INV-RECYCLE: a journal file is given back only after everything in it is durable elsewhere: its
//! batches in synced segments, its offsets in a saved checkpoint.
//! INV-SHARD-FENCE: after the journal failed once, the shard acknowledges nothing that needs it.

mod carry;
mod checkpoint;
mod commit;
mod evidence;
mod journaled;
pub(crate) mod member;
mod queues;
mod record;
mod recovery;
mod removal;
mod reopen;
mod rounds;
mod stamps;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use galgo_storage::journal::{Journal, JournalUsage, Lsn};
use galgo_wire::id::{Epoch, Offset, PartitionUid, Timestamp};

pub use checkpoint::CheckpointError;
pub(crate) use member::{Completion, MemberCheckpoint, Removal, ShardMember, StartMove};
pub use record::{OffsetOwner, ShardRecord, UnknownRecord, decode_bundle};
pub(crate) use recovery::spoken_of;
pub use recovery::{RecoveredPartition, RecoveredShard, ShardRecoverError, ShardRecovery, Spoken};
pub(crate) use removal::Removals;
pub use rounds::Rounds;

use crate::causes::Causes;
use crate::lives::Lives;
use crate::stats::Counters;
use crate::vault::Vault;
use checkpoint::{CheckpointCalls, Checkpoints};
use queues::{DroppedFiles, RescueQueue, SyncQueue, TouchedMembers};
use rounds::Intake;
use standing::ShardStanding;

/// Bounds and thresholds of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardOptions {
    /// Batches above this many bytes have their segment synced instead of being journaled.
    pub journal_batch_bytes_max: u32,
    /// Most bytes staged for one journal bundle; batches beyond it have their segment synced.
    pub bundle_bytes_max: usize,
    /// Bytes written outside of the journal after which a checkpoint is due.
    pub checkpoint_bytes: u64,
}

/// Partitions that share a journal.
pub struct Shard {
    options: ShardOptions,
    epoch: Epoch,
    journal: Box<dyn Journal>,
    stats: Arc<Counters>,
    vault: Option<Arc<Vault>>,
    lives: Lives,
    intake: Arc<Intake>,
    syncs: SyncQueue,
    touched: TouchedMembers,
    dropped: DroppedFiles,
    removals: Arc<Removals>,
    /// The last bundle whose outcome all its partitions know; of no later one may a checkpoint speak.
    settled: AtomicU64,
    unjournaled_bytes: AtomicU64,
    /// Whether evidence of a sync was written that is not synced itself.
    unsynced_ends: AtomicBool,
    /// The time that ages are told by, as of the last tick, in microseconds.
    now_us: AtomicU64,
    checkpoints: Checkpoints,
    calls: CheckpointCalls,
    rescues: RescueQueue,
    /// Whether the system has run on since before the start.
    cache_survived: bool,
    /// Whether any member takes no writes, as far as was noted since the last look.
    has_fenced: AtomicBool,
    standing: ShardStanding,
}

impl Shard {
    /// Whose its bundles are: a journal that another owner has claimed takes none of this one (INV-EPOCH).
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The server's counters.
    #[must_use]
    pub fn stats(&self) -> &Counters {
        &self.stats
    }

    /// What seals and opens messages; `None` when nothing is or ever was sealed.
    pub(crate) fn vault(&self) -> Option<&Arc<Vault>> {
        self.vault.as_ref()
    }

    /// What clients call the lives of partitions.
    pub(crate) fn lives(&self) -> &Lives {
        &self.lives
    }

    /// Space the journal takes, and how it fared.
    #[must_use]
    pub fn journal_usage(&self) -> JournalUsage {
        self.journal.usage()
    }

    /// The time that positions are stored at, as of the last tick.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::new(self.now_us.load(Ordering::Relaxed))
    }

    /// Tells the time.
    pub(crate) fn set_now(&self, now: Timestamp) {
        self.now_us.store(now.get(), Ordering::Relaxed);
    }

    /// Whether the journal has failed, so that nothing that needs it is acknowledged any more.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.standing.is_fenced()
    }

    /// Refuses all later writes until the next start; what is staged still commits.
    pub(crate) fn halt(&self) {
        if self.standing.halt() {
            tracing::error!("no writes are taken until the server is started again");
        }
    }

    /// Refuses all later writes, and everything that is staged: the files they went to are gone. What was
    /// lost is lost for good, so unlike a failed journal it is not written down anywhere any more.
    pub(crate) fn abandon(&self) {
        self.standing.abandon();
    }

    /// Whether the files of the shard are gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.standing.is_abandoned()
    }

    /// Whether all writes are refused.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.standing.is_halted()
    }

    /// Lets the worker loops end once their queues are empty.
    pub fn stop(&self) {
        // First: whoever is woken looks at it.
        self.standing.stop();
        self.intake.stop();
        self.syncs.wake_all();
        self.calls.wake_all();
    }

    /// Lets go of the members in all queues: they hold the shard, which holds the queues.
    pub(crate) fn release(&self) {
        let staged = self.intake.take_all();
        let (syncs, touched) = (self.syncs.take_all(), self.touched.take_all());
        let (dropped, rescues) = (self.dropped.take_all(), self.rescues.take_all());
        // Outside of the locks: the last owner of a member resolves its tickets.
        drop((staged, syncs, touched, dropped, rescues));
    }

    fn is_stopping(&self) -> bool {
        self.standing.is_stopping()
    }

    /// Puts a member on the list of the next checkpoint, if under its lock there turns out to be one.
    pub(crate) fn touched(&self, member: impl FnOnce() -> Option<Arc<dyn ShardMember>>) {
        self.touched.add(member);
    }

    /// Has the segments of `member` synced by a sync worker.
    pub(crate) fn queue_sync(&self, member: Arc<dyn ShardMember>) {
        self.syncs.push(member);
    }

    /// Syncs one queued member, if any; tells whether there was one.
    pub fn sync_round(&self) -> bool {
        let Some(member) = self.syncs.pop() else { return false };
        // A failure has fenced the member and answered everyone who waited for it.
        let _ = member.sync();
        true
    }

    /// A sync worker's loop, until [`Shard::stop`].
    pub fn run_sync_worker(&self) {
        loop {
            while self.sync_round() {}
            if !self.syncs.wait(|| self.is_stopping()) {
                return;
            }
        }
    }

    /// Notes that a sync covered all messages of a partition below `end`.
    pub(crate) fn note_synced_end(&self, uid: PartitionUid, end: Offset) {
        if !self.is_fenced() {
            self.intake.note_synced_end(uid, end);
        }
    }

    /// Notes the ends of all partitions whose messages rest in the page cache, and has evidence of syncs
    /// synced. For a background thread, about once a second.
    pub(crate) fn note_ends(&self) {
        let touched = self.touched.all();
        let written: Vec<_> = touched
            .iter()
            .filter_map(|partition| Some((partition.uid(), partition.take_unnoted_end()?)))
            .collect();
        // Let go of outside of all locks: the last owner of a partition resolves its tickets.
        drop(touched);
        let sync = self.unsynced_ends.swap(false, Ordering::AcqRel);
        if (written.is_empty() && !sync) || self.is_fenced() {
            return;
        }
        let mut open = self.intake.open();
        let round = open.round();
        for (uid, end) in written {
            round.ends.note(uid, end, false);
        }
        round.ends.due = true;
        round.sync |= sync;
        open.wake();
    }

    /// Removes the files of the segments whose removal is on record. Blocks on the disk.
    pub(crate) fn remove_dropped(&self) {
        self.dropped.remove();
    }

    /// Notes that a member takes no writes any more.
    pub(crate) fn has_fenced(&self) {
        self.has_fenced.store(true, Ordering::Relaxed);
    }

    /// Whether there may be partitions to look after; forgets it, so that whoever finds some says so again.
    pub(crate) fn take_has_fenced(&self) -> bool {
        !self.is_fenced() && !self.is_abandoned() && self.has_fenced.swap(false, Ordering::Relaxed)
    }

    /// Has the checkpoint worker try and take writes again in these partitions, which took none since a sync failed, or
    /// could not be opened.
    pub(crate) fn ask_rescue(&self, due: Vec<Arc<dyn ShardMember>>) {
        self.rescues.add(due);
        self.ask_checkpoint();
    }

    /// Tries it in all that were asked for; tells whether there were any. Blocks on the disk.
    pub fn rescue_round(&self) -> bool {
        let due = self.rescues.take_all();
        let any = !due.is_empty();
        let (offline, fenced): (Vec<_>, Vec<_>) = due.into_iter().partition(|it| it.is_offline());
        if !offline.is_empty() {
            let stops = || self.is_stopping() || self.is_abandoned();
            self.checkpoints.reopen(&*self.journal, self.cache_survived, &offline, stops);
        }
        let mut written: Vec<_> =
            fenced.into_iter().filter(|member| Arc::clone(member).write_anew()).collect();
        if written.is_empty() {
            return any;
        }
        // INV-VOID: looked at before the checkpoint is taken. Without their markers, they stop no checkpoint now.
        written.retain(|partition| partition.is_marked());
        match self.checkpoint() {
            Ok(()) => written.iter().for_each(|partition| partition.unfence()),
            Err(error) => {
                let error = Causes(&error);
                tracing::warn!(%error, "partitions still take no writes: no checkpoint");
                written.iter().for_each(|partition| partition.not_rescued(&error));
            }
        }
        any
    }

    /// Asks the checkpoint worker for a checkpoint soon.
    pub(crate) fn ask_checkpoint(&self) {
        self.calls.ask();
    }

    /// Syncs all partitions written since the last checkpoint, saves how far they are durable and
    /// all consumer offsets, and gives journal files back.
    ///
    /// # Errors
    /// [`CheckpointError`]; nothing is given back then.
    pub fn checkpoint(&self) -> Result<(), CheckpointError> {
        self.checkpoints.take(&*self.journal, self.epoch, &self.touched, || {
            if self.is_abandoned() {
                return Err(CheckpointError::Gone);
            }
            if self.is_fenced() {
                return Err(CheckpointError::Fenced);
            }
            // Before the members are synced: what they write meanwhile counts for the next one.
            self.unjournaled_bytes.store(0, Ordering::Relaxed);
            Ok(Lsn::new(self.settled.load(Ordering::Acquire)))
        })?;
        self.stats.checkpointed();
        Ok(())
    }

    /// Forgets deleted and purged partitions; their files are removed next.
    pub fn forget(&self, uids: &[PartitionUid]) {
        self.checkpoints.forget(uids);
        let (gone, dropped) = (self.touched.take_gone(uids), self.dropped.take_gone(uids));
        // Outside of the locks: the last owner of a member resolves its tickets.
        drop((gone, dropped));
    }

    /// The checkpoint worker's loop, until [`Shard::stop`].
    pub fn run_checkpointer(&self) {
        while self.calls.wait(|| self.is_stopping()) {
            // First: what is written anew by it need not be carried forward by the checkpoint
            // behind it.
            self.rescue_round();
            let before = self.journal.last();
            if let Err(error) = self.checkpoint() {
                let error = Causes(&error);
                tracing::error!(%error, "checkpoint not taken; the journal keeps its files");
            }
            // Behind the checkpoint, which may have given files back that can be used again.
            if let Err(error) = self.journal.make_ready() {
                tracing::warn!(error = %Causes(&error), "no room made ready ahead in the journal");
            }
            for _ in 0..self.checkpoints.pauses_behind(before) {
                if !self.calls.pause(|| self.is_stopping()) {
                    return;
                }
                // These do not wait for it.
                self.rescue_round();
            }
        }
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
