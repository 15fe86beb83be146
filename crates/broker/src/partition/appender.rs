//! The appending side of a partition: its log's end, what it remembers to tell messages it has, and what it refused.
//!
//! One appends at a time. The lock is held over the write to the page cache and over the staging behind it, never over
//! the sync of a segment. Whoever waits for it may wait for a file that is made, or for what is read back behind a fence.
//!
//! Part of INV-WINDOW: what is taken back from the log is taken out of the window in the same step.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use galgo_storage::lock::{Held, Ranked, rank};
use galgo_storage::log::{AppendBatch, Log, LogReader, WalkedBatch};
use galgo_wire::batch::{StampOptions, stamp};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionUid, Timestamp};
use galgo_wire::index::part_mut;

use super::PollError;
use super::dedup::{DeduplicationBounds, IdWindow, Remembered, Sifted};
use super::ids::IdKey;
use super::refusal::Refusals;
use crate::environment::Clock;
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

/// Whom messages are written for: what their ids are made of, and what they are sealed with.
#[derive(Clone, Copy)]
pub(super) struct MessageOwner<'a> {
    pub(super) uid: PartitionUid,
    /// `None` when nothing is or ever was sealed.
    pub(super) vault: Option<&'a Vault>,
}

/// The appending side of a partition.
pub(super) struct Appender {
    state: Ranked<{ rank::WRITER }, LogEnd>,
    /// Held while the window of ids is read from the log.
    loading: Ranked<{ rank::LOADING }, ()>,
    /// Whether messages with an id that was stored lately are dropped.
    deduplicates: AtomicBool,
    /// How far the log was ahead of the clock when its times last started over, until that is told.
    started_over_us: AtomicU64,
}

/// The end of a log, held by whoever appends.
pub(super) struct LogEnd {
    pub(super) log: Log,
    /// Deleted or purged: appends go to the partition's successor, if it has one.
    closed: bool,
    refusals: Refusals,
    /// The ids stored lately; `None` when nobody asked for them, or they are still to be read.
    window: Option<IdWindow>,
    /// How far the log was ahead of the clock when its times started over just now, in microseconds.
    started_over_us: u64,
}

/// What was written of a batch.
pub(super) struct WrittenBatch<'a> {
    /// As they are in the segment; none when all had been stored before.
    pub(super) messages: Cow<'a, [u8]>,
    pub(super) placed: Placed,
}

impl Appender {
    pub(super) fn new(log: Log) -> Self {
        let end = LogEnd {
            log,
            closed: false,
            refusals: Refusals::default(),
            window: None,
            started_over_us: 0,
        };
        Self {
            state: Ranked::new(end),
            loading: Ranked::new(()),
            deduplicates: AtomicBool::new(false),
            started_over_us: AtomicU64::new(0),
        }
    }

