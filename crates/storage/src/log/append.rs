//! Writing behind the end of a log, and taking back what was written.
//!
//! Part of INV-END: the end moves only after the bytes were written, and moves back before they are cut off.
//! Part of INV-CONTIGUOUS: a segment is begun, sealed and opened again here, and nowhere else.

use super::name::tell;
use super::rewind::tip_without;
use super::state::ActiveView;
use super::{INDEX_PENDING_MAX, Log};
use crate::checkpoint::SealedSegment;
use crate::disk::OpenMode;
use crate::file_cache::FileHandle;
use crate::index::IndexMarker;
use crate::index::cache::CachedIndex;
use crate::lock::Ranked;
use crate::segment::writer::{BatchSize, SegmentWriter, Tip, WriteError, check_batch, mark_batch};
use crate::segment::{BATCH_BYTES_MAX, CHECKSUM_UNKNOWN};
use galgo_wire::id::{Offset, Timestamp};
use std::io;

/// How far the times of a log may be ahead of the clock before they start over, in microseconds.
/// Smaller differences are what setting a clock again and again makes; then times stand still until
/// the clock has caught up.
pub const AHEAD_US_MAX: u64 = 5_000_000;

/// Messages to write, stamped and checked, exactly as they will be polled.
#[derive(Debug, Clone, Copy)]
pub struct AppendBatch<'a> {
    /// Offset of the first message; must be the end of the log.
    pub base_offset: Offset,
    /// How many messages `bytes` holds, at least one.
    pub count: u32,
    /// The one ingest time of all of them; not before that of the message before.
    pub timestamp: Timestamp,
    /// The messages, back to back.
    pub bytes: &'a [u8],
    /// What is known of them, if exactly these bytes were stamped by this process and not changed
    /// since; without it the log walks over their headers.
    pub walked: Option<WalkedBatch<'a>>,
}

/// What the pass that stamped a batch found, so that its headers need no second walk.
#[derive(Debug, Clone, Copy)]
pub struct WalkedBatch<'a> {
    /// The index block that the batch came with and was found to agree with.
    pub indexes: &'a [u8],
    /// The wrapped sum of the checksums.
    pub checksums: u64,
}

/// Why a batch was not appended. In every case the end of the log is where it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The caller's mistake: the batch starts elsewhere.
    #[error("the batch starts at offset {got}, the log ends at {expected}")]
    OutOfOrder {
        /// Where the log ends.
        expected: Offset,
        /// Where the batch starts.
        got: Offset,
    },
    /// The caller's mistake: the bytes are not the messages announced.
    #[error("the batch is malformed at byte {position}")]
    Malformed {
        /// Where the first message that does not fit starts.
        position: usize,
    },
    /// The caller's mistake: the batch is earlier than the last message.
    #[error("the batch has timestamp {got}, before the last message's {last}")]
    TimeWentBack {
        /// Timestamp of the last message.
        last: Timestamp,
        /// Timestamp of the batch.
        got: Timestamp,
    },
    /// The caller's mistake: no segment can hold it.
    #[error("a batch of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// Bytes in the batch.
        len: usize,
        /// Most bytes a batch may have.
        max: u32,
    },
    /// The disk did not take it; it was taken back and the log may be used on.
    #[error("segment {base} did not take the batch")]
    Disk {
        /// The segment written to.
        base: Offset,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier sync, or the taking back of a failed write, failed: what the disk holds is not
    /// known. The log takes no more writes until it is recovered anew.
    #[error("the log takes no writes since a disk error; reopen it")]
    Fenced,
}

