//! The journal in local files.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::{Bundle, Journal, JournalError, JournalUsage, Lsn, ReadReport};
use crate::disk::Disk;

/// Bytes of a journal file unless told otherwise.
pub const FILE_BYTES_DEFAULT: u64 = 16 << 20;

/// Journal files there may be unless told otherwise.
pub const FILES_MAX_DEFAULT: u32 = 16;

/// How a [`LocalJournal`] is opened.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// The last frame that the saved checkpoint covers: reading starts after it, and numbering
    /// never falls back to it.
    pub checkpoint: Lsn,
    /// Bytes of each file.
    pub file_bytes: u64,
    /// Files there may be; at least 2.
    pub files_max: u32,
    /// A number that clients cannot know, the same at every start (part of the identity of the
    /// node): it goes into every checksum, so that no payload can pass for a frame.
    pub salt: u64,
}

impl JournalOptions {
    /// The defaults, going on after `checkpoint`.
    pub fn after(checkpoint: Lsn) -> Self {
        Self { checkpoint, file_bytes: FILE_BYTES_DEFAULT, files_max: FILES_MAX_DEFAULT, salt: 0 }
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenJournalError {
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] JournalError),
}

/// A [`Journal`] in preallocated files that are overwritten again and again.
pub struct LocalJournal {}

impl LocalJournal {
    /// Opens the journal in `dir`, made when missing.
    ///
    /// # Errors
    /// See [`OpenJournalError`].
    pub fn open(
        _disk: Arc<dyn Disk>,
        _dir: &Path,
        _options: JournalOptions,
    ) -> Result<Self, OpenJournalError> {
        Ok(Self {})
    }
}

impl Journal for LocalJournal {
    fn commit(&self, _bundle: &Bundle<'_>) -> Result<Lsn, JournalError> {
        Err(JournalError::Fenced)
    }

    fn read(
        &self,
        _from: Lsn,
        _visit: &mut dyn FnMut(Lsn, &[u8]) -> ControlFlow<()>,
    ) -> Result<ReadReport, JournalError> {
        Err(JournalError::Fenced)
    }

    fn checkpoint(&self, _upto: Lsn) -> Result<(), JournalError> {
        Err(JournalError::Fenced)
    }

    fn last(&self) -> Lsn {
        Lsn::ZERO
    }

    fn needs_checkpoint(&self) -> bool {
        false
    }

    fn prepare_next(&self) -> Result<(), JournalError> {
        Ok(())
    }

    fn payload_bytes_max(&self) -> u64 {
        0
    }

    fn usage(&self) -> JournalUsage {
        JournalUsage::default()
    }
}
