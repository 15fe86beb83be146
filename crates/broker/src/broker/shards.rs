//! The shards of a node by their ids: one today, so that whatever is asked of all is asked of that one.
//!
//! INV-SHARDS: every partition the metadata names is on a shard that is here; what names another one is refused at
//! the start, and nothing else makes partitions than [`crate::metadata`], which knows of these.

use std::collections::BTreeMap;
use std::sync::Arc;

use galgo_wire::id::{PartitionUid, ShardId, Timestamp};

use crate::partition::Partition;
use crate::shard::{CheckpointError, Rounds, Shard, ShardMember};

/// The shards of a node.
pub struct Shards(BTreeMap<ShardId, Arc<Shard>>);

impl Shards {
    pub(super) fn new(shards: impl IntoIterator<Item = (ShardId, Arc<Shard>)>) -> Self {
        let shards = Self(shards.into_iter().collect());
        assert!(
            shards.0.contains_key(&ShardId::FIRST),
            "INV-SHARDS: the first one is always there"
        );
        shards
    }

    /// The one of this id.
    ///
    /// # Panics
    /// When there is none (INV-SHARDS).
    #[must_use]
    pub fn of(&self, id: ShardId) -> &Arc<Shard> {
        let Some(shard) = self.0.get(&id) else {
            unreachable!("INV-SHARDS: a partition is on a shard that is here")
        };
        shard
    }

    /// The one that is always there.
    #[must_use]
    pub fn first(&self) -> &Arc<Shard> {
        self.of(ShardId::FIRST)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.0.values()
    }

    /// Refuses all later writes until the next start; what is staged still commits.
    pub(super) fn halt(&self) {
        self.iter().for_each(|shard| shard.halt());
    }

    /// Refuses all later writes, and everything that is staged: the files they went to are gone.
    pub(super) fn abandon(&self) {
        self.iter().for_each(|shard| shard.abandon());
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.iter().any(|shard| shard.is_abandoned())
    }

    /// Lets the worker loops end once their queues are empty.
    pub(super) fn stop(&self) {
        self.iter().for_each(|shard| shard.stop());
    }

    /// Tells the time that positions are stored at.
    pub(super) fn set_now(&self, now: Timestamp) {
        self.iter().for_each(|shard| shard.set_now(now));
    }

    /// See [`Shard::note_ends`].
    pub(super) fn note_ends(&self) {
        self.iter().for_each(|shard| shard.note_ends());
    }

    /// Forgets deleted and purged partitions; their files are removed next.
    pub(super) fn forget(&self, uids: &[PartitionUid]) {
        self.iter().for_each(|shard| shard.forget(uids));
    }

    /// Removes the files of the segments whose removal is on record. Blocks on the disk.
    pub(super) fn remove_dropped(&self) {
        self.iter().for_each(|shard| shard.remove_dropped());
    }

    /// Takes a checkpoint of each, whatever comes of the others.
    ///
    /// # Errors
    /// The first that arose.
    pub(crate) fn checkpoint(&self) -> Result<(), CheckpointError> {
        // All of them before the first error: a disk that fails one shard is no reason to let the others recover more.
        let taken: Vec<_> = self.iter().map(|shard| shard.checkpoint()).collect();
        taken.into_iter().collect()
    }

    /// Whether any partition may be there that takes no writes; forgets it, so that whoever finds some says so again.
    pub(super) fn take_has_fenced(&self) -> bool {
        // Each is to forget, so all are asked.
        self.iter().filter(|shard| shard.take_has_fenced()).count() > 0
    }

    /// Says that there is one.
    pub(super) fn have_fenced(&self) {
        self.iter().for_each(|shard| shard.has_fenced());
    }

    /// Has these partitions tried again, each by its shard.
    pub(crate) fn ask_rescue(&self, due: Vec<Arc<Partition>>) {
        let mut due: Vec<_> = due;
        for shard in self.iter() {
            // A rescue takes its own shard's checkpoints and journal into account, so each shard gets its partitions.
            let its = due.extract_if(.., |partition| partition.is_on(shard));
            let its: Vec<_> = its.map(|partition| partition as Arc<dyn ShardMember>).collect();
            if !its.is_empty() {
                shard.ask_rescue(its);
            }
        }
        assert!(due.is_empty(), "INV-SHARDS: a partition is on a shard that is here");
    }

    /// Runs all staged work to its end on the calling thread.
    pub(super) fn drain(&self) {
        for shard in self.iter() {
            // Until a whole turn finds nothing: a commit may leave a sync to be done, and a sync a commit to be waited for.
            let mut rounds = Rounds::default();
            while shard.commit_round(&mut rounds)
                || shard.sync_round()
                || shard.await_round(&mut rounds)
            {}
        }
    }
}

/// Partitions hold their shard, whose queues may hold them.
impl Drop for Shards {
    fn drop(&mut self) {
        self.iter().for_each(|shard| shard.release());
    }
}
