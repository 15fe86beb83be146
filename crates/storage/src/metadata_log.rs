//! The log of metadata commands, with snapshots.
//!
//! INV-META-ACK: a record is durable when [`MetadataLog::append`] returns.
//! INV-META-WHOLE: opening gives every acknowledged record, or an error that names the place; it
//! never leaves one out in silence, and deletes nothing it cannot read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode, create_dir_synced};
use crate::replace_file::replace_file;

pub mod format;
mod recovery;

use format::{
    LOG_HEADER_BYTES, SNAPSHOT_HEADER_BYTES, encode_log_header, encode_record, encode_snapshot,
    record_bytes,
};
use recovery::{Tail, disk_error};

/// Most bytes of one record.
pub const RECORD_BYTES_MAX: u64 = 16 << 20;
/// Most bytes of a snapshot file.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of a log file that is read back.
const LOG_BYTES_MAX: u64 = 4 << 30;

const _: () = assert!(RECORD_BYTES_MAX < LOG_BYTES_MAX && RECORD_BYTES_MAX <= u32::MAX as u64);

const LOG_SUFFIX: &str = ".log";
const SNAPSHOT_NAME: &str = "snapshot";

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
pub struct MetadataLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Number of the first record of `file`.
    first: u64,
    /// Number of the next record.
    next: u64,
    /// Where the next record goes.
    end: u64,
    bytes_since_snapshot: u64,
    fenced: bool,
    /// Whether files that a snapshot covers could not be removed.
    covered_remain: bool,
}

