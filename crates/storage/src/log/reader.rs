//! Finding and reading messages while one writer appends.

use super::state::LogState;
use super::{FencedRange, LogName, LogOptions, LogStats};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::file_cache::{FileCache, FileHandle};
use crate::lock::{Ranked, RankedRw, rank};
use crate::segment::Boundary;
use crate::segment::format::{index_name, log_name};
use crate::segment::reader::check_messages;
use galgo_wire::id::Offset;
use galgo_wire::index::{to_u32, to_usize};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a reader wants.
#[derive(Debug, Clone, Copy)]
pub struct LocateRequest {
    /// First message wanted; below the start of the log means the oldest.
    pub from: Offset,
    /// Most messages wanted.
    pub count_max: u32,
    /// Most bytes wanted; one message is found even when it is larger.
    pub bytes_max: u64,
    /// The high watermark: messages from here on are not found.
    pub upto: Offset,
}

/// Where the messages of a request are.
#[derive(Debug, Clone)]
pub struct Located {
    /// Offset of the first message found; `upto` or the request's `from` when nothing was.
    pub first: Offset,
    /// How many messages were found.
    pub count: u32,
    /// Bytes of all slices.
    pub bytes: u64,
    /// The byte ranges that hold them, in order.
    pub slices: Vec<LocatedSlice>,
    /// Whether there are more that had no room, be it of bytes or of segments in one answer.
    pub cut: bool,
}

/// Consecutive messages in one segment.
#[derive(Clone)]
pub struct LocatedSlice {
    /// The segment's open file; stays readable when retention removes the segment.
    pub file: Arc<dyn DiskFile>,
    /// First offset of the segment.
    pub base: Offset,
    /// Offset of the first message of the slice.
    pub first: Offset,
    /// How many messages the slice holds.
    pub count: u32,
    /// First byte in the file.
    pub position: u64,
    /// Bytes in the slice.
    pub len: u64,
    /// Whether this process wrote or has verified these bytes (P-TRUTH); if not, go through
    /// [`LogReader::read_verified`].
    pub verified: bool,
}

impl std::fmt::Debug for LocatedSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocatedSlice")
            .field("base", &self.base)
            .field("first", &self.first)
            .field("count", &self.count)
            .field("position", &self.position)
            .field("len", &self.len)
            .field("verified", &self.verified)
            .finish_non_exhaustive()
    }
}

/// Why messages could not be found or read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// These messages fail their checks and are fenced; others may still be read.
    #[error("messages {from} to {to} (exclusive) are damaged")]
    Damaged {
        /// First damaged message.
        from: Offset,
        /// First message after them that can be read again.
        to: Offset,
    },
    /// The disk did not give the bytes.
    #[error("segment {base} cannot be read")]
    Disk {
        /// The segment.
        base: Offset,
        /// What the system said.
        source: io::Error,
    },
    /// Retention removed the segment meanwhile, again and again; or, from a read of a slice, once.
    #[error("segment {base} is gone")]
    Gone {
        /// The segment.
        base: Offset,
    },
}

/// Most files of sealed segments a log keeps handles of for its readers.
const HANDLES_MAX: usize = 4;

/// Reads a log; shared by any number of threads.
pub struct LogReader {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) files: Arc<FileCache>,
    pub(super) options: LogOptions,
    /// The log's number in the index cache.
    pub(super) log: u64,
    pub(super) state: RankedRw<{ rank::LOG_STATE }, LogState>,
    /// Handles of sealed segments read lately, newest last.
    handles: Ranked<{ rank::LOG_HANDLES }, Vec<(Offset, FileHandle)>>,
    pub(super) damaged_ranges: AtomicU64,
}

