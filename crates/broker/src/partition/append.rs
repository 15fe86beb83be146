//! Stage: stamps a batch in its receive buffer and writes it above the high-watermark.

use std::sync::Arc;

use galgo_storage::log::AppendBatch;
use galgo_wire::batch::{StampOptions, stamp};
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionUid};

use super::publish::{Need, Staged};
use super::{Partition, Writer};
use crate::environment::{Clock, Random};
use crate::shard::ShardRecord;
use crate::ticket::{Ticket, ticket};

/// What the environment adds to a batch.
#[derive(Clone, Copy)]
pub struct AppendContext<'a> {
    /// Gives the timestamp.
    pub clock: &'a dyn Clock,
    /// Gives ids to messages that came without.
    pub random: &'a dyn Random,
}

/// The messages of one send, as they lie in the receive buffer.
#[derive(Debug)]
pub struct Batch<'a> {
    /// How many messages the sender says there are.
    pub count: u32,
    /// 16 bytes for each message.
    pub indexes: &'a [u8],
    /// The messages; stamped in place.
    pub messages: &'a mut [u8],
}

/// How far a batch has come.
#[derive(Debug)]
pub enum Appended {
    /// Published: it may be acknowledged.
    Published,
    /// Staged: it may be acknowledged when the ticket says so.
    Staged(Ticket),
    /// The partition is closed; look it up again.
    Closed,
}

impl Partition {
    /// Stages `batch`, and publishes it where the topic asks for no more than `os`.
    ///
    /// # Errors
    /// The code for the sender. Nothing was written, or what was written was taken back.
    pub fn append(
        self: &Arc<Self>,
        batch: Batch<'_>,
        context: AppendContext<'_>,
    ) -> Result<Appended, ErrorCode> {
        let mut writer = self.writer.lock();
        if writer.closed {
            return Ok(Appended::Closed);
        }
        if let Some(code) = self.fenced() {
            return Err(code);
        }
        if self.shard.is_halted() {
            return Err(ErrorCode::CannotSyncFile);
        }
        let base = writer.log.end();
        let messages = writer.write(self.uid, batch, context)?;
        let end = writer.log.end();
        self.touch();
        self.shard.stats().appended(end.get() - base.get(), messages.len() as u64);
        Ok(self.commit(base, end, messages))
    }

    /// Sends what was staged on its way. Runs under the writer's lock, so that the order of the
    /// log, of the commit queue and of the journal is the same.
    fn commit(self: &Arc<Self>, base: Offset, end: Offset, messages: &[u8]) -> Appended {
        let mut commits = self.commits.lock();
        let durable_in_cache = self.durability() == Durability::Os;
        if durable_in_cache && commits.is_empty() {
            commits.published_in_cache(end);
            self.raise(end);
            self.shard.wrote_unjournaled(messages.len() as u64);
            return Appended::Published;
        }
        let (waiting, resolver) = ticket();
        let record = ShardRecord::Batch {
            uid: self.uid,
            base_offset: base,
            high_watermark: self.high_watermark(),
            messages,
        };
        let journaled = !commits.rests_on_cache() && self.shard.stage_batch(&record, self, end);
        let need = if journaled { Need::Journal } else { Need::Segment };
        commits.push(Staged { end, need, resolver });
        if !journaled && commits.schedule_sync() {
            self.shard.queue_sync(Arc::clone(self));
        }
        Appended::Staged(waiting)
    }
}

impl Writer {
    /// Stamps and writes; returns the stamped messages.
    fn write<'a>(
        &mut self,
        uid: PartitionUid,
        batch: Batch<'a>,
        context: AppendContext<'_>,
    ) -> Result<&'a [u8], ErrorCode> {
        let Batch { count, indexes, messages } = batch;
        let base_offset = self.log.end();
        // Timestamps never go back within a log, so that they can be searched.
        let timestamp = context.clock.now().max(self.log.last_timestamp());
        let mut new_id = || context.random.next_u128();
        let options = StampOptions { first_offset: base_offset, timestamp, new_id: &mut new_id };
        stamp(indexes, messages, count, options, &mut |_, _| {})?;
        let appended =
            self.log.append(AppendBatch { base_offset, count, timestamp, bytes: messages });
        match appended {
            Ok(()) => {
                self.refusals.took(uid);
                Ok(messages)
            }
            Err(error) => {
                self.refusals.refused(uid, &error, context.clock.monotonic_us());
                Err(ErrorCode::CannotSaveMessagesToSegment)
            }
        }
    }
}
