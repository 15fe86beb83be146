//! Opening logs after all that could not be opened at the start.
//!
//! It is what a start does for one log: from what the last checkpoint knows, what the journal holds and the files. The
//! checkpoints since have kept both as they were (INV-CARRY), and nothing was written to it (INV-OFFLINE). As at a
//! start, what was recovered is in a checkpoint before anything is taken on top of it.

use std::sync::Arc;

use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::log::{Evidence, Log, LogRecoverError as LogError, RecoveryReport};

use super::checkpoint::Checkpointer;
use super::journaled::{JournalSource, Journaled};
use super::{Member, Shard};
use crate::causes::Causes;

/// Most logs that are opened in one round: no checkpoint is taken meanwhile.
const ROUND_MAX: usize = 16;

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Shard {
    /// Tries to open the logs of partitions that are offline, as many as there is time for. Blocks on the disk.
    pub(super) fn reopen(&self, offline: &[Arc<dyn Member>]) {
        // Held over it: no checkpoint gives back what is read here, nor says anything of these logs.
        let mut checkpointer = self.checkpointer.lock();
        let mut ready = Vec::new();
        for partition in offline.iter().filter(|it| !it.is_closed() && it.is_offline()) {
            match self.look_at(&**partition, &checkpointer) {
                Ok(known) => ready.push((partition, known)),
                Err(error) => partition.tell_still_offline(&Causes(&*error)),
            }
        }
        if ready.is_empty() {
            return;
        }
        let mut journaled = match Journaled::read(&*self.journal, checkpointer.saved) {
            Ok(journaled) => journaled,
            Err(error) => return tracing::warn!(error = %Causes(&error), "journal not read"),
        };
        let source = journaled.source(&*self.journal);
        let mut recovered = Vec::new();
        for (partition, known) in ready.into_iter().take(ROUND_MAX) {
            if self.is_stopping() || self.is_abandoned() {
                return;
            }
            match self.recover_one(&**partition, known, (&mut journaled, &source)) {
                Ok(opened) => recovered.push((partition, opened)),
                Err(error) => {
                    if matches!(error, LogError::Sync { .. }) {
                        partition.stays_offline();
                    }
                    partition.tell_still_offline(&Causes(&error));
                }
            }
        }
        drop(source);
        if recovered.is_empty() {
            return;
        }
        for (partition, (log, _)) in &recovered {
            checkpointer.last.logs.insert(partition.uid(), log.checkpoint());
        }
        let saved = checkpointer.saved;
        if let Err(error) = checkpointer.save(saved) {
            let error = Causes(&error);
            return recovered
                .iter()
                .for_each(|(partition, _)| partition.tell_still_offline(&error));
        }
        for (partition, (log, report)) in recovered {
            Arc::clone(partition).come_online(log, &report);
        }
    }

    /// What the checkpoint knows of a log, when all of that is there.
    fn look_at(
        &self,
        partition: &dyn Member,
        checkpointer: &Checkpointer,
    ) -> Result<LogCheckpoint, Failure> {
        let uid = partition.uid();
        checkpointer.stamps.check(uid)?;
        let known = checkpointer.last.logs.get(&uid).cloned().unwrap_or_default();
        Log::check_files(partition.log_reader(), &known)?;
        Ok(known)
    }

    fn recover_one(
        &self,
        partition: &dyn Member,
        known: LogCheckpoint,
        (journaled, source): (&mut Journaled, &JournalSource<'_>),
    ) -> Result<(Log, RecoveryReport), LogError> {
        let uid = partition.uid();
        let known = journaled.apply_start(uid, Some(known)).unwrap_or_default();
        let batches = journaled.log(uid, source);
        let evidence =
            Evidence { end: partition.high_watermark(), cache_survived: self.cache_survived };
        Log::recover_offline(partition.log_reader(), known, batches, evidence)
    }
}
