//! Reads one place of a metadata log as it is: its snapshot, its files, sound or not.
//!
//! What the bytes mean, and what of them is damage, is decided when both places are known (see
//! [`super::merge()`]).

use std::io;
use std::path::{Path, PathBuf};

use galgo_wire::index::part;

use super::format::{
    FileHeaderError, LOG_HEADER_BYTES, MetadataRecord, RECORD_ALIGN, decode_log_header,
    decode_record, decode_snapshot,
};
use super::{LOG_BYTES_MAX, LOG_SUFFIX, MetadataLogError, SNAPSHOT_BYTES_MAX, SNAPSHOT_NAME};
use crate::disk::Disk;
use crate::replace_file::read_file;

/// What one directory holds.
pub(super) struct MetadataPlace {
    pub(super) dir: PathBuf,
    pub(super) snapshot: SnapshotFile,
    /// The log files, in order.
    pub(super) files: Vec<LogFile>,
}

/// A snapshot file.
#[derive(PartialEq, Eq)]
pub(super) enum SnapshotFile {
    /// There is none.
    None,
    /// It is sound.
    Sound {
        /// The last record it covers.
        sequence: u64,
        /// The state after that record.
        state: Vec<u8>,
    },
    /// Its checksum fails.
    Damaged,
}

/// A log file.
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    /// The number of its first record, by its name.
    pub(super) first: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether its header is sound and says the same number.
    pub(super) header_sound: bool,
}

impl MetadataPlace {
    /// Reads everything in `dir`, which may be missing; changes nothing.
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, MetadataLogError> {
        let mut place =
            Self { dir: dir.to_owned(), snapshot: SnapshotFile::None, files: Vec::new() };
        if !disk.exists(dir).map_err(|error| disk_error(dir, error))? {
            return Ok(place);
        }
        place.snapshot = read_snapshot(disk, dir)?;
        for (first, path) in log_files(disk, dir)? {
            // It was listed, and nobody else removes one: gone by now it is as good as empty, which is damage.
            let bytes = read(disk, &path, LOG_BYTES_MAX)?.unwrap_or_default();
            let header_sound = match decode_log_header(&bytes) {
                Ok(named) => named == first,
                Err(FileHeaderError::Newer(found)) => {
                    return Err(MetadataLogError::Newer { path, found });
                }
                Err(FileHeaderError::Damaged) => false,
            };
            place.files.push(LogFile { path, first, bytes, header_sound });
        }
        Ok(place)
    }

    /// Whether nothing of a log is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.snapshot == SnapshotFile::None && self.files.is_empty()
    }

    /// The record its snapshot ends with, when that is sound.
    pub(super) fn snapshot_sequence(&self) -> Option<u64> {
        match self.snapshot {
            SnapshotFile::Sound { sequence, .. } => Some(sequence),
            SnapshotFile::None | SnapshotFile::Damaged => None,
        }
    }
}

/// Walks over the records of one place, in step with the other.
pub(super) struct RecordCursor<'a> {
    pub(super) place: &'a MetadataPlace,
    /// The file being read, and the place in it of the next record.
    at: Option<(usize, usize)>,
    /// The last sound record of that file.
    last_record: Option<(usize, &'a [u8])>,
    /// Files that do not hold what they should.
    pub(super) damaged: Vec<PathBuf>,
    /// The first record that is unsound here and sound in the other place.
    pub(super) unsound: Option<u64>,
    /// Whether a record is missing at its end.
    pub(super) lags: bool,
}

impl<'a> RecordCursor<'a> {
    /// Starts in the last file that begins within the snapshot of record `base`, or right behind it.
    pub(super) fn new(place: &'a MetadataPlace, base: u64) -> Self {
        // The last that begins there: of those before it the snapshot has all.
        let within = place.files.iter().rposition(|file| file.first <= base.saturating_add(1));
        let at = within.map(|index| (index, LOG_HEADER_BYTES));
        let mut cursor =
            Self { place, at, last_record: None, damaged: Vec::new(), unsound: None, lags: false };
        if place.snapshot == SnapshotFile::Damaged {
            cursor.damaged.push(place.dir.join(SNAPSHOT_NAME));
        }
        cursor
    }

    /// The number of the first record of the file it starts in.
    pub(super) fn first(&self) -> Option<u64> {
        self.file().map(|file| file.first)
    }

