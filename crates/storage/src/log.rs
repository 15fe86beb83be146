//! One partition's log: ordered segments with one writer and many readers.

use crate::checkpoint::LogCheckpoint;
use crate::disk::Disk;
use crate::file_cache::FileCache;
use galgo_wire::id::{Offset, Timestamp};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

mod append;
mod reader;
mod recover;
mod sync;

pub use append::{AppendBatch, AppendError};
pub use reader::{LocateRequest, Located, LocatedSlice, LogReader, ReadError};
pub use recover::{FencedRange, JournaledBatch, RecoverError, RecoveryReport};
pub use sync::DirtySet;

/// Bounded memory for the indexes of segments that are read; one per process.
#[derive(Debug)]
pub struct IndexCache {}

impl IndexCache {
    /// Makes a cache of at most `bytes_max` bytes of entries.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let _ = bytes_max;
        Self {}
    }
}

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
}

impl Log {
    /// Makes an empty log; touches no disk until the first append.
    #[must_use]
    pub fn create(disk: Arc<dyn Disk>, files: Arc<FileCache>, options: LogOptions) -> Self {
        let _ = (disk, files, options);
        Self { reader: Arc::new(LogReader {}) }
    }

    /// Opens a log from what the last checkpoint knew, the journal's batches since (in the order of
    /// the journal) and the files.
    ///
    /// # Errors
    /// [`RecoverError`]; damage found is no error but in the report.
    pub fn recover(
        disk: Arc<dyn Disk>,
        files: Arc<FileCache>,
        options: LogOptions,
        known: LogCheckpoint,
        journaled: &[JournaledBatch<'_>],
    ) -> Result<(Self, RecoveryReport), RecoverError> {
        let _ = (known, journaled);
        Ok((Self::create(disk, files, options), RecoveryReport::default()))
    }

    /// Writes a batch at the end of the log, visible to readers that pass a higher watermark.
    ///
    /// # Errors
    /// [`AppendError`]; the end of the log is then where it was.
    pub fn append(&mut self, batch: AppendBatch<'_>) -> Result<(), AppendError> {
        let _ = batch;
        Ok(())
    }

    /// Takes back every message from `to` on.
    ///
    /// # Errors
    /// Those of the disk; the log takes no writes then.
    pub fn rewind(&mut self, to: Offset) -> io::Result<()> {
        let _ = to;
        Ok(())
    }

    /// Offset the next message gets.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset::ZERO
    }

    /// Timestamp of the last message; zero when there never was one.
    #[must_use]
    pub fn last_timestamp(&self) -> Timestamp {
        Timestamp::ZERO
    }

    /// What a sync must cover now.
    #[must_use]
    pub fn dirty(&self) -> DirtySet {
        DirtySet::default()
    }

    /// Tells the log that `set` was synced without an error.
    pub fn synced(&mut self, set: &DirtySet) {
        let _ = set;
    }

    /// What is durable, for the checkpoint.
    pub fn checkpoint(&mut self) -> LogCheckpoint {
        LogCheckpoint { start: Offset::ZERO, sealed: Vec::new(), active: None }
    }

    /// Removes the sealed segments that lie wholly below `start`; returns how many.
    ///
    /// Make the move of the start durable first: a checkpoint that still lists a removed segment
    /// makes recovery report it missing.
    ///
    /// # Errors
    /// Those of the disk; the segments are gone for readers in any case.
    pub fn drop_before(&mut self, start: Offset) -> io::Result<u32> {
        let _ = start;
        Ok(0)
    }

    /// Segments, bytes and messages kept.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        LogStats { segments: 1, bytes: 0, messages: 0 }
    }

    /// The reading half.
    #[must_use]
    pub fn reader(&self) -> Arc<LogReader> {
        Arc::clone(&self.reader)
    }
}
