//! One partition's log: ordered segments with one writer and many readers.
//!
//! An append is one write at the end of the newest segment. It is visible to a reader only below the
//! high watermark that the reader passes, and durable only after a sync covered it.
//!
//! INV-CONTIGUOUS: each segment starts where the one before ends; offsets have no gaps.
//! INV-END: the end moves only after the bytes were written.
//! INV-LOG-FENCE: after a failed sync, or a failed write that could not be taken back, nothing is
//! written until the log is recovered anew.

use crate::checkpoint::{LogCheckpoint, SealedSegment};
use crate::disk::{Disk, OpenMode};
use crate::file_cache::FileCache;
use crate::index::IndexEntry;
use crate::index::rebuild::IndexSpan;
use crate::segment::writer::SegmentWriter;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::index::{part, to_u32};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

mod append;
mod damage;
mod files;
mod locate;
mod name;
mod newest;
mod offline;
mod reader;
mod recover;
mod rescue;
mod rewind;
mod search;
mod state;
mod sync;

pub use crate::index::IndexCache;
pub use crate::segment::writer::BatchSize;
pub use append::{AHEAD_US_MAX, AppendBatch, AppendError, WalkedBatch};
pub use files::first_base;
pub use locate::SeenMessage;
pub use name::{LogName, PartitionName};
pub use newest::NewestRequest;
pub use reader::{LocateRequest, Located, LocatedSlice, LogReader, ReadError};
pub use recover::{
    BatchSource, Evidence, FencedRange, JournaledBatch, JournaledLog, LogRecoverError,
    RecoveryReport,
};
pub use rescue::Rescue;
pub use state::OldestSealed;
pub use sync::{DirtySet, durable_end};

use name::tell;
use state::LogState;
use sync::SyncLedger;

/// Index entries in memory that wait for one write to the index file.
const INDEX_PENDING_MAX: usize = 256;

