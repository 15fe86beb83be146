//! The broker's own threads: the committer, the sync workers, the checkpoint worker, the remover of files.

use std::sync::Arc;

use super::Broker;
use crate::shard::Shard;

/// Threads that sync segments of large batches at the same time: enough to keep a disk's queue
/// filled, few enough to cost nothing.
const SYNC_WORKERS: usize = 8;

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

impl Broker {
    /// The loops without which nothing is committed; each wants a thread.
    #[must_use]
    pub fn workers(self: &Arc<Self>) -> Vec<Worker> {
        let broker = Arc::clone(self);
        let remover = Worker { name: "galgo-remove", run: Box::new(move || broker.run_remover()) };
        let mut workers = vec![remover];
        for shard in self.shards.iter() {
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

    /// The remover's loop: space is to be free soon after the answer that gave it up.
    fn run_remover(&self) {
        while self.removals.wait() {
            self.remove_files();
            self.shards.remove_dropped();
        }
    }

    /// Lets the workers end once what is staged is committed.
    pub fn stop(&self) {
        self.shards.stop();
        self.removals.stop();
    }
}