    /// Waits for its turn to append.
    pub(super) fn hold(&self) -> Held<'_, { rank::WRITER }, LogEnd> {
        self.state.lock()
    }

    /// Refuses later appends.
    pub(super) fn close(&self) {
        // Under the lock: an append that is under way comes to its end, and none comes behind.
        self.state.lock().closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(super) fn deduplicates(&self) -> bool {
        self.deduplicates.load(Ordering::Relaxed)
    }

    /// Turns deduplication on or off for later appends.
    pub(super) fn set_deduplication(&self, on: bool) {
        self.deduplicates.store(on, Ordering::Relaxed);
    }

    /// Takes note that times start over, for the next tick to tell.
    #[cold]
    pub(super) fn started_over(&self, ahead_us: u64) {
        self.started_over_us.fetch_max(ahead_us, Ordering::Relaxed);
    }

    /// How far the log was ahead of the clock when its times started over, if they did since the last
    /// call; in microseconds.
    pub(super) fn take_started_over(&self) -> Option<u64> {
        Some(self.started_over_us.swap(0, Ordering::Relaxed)).filter(|ahead_us| *ahead_us > 0)
    }

    /// Reads the ids stored lately from `reader`, when it is `now`. May block on the disk.
    ///
    /// # Errors
    /// [`PollError`] when the disk does not give them.
    pub(super) fn load_window(
        &self,
        reader: &LogReader,
        now: Timestamp,
        context: AppendContext<'_>,
    ) -> Result<(), PollError> {
        // One at a time: those who waited for it find the window there.
        let _alone = self.loading.lock();
        // While the window is missing nothing is appended, unless deduplication is turned off and on.
        for _ in 0..LOADS_MAX {
            let end = {
                let end = self.state.lock();
                if end.window.is_some() {
                    return Ok(());
                }
                end.log.end()
            };
            // Without the lock: others may append to it meanwhile, with deduplication turned off.
            let window = IdWindow::read(reader, end, now, context)?;
            let mut state = self.state.lock();
            // INV-WINDOW: a window that lacks what came meanwhile would take a message that comes again for a new one.
            if state.log.end() == end {
                state.window = Some(window);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Forgets the ids that are too old, so that a partition nobody sends to any more keeps no memory of
    /// them. Does nothing while an append is under way, which does the same.
    pub(super) fn expire_window(&self, running_us: u64, bounds: &DeduplicationBounds) {
        let Some(mut end) = self.state.try_lock() else { return };
        if !self.deduplicates() {
            end.window = None;
        }
        if let Some(window) = &mut end.window {
            window.expire(bounds, running_us);
        }
    }

    /// How many ids are remembered.
    #[cfg(test)]
    pub(super) fn window_len(&self) -> usize {
        self.state.lock().window.as_ref().map_or(0, IdWindow::len)
    }
}

impl LogEnd {
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Brings the window in line with the setting; false when it has to be read first.
    pub(super) fn prepare_window(&mut self, wanted: bool) -> bool {
        // Letting go of it is what turns deduplication off: a batch is sifted by whatever window
        // there is.
        if !wanted {
            self.window = None;
        } else if self.window.is_none() && self.log.end() == Offset::ZERO {
            // An empty log has no ids to be read: the first send to a new topic waits for no disk.
            self.window = Some(IdWindow::default());
        }
        self.window.is_some() == wanted
    }

    /// Forgets which ids were stored: they are read anew before the next append that asks.
    pub(super) fn drop_window(&mut self) {
        self.window = None;
    }

    /// Takes back what is at or behind `to`.
    pub(super) fn rewind(&mut self, to: Offset) {
        assert!(to <= self.log.end(), "INV-HW: what is published is in the log");
        self.log.rewind(to);
        // INV-WINDOW: a sender that was told of the failure sends the same ids again, and they are to be stored.
        if let Some(window) = &mut self.window {
            window.rewind(to);
        }
    }

    /// How far times have gone back, if they started over since the last call.
    pub(super) fn take_started_over(&mut self) -> u64 {
        std::mem::take(&mut self.started_over_us)
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
    ///
    /// # Errors
    /// The code for the sender; the log is as it was, or takes no more (INV-END).
    pub(super) fn write<'a>(
        &mut self,
        owner: MessageOwner<'_>,
        batch: Batch<'a>,
        context: AppendContext<'_>,
    ) -> Result<WrittenBatch<'a>, ErrorCode> {
        let MessageOwner { uid, vault } = owner;
        let base_offset = self.log.end();
        let timestamp = self.batch_time(context.clock.now());
        let mut new_id = |offset| context.id_key.id_of(uid, offset, timestamp);
        let mut stamp = |indexes: &[u8], messages: &mut [u8], count| {
            let new_id = &mut new_id;
            let options = StampOptions { first_offset: base_offset, timestamp, new_id };
            stamp(indexes, messages, count, options)
        };
        // Before the first stamp writes into it: the ids are looked at as the sender gave them.
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
                let Some(first) = sifted.first_known else {
                    unreachable!(
                        "INV-WINDOW: where all messages were stored before, the first of them was"
                    )
                };
                let (timestamp, end) = (Timestamp::ZERO, base_offset);
                let placed = Placed { first, stored: 0, timestamp, end };
                return Ok(WrittenBatch { messages: Cow::Borrowed(&[]), placed });
            }
            stamped = stamp(&left, messages, count)?;
            indexes = Cow::Owned(left);
        }
        // Behind the stamp, as the tag covers offset and time; and before the log, so that segment
        // and journal get the same bytes.
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
                // Only now: of a batch that was refused the ids are not in the log, and whoever sends it again is to
                // have it stored (INV-WINDOW).
                self.remember(sifted, base_offset, context);
                let end = self.log.end();
                assert!(base_offset.plus(count) == Some(end), "INV-NO-HOLE: each has an offset");
                let placed = Placed { first: base_offset, stored: count, timestamp, end };
                Ok(WrittenBatch { messages, placed })
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
        // Once more: with what was just stored it may be more than it is to hold.
        window.expire(&context.deduplication, stored_us);
    }
}