impl Log {
    /// Writes a batch at the end of the log, visible to readers that pass a higher watermark.
    ///
    /// A segment that is full is sealed before. Nothing is durable until it is synced, and nothing waits for a
    /// sync; see [`Log::needs_room`].
    ///
    /// # Errors
    /// [`AppendError`]; the end of the log is then where it was.
    pub fn append(&mut self, batch: AppendBatch<'_>) -> Result<(), AppendError> {
        // Before a segment is sealed for it: a batch that is refused changes nothing.
        self.admit(&batch)?;
        if self.writer.as_ref().is_some_and(|writer| self.is_full(writer, batch.size())) {
            self.seal();
        }
        if self.writer.is_none() {
            let base = self.end;
            self.begin_segment().map_err(|source| AppendError::Disk { base, source })?;
        }
        let Some(writer) = &mut self.writer else {
            unreachable!("INV-CONTIGUOUS: a segment was begun where none was written")
        };
        let base = writer.tip.base;
        // A copy, which takes the place of the marker only once the bytes are written: entries of a batch that was
        // refused would be missing from the next one.
        let mut marker = writer.marker;
        self.entries.clear();
        let entries = &mut self.entries;
        let tip = match batch.walked {
            Some(walked) => mark_batch(writer.tip, &batch, walked, &mut marker, entries),
            None => check_batch(writer.tip, batch.bytes, batch.count, &mut marker, entries),
        };
        let tip = tip.map_err(|position| AppendError::Malformed { position })?;
        match writer.write(batch.bytes) {
            Ok(()) => {}
            Err(WriteError::Refused(source)) => return Err(AppendError::Disk { base, source }),
            Err(WriteError::Unknown(source)) => {
                // INV-END: behind the end may be a part of this batch, and after a crash a shorter one written over its
                // beginning would go on with it.
                self.ledger.fence();
                return Err(AppendError::Disk { base, source });
            }
        }
        // Only behind the write (INV-END): a reader is never told of a byte that is not there.
        writer.marker = marker;
        self.publish(tip);
        Ok(())
    }

    /// Whether appending a batch of this size needs one more open file than there may be,
    /// unless another is synced and closed. [`LogReader::make_room`] does that, where waiting is no harm; an
    /// append without it exceeds the bound by one file.
    ///
    /// [`LogReader::make_room`]: super::LogReader::make_room
    #[must_use]
    pub fn needs_room(&self, batch: BatchSize) -> bool {
        match &self.writer {
            Some(writer) if !self.is_full(writer, batch) => writer.handle.needs_room(),
            _ => self.reader.files.cache.needs_room(),
        }
    }

    /// Lets times start over at `now`: the segment being written is sealed, and the next batch, which
    /// begins a new one, may be as early as that. For a log whose last message is ahead of the clock;
    /// how far is the answer, when that is more than [`AHEAD_US_MAX`].
    ///
    /// INV-CHAIN: inside a segment times never decrease.
    pub fn start_over_if_ahead(&mut self, now: Timestamp) -> Option<u64> {
        let ahead_us = self.last_timestamp.get().saturating_sub(now.get());
        if ahead_us <= AHEAD_US_MAX || self.is_fenced() {
            return None;
        }
        match &mut self.writer {
            // Nothing was written to it: it may begin with any time.
            Some(writer) if writer.tip.bytes == 0 => {
                writer.tip.last_timestamp = now;
            }
            Some(_) => self.seal(),
            None => {}
        }
        self.last_timestamp = now;
        self.reader.state.write().start_over(now);
        Some(ahead_us)
    }

    /// Seals the segment being written, if there is anything in it, and begins the next, so that retention can
    /// give it up. The name of the new one is durable with the next sync, like that of any segment.
    ///
    /// The directory of a log is never without a file that says where it ends: whoever drops all that is sealed
    /// leaves the segment begun here.
    ///
    /// # Errors
    /// Those of the disk: nothing has changed then.
    pub fn roll(&mut self) -> io::Result<bool> {
        let has_some = self.written().is_some_and(|tip| tip.bytes > 0);
        if !has_some || self.is_fenced() {
            return Ok(false);
        }
        // Made first: a log without a segment to write to would not be looked at again before the next append.
        let handle = self.make_segment()?;
        self.seal();
        self.enter_segment(handle);
        Ok(true)
    }

