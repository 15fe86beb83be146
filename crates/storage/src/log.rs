//! One partition's log: ordered segments with one writer and many readers.
//!
//! An append is one write at the end of the newest segment. It is visible to a reader only below the
//! high watermark that the reader passes, and durable only after a sync covered it.
//!
//! INV-CONTIGUOUS: each segment starts where the one before ends; offsets have no gaps.
//! INV-END: the end moves only after the bytes were written.
//! INV-LOG-FENCE: after a failed sync, or a failed write that could not be taken back, nothing is
//! written until the log is recovered anew.

use crate::checkpoint::SealedSegment;
use crate::disk::Disk;
use crate::file_cache::FileCache;
use crate::index::IndexEntry;
use crate::index::rebuild::IndexSpan;
use crate::segment::writer::SegmentWriter;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::index::to_u32;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

mod append;
mod damage;
mod drop;
mod landing;
mod locate;
mod name;
mod newest;
mod offline;
mod reader;
mod recover;
mod rescue;
mod rewind;
mod state;
mod sync;

pub use crate::index::IndexCache;
pub use append::{AHEAD_US_MAX, AppendBatch, AppendError, WalkedBatch};
pub use drop::{OldestSealed, first_base};
pub use locate::SeenMessage;
pub use name::{LogName, PartitionName};
pub use newest::NewestRequest;
pub use reader::{LocateRequest, Located, LocatedSlice, LogReader, ReadError};
pub use recover::{
    BatchSource, Evidence, FencedRange, JournaledBatch, JournaledLog, RecoverError, RecoveryReport,
};
pub use rescue::Rescue;
pub use sync::{DirtySet, durable_end};

use name::tell;
use state::LogState;
use sync::Unsynced;

/// Index entries in memory that wait for one write to the index file.
const INDEX_PENDING_MAX: usize = 256;

/// Where a log lives and how it is cut into segments.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Directory of the segment files; made at the first append.
    pub dir: PathBuf,
    /// A segment of this size or more is sealed before the next append.
    pub segment_bytes: u64,
    /// Least distance between two index entries.
    pub index_interval_bytes: u32,
    /// Memory for the indexes of segments that are read, shared by all logs.
    pub indexes: Arc<IndexCache>,
    /// What the log is called in lines for the operator.
    pub name: Arc<LogName>,
}

/// What a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStats {
    /// Segments; 1 when the log is empty.
    pub segments: u32,
    /// Bytes of all messages kept.
    pub bytes: u64,
    /// Messages kept.
    pub messages: u64,
}

/// The writing half of a log. Reading is done through [`Log::reader`].
pub struct Log {
    reader: Arc<LogReader>,
    /// The newest segment; `None` before the first append.
    writer: Option<SegmentWriter>,
    end: Offset,
    last_timestamp: Timestamp,
    /// Segments with bytes no sync covered, oldest first.
    unsynced: Vec<Unsynced>,
    /// Directories in which names were made since the last sync, and their parents.
    unsynced_dirs: Vec<PathBuf>,
    /// Set by a failed sync, on whatever thread it ran.
    fenced: Arc<AtomicBool>,
    /// Raised by each rewind, so that a sync begun before it counts for nothing.
    generation: u64,
    /// The end of what a checkpoint called durable.
    checkpointed: AtomicU64,
    /// Whether the directory is known to exist.
    dir_exists: bool,
    /// Whether it stands in for a log that could not be opened.
    is_offline: bool,
    /// Index entries of the batch being appended; kept for its memory.
    entries: Vec<IndexEntry>,
}

impl Log {
    /// Makes an empty log; touches no disk until the first append.
    #[must_use]
    pub fn create(disk: Arc<dyn Disk>, files: Arc<FileCache>, options: LogOptions) -> Self {
        Self::of_reader(LogReader::new(disk, files, options, LogState::default()))
    }

    fn of_reader(reader: LogReader) -> Self {
        Self {
            reader: Arc::new(reader),
            writer: None,
            end: Offset::ZERO,
            last_timestamp: Timestamp::ZERO,
            unsynced: Vec::new(),
            unsynced_dirs: Vec::new(),
            fenced: Arc::default(),
            generation: 0,
            checkpointed: AtomicU64::new(0),
            dir_exists: false,
            is_offline: false,
            entries: Vec::new(),
        }
    }

    /// Offset the next message gets.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Timestamp of the last message; zero when there never was one.
    #[must_use]
    pub fn last_timestamp(&self) -> Timestamp {
        self.last_timestamp
    }

    /// Whether the log takes no more writes (INV-LOG-FENCE).
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// The reading half.
    #[must_use]
    pub fn reader(&self) -> Arc<LogReader> {
        Arc::clone(&self.reader)
    }

    /// The sealed segments, oldest first.
    #[must_use]
    pub fn sealed(&self) -> Vec<SealedSegment> {
        self.reader.sealed()
    }

    /// Segments, bytes and messages kept.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.reader.stats()
    }

    /// Removes the sealed segments that lie wholly below `start`, and messages below it are no
    /// longer read; returns how many segments were removed.
    ///
    /// Make the move of the start durable first: a checkpoint that still lists a removed segment,
    /// with a start below it, makes recovery report it missing.
    ///
    /// # Errors
    /// Those of the disk, after all removals were tried; the segments are gone for readers in any
    /// case, and the files go at the next recovery.
    pub fn drop_before(&mut self, start: Offset) -> io::Result<u32> {
        let dropped = self.reader.drop_before(start);
        self.forget_dropped();
        let removed = self.reader.remove_dropped(&dropped);
        removed.map(|()| to_u32(dropped.len()))
    }

    /// Lets go of the files of segments that were dropped and never synced: a removed file that is still
    /// open keeps its space. Nothing of them is to be made durable any more.
    pub fn forget_dropped(&mut self) {
        let state = self.reader.state.read();
        self.unsynced.retain(|unsynced| state.has_segment(unsynced.base));
    }

    /// Removes the log and its directory.
    ///
    /// # Errors
    /// Those of the disk; call it again then, or remove the directory.
    pub fn remove(self) -> io::Result<()> {
        let disk = self.disk();
        *self.reader.state.write() = LogState::default();
        match disk.remove_dir_all(&self.reader.options.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn remove_files(&self, base: Offset) -> io::Result<()> {
        self.reader.remove_files(base)
    }

    /// Writes the entries of the active segment's index that are only in memory. A hint: an error
    /// is logged and the entries wait.
    fn flush_index(&self) {
        let disk = self.disk();
        let Some(writer) = &self.writer else { return };
        let mut tail = writer.index.lock();
        let (span, new) = {
            let state = self.reader.state.read();
            let Some(active) = &state.active else { return };
            let entries = active.live.entries();
            let new = entries.get(tail.flushed()..).unwrap_or_default();
            if new.is_empty() {
                return;
            }
            let interval_bytes = self.reader.options.index_interval_bytes;
            let span = IndexSpan { base: writer.base, end: active.live_from, interval_bytes };
            (span, new.to_vec())
        };
        let path = self.reader.index_path(writer.base);
        if let Err(error) = tail.flush(&*disk, &path, span, &new) {
            tell!(warn, self.reader, path = %path.display(), %error, "index entries not written");
        }
    }

    /// What the log is called in lines for the operator.
    #[must_use]
    pub fn name(&self) -> &LogName {
        &self.reader.options.name
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.reader.disk)
    }
}
