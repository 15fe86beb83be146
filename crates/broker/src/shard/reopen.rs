//! Opening logs after all that could not be opened at the start.
//!
//! It is what a start does for one log: from what the last checkpoint knows, what the journal holds and the files. The
//! checkpoints since have kept both as they were (INV-CARRY), and nothing was written to it (INV-OFFLINE).

use std::sync::Arc;

use galgo_storage::log::{Evidence, Log, RecoveryReport};

use super::Shard;
use super::checkpoint::Checkpointer;
use super::journaled::Journaled;
use crate::causes::Causes;
use crate::partition::Partition;

impl Shard {
    /// Tries to open the log of a partition that is offline. Blocks on the disk.
    pub(super) fn reopen(&self, partition: &Arc<Partition>) {
        // Held over it: no checkpoint gives back what is read here, nor says anything of this log.
        let checkpointer = self.checkpointer.lock();
        if partition.is_closed() || !partition.is_offline() {
            return;
        }
        match self.recover_one(partition, &checkpointer) {
            Ok((log, report)) => {
                partition.come_online(log, &report);
            }
            Err(error) => partition.tell_still_offline(&Causes(&*error)),
        }
    }

    fn recover_one(
        &self,
        partition: &Arc<Partition>,
        checkpointer: &Checkpointer,
    ) -> Result<(Log, RecoveryReport), Box<dyn std::error::Error + Send + Sync>> {
        let uid = partition.uid();
        checkpointer.stamps.check(uid)?;
        let known = checkpointer.last.logs.get(&uid).cloned();
        let mut journaled = Journaled::read(&*self.journal, checkpointer.saved)?;
        let source = journaled.source(&*self.journal);
        let known = journaled.apply_start(uid, known).unwrap_or_default();
        let batches = journaled.log(uid, &source);
        let end = partition.high_watermark();
        let evidence = Evidence { end, cache_survived: self.cache_survived };
        Ok(Log::recover_offline(partition.log_reader(), known, batches, evidence)?)
    }
}