    fn admit(&self, batch: &AppendBatch<'_>) -> Result<(), AppendError> {
        if self.is_fenced() {
            return Err(AppendError::Fenced);
        }
        if batch.base_offset != self.end {
            let (expected, got) = (self.end, batch.base_offset);
            return Err(AppendError::OutOfOrder { expected, got });
        }
        // INV-CHAIN: searches by time take it for granted; see `start_over_if_ahead` for when the clock was wrong.
        if batch.timestamp < self.last_timestamp {
            let (last, got) = (self.last_timestamp, batch.timestamp);
            return Err(AppendError::TimeWentBack { last, got });
        }
        if batch.count == 0 || batch.base_offset.plus(batch.count).is_none() {
            return Err(AppendError::Malformed { position: 0 });
        }
        if batch.bytes.len() > BATCH_BYTES_MAX as usize {
            return Err(AppendError::TooLarge { len: batch.bytes.len(), max: BATCH_BYTES_MAX });
        }
        Ok(())
    }

    fn is_full(&self, writer: &SegmentWriter, batch: BatchSize) -> bool {
        writer.tip.is_full(self.reader.files.options.segment_bytes, batch)
    }

    /// The end of the segment that is written.
    pub(super) fn written(&self) -> Option<Tip> {
        self.writer.as_ref().map(|writer| writer.tip)
    }

    /// Begins a segment at the end of the log, where none is being written.
    fn begin_segment(&mut self) -> io::Result<()> {
        let handle = self.make_segment()?;
        self.enter_segment(handle);
        Ok(())
    }

    /// Makes the file of a segment at the end of the log.
    fn make_segment(&mut self) -> io::Result<FileHandle> {
        let disk = self.disk();
        let dir = &self.reader.files.options.dir;
        if !self.dir_exists {
            // A name is durable only once its directory is synced, up to the first that was there. Noted before
            // anything is made: where making fails half-way, what was made is to be synced all the same.
            let mut made = dir.as_path();
            while !disk.exists(made)? {
                let Some(parent) = made.parent() else { break };
                self.ledger.note_dir(parent);
                made = parent;
            }
            disk.create_dir_all(dir)?;
            self.dir_exists = true;
        }
        // A new file, never one that was left behind: bytes in it would be messages of the log.
        let handle = self.reader.files.handle(self.end, OpenMode::CreateNew);
        handle.get_now()?;
        self.ledger.note_dir(dir);
        Ok(handle)
    }

    /// Writes on in a segment that was made at the end of the log.
    fn enter_segment(&mut self, handle: FileHandle) {
        assert!(self.writer.is_none(), "INV-CHAIN: one segment is written at a time");
        let tip = Tip::empty(self.end, self.last_timestamp);
        self.reader.state.write().begin(ActiveView::new(tip, handle.clone()));
        self.ledger.note_made(tip.base, handle.clone());
        self.write_on(tip, handle, None);
    }

    /// Writes on in the segment that ends at `tip`; its last index entry is at byte `marked`.
    fn write_on(&mut self, tip: Tip, handle: FileHandle, marked: Option<u64>) {
        let interval_bytes = self.reader.files.options.index_interval_bytes;
        let marker = IndexMarker::new(interval_bytes, marked);
        self.writer = Some(SegmentWriter { handle, tip, index: Ranked::default(), marker });
    }

    /// Makes what was written part of the log.
    fn publish(&mut self, tip: Tip) {
        let Some(writer) = &mut self.writer else {
            unreachable!("INV-END: what was written was written to a segment")
        };
        let before = std::mem::replace(&mut writer.tip, tip);
        self.ledger.note_written(before, &writer.handle);
        self.end = tip.end;
        self.last_timestamp = tip.last_timestamp;
        let flushed = writer.index.get_mut().flushed();
        let entries = self.reader.state.write().grow(tip, &mut self.entries);
        // Behind the lock: it is not held across a write.
        if entries.saturating_sub(flushed) >= INDEX_PENDING_MAX {
            self.flush_index();
        }
    }

