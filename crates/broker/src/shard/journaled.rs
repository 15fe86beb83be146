//! What the journal holds behind the last checkpoint, as a start needs it.
//!
//! A journal is larger than the memory a start may take. So one pass over it, a frame at a time, notes where each batch
//! is, 16 bytes for it, and what became of everything else; the batches of a log are read when that log is put
//! together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::journal::{FramePlace, Journal, Lsn};
use galgo_storage::log::{BatchSource, JournaledBatch, JournaledLog};
use galgo_wire::id::{Offset, PartitionUid};
use galgo_wire::index::to_u32;

use super::record::{BATCH_HEAD_BYTES, OffsetOwner, ShardRecord, batch_of, decode_bundle};
use super::recovery::{ShardRecoverError, read_error};
use crate::offset_book::{OffsetBook, Position};

/// Bytes read at once: most batches are smaller, and the next of the same log is often near.
const WINDOW_BYTES: usize = 16 << 10;
const _: () = assert!(
    WINDOW_BYTES > 2 * BATCH_HEAD_BYTES,
    "one reading has the head of a batch, and what follows it"
);

/// What the journal holds behind the checkpoint.
#[derive(Default)]
pub(super) struct Journaled {
    frames: Vec<FramePlace>,
    batches: BTreeMap<PartitionUid, JournaledBatches>,
    /// What became of each offset in the end; `None` where it was deleted.
    offsets: BTreeMap<(PartitionUid, OffsetOwner), Option<Position>>,
    starts: BTreeMap<PartitionUid, Offset>,
    synced_ends: BTreeMap<PartitionUid, Offset>,
    written_ends: BTreeMap<PartitionUid, Offset>,
    /// The last frame.
    pub(super) last: Lsn,
}

/// Where a batch is: in which of the frames that were read, and at which byte of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchPlace {
    frame: u32,
    at: u32,
}

impl BatchPlace {
    /// As the number that a log hands back.
    fn number(self) -> u64 {
        u64::from(self.frame) << 32 | u64::from(self.at)
    }

    fn of(number: u64) -> Self {
        Self { frame: to_u32(number >> 32), at: to_u32(number & u64::from(u32::MAX)) }
    }
}

#[derive(Default)]
struct JournaledBatches {
    batches: Vec<JournaledBatch>,
    high_watermark: Offset,
}