const _: () = assert!(INDEX_PENDING_MAX > 0, "an append that made no entry writes none");

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
    /// What of it is durable, and what is not.
    ledger: SyncLedger,
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

    /// A log of which is known that it has these offsets, and nothing else: whoever reads it is told that all of
    /// them are damaged. Touches no disk.
    #[must_use]
    pub fn offline(
        disk: Arc<dyn Disk>,
        files: Arc<FileCache>,
        options: LogOptions,
        known: Range<Offset>,
    ) -> Self {
        let end = known.end.max(known.start);
        let state = LogState::offline(known);
        let mut log = Self::of_reader(LogReader::new(disk, files, options, state));
        log.end = end;
        // None of it is to be taken back: what it stands in for may be durable and acknowledged.
        log.ledger = SyncLedger::checkpointed(end);
        log.ledger.fence();
        log.is_offline = true;
        log
    }

    /// Opens a log from what the last checkpoint knew, the journal's batches since (in the order of
    /// the journal), what `evidence` says of its end, and the files.
    ///
    /// # Errors
    /// [`LogRecoverError`]; damage found is no error but in the report.
    pub fn recover(
        disk: Arc<dyn Disk>,
        files: Arc<FileCache>,
        options: LogOptions,
        known: LogCheckpoint,
        journaled: JournaledLog<'_>,
        evidence: Evidence,
    ) -> Result<(Self, RecoveryReport), LogRecoverError> {
        let reader = LogReader::new(disk, files, options, LogState::default());
        recover::recover(reader, &known, journaled, evidence)
    }

    /// Whether all that the checkpoint knows is there, as far as names and lengths tell: while somebody puts files
    /// back, a log would be opened without those that are still to come.
    ///
    /// # Errors
    /// Those of the disk; `NotFound` and `UnexpectedEof` name what is missing.
    pub fn check_files(reader: &LogReader, known: &LogCheckpoint) -> io::Result<()> {
        offline::check_files(reader, known)
    }

    /// Tries to open what this one stands in for, as [`Log::recover`] does at a start.
    ///
    /// # Errors
    /// Those of [`Log::recover`]; this one stays as it is.
    pub fn recover_offline(
        reader: &LogReader,
        known: LogCheckpoint,
        journaled: JournaledLog<'_>,
        evidence: Evidence,
    ) -> Result<(Self, RecoveryReport), LogRecoverError> {
        let (disk, files) = (Arc::clone(&reader.files.disk), Arc::clone(&reader.files.cache));
        Self::recover(disk, files, reader.files.options.clone(), known, journaled, evidence)
    }

    fn of_reader(reader: LogReader) -> Self {
        Self {
            reader: Arc::new(reader),
            writer: None,
            end: Offset::ZERO,
            last_timestamp: Timestamp::ZERO,
            ledger: SyncLedger::default(),
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
        self.ledger.is_fenced()
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
        // Before the files go: their handles would keep the space, and a sync of one that is gone would fail.
        self.forget_dropped();
        let removed = self.reader.remove_dropped(&dropped);
        removed.map(|()| to_u32(dropped.len()))
    }

    /// Lets go of the files of segments that were dropped and never synced: a removed file that is still
    /// open keeps its space. Nothing of them is to be made durable any more.
    pub fn forget_dropped(&mut self) {
        self.ledger.forget_dropped(&self.reader.state.read());
    }

    /// Removes the log and its directory.
    ///
    /// # Errors
    /// Those of the disk; call it again then, or remove the directory.
    pub fn remove(self) -> io::Result<()> {
        let disk = self.disk();
        // Before the files go: a reader that finds one missing which the state still has would call it damage.
        *self.reader.state.write() = LogState::default();
        match disk.remove_dir_all(&self.reader.files.options.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What a sync must cover now.
    #[must_use]
    pub fn dirty(&self) -> DirtySet {
        self.ledger.dirty(&self.reader, self.written())
    }

    /// Tells the log that `set` was synced without an error.
    ///
    /// A set taken before a rewind counts for nothing.
    pub fn synced(&mut self, set: &DirtySet) {
        // Retention may have come by while the sync was on its way.
        self.forget_dropped();
        self.ledger.note_synced(set, self.written());
    }

    /// What is durable, for the checkpoint. Entries of the index that wait are written on the way.
    ///
    /// # Panics
    /// For a log that could not be opened, of which nothing is known.
    pub fn checkpoint(&self) -> LogCheckpoint {
        assert!(!self.is_offline, "INV-OFFLINE: no checkpoint is made of a log that is not open");
        self.flush_index();
        self.ledger.checkpoint(&self.reader.state.read(), self.written())
    }

    /// Takes back every message from `to` on. Only what readers cannot see yet may be taken back:
    /// `to` is the high watermark or higher.
    ///
    /// When that fails, or a checkpoint called some of these messages durable already, they stay in
    /// the log and it takes no more writes.
    ///
    /// If the journal may hold some of them, append nothing more until the log was recovered: a
    /// recovery takes batches of the journal for what they were when they were staged.
    pub fn rewind(&mut self, to: Offset) {
        if to >= self.end {
            return;
        }
        // First: a sync that is on its way covers messages that others will take the place of.
        self.ledger.outdate();
        let taken = if to < self.ledger.checkpointed_end() || to < self.reader.start() {
            Err(io::Error::from(io::ErrorKind::InvalidInput))
        } else {
            self.take_back(to)
        };
        if let Err(error) = taken {
            let dir = self.reader.files.options.dir.display();
            tell!(
                error,
                self.reader,
                %dir,
                to = to.get(),
                %error,
                "messages not taken back; the partition takes no writes until the next start"
            );
            self.ledger.fence();
        }
    }

    /// What has to be written anew; `None` while the log takes writes, or when its end is not `upto`: then
    /// it holds what was to be taken back, and only a recovery tells what becomes of that.
    #[must_use]
    pub fn rescue(&self, upto: Offset) -> Option<Rescue> {
        if !self.is_fenced() || self.end != upto {
            return None;
        }
        Some(Rescue::of(&self.ledger, &self.reader, self.written()))
    }

    /// Takes what `rescue` has written in place of the old files, all of it durable, and takes writes again.
    ///
    /// # Panics
    /// When the log has changed since, which one that takes no writes does not.
    pub fn rescued(&mut self, rescue: &Rescue) {
        assert_eq!(
            rescue.generation(),
            self.ledger.generation(),
            "INV-RESCUE: the log was changed meanwhile"
        );
        for base in rescue.bases() {
            // Open handles are of the old file, which has no name any more: what is written there is lost.
            self.reader.files.forget(base);
            if let Some(writer) = self.writer.as_mut().filter(|writer| writer.tip.base == base) {
                let handle = self.reader.files.handle(base, OpenMode::ReadWrite);
                writer.handle = handle.clone();
                self.reader.state.write().reopen(base, handle);
            }
        }
        // Behind the handles: an append that found the log open would go to the old file.
        self.ledger.note_rescued();
    }

    /// Takes the log that could be opened after all; whoever has the reader of this one reads it.
    ///
    /// # Panics
    /// When this one is open, or `recovered` is not.
    pub fn come_online(&mut self, recovered: Self) {
        assert!(self.is_offline && !recovered.is_offline, "INV-OFFLINE: a log is opened once");
        // One lock after the other, as both have one rank. Readers have the old reader's state until the new is in it.
        let state = std::mem::take(&mut *recovered.reader.state.write());
        self.reader.state.write().come_online(state);
        let (reader, ledger) = (Arc::clone(&self.reader), recovered.ledger.after(&self.ledger));
        *self = Self { reader, ledger, ..recovered };
    }

    /// Whether it only stands in for one that could not be opened.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.is_offline
    }

    /// Writes the entries of the active segment's index that are only in memory. A hint: an error
    /// is logged and the entries wait.
    fn flush_index(&self) {
        let disk = self.disk();
        let Some(writer) = &self.writer else { return };
        let base = writer.tip.base;
        let mut tail = writer.index.lock();
        let (span, new) = {
            let state = self.reader.state.read();
            let Some(active) = state.active_at(base) else { return };
            let entries = active.live().entries();
            let new = part(entries, tail.flushed().., "INV-INDEX: no entry is written that is not");
            if new.is_empty() {
                return;
            }
            let interval_bytes = self.reader.files.options.index_interval_bytes;
            let span = IndexSpan { base, end: active.live_from(), interval_bytes };
            // Copied: the lock of the state is not held across a write.
            (span, new.to_vec())
        };
        let path = self.reader.files.index_path(base);
        if let Err(error) = tail.flush(&*disk, &path, span, &new) {
            tell!(warn, self.reader, path = %path.display(), %error, "index entries not written");
        }
    }

    /// What the log is called in lines for the operator.
    #[must_use]
    pub fn name(&self) -> &LogName {
        self.reader.name()
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.reader.files.disk)
    }
}
