//! The log of metadata commands, with snapshots, in two places.
//!
//! Everything is written twice, to the directory of the log and to its copy: metadata is small, rarely
//! changed, and all else hangs on it. What one place loses is taken from the other when the log is
//! opened, and written there anew.
//!
//! INV-META-ACK: a record is durable, in both places, when [`MetadataLog::append`] returns.
//! INV-META-TWICE: a record is begun in the copy only when it is durable in the first place, so that
//! what is unsound in one place is sound in the other, or was never acknowledged.
//! INV-META-WHOLE: opening gives every acknowledged record, or an error that names the place; it
//! never leaves one out in silence, and deletes nothing it cannot read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use galgo_wire::index::part;

use crate::disk::Disk;

pub mod format;
mod merge;
mod recovery;
mod side;

use format::{SNAPSHOT_HEADER_BYTES, encode_record, record_bytes};
use merge::{Merged, PlaceVerdict, merge};
use recovery::{MetadataPlace, disk_error, log_files};
use side::LogSide;

/// Most bytes of one record.
pub const RECORD_BYTES_MAX: u64 = 16 << 20;
/// Most bytes of a snapshot file.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of a log file that is read back.
const LOG_BYTES_MAX: u64 = 4 << 30;

const _: () = assert!(RECORD_BYTES_MAX < LOG_BYTES_MAX && RECORD_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(
    RECORD_BYTES_MAX < SNAPSHOT_BYTES_MAX,
    "what a record says of the state fits into a snapshot of it"
);

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
    /// A record or snapshot that had been durable cannot be read, here or in the other place. Nothing was
    /// changed.
    #[error("{} is damaged at byte {position}, and what is lost is in no second copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
    },
    /// The two places hold different records of one number, so one of them is not of this log. Nothing
    /// was changed.
    #[error(
        "{} and {} hold different records {sequence}: one of them belongs to another server or another time",
        first.display(),
        copy.display()
    )]
    Differ {
        /// The directory of the log.
        first: PathBuf,
        /// That of its copy.
        copy: PathBuf,
        /// The number of the record.
        sequence: u64,
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

/// Where a metadata log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataDirs {
    /// The directory of the log.
    pub first: PathBuf,
    /// The directory of its copy.
    pub copy: PathBuf,
}

/// What a metadata log held when it was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecoveredMetadata {
    /// The latest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// The records after the snapshot, in order.
    pub records: Vec<Vec<u8>>,
    /// Bytes of an unfinished append that were cut off.
    pub cut_bytes: u64,
    /// Damaged files that got back from the other place what they had lost. What was in them is kept
    /// beside them, with `.damaged` behind the name.
    pub repaired: Vec<PathBuf>,
    /// With [`Doubt::GiveUp`], where records were given up that had been durable: the file, and the byte
    /// from which on it is not used.
    pub given_up: Vec<(PathBuf, u64)>,
}

/// What becomes of a log that has provably lost records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It is refused.
    Refuse,
    /// It ends before the first lost record; for an operator who accepts that.
    GiveUp,
}

/// A metadata log that was read, and not changed.
pub struct FoundLog {
    disk: Arc<dyn Disk>,
    places: [MetadataPlace; 2],
    merged: Merged,
    recovered: RecoveredMetadata,
}

/// An append-only log of small records that replaces its past by snapshots.
pub struct MetadataLog {
    disk: Arc<dyn Disk>,
    /// The first place and the copy, always written in this order.
    sides: [LogSide; 2],
    /// Number of the next record.
    next: u64,
    bytes_since_snapshot: u64,
    fenced: bool,
    /// Whether files that a snapshot covers could not be removed.
    covered_remain: bool,
}

impl FoundLog {
    /// Reads both places; changes nothing.
    ///
    /// # Errors
    /// See [`MetadataLogError`]; `Damaged` only when `doubt` refuses it.
    pub fn read(
        disk: Arc<dyn Disk>,
        dirs: &MetadataDirs,
        doubt: Doubt,
    ) -> Result<Self, MetadataLogError> {
        let places =
            [MetadataPlace::read(&*disk, &dirs.first)?, MetadataPlace::read(&*disk, &dirs.copy)?];
        let [first, copy] = &places;
        // Both are known before either is judged: what is unsound in one is a torn append or damage, and only the other
        // tells which.
        let mut merged = merge(first, copy, doubt)?;
        let recovered = RecoveredMetadata {
            snapshot: merged.snapshot.as_ref().map(|(_, state)| state.clone()),
            records: merged.records.clone(),
            cut_bytes: merged.cut_bytes(),
            repaired: merged.repaired(),
            given_up: merged.given_up.clone(),
        };
        // What the first place has lost as a whole is no torn append.
        if first.is_empty() && !copy.is_empty() {
            merged.verdicts[0].whole = false;
        }
        Ok(Self { disk, places, merged, recovered })
    }

    /// What it holds.
    #[must_use]
    pub fn recovered(&self) -> &RecoveredMetadata {
        &self.recovered
    }

