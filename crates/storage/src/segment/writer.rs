//! Writes the newest segment of a log.
//!
//! Part of INV-END: the end of a segment moves only after its bytes were written; a write that failed leaves
//! the file cut back to where it was, or the log takes no more writes.

use super::format::MessageFrame;
use super::{Boundary, SEGMENT_BYTES_MAX};
use crate::file_cache::FileHandle;
use crate::index::tail::IndexTail;
use crate::index::{IndexEntry, IndexMarker};
use crate::lock::{Ranked, rank};
use crate::log::{AppendBatch, WalkedBatch};
use galgo_wire::batch::{BatchIndexEntry, index_end};
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::index::part;
use std::io;

/// The size of a batch, on which it depends which segment takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Bytes of its messages.
    pub bytes: u64,
    /// How many messages there are.
    pub count: u32,
}

/// Where a segment ends, and what going on from there needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    /// Offset of the first message of the segment.
    pub(crate) base: Offset,
    /// Bytes of messages.
    pub(crate) bytes: u64,
    /// Offset of the next message.
    pub(crate) end: Offset,
    /// Timestamp of the last message of the log.
    pub(crate) last_timestamp: Timestamp,
    /// Sum of the checksums of its messages; `None` when not known.
    pub(crate) checksum: Option<u64>,
}

impl Tip {
    /// The tip of a segment without messages.
    pub(crate) fn empty(base: Offset, last_timestamp: Timestamp) -> Self {
        Self { base, bytes: 0, end: base, last_timestamp, checksum: Some(0) }
    }

    /// The place of the next message.
    pub(crate) fn place(&self) -> Boundary {
        Boundary { offset: self.end, position: self.bytes }
    }

    /// Whether a segment that ends here is sealed before a batch of this size.
    pub(crate) fn is_full(&self, segment_bytes: u64, batch: BatchSize) -> bool {
        let messages = self.end.get().saturating_sub(self.base.get()) + u64::from(batch.count);
        // One without a message takes any batch: an append would never find a segment for one that is larger
        // than what segments are to have. The hard limits are those of the index, four bytes each.
        self.bytes > 0
            && (self.bytes >= segment_bytes
                || self.bytes + batch.bytes > SEGMENT_BYTES_MAX
                || messages > u64::from(u32::MAX))
    }

    /// The tip one message later.
    pub(crate) fn after(self, frame: &MessageFrame) -> Self {
        Self {
            base: self.base,
            bytes: self.bytes + frame.len,
            end: Offset::new(self.end.get().saturating_add(1)),
            last_timestamp: frame.timestamp,
            checksum: self.checksum.map(|sum| sum.wrapping_add(frame.checksum)),
        }
    }
}

/// The segment being written.
pub(crate) struct SegmentWriter {
    /// Its file; every write goes through this one handle.
    pub(crate) handle: FileHandle,
    /// Where it ends.
    pub(crate) tip: Tip,
    /// How far its index file is written.
    pub(crate) index: Ranked<{ rank::INDEX_TAIL }, IndexTail>,
    /// Which message gets the next index entry.
    pub(crate) marker: IndexMarker,
}

/// Why a write did not happen.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The file is as it was.
    Refused(io::Error),
    /// What is in the file after the tip is not known.
    Unknown(io::Error),
}

impl SegmentWriter {
    /// Writes `bytes` at the tip, without moving it; never waits for a sync.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        let file = self.handle.get_now().map_err(WriteError::Refused)?;
        let written = file.write_at(bytes, self.tip.bytes);
        // Marked whatever came of it, and while `file` is held (INV-WRITER): a part may be in the page cache, and a
        // file that passed for clean would be closed with it.
        self.handle.mark_dirty();
        let Err(error) = written else { return Ok(()) };
        // Left behind, a part of this batch could pass for the continuation of the next one after a
        // crash.
        match file.set_len(self.tip.bytes) {
            Ok(()) => Err(WriteError::Refused(error)),
            Err(_) => Err(WriteError::Unknown(error)),
        }
    }
}

/// Walks the messages of a batch that goes to the end of a segment: checks that they are what they
/// are said to be, and adds the entries the marker asks for to `entries`.
///
/// # Errors
/// The position in `bytes` of the first message that does not fit.
pub(crate) fn check_batch(
    tip: Tip,
    bytes: &[u8],
    count: u32,
    marker: &mut IndexMarker,
    entries: &mut Vec<IndexEntry>,
) -> Result<Tip, usize> {
    let mut next = tip;
    let mut rest = bytes;
    for _ in 0..count {
        let at = bytes.len() - rest.len();
        let frame = MessageFrame::parse(rest).ok_or(at)?;
        if frame.offset != next.end || frame.timestamp < next.last_timestamp {
            return Err(at);
        }
        rest = usize::try_from(frame.len).ok().and_then(|len| rest.get(len..)).ok_or(at)?;
        if marker.marks(next.bytes) {
            entries.extend(IndexEntry::of(tip.base, next.place(), frame.timestamp));
        }
        next = next.after(&frame);
    }
    if rest.is_empty() { Ok(next) } else { Err(bytes.len() - rest.len()) }
}

/// As [`check_batch`], for messages that were checked when they were stamped: finds the messages that
/// get an entry by the index block the batch came with, and does not read them.
///
/// # Errors
/// The position at which the index block and the messages part: the block is not theirs.
pub(crate) fn mark_batch(
    tip: Tip,
    batch: &AppendBatch<'_>,
    walked: WalkedBatch<'_>,
    marker: &mut IndexMarker,
    entries: &mut Vec<IndexEntry>,
) -> Result<Tip, usize> {
    let (ends, remainder) = walked.indexes.as_chunks();
    let bytes = ends.last().map_or(0, index_end);
    // The block is the sender's own: it was found to agree with the messages when they were stamped, and that these are
    // the bytes is looked at once more, by their length.
    let agrees = remainder.is_empty()
        && u32::try_from(ends.len()) == Ok(batch.count)
        && bytes as usize == batch.bytes.len();
    if !agrees {
        return Err(0);
    }
    let end = tip.end.plus(batch.count).ok_or(0_usize)?;
    // A message starts where the one before it ends, so the first needs no entry of the block.
    let starts = |at: usize| at.checked_sub(1).and_then(|at| ends.get(at)).map_or(0, index_end);
    let mut at = 0;
    while at < ends.len() {
        let position = tip.bytes + u64::from(starts(at));
        if marker.marks(position) {
            let offset = Offset::new(tip.end.get() + at as u64);
            let place = Boundary { offset, position };
            entries.extend(IndexEntry::of(tip.base, place, batch.timestamp));
        }
        at += 1 + skipped(
            part(ends, at.., "INV-CHAIN: a walk ends with the batch"),
            tip.bytes,
            marker,
        );
    }
    let checksum = tip.checksum.map(|sum| sum.wrapping_add(walked.checksums));
    let bytes = tip.bytes + u64::from(bytes);
    Ok(Tip { base: tip.base, bytes, end, last_timestamp: batch.timestamp, checksum })
}

/// How many of the messages that start where these end come before the next entry.
fn skipped(ends: &[BatchIndexEntry], tip_bytes: u64, marker: &IndexMarker) -> usize {
    ends.partition_point(|end| !marker.wants(tip_bytes + u64::from(index_end(end))))
}

#[cfg(test)]
mod tests;