impl Journaled {
    /// Reads all frames behind `checkpointed`.
    ///
    /// # Errors
    /// [`ShardRecoverError::Read`] when it cannot be read, or holds records of a later version.
    pub(super) fn read(
        journal: &dyn Journal,
        checkpointed: Lsn,
    ) -> Result<Self, ShardRecoverError> {
        let mut journaled = Self::default();
        let mut unknown = None;
        let report = journal.read(checkpointed.next(), &mut |frame| {
            let number = to_u32(journaled.frames.len());
            // Also of one without a batch: the number of a frame is its place in this list.
            journaled.frames.push(frame.place);
            let decoded = decode_bundle(frame.payload, &mut |at, record| {
                journaled.take(BatchPlace { frame: number, at: to_u32(at) }, record)
            });
            match decoded {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    unknown = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        let report = report.map_err(|e| read_error("the journal", e))?;
        journaled.last = report.last;
        if !report.deposed.is_empty() {
            tracing::error!(
                frames = ?report.deposed,
                "the journal holds what another process wrote that no longer owned it: left out"
            );
        }
        // INV-LOUD: told, and gone on with all that can be read.
        for damage in &report.damaged {
            tracing::error!(?damage, "journal damaged: acknowledged writes may be missing");
        }
        unknown.map_or(Ok(journaled), |error| Err(read_error("the journal", error)))
    }

    fn take(&mut self, place: BatchPlace, record: ShardRecord<'_>) {
        match record {
            ShardRecord::Batch { uid, base_offset, high_watermark, .. } => {
                let known = self.batches.entry(uid).or_default();
                known.batches.push(JournaledBatch { base_offset, place: place.number() });
                // A batch that was carried forward says what had been acknowledged when it was
                // staged.
                known.high_watermark = known.high_watermark.max(high_watermark);
            }
            ShardRecord::OffsetStored { uid, owner, offset, note } => {
                // Read in the order of the journal, so the last change is the one that counts.
                self.offsets.insert((uid, owner), Some(Position::noted(offset, note)));
            }
            ShardRecord::OffsetGone { uid, owner } => {
                self.offsets.insert((uid, owner), None);
            }
            ShardRecord::StartMoved { uid, start } => {
                // The highest and not the last: a start never goes back, and one that was carried
                // forward comes again behind newer ones.
                let known = self.starts.entry(uid).or_default();
                *known = start.max(*known);
            }
            ShardRecord::EndReached { uid, end, synced } => {
                let ends = if synced { &mut self.synced_ends } else { &mut self.written_ends };
                let known = ends.entry(uid).or_default();
                *known = end.max(*known);
            }
        }
    }

    /// Partitions with messages, or a start.
    pub(super) fn uids(&self) -> impl Iterator<Item = PartitionUid> {
        self.batches.keys().chain(self.starts.keys()).copied()
    }

    /// Whose offsets were stored or deleted.
    pub(super) fn owners(&self) -> impl Iterator<Item = (PartitionUid, OffsetOwner)> {
        self.offsets.keys().copied()
    }

    /// Whether there is a batch of a partition.
    pub(super) fn has_batches(&self, uid: PartitionUid) -> bool {
        self.batches.contains_key(&uid)
    }

    /// Below which offset all messages of a partition had been acknowledged when one was staged.
    pub(super) fn acknowledged(&self, uid: PartitionUid) -> Offset {
        self.batches.get(&uid).map_or(Offset::ZERO, |known| known.high_watermark)
    }

    /// What there is of the log of a partition, which is given once.
    pub(super) fn log<'a>(
        &mut self,
        uid: PartitionUid,
        source: &'a JournalSource<'_>,
    ) -> JournaledLog<'a> {
        match self.batches.remove(&uid) {
            Some(JournaledBatches { batches, high_watermark }) => {
                JournaledLog { batches, high_watermark, source }
            }
            None => JournaledLog { batches: Vec::new(), high_watermark: Offset::ZERO, source },
        }
    }

    /// Where the messages come from.
    pub(super) fn source<'a>(&mut self, journal: &'a dyn Journal) -> JournalSource<'a> {
        let frames = std::mem::take(&mut self.frames);
        JournalSource { journal, frames, window: RefCell::default() }
    }

    /// Below which offset a sync covered the messages of a partition; `None` when that was not noted.
    pub(super) fn synced_end(&self, uid: PartitionUid) -> Option<Offset> {
        self.synced_ends.get(&uid).copied()
    }

    /// Below which offset they had been written; `None` when that was not noted.
    pub(super) fn written_end(&self, uid: PartitionUid) -> Option<Offset> {
        self.written_ends.get(&uid).copied()
    }

    /// What the checkpoint knows, with the start moved as the journal says.
    pub(super) fn apply_start(
        &self,
        uid: PartitionUid,
        known: Option<LogCheckpoint>,
    ) -> Option<LogCheckpoint> {
        if known.is_none() && !self.starts.contains_key(&uid) {
            return None;
        }
        Some(self.moved_start(uid, known.unwrap_or_default()))
    }

    /// As [`Journaled::apply_start`], of a log that something is known of.
    pub(super) fn moved_start(&self, uid: PartitionUid, mut known: LogCheckpoint) -> LogCheckpoint {
        if let Some(start) = self.starts.get(&uid) {
            known.start = known.start.max(*start);
        }
        known
    }

    /// Moves the offsets as the journal says.
    pub(super) fn apply_offsets(&self, books: &mut BTreeMap<PartitionUid, OffsetBook>) {
        for ((uid, owner), position) in &self.offsets {
            let book = books.entry(*uid).or_default();
            match position {
                Some(position) => book.set(*owner, *position),
                None => {
                    book.remove(*owner);
                }
            }
        }
    }
}

/// Reads batches out of the journal; one is looked for where the last one was at first.
pub(super) struct JournalSource<'a> {
    journal: &'a dyn Journal,
    frames: Vec<FramePlace>,
    window: RefCell<FrameWindow>,
}

/// Bytes of a frame.
#[derive(Default)]
struct FrameWindow {
    frame: Option<u32>,
    from: u64,
    bytes: Vec<u8>,
}

impl FrameWindow {
    fn get(&self, frame: u32, at: u64, len: usize) -> Option<&[u8]> {
        if self.frame != Some(frame) {
            return None;
        }
        let from = usize::try_from(at.checked_sub(self.from)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}

impl JournalSource<'_> {
    fn read(&self, frame: u32, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut window = self.window.borrow_mut();
        if let Some(bytes) = window.get(frame, at, len) {
            return Ok(bytes.to_vec());
        }
        let Some(place) = self.frames.get(frame as usize).copied() else {
            unreachable!("INV-STREAM: a batch is in one of the frames that were read")
        };
        window.bytes.resize(len.max(WINDOW_BYTES), 0);
        // Until the bytes are there it is the window of no frame: a reading that fails leaves some of both.
        window.frame = None;
        let read =
            self.journal.read_part(place, at, &mut window.bytes).map_err(io::Error::other)?;
        window.bytes.truncate(read);
        window.frame = Some(frame);
        window.from = at;
        let bytes = window.get(frame, at, len).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(bytes.to_vec())
    }
}

impl BatchSource for JournalSource<'_> {
    fn messages(&self, batch: JournaledBatch) -> io::Result<Vec<u8>> {
        let BatchPlace { frame, at } = BatchPlace::of(batch.place);
        let at = u64::from(at);
        let head = self.read(frame, at, BATCH_HEAD_BYTES)?;
        // It was read before, and its checksum was right then.
        let found = batch_of(&head).filter(|(base, _)| *base == batch.base_offset);
        let (_, messages) = found.ok_or(io::ErrorKind::InvalidData)?;
        self.read(frame, at + messages.start as u64, messages.len())
    }
}