    /// Whether there is nothing of a log in either place.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.places.iter().all(MetadataPlace::is_empty)
    }

    /// Whether there is a copy and nothing of the log itself.
    #[must_use]
    pub fn is_copy_only(&self) -> bool {
        let [first, copy] = &self.places;
        first.is_empty() && !copy.is_empty()
    }

    /// Brings both places in line with what was read and gets them ready to be written. What was read is
    /// durable on return.
    ///
    /// # Errors
    /// `Disk`; nothing was lost then, and reading it again gives the same.
    pub fn settle(self) -> Result<(MetadataLog, RecoveredMetadata), MetadataLogError> {
        let Self { disk, places, merged, recovered } = self;
        let settle = |place: &MetadataPlace, verdict: &PlaceVerdict| {
            LogSide::settle(&*disk, place, &merged, verdict)
                .map_err(|error| disk_error(&place.dir, error))
        };
        let ([first, copy], [first_verdict, copy_verdict]) = (&places, &merged.verdicts);
        // One after the other: a stop in between leaves one of them as it was.
        let sides = [settle(first, first_verdict)?, settle(copy, copy_verdict)?];
        for path in &recovered.repaired {
            tracing::warn!(
                path = %path.display(),
                "damaged metadata file restored from its second copy; what was in it is kept as .damaged"
            );
        }
        if recovered.cut_bytes > 0 {
            let (path, cut_bytes) = (sides[0].path.display(), recovered.cut_bytes);
            tracing::warn!(%path, cut_bytes, "metadata log cut");
        }
        let mut covered_remain = false;
        for place in &places {
            let files = log_files(&*disk, &place.dir)?;
            // A stop behind a snapshot leaves them. They may hold what was deleted for good, secrets among it.
            covered_remain |= files.iter().any(|(first, _)| *first <= merged.base());
        }
        let bytes = merged.records.iter().map(|record| record_bytes(record.len()) as u64);
        let log = MetadataLog {
            sides,
            next: merged.last + 1,
            bytes_since_snapshot: bytes.sum(),
            fenced: false,
            covered_remain,
            disk,
        };
        Ok((log, recovered))
    }
}

impl MetadataLog {
    /// Opens the log in `dirs`, made when missing. What was found is durable on return.
    ///
    /// # Errors
    /// See [`MetadataLogError`]; with `Damaged`, `Differ` and `Newer`, nothing was changed.
    pub fn open(
        disk: Arc<dyn Disk>,
        dirs: &MetadataDirs,
    ) -> Result<(Self, RecoveredMetadata), MetadataLogError> {
        FoundLog::read(disk, dirs, Doubt::Refuse)?.settle()
    }

    /// Writes a record after all earlier ones; durable in both places on return.
    ///
    /// # Errors
    /// `TooLarge`: nothing was written. `Disk`: nothing was written, or what was written was taken back,
    /// and the log goes on; unless the log [is fenced](Self::is_fenced) now: then whether the record is
    /// durable is known only after reopening, and no later append succeeds.
    pub fn append(&mut self, record: &[u8]) -> Result<(), MetadataLogError> {
        if self.fenced {
            return Err(MetadataLogError::Fenced);
        }
        // Before anything is written: one that is longer would not be read back.
        check_len(record.len(), RECORD_BYTES_MAX)?;
        let bytes = encode_record(self.next, record);
        for (index, side) in self.sides.iter().enumerate() {
            // A write that failed is known to have failed, and what is there of it can be cut off. A sync that failed
            // leaves unknown what the disk has, so that the log is fenced.
            if let Err(error) = side.write(&bytes) {
                return Err(self.take_back(index, error));
            }
            // INV-META-TWICE: durable here before it is begun in the copy.
            if let Err(error) = side.sync() {
                let path = side.path.clone();
                return Err(self.fence(&path, error));
            }
        }
        // Only now, for both: of a record that was taken back the next one takes the place.
        let len = bytes.len() as u64;
        self.sides.iter_mut().for_each(|side| side.advance(len));
        let [first, copy] = self.sides.each_ref().map(|side| side.first);
        assert!(
            first <= self.next && copy <= self.next,
            "INV-META-WHOLE: a file begins with a record it has"
        );
        self.bytes_since_snapshot += len;
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
        // The first place, then the copy, each durable on return: a stop in between leaves records that a snapshot covers,
        // which are passed over, never a snapshot without its records or the other way round in both.
        for side in &mut self.sides {
            if let Err(error) = side.snapshot(&*self.disk, self.next, state) {
                let path = side.path.clone();
                return Err(self.fence(&path, error));
            }
        }
        self.bytes_since_snapshot = 0;
        // Only now: until then what one place lost may be in what the snapshot covers in the other.
        self.covered_remain = true;
        let removed = self.sides.each_ref().map(|side| side.remove_covered(&*self.disk));
        self.covered_remain = removed.contains(&false);
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

    /// Cuts off a record that was not written whole in place `index`, most often for want of space: there
    /// and before. The copy goes first, so that the record stays known until nothing of it can come back.
    fn take_back(&mut self, index: usize, error: io::Error) -> MetadataLogError {
        let written =
            part(&self.sides, ..=index, "INV-META-TWICE: a record is begun in one of two places");
        let path = written.last().map_or_else(PathBuf::new, |side| side.path.clone());
        match written.iter().rev().try_for_each(LogSide::cut) {
            Ok(()) => disk_error(&path, error),
            Err(_) => self.fence(&path, error),
        }
    }

    fn fence(&mut self, path: &Path, error: io::Error) -> MetadataLogError {
        // Nothing is written behind a record that may be there or not: its number would be given twice.
        self.fenced = true;
        tracing::error!(path = %path.display(), %error, "metadata log fenced");
        disk_error(path, error)
    }
}

fn check_len(len: usize, max: u64) -> Result<(), MetadataLogError> {
    let len = len as u64;
    if len > max { Err(MetadataLogError::TooLarge { len, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
