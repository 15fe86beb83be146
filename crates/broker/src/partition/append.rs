//! Stage: stamps a batch in its receive buffer and writes it above the high-watermark.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_storage::journal::CommitError;
use galgo_storage::log::{AppendBatch, BatchSize, WalkedBatch};
use galgo_wire::batch::{StampOptions, stamp};
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionUid, Timestamp};
use galgo_wire::index::part_mut;

use super::dedup::{DeduplicationBounds, Remembered, Sifted, Window};
use super::ids::IdKey;
use super::publish::{Need, Staged};
use super::{Partition, PollError, Writer};
use crate::alarm::{News, Rung};
use crate::environment::Clock;
use crate::shard::ShardRecord;
use crate::ticket::{Ticket, ticket};
use crate::vault::{Unsealed, Vault};

/// Times the window of ids is read while the setting is switched under it.
const LOADS_MAX: usize = 4;

/// What the environment adds to a batch.
#[derive(Clone, Copy)]
pub struct AppendContext<'a> {
    /// Gives the timestamp.
    pub clock: &'a dyn Clock,
    /// Gives ids to messages that came without.
    pub id_key: IdKey,
    /// How much of the past topics with deduplication know.
    pub deduplication: DeduplicationBounds,
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
    Published(Placed),
    /// Staged: it may be acknowledged when the ticket says so.
    Staged(Ticket, Placed),
    /// The partition is closed; look it up again.
    Closed,
    /// The ids stored lately are still to be read, with [`Partition::load_window`], which may block.
    /// The batch was not touched.
    Unloaded(Arc<Partition>),
    /// As many files are open as may be, all of them with bytes that are still to be synced: see
    /// [`Partition::append_in_room`], which may block. The batch was not touched.
    Crowded(Arc<Partition>),
}

/// Whether an append may exceed the bound of open files, by one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// It looks first.
    Asked,
    /// Room was made for it.
    Made,
}

/// Where the messages of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The offset of the first message that was stored; when all had been stored before, of the first one then.
    pub first: Offset,
    /// How many were stored; the others had been stored before.
    pub stored: u32,
    /// The time of those that were stored; zero when none was.
    pub timestamp: Timestamp,
    /// The offset behind the last message of the partition.
    pub end: Offset,
}

impl Partition {
    /// Stages `batch`, and publishes it where the topic asks for no more than `os`. Never waits for a sync.
    ///
    /// # Errors
    /// The code for the sender. Nothing was written, or what was written was taken back.
    pub fn append(
        self: &Arc<Self>,
        batch: Batch<'_>,
        context: AppendContext<'_>,
    ) -> Result<Appended, ErrorCode> {
        self.stage(batch, context, Room::Asked)
    }

    /// As [`Partition::append`], after making room among the open files, which may block: somebody else's file
    /// may have to be synced. Never answers [`Appended::Crowded`].
    ///
    /// # Errors
    /// Those of [`Partition::append`].
    pub fn append_in_room(
        self: &Arc<Self>,
        batch: Batch<'_>,
        context: AppendContext<'_>,
    ) -> Result<Appended, ErrorCode> {
        // Without the lock of this partition: what is synced may be another's file.
        self.reader.make_room();
        self.stage(batch, context, Room::Made)
    }

    fn stage(
        self: &Arc<Self>,
        batch: Batch<'_>,
        context: AppendContext<'_>,
        room: Room,
    ) -> Result<Appended, ErrorCode> {
        let mut writer = self.writer.lock();
        if writer.closed {
            return Ok(Appended::Closed);
        }
        if let Some(error) = self.fenced() {
            return Err(error.into());
        }
        if self.shard.is_halted() {
            return Err(CommitError::Fenced.into());
        }
        let window = self.deduplication.load(Ordering::Relaxed);
        if !writer.prepare_window(window) {
            return Ok(Appended::Unloaded(Arc::clone(self)));
        }
        let size = BatchSize { bytes: batch.messages.len() as u64, count: batch.count };
        if room == Room::Asked && writer.log.needs_room(size) {
            return Ok(Appended::Crowded(Arc::clone(self)));
        }
        let base = writer.log.end();
        let vault = self.shard.vault();
        let written = writer.write((self.uid, vault), batch, context);
        if writer.started_over_us > 0 {
            self.started_over(std::mem::take(&mut writer.started_over_us));
        }
        let Written { messages, placed } = match written {
            Ok(written) => written,
            Err(code) => {
                let is_lost = writer.log.is_fenced();
                drop(writer);
                if is_lost {
                    // What the file holds is not known: the whole partition stops, and is looked after.
                    self.fence(CommitError::Disk);
                }
                return Err(code);
            }
        };
        if placed.stored == 0 {
            return Ok(self.commit_again(base, placed));
        }
        self.touch();
        self.shard.stats().appended(placed.stored.into(), messages.len() as u64);
        let (appended, rung) = self.commit(placed, &messages);
        drop(writer);
        rung.ring(News::Look);
        Ok(appended)
    }

