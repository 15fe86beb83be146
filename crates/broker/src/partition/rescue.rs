//! Taking writes again after a sync that failed, without a restart.
//!
//! INV-VOID: batches that were staged, refused and never acknowledged may be in the journal. They must not come
//! back in the place of what is acknowledged later. So a partition takes writes again only behind a checkpoint that
//! covers all of them: a marker that is staged when writes have stopped is in the journal behind the last
//! one, and the checkpoint is taken when the marker is settled.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Partition;
use crate::shard::ShardRecord;
use crate::ticket::{Ticket, ticket};

/// The pause between two tries, in microseconds, and what it becomes after so many of them.
const PAUSE_US: u64 = 1_000_000;
const LONG_PAUSE_US: u64 = 10_000_000;
const SHORT_PAUSES: u32 = 60;

/// How far a rescue has come.
#[derive(Debug, Default)]
pub(super) struct RescueState {
    /// The marker behind everything that was staged.
    marker: Option<Ticket>,
    /// When it is tried next, by the monotonic clock.
    due_us: u64,
    /// How often it was.
    tries: u32,
}

impl Partition {
    /// Whether it is time to try and take writes again; stages the marker where that is to be done.
    pub(crate) fn rescue_is_due(self: &Arc<Self>, now_us: u64) -> bool {
        if self.fenced().is_none() || self.is_closed() {
            return false;
        }
        let mut rescue = self.rescue.lock();
        match rescue.marker.as_ref().map(Ticket::outcome) {
            Some(Some(Ok(()))) if now_us >= rescue.due_us => {
                rescue.tries = rescue.tries.saturating_add(1);
                let pause_us = if rescue.tries <= SHORT_PAUSES { PAUSE_US } else { LONG_PAUSE_US };
                rescue.due_us = now_us.saturating_add(pause_us);
                true
            }
            Some(Some(Ok(()))) => false,
            Some(None) => false,
            // Not staged yet, or refused.
            Some(Some(Err(_))) | None => {
                let end = self.high_watermark();
                let record = ShardRecord::EndReached { uid: self.uid, end, synced: false };
                let (waiting, resolver) = ticket();
                rescue.marker =
                    self.shard.stage_marker(&record, resolver).is_ok().then_some(waiting);
                false
            }
        }
    }

    /// Writes anew what no sync covered; true when only a checkpoint is missing. Blocks on the disk.
    pub(crate) fn write_anew(self: &Arc<Self>) -> bool {
        let _alone = self.syncing.lock();
        if self.is_closed() || self.fenced().is_none() {
            return false;
        }
        if !self.is_written_anew.load(Ordering::Acquire) {
            let planned = self.writer.lock().log.rescue(self.high_watermark());
            let Some(planned) = planned else { return false };
            if let Err(error) = planned.write() {
                let name = self.name();
                tracing::debug!(
                    stream = name.stream.as_str(),
                    topic = name.topic.as_str(),
                    partition = name.partition,
                    %error,
                    "partition still takes no writes: its messages could not be written anew; \
                     that is tried again"
                );
                return false;
            }
            self.writer.lock().log.rescued(&planned);
            self.is_written_anew.store(true, Ordering::Release);
        }
        self.touch();
        true
    }

    /// Takes writes again: a checkpoint covers everything that was staged before.
    pub(crate) fn unfence(&self) {
        let mut writer = self.writer.lock();
        let mut commits = self.commits.lock();
        assert!(
            commits.is_empty(),
            "INV-VOID: nothing is staged in a partition that takes no writes"
        );
        let end = self.high_watermark();
        assert_eq!(writer.log.end(), end, "INV-RESCUE: the log ends with what is published");
        commits.reopen(end);
        writer.window = None;
        drop(commits);
        drop(writer);
        self.is_written_anew.store(false, Ordering::Release);
        *self.rescue.lock() = RescueState::default();
        let name = self.name();
        tracing::info!(
            stream = name.stream.as_str(),
            topic = name.topic.as_str(),
            partition = name.partition,
            end = end.get(),
            "partition takes writes again: what a failed sync had left was written anew"
        );
    }
}
