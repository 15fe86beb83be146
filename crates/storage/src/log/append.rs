//! What an append takes and why it may be refused.

use super::name::tell;
use super::state::{ActiveView, Sealed};
use super::sync::Unsynced;
use super::{INDEX_PENDING_MAX, Log};
use crate::checkpoint::SealedSegment;
use crate::disk::OpenMode;
use crate::file_cache::FileHandle;
use crate::index::cache::{CachedIndex, IndexKey};
use crate::index::{Index, IndexMarker};
use crate::lock::Ranked;
use crate::segment::verified::VerifiedRanges;
use crate::segment::writer::{SegmentWriter, Tip, WriteError, check_batch, mark_batch};
use crate::segment::{BATCH_BYTES_MAX, CHECKSUM_UNKNOWN};
use galgo_wire::id::{Offset, Timestamp};
use std::io;
use std::sync::atomic::Ordering;

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
        self.admit(&batch)?;
        if self.writer.as_ref().is_some_and(|writer| self.is_full(writer, &batch)) {
            self.seal();
        }
        if self.writer.is_none() {
            let base = self.end;
            self.begin_segment().map_err(|source| AppendError::Disk { base, source })?;
        }
        let Some(writer) = &mut self.writer else { return Err(AppendError::Fenced) };
        let base = writer.base;
        let mut marker = writer.marker;
        self.entries.clear();
        let place = (base, writer.tip);
        let tip = match batch.walked {
            Some(walked) => mark_batch(place, (&batch, walked), &mut marker, &mut self.entries),
            None => {
                let messages = (batch.bytes, batch.count);
                check_batch(place, messages, &mut marker, &mut self.entries)
            }
        };
        let tip = tip.map_err(|position| AppendError::Malformed { position })?;
        match writer.write(batch.bytes) {
            Ok(()) => {}
            Err(WriteError::Refused(source)) => return Err(AppendError::Disk { base, source }),
            Err(WriteError::Unknown(source)) => {
                self.fenced.store(true, Ordering::Release);
                return Err(AppendError::Disk { base, source });
            }
        }
        writer.marker = marker;
        self.publish(tip);
        Ok(())
    }

    /// Whether appending a batch of `messages` (bytes and number) needs one more open file than there may be,
    /// unless another is synced and closed. [`LogReader::make_room`] does that, where waiting is no harm; an
    /// append without it exceeds the bound by one file.
    ///
    /// [`LogReader::make_room`]: super::LogReader::make_room
    #[must_use]
    pub fn needs_room(&self, messages: (u64, u32)) -> bool {
        match &self.writer {
            Some(writer) if !self.tip_is_full(writer, messages) => writer.handle.needs_room(),
            _ => self.reader.files.needs_room(),
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
                if let Some(active) = &mut self.reader.state.write().active {
                    active.last_timestamp = now;
                }
            }
            Some(_) => self.seal(),
            None => {}
        }
        self.last_timestamp = now;
        self.reader.state.write().starts_over = true;
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
        let has_some = self.writer.as_ref().is_some_and(|writer| writer.tip.bytes > 0);
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

    fn is_full(&self, writer: &SegmentWriter, batch: &AppendBatch<'_>) -> bool {
        self.tip_is_full(writer, (batch.bytes.len() as u64, batch.count))
    }

    fn tip_is_full(&self, writer: &SegmentWriter, messages: (u64, u32)) -> bool {
        writer.tip.is_full(writer.base, self.reader.options.segment_bytes, messages)
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
        let dir = &self.reader.options.dir;
        if !self.dir_exists {
            // A name is durable only once its directory is synced, up to the first that was there.
            let mut made = dir.as_path();
            while !disk.exists(made)? {
                let Some(parent) = made.parent() else { break };
                if !self.unsynced_dirs.iter().any(|known| known == parent) {
                    self.unsynced_dirs.push(parent.to_path_buf());
                }
                made = parent;
            }
            disk.create_dir_all(dir)?;
            self.dir_exists = true;
        }
        let handle = self.reader.files.handle(self.reader.log_path(self.end), OpenMode::CreateNew);
        handle.get_now()?;
        if !self.unsynced_dirs.contains(dir) {
            self.unsynced_dirs.push(dir.clone());
        }
        Ok(handle)
    }

    /// Writes on in a segment that was made at the end of the log.
    fn enter_segment(&mut self, handle: FileHandle) {
        assert!(self.writer.is_none(), "INV-CHAIN: one segment is written at a time");
        let base = self.end;
        let tip = Tip::empty(base, self.last_timestamp);
        self.reader.state.write().active = Some(ActiveView {
            base,
            since: None,
            handle: handle.clone(),
            end: tip.place(),
            last_timestamp: self.last_timestamp,
            verified: VerifiedRanges::default(),
            live_from: tip.place(),
            live: Index::default(),
        });
        let unsynced = handle.clone();
        self.unsynced.push(Unsynced { base, handle: unsynced, durable: None, sealed_at: None });
        let marker = IndexMarker::new(self.reader.options.index_interval_bytes, None);
        self.writer = Some(SegmentWriter { base, handle, tip, index: Ranked::default(), marker });
    }

    /// Makes what was written part of the log.
    fn publish(&mut self, tip: Tip) {
        let Some(writer) = &mut self.writer else { return };
        let before = std::mem::replace(&mut writer.tip, tip);
        if self.unsynced.last().is_none_or(|unsynced| unsynced.base != writer.base) {
            let (base, handle) = (writer.base, writer.handle.clone());
            let durable = Some(before);
            self.unsynced.push(Unsynced { base, handle, durable, sealed_at: None });
        }
        self.end = tip.end;
        self.last_timestamp = tip.last_timestamp;
        let flushed = writer.index.get_mut().flushed();
        let mut waiting = 0;
        {
            let mut state = self.reader.state.write();
            state.end = tip.end;
            if let Some(active) = &mut state.active {
                if before.bytes == 0 {
                    // All messages of a batch have one time.
                    active.since = Some(tip.last_timestamp);
                }
                active.end = tip.place();
                active.last_timestamp = tip.last_timestamp;
                active.verified.insert(before.bytes..tip.bytes);
                for entry in self.entries.drain(..) {
                    active.live.push(entry);
                }
                waiting = active.live.entries().len().saturating_sub(flushed);
            }
        }
        if waiting >= INDEX_PENDING_MAX {
            self.flush_index();
        }
    }

    /// Seals the segment being written; the next append begins a new one.
    fn seal(&mut self) {
        self.flush_index();
        let Some(writer) = self.writer.take() else { return };
        let (base, tip) = (writer.base, writer.tip);
        let known = SealedSegment {
            base,
            end: tip.end,
            bytes: tip.bytes,
            checksum: tip.checksum.unwrap_or(CHECKSUM_UNKNOWN),
            last_timestamp: tip.last_timestamp,
        };
        let mut state = self.reader.state.write();
        let Some(active) = state.active.take() else { return };
        state.sealed.push(Sealed { known, seen_ahead: None, verified: active.verified });
        drop(state);
        if active.live_from.position == 0 {
            let key = IndexKey { log: self.reader.log, base, bytes: tip.bytes };
            let index = CachedIndex { index: active.live, trusted: true };
            self.reader.options.indexes.insert(key, index);
        }
        for unsynced in self.unsynced.iter_mut().filter(|unsynced| unsynced.base == base) {
            unsynced.sealed_at = Some(tip);
        }
        self.reader.keep_handle(base, writer.handle);
        tell!(debug, self.reader, base = base.get(), "segment sealed");
    }
}
