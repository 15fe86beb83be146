//! The journal: the one place that is synced when small writes of many partitions become durable.
//!
//! A commit is one frame of opaque bytes with the next log sequence number ([`Lsn`]). The broker puts
//! everything staged since the last round into one bundle, commits it, and publishes.
//!
//! INV-LSN: frames have consecutive numbers from 1; a number that was durable is never given twice.
//! INV-JOURNAL-FENCE: after a failed sync nothing is committed anymore; the journal is reopened. A failed write is
//! no failed sync: the frame is given up with its file, and its number given again in another.
//! INV-STALE: what a file held before it was recycled, or beyond a torn frame, never reads as a frame
//! of the present.
//! INV-LOUD: a frame known to have been durable and no longer readable is reported, never skipped in
//! silence; so is a file that is gone.

use std::fmt;
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::PathBuf;

/// Number of a frame in a journal. The first is 1; [`Lsn::ZERO`] is "before the first".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// Before the first frame.
    pub const ZERO: Self = Self(0);

    /// The frame of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The frame after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one round of group commit writes.
#[derive(Debug, Clone, Copy)]
pub struct Bundle<'a> {
    /// Opaque bytes, at most [`Journal::payload_bytes_max`].
    pub payload: &'a [u8],
    /// Whether the bundle must survive power loss when `commit` returns; otherwise it survives the
    /// death of the process.
    pub sync: bool,
}

/// A frame that a [`Journal::read`] visits.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// Its payload.
    pub payload: &'a [u8],
    /// Where it is, for [`Journal::read_part`].
    pub place: FramePlace,
}

/// Where a frame is; means something to the journal that gave it only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    pub(crate) file: u32,
    pub(crate) sector: u32,
}

/// What a [`Journal::read`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// The last frame visited, or the one before `from`.
    pub last: Lsn,
    /// Frames visited.
    pub frames: u64,
    /// Frames that had been durable and cannot be read anymore (INV-LOUD).
    pub damaged: Vec<RangeInclusive<u64>>,
    /// Files that are on record and not there, with whatever was in them only (INV-LOUD).
    pub missing: Vec<PathBuf>,
    /// Whether frames after the last one were left out because one before them is missing: the
    /// remains of writes that were never acknowledged as durable.
    pub torn_tail: bool,
}

/// Space a journal takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalUsage {
    /// Files that hold frames after the last checkpoint.
    pub files_in_use: u32,
    /// Files there may be.
    pub files_max: u32,
    /// Writes that failed since the journal was opened; each was made again in another file, or its
    /// bundle refused.
    pub write_errors: u64,
}

/// Why a journal did not take or give something.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Caller's mistake: split the bundle.
    #[error("bundle has {len} bytes, over the journal's limit of {max}")]
    TooLarge {
        /// Bytes in the bundle.
        len: u64,
        /// Bytes a bundle may have.
        max: u64,
    },
    /// Every file holds frames after the last checkpoint; a checkpoint makes room.
    #[error("all {files} journal files are in use until the next checkpoint")]
    Full {
        /// Files in use.
        files: u32,
    },
    /// INV-JOURNAL-FENCE: an earlier sync failed.
    #[error("the journal takes no writes since a sync failed; reopen it to learn what is durable")]
    Fenced,
    /// No file took the bundle, as when the disk is full or has bad places. It does not count, and the
    /// journal goes on; if the process ends before another bundle is written, it may be read back.
    #[error("journal file {} did not take a write", path.display())]
    NotWritten {
        /// The file tried last.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// A new file could not be made, as when the disk is full: nothing was written, the journal goes
    /// on.
    #[error("journal file {} could not be made", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Frames that had been committed cannot be read any more.
    #[error("frame {first} of the journal cannot be read any more")]
    Lost {
        /// The first of them.
        first: u64,
    },
    /// The disk's: the journal takes no writes anymore when it happened in a commit.
    #[error("journal file {}", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

/// An ordered, durable sequence of bundles.
pub trait Journal: Send + Sync {
    /// Writes a bundle after all earlier ones and returns its number.
    ///
    /// With `sync`, this bundle and all before it survive power loss when the call returns.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`], [`JournalError::Full`], [`JournalError::Prepare`] and
    /// [`JournalError::NotWritten`]: the bundle does not count, the journal goes on. [`JournalError::Disk`] and [`JournalError::Fenced`]: whether the
    /// bundle is durable is known only after reopening; no later commit succeeds.
    fn commit(&self, bundle: &Bundle<'_>) -> Result<Lsn, JournalError>;

    /// As [`Journal::commit`] with a sync, of what is in the journal already and gives its place back once it is
    /// durable again: it may take files beyond those there may be.
    ///
    /// # Errors
    /// As [`Journal::commit`], but for [`JournalError::Full`].
    fn commit_reserved(&self, payload: &[u8]) -> Result<Lsn, JournalError>;

    /// Visits all frames from `from` on, in order, until `visit` breaks.
    ///
    /// Before frames from `from` on are checkpointed: at a start, or by whoever takes checkpoints. Commits may
    /// go on meanwhile; what they add is visited or not.
    ///
    /// # Errors
    /// [`JournalError::Disk`] when a file cannot be read at all.
    fn read(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(&Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ReadReport, JournalError>;

    /// Reads a part of the payload of a frame that was visited, from byte `at` on, into `buffer`; returns how many
    /// bytes there were. They are not checked once more, and may be followed by others than the payload's.
    ///
    /// Before the frame is checkpointed.
    ///
    /// # Errors
    /// [`JournalError::Disk`] when the file cannot be read, or is not there any more.
    fn read_part(
        &self,
        place: FramePlace,
        at: u64,
        buffer: &mut [u8],
    ) -> Result<usize, JournalError>;

    /// Tells that frames up to `upto` are not needed anymore, so that their space is used again.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    fn checkpoint(&self, upto: Lsn) -> Result<(), JournalError>;

    /// The number of the last frame.
    fn last(&self) -> Lsn;

    /// Whether a checkpoint would free space now.
    fn needs_checkpoint(&self) -> bool;

    /// Gets space ready for when the present file is full, so that no commit waits for it. For a
    /// background thread, behind each checkpoint that was asked for; cheap when there is nothing to do.
    ///
    /// # Errors
    /// [`JournalError::Prepare`]: nothing is lost, commits try themselves.
    fn prepare_next(&self) -> Result<(), JournalError>;

    /// Largest payload of one bundle.
    fn payload_bytes_max(&self) -> u64;

    /// Space in use.
    fn usage(&self) -> JournalUsage;
}

#[cfg(any(test, feature = "sim"))]
pub mod conformance;
mod files;
pub mod format;
mod list;
mod local;
mod recovery;

pub use local::{
    FILE_BYTES_DEFAULT, FILES_MAX_DEFAULT, JournalOptions, LocalJournal, OpenJournalError,
};
