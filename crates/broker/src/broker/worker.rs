//! The broker's own threads: the committer, the sync workers, the checkpoint worker.

use std::sync::Arc;

use super::Broker;
use crate::shard::Shard;

/// Threads that sync segments of large batches at the same time: enough to keep a disk's queue
/// filled, few enough to cost nothing.
const SYNC_WORKERS: usize = 8;

/// A loop to be run on a thread of its own until [`Broker::stop`].
pub struct Worker {
    name: &'static str,
    run: fn(&Shard),
    shard: Arc<Shard>,
}

impl Worker {
    /// A name for the thread.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs until the broker is stopped.
    pub fn run(self) {
        (self.run)(&self.shard);
    }
}

impl Broker {
    /// The loops without which nothing is committed; each wants a thread.
    #[must_use]
    pub fn workers(&self) -> Vec<Worker> {
        let worker = |name, run| Worker { name, run, shard: Arc::clone(self.shard()) };
        let mut workers = vec![
            worker("galgo-commit", Shard::run_committer as fn(&Shard)),
            worker("galgo-checkpoint", Shard::run_checkpointer),
        ];
        workers.extend((0..SYNC_WORKERS).map(|_| worker("galgo-sync", Shard::run_sync_worker)));
        workers
    }

    /// Lets the workers end once what is staged is committed.
    pub fn stop(&self) {
        self.shard().stop();
    }
}
