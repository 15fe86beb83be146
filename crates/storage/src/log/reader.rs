//! Finding and reading messages while one writer appends.

use super::files::LogFiles;
use super::state::{LogState, SharedState, is_ahead};
use super::{FencedRange, LogName, LogOptions, LogStats, OldestSealed};
use crate::checkpoint::SealedSegment;
use crate::disk::{Disk, DiskFile};
use crate::file_cache::FileCache;
use crate::retention::KeptSegment;
use crate::segment::Boundary;
use crate::segment::reader::check_messages;
use galgo_wire::batch::MessageHeader;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::index::to_usize;
use galgo_wire::limits::MESSAGE_HEADER_BYTES;
use std::io;
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

/// Reads a log; shared by any number of threads.
pub struct LogReader {
    pub(super) files: LogFiles,
    pub(super) state: SharedState,
    pub(super) damaged_ranges: AtomicU64,
}

impl LogReader {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        cache: Arc<FileCache>,
        options: LogOptions,
        state: LogState,
    ) -> Self {
        let (files, state) = (LogFiles::new(disk, cache, options), SharedState::new(state));
        Self { files, state, damaged_ranges: AtomicU64::new(0) }
    }

    /// Offset of the oldest message kept.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.state.read().start()
    }

    /// Segments, bytes and messages kept. Waits for no system call, as the writing half may.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.state.read().stats()
    }

    /// What the log is called in lines for the operator.
    #[must_use]
    pub fn name(&self) -> &LogName {
        self.files.name()
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
            state.fences().iter().map(|fence| FencedRange { from: fence.from, to: fence.to });
        let mut ranges: Vec<FencedRange> = ranges.collect();
        // They are kept in the order in which they were come upon.
        ranges.sort_by_key(|range| range.from);
        ranges
    }

    /// Reads a slice, checks every message and marks the range verified.
    ///
    /// # Errors
    /// [`ReadError::Damaged`]: the bad range is fenced now; locate again for what comes before it.
    pub fn read_verified(&self, slice: &LocatedSlice) -> Result<Vec<u8>, ReadError> {
        let base = slice.base;
        // Of this process's own bounds: whoever asked for the slice has said how many bytes at most.
        let mut bytes = vec![0; to_usize(slice.len)];
        let read = slice.file.read_at(&mut bytes, slice.position);
        let read = read.map_err(|source| ReadError::Disk { base, source })?;
        bytes.truncate(read);
        // All of it, whatever was checked before: what the page cache gives now may have come from the disk just now.
        if let Err(bad) = check_messages(&bytes, slice.first, slice.count) {
            let position = slice.position + bad.position;
            return Err(self.damaged(base, Boundary { offset: bad.offset, position }));
        }
        // Only behind the checks (INV-VERIFIED); of a segment that is gone nothing is noted.
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
        self.files.cache.make_room();
    }

    /// The open file of a segment; never waits for a sync.
    pub(super) fn open(&self, base: Offset) -> io::Result<Arc<dyn DiskFile>> {
        // Through the writer's own handle while it is written: another one's file would be closed without its mark.
        let active = {
            let state = self.state.read();
            state.active_at(base).map(|active| active.handle().clone())
        };
        match active {
            Some(handle) => handle.get_now(),
            None => self.files.sealed(base).get_now(),
        }
    }

    /// The sealed segments, oldest first.
    #[must_use]
    pub fn sealed(&self) -> Vec<SealedSegment> {
        self.state.read().sealed().iter().map(|sealed| sealed.known.clone()).collect()
    }

    /// The segments that may be dropped, oldest first: sealed, not the newest of the log, and wholly
    /// below `upto`. `now` tells which of them are ahead of the clock.
    #[must_use]
    pub fn droppable(&self, upto: Offset, now: Timestamp) -> Vec<KeptSegment> {
        self.state.read().droppable(upto, now)
    }

    /// The oldest sealed segment, when there are others behind it.
    #[must_use]
    pub fn oldest_sealed(&self, now: Timestamp) -> Option<OldestSealed> {
        self.state.read().oldest_sealed(now)
    }

    /// The time of the first message in the segment being written; `None` when that is empty. May read from
    /// the disk, once.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn written_since(&self) -> io::Result<Option<Timestamp>> {
        let (base, handle, last) = {
            let state = self.state.read();
            let active = state.active().filter(|active| active.view().end.position > 0);
            let Some(active) = active else { return Ok(None) };
            if let Some(since) = state.written_since() {
                return Ok(Some(since));
            }
            (active.view().base, active.handle().clone(), active.last_timestamp())
        };
        // Not under the lock, which is never held across a system call.
        let mut bytes = [0; MESSAGE_HEADER_BYTES];
        handle.get()?.read_exact_at(&mut bytes, 0)?;
        // A damaged header may say anything; the segment is as old as its last message at least.
        let since = MessageHeader::from_bytes(&bytes).timestamp.min(last);
        self.state.write().note_since(base, since);
        Ok(Some(since))
    }

    /// The time of the last message; zero without one.
    #[must_use]
    pub fn newest_time(&self) -> Timestamp {
        self.state.read().newest_time()
    }

    /// How far the last message is ahead of the clock, in microseconds, if that is more than
    /// [`AHEAD_US_MAX`]; and takes note of which segments are, so that retention does not wait until
    /// the clock has caught up with them.
    ///
    /// [`AHEAD_US_MAX`]: super::AHEAD_US_MAX
    #[must_use]
    pub fn note_ahead(&self, now: Timestamp) -> Option<u64> {
        let (unseen, newest) = {
            let state = self.state.read();
            (state.has_unseen_ahead(now), state.newest_time())
        };
        // Locked for writing only where there is something to note: this comes by for every partition.
        if unseen {
            self.state.write().see_ahead(now);
        }
        is_ahead(newest, now).then(|| newest.get().saturating_sub(now.get()))
    }

    /// Messages below `start` are no longer read, and the sealed segments wholly below it are no
    /// longer part of the log; returns those. Touches no disk: see [`LogReader::remove_dropped`].
    pub fn drop_before(&self, start: Offset) -> Vec<SealedSegment> {
        // Out of the log before anything else: from here on nobody finds them, so that the files may go at any time.
        let dropped = self.state.write().drop_before(start);
        dropped.iter().for_each(|known| self.files.forget(known.base));
        dropped
    }

    /// Removes the files of segments that were dropped.
    ///
    /// # Errors
    /// Those of the disk, after all removals were tried; they may be tried again.
    pub fn remove_dropped(&self, dropped: &[SealedSegment]) -> io::Result<()> {
        let mut result = Ok(());
        // All of them, whatever one says: those that stay are removed by the next recovery, which knows them by the start.
        for known in dropped {
            result = self.files.remove(known.base).and(result);
        }
        result
    }

    /// The log is about to be removed: from here on it reads as empty, and files that are missing are
    /// no damage.
    pub fn retire(&self) {
        self.state.write().retire();
    }

    /// Whether [`LogReader::retire`] was called.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.state.read().is_retired()
    }
}
