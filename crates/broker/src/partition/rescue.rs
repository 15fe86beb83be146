//! Taking writes again after a sync that failed, without a restart.
//!
//! INV-VOID: batches that were staged, refused and never acknowledged may be in the journal. They must not come
//! back in the place of what is acknowledged later. So a partition takes writes again only behind a checkpoint that
//! covers all of them: a marker that is staged when writes have stopped is in the journal behind the last
//! one, and the checkpoint is taken when the marker is settled.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_storage::log::{Log, RecoveryReport};

use super::Partition;
use crate::causes::Causes;
use crate::shard::{Completion, ShardRecord};
use crate::ticket::{Ticket, ticket};

/// The pause between two tries, in microseconds, and what it becomes after so many of them.
const PAUSE_US: u64 = 1_000_000;
const LONG_PAUSE_US: u64 = 10_000_000;
const SHORT_PAUSES: u32 = 10;

/// How far a rescue has come.
#[derive(Debug, Default)]
pub(super) struct RescueState {
    /// The marker behind everything that was staged.
    marker: Option<Ticket>,
    /// When it is tried next, by the monotonic clock.
    due_us: u64,
    /// How often it was.
    tries: u32,
    /// Nothing more is tried: what is there cannot be read, or is more than was published.
    is_hopeless: bool,
    /// How many tries have failed; whoever asked for one waits for it to grow.
    failures: u64,
    /// Why the last of them did.
    cause: String,
}

/// How the rescue of a partition that takes no writes stands.
#[derive(Debug)]
pub(crate) struct RescueStanding {
    /// How many tries have failed.
    pub(crate) failures: u64,
    /// Why the last of them did.
    pub(crate) cause: String,
    /// How long it is to the next, in microseconds.
    pub(crate) next_try_us: u64,
    /// Whether none will come before the next start.
    pub(crate) is_hopeless: bool,
}

impl Partition {
    /// Whether it is time to try and take writes again; stages the marker where that is to be done.
    pub(crate) fn rescue_is_due(self: &Arc<Self>, now_us: u64) -> bool {
        let mut rescue = self.rescue.lock();
        if rescue.is_hopeless {
            return false;
        }
        // Not staged yet, or refused, as by a journal that is full. In one that is offline nothing was staged.
        if !self.is_offline()
            && rescue.marker.as_ref().is_none_or(|marker| matches!(marker.outcome(), Some(Err(_))))
        {
            let end = self.high_watermark();
            let record = ShardRecord::EndReached { uid: self.uid, end, synced: false };
            let (waiting, resolver) = ticket();
            let staged = self.shard.stage((&record, true), Completion::Marker, resolver);
            rescue.marker = staged.is_ok().then_some(waiting);
        }
        let is_due = now_us >= rescue.due_us;
        if is_due {
            rescue.tries = rescue.tries.saturating_add(1);
            let pause_us = if rescue.tries <= SHORT_PAUSES { PAUSE_US } else { LONG_PAUSE_US };
            rescue.due_us = now_us.saturating_add(pause_us);
        }
        is_due
    }

    /// How the rescue stands at this time of the monotonic clock.
    pub(crate) fn rescue_standing(&self, now_us: u64) -> RescueStanding {
        let rescue = self.rescue.lock();
        let standing = RescueStanding {
            failures: rescue.failures,
            cause: rescue.cause.clone(),
            next_try_us: rescue.due_us.saturating_sub(now_us),
            is_hopeless: rescue.is_hopeless,
        };
        drop(rescue);
        if self.shard.is_fenced() {
            // The journal is not tried again: what it holds of others can be told by a recovery only.
            let cause = "a sync of the journal failed, and all that needs it waits for a restart"
                .to_owned();
            return RescueStanding { cause, is_hopeless: true, ..standing };
        }
        standing
    }

    /// Makes the next try due at once, and those after it follow as after the first failure.
    pub(crate) fn hasten_rescue(&self) {
        let mut rescue = self.rescue.lock();
        (rescue.due_us, rescue.tries) = (0, 0);
    }

    /// Whether only a checkpoint is missing: all of the log is durable, and so is the marker.
    pub(crate) fn lacks_only_a_checkpoint(&self) -> bool {
        self.commits.lock().is_written_anew() && self.is_marked()
    }

    fn note_failure(&self, cause: &dyn std::fmt::Display) {
        let mut rescue = self.rescue.lock();
        rescue.failures += 1;
        rescue.cause = cause.to_string();
    }