    /// Seals the segment being written; the next append begins a new one.
    fn seal(&mut self) {
        // First: sealed, its index may be completed by readers, who take the file to be theirs.
        self.flush_index();
        let Some(writer) = self.writer.take() else { return };
        let tip = writer.tip;
        let live = self.reader.state.write().seal(SealedSegment {
            base: tip.base,
            end: tip.end,
            bytes: tip.bytes,
            checksum: tip.checksum.unwrap_or(CHECKSUM_UNKNOWN),
            last_timestamp: tip.last_timestamp,
        });
        // Only where it has all entries: others would be taken for the index of the whole segment.
        if live.from.position == 0 {
            let key = self.reader.files.index_key(tip.base, tip.bytes);
            let index = CachedIndex { index: live.index, trusted: true };
            self.reader.files.options.indexes.insert(key, index);
        }
        self.ledger.note_sealed(tip);
        self.reader.files.keep(tip.base, writer.handle);
        tell!(debug, self.reader, base = tip.base.get(), "segment sealed");
    }

    /// Takes back the messages from `to` on. When it fails, what is left is anything in between.
    pub(super) fn take_back(&mut self, to: Offset) -> io::Result<()> {
        // Newest first: a process that dies in between leaves a log that is shorter, not one with a hole.
        while self.writer.as_ref().is_none_or(|writer| writer.tip.base > to) {
            self.remove_newest()?;
            self.unseal()?;
        }
        let Some(writer) = &mut self.writer else {
            unreachable!("INV-CONTIGUOUS: a segment was unsealed where none was written")
        };
        let handle = writer.handle.clone();
        let tip = tip_without(&self.reader, writer.tip, to)?;
        // Before there are fewer entries than were counted as written: a checkpoint writes those that wait, even of a log
        // that could not be cut.
        writer.index.get_mut().reset();
        // Readers first: the bytes of what they may still find are there.
        self.reader.state.write().cut_back(tip);
        self.reader.files.forget_index(tip.base);
        let file = handle.get()?;
        file.set_len(tip.bytes)?;
        // While the file is held (INV-WRITER). The new length is synced with the next bytes: what was taken back was
        // acknowledged to nobody.
        handle.mark_dirty();
        drop(file);
        self.end = to;
        self.last_timestamp = tip.last_timestamp;
        let marked = {
            let state = self.reader.state.read();
            let live = state.active_at(tip.base).and_then(|active| active.live().entries().last());
            live.map(|entry| u64::from(entry.position))
        };
        self.ledger.note_cut_back(tip, &handle);
        self.write_on(tip, handle, marked);
        Ok(())
    }

    /// Removes the segment being written, files and all.
    fn remove_newest(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let base = writer.tip.base;
        self.reader.state.write().drop_newest(base);
        self.end = base;
        self.ledger.forget(base);
        // Last: from here on nobody opens it, and nobody waits for a sync of it.
        self.reader.files.remove(base)
    }

    /// Opens the newest sealed segment for writing again.
    fn unseal(&mut self) -> io::Result<()> {
        let (files, ledger) = (&self.reader.files, &mut self.ledger);
        let unsealed = self.reader.state.write().unseal(|base| {
            let handle = ledger.note_unsealed(base);
            handle.unwrap_or_else(|| files.handle(base, OpenMode::ReadWrite))
        });
        let missing = io::Error::from(io::ErrorKind::InvalidInput);
        let (tip, handle) = unsealed.ok_or(missing)?;
        self.write_on(tip, handle, None);
        Ok(())
    }
}

impl AppendBatch<'_> {
    /// Its size.
    fn size(&self) -> BatchSize {
        BatchSize { bytes: self.bytes.len() as u64, count: self.count }
    }
}
