//! Opening logs after all that could not be opened at the start.
//!
//! It is what a start does for one log: from what the last checkpoint knows, what the journal holds and the files. The
//! checkpoints since have kept both as they were (INV-CARRY), and nothing was written to it (INV-OFFLINE). As at a
//! start, what was recovered is in a checkpoint before anything is taken on top of it.

use std::sync::Arc;

use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::journal::Journal;
use galgo_storage::log::{Evidence, Log, LogRecoverError as LogError, RecoveryReport};

use super::ShardMember;
use super::checkpoint::{Checkpointer, Checkpoints};
use super::journaled::{JournalSource, Journaled};
use crate::causes::Causes;

/// Most logs that are opened in one round: no checkpoint is taken meanwhile.
const ROUND_MAX: usize = 16;
const _: () = assert!(ROUND_MAX > 0, "each round brings some of the logs back");

type ReopenFailure = Box<dyn std::error::Error + Send + Sync>;

impl Checkpoints {
    /// Tries to open the logs of partitions that are offline, as many as there is time for: until `stops`. Blocks on the
    /// disk.
    pub(super) fn reopen(
        &self,
        journal: &dyn Journal,
        cache_survived: bool,
        offline: &[Arc<dyn ShardMember>],
        stops: impl Fn() -> bool,
    ) {
        // Held over it: no checkpoint gives back what is read here, nor says anything of these logs.
        let mut checkpointer = self.hold();
        let mut ready = Vec::new();
        // First what can be told without the journal, which is not read for logs that are still not
        // there.
        for partition in offline.iter().filter(|it| !it.is_closed() && it.is_offline()) {
            match checkpointer.look_at(&**partition) {
                Ok(known) => ready.push((partition, known)),
                Err(error) => partition.tell_still_offline(&Causes(&*error)),
            }
        }
        if ready.is_empty() {
            return;
        }
        let mut journaled = match Journaled::read(journal, checkpointer.saved) {
            Ok(journaled) => journaled,
            Err(error) => return tracing::warn!(error = %Causes(&error), "journal not read"),
        };
        let source = journaled.source(journal);
        let mut recovered = Vec::new();
        for (partition, known) in ready.into_iter().take(ROUND_MAX) {
            if stops() {
                // What was recovered by now is as it was for whoever does it again (INV-REPEAT).
                return;
            }
            let evidence = Evidence { end: partition.high_watermark(), cache_survived };
            match recover_one(&**partition, known, evidence, &mut journaled, &source) {
                Ok(opened) => recovered.push((partition, opened)),
                Err(error) => {
                    // Another try may find the pages clean that no disk has, and succeed (INV-SYNC).
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
        // Before any of them takes a write: a crash behind that would put the log together from the old checkpoint, with
        // what the journal holds of before in the place of what is acknowledged now.
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
}

impl Checkpointer {
    /// What the checkpoint knows of a log, when all of that is there.
    fn look_at(&self, partition: &dyn ShardMember) -> Result<LogCheckpoint, ReopenFailure> {
        let uid = partition.uid();
        self.stamps.check(uid)?;
        // Of one that was never in a checkpoint nothing is known, and nothing has to be there.
        let known = self.last.logs.get(&uid).map_or_else(LogCheckpoint::default, Clone::clone);
        Log::check_files(partition.log_reader(), &known)?;
        Ok(known)
    }
}

fn recover_one(
    partition: &dyn ShardMember,
    known: LogCheckpoint,
    evidence: Evidence,
    journaled: &mut Journaled,
    source: &JournalSource<'_>,
) -> Result<(Log, RecoveryReport), LogError> {
    let uid = partition.uid();
    let known = journaled.moved_start(uid, known);
    let batches = journaled.log(uid, source);
    Log::recover_offline(partition.log_reader(), known, batches, evidence)
}