    /// The file being read.
    pub(super) fn file(&self) -> Option<&'a LogFile> {
        self.at.and_then(|(index, _)| self.place.files.get(index))
    }

    /// Where in it the next record is.
    pub(super) fn position(&self) -> usize {
        self.at.map_or(0, |(_, position)| position)
    }

    /// The last sound record of the file, as it is there, with its place.
    pub(super) fn last_record(&self) -> Option<(usize, &'a [u8])> {
        self.last_record
    }

    /// Bytes of the file from the next record on; none where it ends before, as records that were taken from the other
    /// place are counted here, too.
    pub(super) fn rest(&self) -> &'a [u8] {
        let Some(file) = self.file() else { return &[] };
        let from = self.position().min(file.bytes.len());
        part(&file.bytes, from.., "the rest of a file begins in it or at its end")
    }

    /// The record `sequence`, if it is here and sound.
    pub(super) fn record(&mut self, sequence: u64) -> Option<MetadataRecord<'a>> {
        let begins = self.place.files.iter().position(|file| file.first == sequence);
        if let Some(index) = begins.filter(|index| self.at.is_none_or(|(at, _)| at < *index)) {
            if !self.rest().is_empty() {
                // The file before must have ended with the record before.
                self.note_damaged();
            }
            (self.at, self.last_record) = (Some((index, LOG_HEADER_BYTES)), None);
        }
        // Of a file that begins behind it nothing is read yet: a record may carry any number where it is damaged.
        if self.first()? > sequence {
            return None;
        }
        decode_record(self.rest()).filter(|record| record.sequence == sequence)
    }

    /// Goes on behind a record of `bytes`, which was `sound` here or taken from the other place.
    pub(super) fn pass(&mut self, sequence: u64, bytes: usize, sound: bool) {
        let Some((index, position)) = self.at.filter(|_| self.first() <= Some(sequence)) else {
            self.lags = true;
            return;
        };
        if sound {
            self.last_record = self.rest().get(..bytes).map(|whole| (position, whole));
            if self.file().is_some_and(|file| !file.header_sound) {
                self.note_damaged();
            }
        } else if self.rest().is_empty() {
            // It ends before: behind, which is what a stop between the two places leaves, not damaged.
            self.lags = true;
        } else {
            self.unsound = self.unsound.or(Some(sequence));
            self.note_damaged();
        }
        self.at = Some((index, position.saturating_add(bytes)));
    }

    /// Gives up on the file being read.
    pub(super) fn leave(&mut self) {
        if !self.rest().is_empty() {
            self.note_damaged();
        }
        (self.at, self.last_record) = (None, None);
    }

    fn note_damaged(&mut self) {
        let Some(file) = self.file() else { return };
        if !self.damaged.contains(&file.path) {
            self.damaged.push(file.path.clone());
        }
    }
}

fn read_snapshot(disk: &dyn Disk, dir: &Path) -> Result<SnapshotFile, MetadataLogError> {
    let path = dir.join(SNAPSHOT_NAME);
    let Some(bytes) = read(disk, &path, SNAPSHOT_BYTES_MAX)? else { return Ok(SnapshotFile::None) };
    match decode_snapshot(&bytes) {
        Ok((sequence, state)) => Ok(SnapshotFile::Sound { sequence, state: state.to_vec() }),
        Err(FileHeaderError::Newer(found)) => Err(MetadataLogError::Newer { path, found }),
        Err(FileHeaderError::Damaged) => Ok(SnapshotFile::Damaged),
    }
}

/// The log files with the numbers in their names, in order.
pub(super) fn log_files(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<Vec<(u64, PathBuf)>, MetadataLogError> {
    let entries = disk.read_dir(dir).map_err(|error| disk_error(dir, error))?;
    let mut files: Vec<(u64, PathBuf)> = entries
        .into_iter()
        .filter_map(|entry| {
            let first = entry.name.strip_suffix(LOG_SUFFIX)?.parse().ok()?;
            Some((first, dir.join(&entry.name)))
        })
        .collect();
    // By number, which is the order of their records; a directory lists them as it likes.
    files.sort();
    Ok(files)
}

/// Whether a sound record with a number not below `sequence` is anywhere behind `at`.
pub(super) fn has_record(bytes: &[u8], at: usize, sequence: u64) -> bool {
    let mut at = at.next_multiple_of(RECORD_ALIGN);
    // At every place where one may begin: the lengths of those before it are not believed, as one of them is unsound.
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if decode_record(rest).is_some_and(|record| record.sequence >= sequence) {
            return true;
        }
        at += RECORD_ALIGN;
    }
    false
}

fn read(disk: &dyn Disk, path: &Path, max: u64) -> Result<Option<Vec<u8>>, MetadataLogError> {
    read_file(disk, path, max).map_err(|error| disk_error(path, error))
}

pub(super) fn disk_error(path: &Path, source: io::Error) -> MetadataLogError {
    MetadataLogError::Disk { path: path.to_owned(), source }
}
