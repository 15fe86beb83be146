//! The shard: the unit between partition and durability. Its partitions share one journal, one
//! group commit and one checkpoint. It is below them, and knows them as [`Member`]s that stage bytes.
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
mod intake;
mod journaled;
pub(crate) mod member;
mod record;
mod recovery;
mod removal;
mod reopen;
mod rescue;
mod rounds;
mod stamps;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use galgo_storage::journal::{Journal, JournalUsage};
use galgo_storage::lock::{Ranked, rank};
use galgo_wire::id::{Epoch, Timestamp};
use parking_lot::Condvar;

pub use checkpoint::CheckpointError;
pub(crate) use member::{Completion, Member, MemberCheckpoint, Removal, StartMove};
pub use record::{OffsetOwner, ShardRecord, UnknownRecord, decode_bundle};
pub(crate) use recovery::spoken_of;
pub use recovery::{RecoverError, Recovered, RecoveredPartition, ShardRecovery, Spoken};
pub(crate) use removal::Removals;
pub use rounds::Rounds;

use crate::lives::Lives;
use crate::stats::Counters;
use crate::vault::Vault;
use checkpoint::Checkpointer;
use intake::Intake;

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
    syncs: Ranked<{ rank::SYNCS }, VecDeque<Arc<dyn Member>>>,
    work_sync: Condvar,
    touched: Ranked<{ rank::TOUCHED }, Vec<Arc<dyn Member>>>,
    dropped: Ranked<{ rank::DROPPED }, Vec<Box<dyn Removal>>>,
    removals: Arc<Removals>,
    /// The last bundle whose outcome all its partitions know; of no later one may a checkpoint speak.
    settled: AtomicU64,
    unjournaled_bytes: AtomicU64,
    /// Whether evidence of a sync was written that is not synced itself.
    unsynced_ends: AtomicBool,
    /// The time that ages are told by, as of the last tick, in microseconds.
    now_us: AtomicU64,
    checkpointer: Ranked<{ rank::CHECKPOINTER }, Checkpointer>,
    checkpoint_asked: Ranked<{ rank::CHECKPOINT_ASKED }, bool>,
    /// Members that took no writes and are to be tried, by the checkpoint worker.
    rescues: Ranked<{ rank::RESCUES }, Vec<Arc<dyn Member>>>,
    /// The last frame that was carried forward.
    carried_upto: AtomicU64,
    /// How much was carried forward last.
    carried_bytes: AtomicU64,
    /// Whether the system has run on since before the start.
    cache_survived: bool,
    /// Whether any member takes no writes, as far as was noted since the last look.
    has_fenced: AtomicBool,
    work_checkpoint: Condvar,
    /// Ends the pause behind what was carried forward.
    carry_pause_over: Condvar,
    fenced: AtomicBool,
    halted: AtomicBool,
    abandoned: AtomicBool,
    stopping: AtomicBool,
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
    pub(crate) fn vault(&self) -> Option<&Vault> {
        self.vault.as_deref()
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
        self.fenced.load(Ordering::Acquire)
    }

    /// Refuses all later writes until the next start; what is staged still commits.
    pub(crate) fn halt(&self) {
        if !self.halted.swap(true, Ordering::AcqRel) {
            tracing::error!("no writes are taken until the server is started again");
        }
    }

    /// Refuses all later writes, and everything that is staged: the files they went to are gone. What was
    /// lost is lost for good, so unlike a failed journal it is not written down anywhere any more.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.halted.store(true, Ordering::Release);
        self.fenced.store(true, Ordering::Release);
    }

    /// Whether the files of the shard are gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Whether all writes are refused.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }

    /// Lets the worker loops end once their queues are empty.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // Taking each lock once makes sure that no worker is between its look at the flag and its
        // sleep when the wake-up comes.
        self.intake.stop();
        drop(self.syncs.lock());
        self.work_sync.notify_all();
        drop(self.checkpoint_asked.lock());
        self.work_checkpoint.notify_all();
        self.carry_pause_over.notify_all();
    }

    /// Lets go of the members in all queues: they hold the shard, which holds the queues.
    pub(crate) fn release(&self) {
        let staged = self.intake.take_all();
        let syncs = std::mem::take(&mut *self.syncs.lock());
        let touched = std::mem::take(&mut *self.touched.lock());
        let dropped = std::mem::take(&mut *self.dropped.lock());
        let rescues = std::mem::take(&mut *self.rescues.lock());
        // Outside of the locks: the last owner of a member resolves its tickets.
        drop((staged, syncs, touched, dropped, rescues));
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Puts a member on the list of the next checkpoint, if under its lock there turns out to be one.
    pub(crate) fn touched(&self, member: impl FnOnce() -> Option<Arc<dyn Member>>) {
        let mut touched = self.touched.lock();
        touched.extend(member());
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