    /// Notes that no checkpoint could be taken, without which what was written anew is not enough.
    pub(crate) fn not_rescued(&self, error: &Causes<'_>) {
        self.note_failure(&format_args!("no checkpoint could be taken: {error}"));
    }

    /// Writes anew what no sync covered; true when all of the log is durable. Blocks on the disk.
    pub(crate) fn write_anew(self: &Arc<Self>) -> bool {
        let _alone = self.syncing.lock();
        if self.is_closed() || self.fenced().is_none() {
            return false;
        }
        if !self.commits.lock().is_written_anew() {
            let planned = self.writer.lock().log.rescue(self.high_watermark());
            let Some(planned) = planned else {
                self.give_up("it holds messages that could not be taken back");
                return false;
            };
            if let Err(error) = planned.write() {
                if error.kind() == io::ErrorKind::InvalidData {
                    self.give_up("what no sync had covered cannot be read any more");
                    return false;
                }
                self.note_failure(&error);
                if self.is_to_be_told() {
                    tell!(
                        warn,
                        self.name(),
                        %error,
                        "partition still takes no writes: its messages could not be written anew; \
                         that is tried again"
                    );
                }
                return false;
            }
            self.writer.lock().log.rescued(&planned);
            self.commits.lock().written_anew();
        }
        self.touch();
        true
    }

    /// Whether a try that failed is told: once at first, then every ten minutes.
    fn is_to_be_told(&self) -> bool {
        self.rescue.lock().tries % SHORT_PAUSES.saturating_mul(6) == 1
    }

    /// Takes the log, all of it durable, that could be opened after all, unless the partition is gone.
    pub(crate) fn come_online(self: &Arc<Self>, log: Log, report: &RecoveryReport) {
        let end = log.end();
        self.offsets.lock().clamp(end);
        let mut writer = self.writer.lock();
        if writer.closed {
            return;
        }
        writer.log.come_online(log);
        writer.window = None;
        self.high_watermark.store(end.get(), Ordering::Release);
        self.noted_end.store(end.get(), Ordering::Relaxed);
        *self.rescue.lock() = RescueState::default();
        self.commits.lock().reopen(end);
        // Last: until then nobody reads, nor writes.
        self.is_offline.store(false, Ordering::Release);
        drop(writer);
        // The next checkpoint covers it, and then nothing of it has to be carried forward any more.
        self.touch();
        tell!(
            info,
            self.name(),
            end = end.get(),
            replayed_messages = report.replayed_messages,
            accepted_messages = report.accepted_messages,
            "partition is online again: its log could be opened"
        );
        for range in &report.fenced {
            let (from, to) = (range.from.get(), range.to.get().saturating_sub(1));
            tell!(
                error,
                self.name(),
                from,
                to,
                "damaged messages: they cannot be read, all others can"
            );
        }
    }

    /// Is not tried again: a sync had failed, and another one may succeed without having written anything.
    pub(crate) fn stays_offline(&self) {
        self.rescue.lock().is_hopeless = true;
    }

    /// Says that the log still could not be opened, and why.
    pub(crate) fn tell_still_offline(&self, error: &Causes<'_>) {
        self.note_failure(error);
        if self.is_to_be_told() {
            tell!(
                warn,
                self.name(),
                %error,
                "partition is still offline: its log could not be opened; that is tried again"
            );
        }
    }

    fn give_up(&self, why: &str) {
        self.note_failure(&why);
        self.rescue.lock().is_hopeless = true;
        tell!(
            error,
            self.name(),
            why,
            "partition takes no writes until the server is started again: look at the disk, then restart"
        );
    }

    /// Whether all that was staged before writes stopped is settled, so that a checkpoint from now on covers
    /// it.
    pub(crate) fn is_marked(&self) -> bool {
        let rescue = self.rescue.lock();
        rescue.marker.as_ref().is_some_and(|marker| marker.outcome() == Some(Ok(())))
    }

    /// Takes writes again: a checkpoint covers everything that was staged before.
    pub(crate) fn unfence(&self) {
        let mut writer = self.writer.lock();
        // Before writes go on: another failure needs another marker.
        *self.rescue.lock() = RescueState::default();
        let end = self.high_watermark();
        assert_eq!(writer.log.end(), end, "INV-RESCUE: the log ends with what is published");
        writer.window = None;
        self.commits.lock().reopen(end);
        drop(writer);
        tell!(
            info,
            self.name(),
            end = end.get(),
            "partition takes writes again: what a failed sync had left was written anew"
        );
    }
}