impl MetadataLog {
    /// Opens the log in `dir`, made when missing. What was found is durable on return.
    ///
    /// # Errors
    /// See [`MetadataLogError`]; with `Damaged` and `Newer`, nothing was changed.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, Recovered), MetadataLogError> {
        create_dir_synced(&*disk, dir).map_err(|error| disk_error(dir, error))?;
        // A snapshot or log file whose name never reached the disk is visible all the same; what
        // follows builds on it.
        disk.sync_dir(dir).map_err(|error| disk_error(dir, error))?;
        let found = recovery::find(&*disk, dir)?;
        let next = found.last + 1;
        let cut_bytes = found.tail.as_ref().map_or(0, |tail| tail.cut_bytes);
        let (path, file, first, end) = match found.tail {
            Some(tail) => {
                let file = settle_tail(&*disk, &tail).map_err(|e| disk_error(&tail.path, e))?;
                (tail.path, file, tail.first, tail.end.max(LOG_HEADER_BYTES as u64))
            }
            None => {
                let path = log_path(dir, next);
                let file = make_log(&*disk, dir, next).map_err(|e| disk_error(&path, e))?;
                (path, file, next, LOG_HEADER_BYTES as u64)
            }
        };
        if cut_bytes > 0 {
            tracing::warn!(path = %path.display(), position = end, cut_bytes, "metadata log cut");
        }
        let bytes = found.records.iter().map(|record| record_bytes(record.len()) as u64);
        let covered = recovery::log_files(&*disk, dir)?;
        let covered_remain = covered.iter().any(|(first, _)| *first <= found.snapshot_sequence);
        let log = Self {
            disk,
            dir: dir.to_owned(),
            path,
            file,
            first,
            next,
            end,
            bytes_since_snapshot: bytes.sum(),
            fenced: false,
            covered_remain,
        };
        Ok((log, Recovered { snapshot: found.snapshot, records: found.records, cut_bytes }))
    }

    /// Writes a record after all earlier ones; durable on return.
    ///
    /// # Errors
    /// `TooLarge`: nothing was written. `Disk`: nothing was written, or what was written was taken back,
    /// and the log goes on; unless the log [is fenced](Self::is_fenced) now: then whether the record is
    /// durable is known only after reopening, and no later append succeeds.
    pub fn append(&mut self, record: &[u8]) -> Result<(), MetadataLogError> {
        if self.fenced {
            return Err(MetadataLogError::Fenced);
        }
        check_len(record.len(), RECORD_BYTES_MAX)?;
        let bytes = encode_record(self.next, record);
        if let Err(error) = self.file.write_at(&bytes, self.end) {
            return Err(self.take_back(error));
        }
        if let Err(error) = self.file.sync_data() {
            return Err(self.fence(error));
        }
        self.end += bytes.len() as u64;
        self.bytes_since_snapshot += bytes.len() as u64;
        self.next += 1;
        Ok(())
    }

    /// Replaces all records so far by `state`; durable on return.
    ///
    /// # Errors
    /// As [`append`](Self::append); the records so far are kept then.
    pub fn snapshot(&mut self, state: &[u8]) -> Result<(), MetadataLogError> {
        if self.fenced {
            return Err(MetadataLogError::Fenced);
        }
        check_len(state.len(), SNAPSHOT_BYTES_MAX - SNAPSHOT_HEADER_BYTES as u64)?;
        let bytes = encode_snapshot(self.next - 1, state);
        let path = self.dir.join(SNAPSHOT_NAME);
        if let Err(error) = replace_file(&*self.disk, &path, &bytes) {
            return Err(self.fence(error));
        }
        self.bytes_since_snapshot = 0;
        if self.first == self.next {
            // What an earlier snapshot could not remove any more.
            self.remove_covered();
            return Ok(());
        }
        match make_log(&*self.disk, &self.dir, self.next) {
            Ok(file) => self.file = file,
            Err(error) => return Err(self.fence(error)),
        }
        self.path = log_path(&self.dir, self.next);
        self.first = self.next;
        self.end = LOG_HEADER_BYTES as u64;
        self.remove_covered();
        Ok(())
    }

    /// Whether the log takes no writes since it is not known what of it is durable.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Whether records that the latest snapshot covers may still be on the disk: their removal did not
    /// come about, or might be undone by a power cut. The next snapshot tries again.
    #[must_use]
    pub fn covered_remain(&self) -> bool {
        self.covered_remain
    }

    /// Bytes of records since the latest snapshot: a measure of when to make the next.
    pub fn bytes_since_snapshot(&self) -> u64 {
        self.bytes_since_snapshot
    }

    /// Removes log files that the snapshot covers. They are skipped when they stay.
    fn remove_covered(&mut self) {
        self.covered_remain = true;
        let Ok(files) = recovery::log_files(&*self.disk, &self.dir) else { return };
        let mut removed = Ok(());
        for (_, path) in files.iter().filter(|(first, _)| *first < self.first) {
            if let Err(error) = self.disk.remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "old metadata log not removed");
                removed = Err(error);
            }
        }
        self.covered_remain = removed.and_then(|()| self.disk.sync_dir(&self.dir)).is_err();
    }

    /// Cuts off a record that was not written whole, most often for want of space. It was never synced,
    /// so once the cut is durable nothing of it can come back.
    fn take_back(&mut self, error: io::Error) -> MetadataLogError {
        let cut = self.file.set_len(self.end).and_then(|()| self.file.sync_data());
        match cut {
            Ok(()) => disk_error(&self.path, error),
            Err(_) => self.fence(error),
        }
    }

    fn fence(&mut self, error: io::Error) -> MetadataLogError {
        self.fenced = true;
        tracing::error!(path = %self.path.display(), %error, "metadata log fenced");
        disk_error(&self.path, error)
    }
}

fn check_len(len: usize, max: u64) -> Result<(), MetadataLogError> {
    let len = len as u64;
    if len > max { Err(MetadataLogError::TooLarge { len, max }) } else { Ok(()) }
}

fn log_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{LOG_SUFFIX}"))
}

fn make_log(disk: &dyn Disk, dir: &Path, first: u64) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(&log_path(dir, first), OpenMode::CreateNew)?;
    file.write_at(&encode_log_header(first), 0)?;
    file.sync_data()?;
    // A synced file whose name is not synced is gone after a power cut, and the records with it.
    disk.sync_dir(dir)?;
    Ok(file)
}

/// Cuts what is unfinished, and writes the end of the sound part once more.
///
/// The last record may come from an append whose sync failed: the page cache shows it, the platter may
/// not have it, and a sync alone would not write it. Records are appended behind it, so it goes to
/// disk for certain now.
fn settle_tail(disk: &dyn Disk, tail: &Tail) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(&tail.path, OpenMode::ReadWrite)?;
    if tail.cut_bytes > 0 {
        file.set_len(tail.end)?;
    }
    match &tail.last_record {
        Some((position, record)) => file.write_at(record, *position)?,
        None => file.write_at(&encode_log_header(tail.first), 0)?,
    }
    file.sync_data()?;
    Ok(file)
}

#[cfg(test)]
mod tests;
