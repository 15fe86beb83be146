//! The log of metadata commands, with snapshots.
//!
//! INV-META-ACK: a record is durable when [`MetadataLog::append`] returns.
//! INV-META-WHOLE: opening gives every acknowledged record, or an error that names the place; it
//! never leaves one out in silence, and deletes nothing it cannot read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;

/// Why the metadata log could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum MetadataLogError {
    /// Caller's mistake: the record is over the limit.
    #[error("metadata record has {len} bytes, over the limit of {max}")]
    TooLarge {
        /// Bytes of the record.
        len: u64,
        /// Bytes a record may have.
        max: u64,
    },
    /// A record or snapshot that had been durable cannot be read. Nothing was changed.
    #[error("{} is damaged at byte {position}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
    },
    /// Written by a newer program.
    #[error("{} has format version {found}, newer than this program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// An earlier append or snapshot failed.
    #[error("the metadata log takes no writes since one failed; reopen it")]
    Fenced,
    /// The disk's.
    #[error("metadata file {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

/// What a metadata log held when it was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The latest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// The records after the snapshot, in order.
    pub records: Vec<Vec<u8>>,
    /// Bytes of an unfinished append that were cut off.
    pub cut_bytes: u64,
}

/// An append-only log of small records that replaces its past by snapshots.
pub struct MetadataLog {}

impl MetadataLog {
    /// Opens the log in `dir`, made when missing.
    ///
    /// # Errors
    /// See [`MetadataLogError`].
    pub fn open(
        _disk: Arc<dyn Disk>,
        _dir: &Path,
    ) -> Result<(Self, Recovered), MetadataLogError> {
        Ok((Self {}, Recovered::default()))
    }

    /// Writes a record after all earlier ones; durable on return.
    ///
    /// # Errors
    /// `TooLarge`: nothing was written. `Disk`, `Fenced`: whether the record is durable is known only
    /// after reopening; no later append succeeds.
    pub fn append(&mut self, _record: &[u8]) -> Result<(), MetadataLogError> {
        Err(MetadataLogError::Fenced)
    }

    /// Replaces all records so far by `state`; durable on return.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn snapshot(&mut self, _state: &[u8]) -> Result<(), MetadataLogError> {
        Err(MetadataLogError::Fenced)
    }

    /// Bytes of records since the latest snapshot: a measure of when to make the next.
    pub fn bytes_since_snapshot(&self) -> u64 {
        0
    }
}