    /// Takes note that times start over, for the next tick to tell. What a checkpoint says of the log
    /// until then would have an older program refuse the times after it, so there is to be a new one.
    #[cold]
    fn started_over(&self, ahead_us: u64) {
        self.started_over_us.fetch_max(ahead_us, Ordering::Relaxed);
        self.shard.ask_checkpoint();
    }

    /// How far the log was ahead of the clock when its times started over, if they did since the last
    /// call; in microseconds.
    pub(crate) fn take_started_over(&self) -> Option<u64> {
        Some(self.started_over_us.swap(0, Ordering::Relaxed)).filter(|ahead_us| *ahead_us > 0)
    }

    /// What a batch that was stored before waits for: the first one may still be on its way, and this
    /// answer promises as much as that one.
    fn commit_again(self: &Arc<Self>, end: Offset, placed: Placed) -> Appended {
        let mut commits = self.commits.lock();
        let Some(need) = commits.need_of_all(self.durability()) else {
            return Appended::Published(placed);
        };
        let (waiting, resolver) = ticket();
        commits.push(Staged { end, need, resolver });
        if need == Need::Segment && commits.schedule_sync() {
            self.shard.queue_sync(self.member());
        }
        Appended::Staged(waiting, placed)
    }

    /// Reads the ids stored lately from the log. May block on the disk.
    ///
    /// # Errors
    /// [`PollError`] when the disk does not give them.
    pub fn load_window(&self, context: AppendContext<'_>) -> Result<(), PollError> {
        let _alone = self.loading.lock();
        // While the window is missing nothing is appended, unless deduplication is turned off and on.
        for _ in 0..LOADS_MAX {
            let end = {
                let writer = self.writer.lock();
                if writer.window.is_some() {
                    return Ok(());
                }
                writer.log.end()
            };
            let window = self.read_window(end, context)?;
            let mut writer = self.writer.lock();
            if writer.log.end() == end {
                writer.window = Some(window);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Forgets the ids that are too old, so that a partition nobody sends to any more keeps no memory of
    /// them. Does nothing while an append is under way, which does the same.
    pub(crate) fn expire_window(&self, running_us: u64, bounds: &DeduplicationBounds) {
        let Some(mut writer) = self.writer.try_lock() else { return };
        if !self.deduplication.load(Ordering::Relaxed) {
            writer.window = None;
        }
        if let Some(window) = &mut writer.window {
            window.expire(bounds, running_us);
        }
    }

    /// How many ids are remembered.
    #[cfg(test)]
    pub(crate) fn window_len(&self) -> usize {
        self.writer.lock().window.as_ref().map_or(0, Window::len)
    }

    fn read_window(&self, end: Offset, context: AppendContext<'_>) -> Result<Window, PollError> {
        let bounds = &context.deduplication;
        let mut window = Window::default();
        // Messages have the time of the wall clock. What it is ahead of the time to go by makes none of them older;
        // those that are ahead of that themselves may have been stored just now.
        let (now, running_us) = (self.shard.now(), context.clock.running_us());
        let oldest = Timestamp::new(now.get().saturating_sub(bounds.expiry_us));
        // Damage in the way of the search by time only makes the window read more than it needs.
        let in_time = self.reader.offset_at(oldest, end).unwrap_or(Some(Offset::ZERO));
        let Some(in_time) = in_time else { return Ok(window) };
        let most = bounds.entries_max as u64;
        let from = in_time.max(Offset::new(end.get().saturating_sub(most)));
        self.reader.visit(from..end, &mut |message| {
            let age_us = now.get().saturating_sub(message.timestamp.get());
            let stored_us = running_us.saturating_sub(age_us);
            window.remember(Remembered { id: message.id, offset: message.offset, stored_us });
        })?;
        window.expire(bounds, running_us);
        Ok(window)
    }

    /// Sends what was staged on its way. Runs under the writer's lock, so that the order of the
    /// log, of the commit queue and of the journal is the same.
    fn commit(self: &Arc<Self>, placed: Placed, messages: &[u8]) -> (Appended, Rung) {
        let Placed { first: base, end, .. } = placed;
        let mut commits = self.commits.lock();
        let durable_in_cache = self.durability() == Durability::Os;
        if durable_in_cache && commits.is_empty() {
            commits.published_in_cache(end);
            self.raise(end);
            self.shard.wrote_unjournaled(messages.len() as u64);
            return (Appended::Published(placed), commits.bell.reached(end.get()));
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
            self.shard.queue_sync(self.member());
        }
        (Appended::Staged(waiting, placed), Rung::default())
    }
}

/// What was written of a batch.
struct Written<'a> {
    /// As they are in the segment; none when all had been stored before.
    messages: Cow<'a, [u8]>,
    placed: Placed,
}

impl Writer {
    /// Brings the window in line with the setting; false when it has to be read first.
    fn prepare_window(&mut self, wanted: bool) -> bool {
        if !wanted {
            self.window = None;
        } else if self.window.is_none() && self.log.end() == Offset::ZERO {
            self.window = Some(Window::default());
        }
        self.window.is_some() == wanted
    }

    /// The time of a batch that is taken now. In a segment times never go back, so that they can be
    /// searched; a log that is far ahead of the clock goes on in a new segment, with the right time.
    fn batch_time(&mut self, now: Timestamp) -> Timestamp {
        if let Some(ahead_us) = self.log.start_over_if_ahead(now) {
            self.started_over_us = ahead_us;
        }
        now.max(self.log.last_timestamp())
    }

    /// Stamps, seals and writes what was not stored before.
    fn write<'a>(
        &mut self,
        (uid, vault): (PartitionUid, Option<&Vault>),
        batch: Batch<'a>,
        context: AppendContext<'_>,
    ) -> Result<Written<'a>, ErrorCode> {
        let base_offset = self.log.end();
        let timestamp = self.batch_time(context.clock.now());
        let mut new_id = |offset| context.id_key.id_of(uid, offset, timestamp);
        let mut stamp = |indexes: &[u8], messages: &mut [u8], count| {
            let new_id = &mut new_id;
            let options = StampOptions { first_offset: base_offset, timestamp, new_id };
            stamp(indexes, messages, count, options)
        };
        let sifted = self.window.as_mut().map(|window| {
            window.expire(&context.deduplication, context.clock.running_us());
            window.sift(batch.messages, batch.count)
        });
        let Batch { mut count, indexes, mut messages } = batch;
        let mut indexes = Cow::Borrowed(indexes);
        let mut stamped = stamp(&indexes, messages, count)?;
        if let Some(sifted) = sifted.as_ref().filter(|sifted| sifted.duplicates > 0) {
            // The stamp has found the batch well-formed as a whole; what is left gets its offsets anew.
            let (len, left) = sifted.compact(messages);
            messages =
                part_mut(messages, ..len, "INV-WIRE: what is left of a batch is a part of it");
            count -= sifted.duplicates;
            if count == 0 {
                let first = sifted.first_known.unwrap_or(base_offset);
                let (timestamp, end) = (Timestamp::ZERO, base_offset);
                let placed = Placed { first, stored: 0, timestamp, end };
                return Ok(Written { messages: Cow::Borrowed(&[]), placed });
            }
            stamped = stamp(&left, messages, count)?;
            indexes = Cow::Owned(left);
        }
        let sealed = vault.map(|vault| vault.seal_messages(uid, messages, count)).transpose();
        let sealed = sealed.map_err(|Unsealed| ErrorCode::CannotEncryptData)?.flatten();
        // Sealed messages have other lengths and checksums than those that were stamped.
        let known = WalkedBatch { indexes: &indexes, checksums: stamped.checksums };
        let walked = sealed.is_none().then_some(known);
        let messages = sealed.map_or(Cow::Borrowed(&*messages), Cow::Owned);
        let bytes = &*messages;
        let batch = AppendBatch { base_offset, count, timestamp, bytes, walked };
        match self.log.append(batch) {
            Ok(()) => {
                self.refusals.took(self.log.name());
                self.remember(sifted, base_offset, context);
                let end = self.log.end();
                let placed = Placed { first: base_offset, stored: count, timestamp, end };
                Ok(Written { messages, placed })
            }
            Err(error) => {
                let now_us = context.clock.monotonic_us();
                self.refusals.refused(self.log.name(), &error, now_us);
                Err(ErrorCode::CannotSaveMessagesToSegment)
            }
        }
    }

    /// Notes the ids of what was just written.
    fn remember(&mut self, sifted: Option<Sifted>, base: Offset, context: AppendContext<'_>) {
        let (Some(window), Some(sifted)) = (&mut self.window, sifted) else { return };
        let stored_us = context.clock.running_us();
        for (id, offset) in sifted.given.into_iter().zip(base.get()..) {
            window.remember(Remembered { id, offset: Offset::new(offset), stored_us });
        }
        window.expire(&context.deduplication, stored_us);
    }
}
