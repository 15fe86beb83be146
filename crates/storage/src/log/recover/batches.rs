//! The batches of the journal that a log is put together from, read one at a time.
//!
//! INV-STREAM: the messages of one batch are in memory, or of two while they are compared.

use std::io;

use galgo_wire::id::Offset;
use galgo_wire::index::part;

use super::{BatchSource, JournaledBatch, JournaledLog, LogRecoverError};

/// Batches not yet written again, by offset.
pub(super) struct JournalBatches<'a> {
    batches: Vec<JournaledBatch>,
    next: usize,
    high_watermark: Offset,
    source: &'a dyn BatchSource,
}

impl<'a> JournalBatches<'a> {
    /// The batches that count: one staged at an offset again takes the place of what was there and after it. The
    /// very same one is no other: it was carried forward, perhaps without those behind it.
    ///
    /// # Errors
    /// [`LogRecoverError::Journal`].
    pub(super) fn newest(journaled: JournaledLog<'a>) -> Result<Self, LogRecoverError> {
        let JournaledLog { mut batches, high_watermark, source } = journaled;
        let mut kept = 0;
        for at in 0..batches.len() {
            let Some(batch) = batches.get(at).copied() else { break };
            let before = part(&batches, ..kept, "INV-STREAM: no more is kept than was looked at");
            let from = before.partition_point(|held| held.base_offset < batch.base_offset);
            if let Some(held) = before.get(from).filter(|it| it.base_offset == batch.base_offset)
                && is_same(source, *held, batch)
                    .map_err(|source| LogRecoverError::Journal { source })?
            {
                continue;
            }
            // In place of what was there and of all behind it: an offset is staged a second time only once those that
            // had it were taken back, or given up by a recovery; nobody had been told of them.
            if let Some(slot) = batches.get_mut(from) {
                *slot = batch;
            }
            kept = from + 1;
        }
        batches.truncate(kept);
        let in_order = batches.is_sorted_by(|one, next| one.base_offset < next.base_offset);
        assert!(in_order, "INV-NO-REUSE: of what the journal holds each offset counts once");
        Ok(Self { batches, next: 0, high_watermark, source })
    }

    /// Whether there is none left.
    pub(super) fn is_empty(&self) -> bool {
        self.next >= self.batches.len()
    }

    /// The offset of the next one.
    pub(super) fn next_offset(&self) -> Option<Offset> {
        self.batches.get(self.next).map(|batch| batch.base_offset)
    }

    /// All below this had been acknowledged when one that is left was staged; `None` where there is none.
    pub(super) fn acknowledged(&self) -> Option<Offset> {
        (!self.is_empty()).then_some(self.high_watermark)
    }

    /// Passes over those below `at`.
    pub(super) fn skip_below(&mut self, at: Offset) {
        while self.next_offset().is_some_and(|next| next < at) {
            self.next += 1;
        }
    }

    /// Passes over the next one.
    pub(super) fn skip(&mut self) {
        self.next += 1;
    }

    /// The messages of the next one.
    ///
    /// # Errors
    /// [`LogRecoverError::Journal`].
    pub(super) fn messages(&self) -> Result<Option<Vec<u8>>, LogRecoverError> {
        let Some(batch) = self.batches.get(self.next) else { return Ok(None) };
        // Read when it is its turn, and let go of before the next: a journal is larger than what a start may hold.
        let messages = self.source.messages(*batch);
        messages.map(Some).map_err(|source| LogRecoverError::Journal { source })
    }
}

fn is_same(
    source: &dyn BatchSource,
    one: JournaledBatch,
    other: JournaledBatch,
) -> io::Result<bool> {
    Ok(source.messages(one)? == source.messages(other)?)
}
