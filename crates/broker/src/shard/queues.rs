//! What waits in a shard for one of its workers: members that are to be synced, checkpointed or tried again, and files
//! that are to be removed. Each keeps its lock to itself, and holds it for no more than a push or a take.
//!
//! Whatever is taken off is let go of outside of the lock: the last owner of a member resolves its tickets, and that
//! wakes others.

use std::collections::VecDeque;
use std::sync::Arc;

use galgo_storage::lock::{Ranked, rank};
use galgo_wire::id::PartitionUid;
use parking_lot::Condvar;

use super::member::{Removal, ShardMember};

/// Members that wait for a sync, oldest first.
#[derive(Default)]
pub(super) struct SyncQueue {
    members: Ranked<{ rank::SYNCS }, VecDeque<Arc<dyn ShardMember>>>,
    work: Condvar,
}

/// Members that the next checkpoint looks at.
#[derive(Default)]
pub(super) struct TouchedMembers(Ranked<{ rank::TOUCHED }, Vec<Arc<dyn ShardMember>>>);

/// Members that took no writes and are to be tried, by the checkpoint worker.
#[derive(Default)]
pub(super) struct RescueQueue(Ranked<{ rank::RESCUES }, Vec<Arc<dyn ShardMember>>>);

/// Segments that are no part of a log any more, whose files are still to be removed.
#[derive(Default)]
pub(super) struct DroppedFiles(Ranked<{ rank::DROPPED }, Vec<Box<dyn Removal>>>);

impl SyncQueue {
    pub(super) fn push(&self, member: Arc<dyn ShardMember>) {
        self.members.lock().push_back(member);
        self.work.notify_one();
    }

    pub(super) fn pop(&self) -> Option<Arc<dyn ShardMember>> {
        self.members.lock().pop_front()
    }

    pub(super) fn take_all(&self) -> VecDeque<Arc<dyn ShardMember>> {
        std::mem::take(&mut *self.members.lock())
    }

    /// Sleeps while there is none; false when it is time to end.
    pub(super) fn wait(&self, stops: impl Fn() -> bool) -> bool {
        let mut members = self.members.lock();
        if members.is_empty() {
            if stops() {
                return false;
            }
            members.wait(&self.work);
        }
        true
    }

    /// Wakes all workers, so that they look whether they are to end.
    pub(super) fn wake_all(&self) {
        // Taken once: no worker is between its look and its sleep then.
        drop(self.members.lock());
        self.work.notify_all();
    }
}

impl TouchedMembers {
    /// Adds a member, if under the lock there turns out to be one.
    pub(super) fn add(&self, member: impl FnOnce() -> Option<Arc<dyn ShardMember>>) {
        let mut touched = self.0.lock();
        touched.extend(member());
    }

    pub(super) fn take_all(&self) -> Vec<Arc<dyn ShardMember>> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Room for those that a checkpoint takes off the list.
    pub(super) fn looked_at(&self) -> LookedAt<'_> {
        LookedAt { list: self, members: Vec::new() }
    }

    pub(super) fn all(&self) -> Vec<Arc<dyn ShardMember>> {
        self.0.lock().clone()
    }

    /// Takes off those of deleted partitions.
    pub(super) fn take_gone(&self, uids: &[PartitionUid]) -> Vec<Arc<dyn ShardMember>> {
        self.0.lock().extract_if(.., |member| uids.contains(&member.uid())).collect()
    }
}

/// Members that a checkpoint has taken off the list. A panic puts them back: whoever wrote since the last checkpoint has
/// to be on it, for the next checkpoint and for whoever has to be told that the committer is gone.
pub(super) struct LookedAt<'a> {
    list: &'a TouchedMembers,
    members: Vec<Arc<dyn ShardMember>>,
}

impl LookedAt<'_> {
    /// Takes all that are on the list.
    pub(super) fn take(&mut self) -> &[Arc<dyn ShardMember>] {
        self.members = self.list.take_all();
        &self.members
    }
}

impl Drop for LookedAt<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.list.0.lock().append(&mut self.members);
        }
    }
}

impl RescueQueue {
    /// Has these tried.
    pub(super) fn add(&self, due: Vec<Arc<dyn ShardMember>>) {
        let mut rescues = self.0.lock();
        for member in due {
            // Once each: a member that was taken back into writes must not be so a second time in the round.
            if rescues.iter().all(|asked| asked.uid() != member.uid()) {
                rescues.push(member);
            }
        }
    }

    pub(super) fn take_all(&self) -> Vec<Arc<dyn ShardMember>> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl DroppedFiles {
    pub(super) fn push(&self, removal: Box<dyn Removal>) {
        self.0.lock().push(removal);
    }

    pub(super) fn take_all(&self) -> Vec<Box<dyn Removal>> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Takes off those of deleted partitions, whose directories go as a whole.
    pub(super) fn take_gone(&self, uids: &[PartitionUid]) -> Vec<Box<dyn Removal>> {
        self.0.lock().extract_if(.., |dropped| uids.contains(&dropped.uid())).collect()
    }

    /// Removes the files, as many as can be; the others are tried again. Blocks on the disk.
    pub(super) fn remove(&self) {
        // Without the lock over the removal: the committer adds to the list while files go.
        let dropped = self.take_all();
        let mut failed: Vec<_> =
            dropped.into_iter().filter(|dropped| !dropped.remove_files()).collect();
        // Beside what was put there meanwhile.
        self.0.lock().append(&mut failed);
    }
}
