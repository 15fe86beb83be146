//! The broker's own threads: the committer, the sync workers, the checkpoint worker, the remover of files.

use std::sync::Arc;

use super::Broker;
use crate::shard::Shard;

/// Threads that sync segments of large batches at the same time: enough to keep a disk's queue
/// filled, few enough to cost nothing.
// Four left the queue of a disk short with eight producers of large batches.
const SYNC_WORKERS: usize = 8;

const _: () = assert!(SYNC_WORKERS > 0, "a large batch is acknowledged by a sync of its segment");

/// A loop to be run on a thread of its own until [`Broker::stop`].
pub struct Worker {
    name: &'static str,
    run: Box<dyn FnOnce() + Send>,
}

impl Worker {
    /// A name for the thread.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs until the broker is stopped.
    pub fn run(self) {
        (self.run)();
    }
}

/// The loops without which nothing is committed; each wants a thread.
pub(super) fn workers(broker: &Arc<Broker>) -> Vec<Worker> {
    // One for all shards: what it removes is named by the metadata, which are one.
    let of_all = Arc::clone(broker);
    let run = Box::new(move || of_all.ledger.run_remover());
    let mut workers = vec![Worker { name: "galgo-remove", run }];
    for shard in broker.shards().iter() {
        let worker = |name, run: fn(&Shard)| {
            let shard = Arc::clone(shard);
            Worker { name, run: Box::new(move || run(&shard)) }
        };
        workers.push(worker("galgo-commit", Shard::run_committer));
        workers.push(worker("galgo-checkpoint", Shard::run_checkpointer));
        workers.extend((0..SYNC_WORKERS).map(|_| worker("galgo-sync", Shard::run_sync_worker)));
    }
    workers
}