impl LogReader {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        files: Arc<FileCache>,
        options: LogOptions,
        state: LogState,
    ) -> Self {
        let log = options.indexes.number_log();
        let (state, handles) = (RankedRw::new(state), Ranked::default());
        Self { disk, files, options, log, state, handles, damaged_ranges: AtomicU64::new(0) }
    }

    /// Offset of the oldest message kept.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.state.read().start
    }

    /// Segments, bytes and messages kept. Waits for no system call, as the writing half may.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let state = self.state.read();
        let active = state.active.as_ref().map_or(0, |active| active.end.position);
        let sealed: u64 = state.sealed.iter().map(|sealed| sealed.known.bytes).sum();
        let segments = state.sealed.len() + usize::from(state.active.is_some());
        LogStats {
            segments: to_u32(segments.max(1)),
            bytes: sealed + active,
            messages: state.end.get().saturating_sub(state.start.get()),
        }
    }

    /// What the log is called in lines for the operator.
    #[must_use]
    pub fn name(&self) -> &LogName {
        &self.options.name
    }

    /// How many damaged ranges were found since the log was opened.
    #[must_use]
    pub fn damaged_ranges(&self) -> u64 {
        self.damaged_ranges.load(Ordering::Relaxed)
    }

    /// The messages that cannot be read, as far as is known.
    #[must_use]
    pub fn fenced(&self) -> Vec<FencedRange> {
        let state = self.state.read();
        let ranges =
            state.fences.iter().map(|fence| FencedRange { from: fence.from, to: fence.to });
        let mut ranges: Vec<FencedRange> = ranges.collect();
        ranges.sort_by_key(|range| range.from);
        ranges
    }

    /// Reads a slice, checks every message and marks the range verified.
    ///
    /// # Errors
    /// [`ReadError::Damaged`]: the bad range is fenced now; locate again for what comes before it.
    pub fn read_verified(&self, slice: &LocatedSlice) -> Result<Vec<u8>, ReadError> {
        let base = slice.base;
        let mut bytes = vec![0; to_usize(slice.len)];
        let read = slice.file.read_at(&mut bytes, slice.position);
        let read = read.map_err(|source| ReadError::Disk { base, source })?;
        bytes.truncate(read);
        if let Err(bad) = check_messages(&bytes, slice.first, slice.count) {
            let position = slice.position + bad.position;
            return Err(self.damaged(base, Boundary { offset: bad.offset, position }));
        }
        if let Some(verified) = self.state.write().verified_mut(base) {
            verified.insert(slice.position..slice.position + slice.len);
        }
        Ok(bytes)
    }

    /// Checks a slice as [`LogReader::read_verified`] does, without returning the bytes.
    ///
    /// # Errors
    /// Those of [`LogReader::read_verified`].
    pub fn verify(&self, slice: &LocatedSlice) -> Result<(), ReadError> {
        self.read_verified(slice).map(drop)
    }

    /// Makes room for one more open file, of whatever log. May wait for the disk: a file that somebody else
    /// wrote may have to be synced.
    pub fn make_room(&self) {
        self.files.make_room();
    }

    /// The open file of a segment; never waits for a sync.
    pub(super) fn open(&self, base: Offset) -> io::Result<Arc<dyn DiskFile>> {
        let active = {
            let state = self.state.read();
            let active = state.active.as_ref().filter(|active| active.base == base);
            active.map(|active| active.handle.clone())
        };
        match active {
            Some(handle) => handle.get_now(),
            None => self.sealed_handle(base).get_now(),
        }
    }

    fn sealed_handle(&self, base: Offset) -> FileHandle {
        let mut handles = self.handles.lock();
        if let Some(at) = handles.iter().position(|(known, _)| *known == base) {
            let found = handles.remove(at);
            handles.push(found.clone());
            return found.1;
        }
        let handle = self.files.handle(self.log_path(base), OpenMode::Read);
        Self::keep(&mut handles, base, handle.clone());
        handle
    }

    /// Keeps the handle of a segment that was just sealed: it is likely to be read soon.
    pub(super) fn keep_handle(&self, base: Offset, handle: FileHandle) {
        Self::keep(&mut self.handles.lock(), base, handle);
    }

    fn keep(handles: &mut Vec<(Offset, FileHandle)>, base: Offset, handle: FileHandle) {
        if handles.len() >= HANDLES_MAX {
            handles.remove(0);
        }
        handles.push((base, handle));
    }

    /// Forgets what is kept in memory of a segment whose files go away or change.
    pub(super) fn forget(&self, base: Offset) {
        self.handles.lock().retain(|(known, _)| *known != base);
        self.options.indexes.forget(self.log, base);
    }

    pub(super) fn log_path(&self, base: Offset) -> PathBuf {
        self.options.dir.join(log_name(base))
    }

    pub(super) fn index_path(&self, base: Offset) -> PathBuf {
        self.options.dir.join(index_name(base))
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.options.indexes.forget_log(self.log);
    }
}
