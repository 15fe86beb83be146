//! Reads a metadata log back: snapshot, files, records; tells a torn tail from damage.
//!
//! Only the last append may be unfinished, so only the end of the last file may be unsound, with no
//! sound record behind it. Everything else is damage, and an error (INV-META-WHOLE).

use std::io;
use std::path::{Path, PathBuf};

use super::format::{
    HeaderError, LOG_HEADER_BYTES, RECORD_ALIGN, decode_log_header, decode_record, decode_snapshot,
};
use super::{LOG_BYTES_MAX, LOG_SUFFIX, MetadataLogError, SNAPSHOT_BYTES_MAX, SNAPSHOT_NAME};
use crate::disk::Disk;
use crate::replace_file::read_file;

/// What the files hold.
pub(super) struct Found {
    pub(super) snapshot: Option<Vec<u8>>,
    /// Number of the last record the snapshot covers; 0 without one.
    pub(super) snapshot_sequence: u64,
    /// Records after the snapshot.
    pub(super) records: Vec<Vec<u8>>,
    /// Number of the last record there is.
    pub(super) last: u64,
    /// The file that takes the next record; `None` when there is no file yet.
    pub(super) tail: Option<Tail>,
}

/// The last log file.
pub(super) struct Tail {
    pub(super) path: PathBuf,
    /// Number of its first record.
    pub(super) first: u64,
    /// Number of the record after its last.
    pub(super) next: u64,
    /// Where its last sound record starts, and that record as it is in the file.
    pub(super) last_record: Option<(u64, Vec<u8>)>,
    /// Where its sound part ends; 0 when even the header is unfinished.
    pub(super) end: u64,
    /// Bytes behind the sound part.
    pub(super) cut_bytes: u64,
}

/// Reads everything in `dir`; changes nothing.
pub(super) fn find(disk: &dyn Disk, dir: &Path) -> Result<Found, MetadataLogError> {
    let (snapshot, snapshot_sequence) = read_snapshot(disk, dir)?;
    let mut found = Found {
        snapshot,
        snapshot_sequence,
        records: Vec::new(),
        last: snapshot_sequence,
        tail: None,
    };
    let mut files = log_files(disk, dir)?;
    // Of several files that start within the snapshot, only the last has records behind it.
    let within = files.iter().filter(|(first, _)| *first <= snapshot_sequence + 1).count();
    files.drain(..within.saturating_sub(1));
    let count = files.len();
    for (index, (first, path)) in files.into_iter().enumerate() {
        let starts_well =
            if index == 0 { first <= found.last + 1 } else { first == found.last + 1 };
        if !starts_well {
            return Err(MetadataLogError::Damaged { path, position: 0 });
        }
        let bytes = read(disk, &path, LOG_BYTES_MAX)?.unwrap_or_default();
        found.tail = Some(read_log(&mut found, path, first, &bytes, index + 1 == count)?);
    }
    // A log that ends within the snapshot cannot go on without a hole; a new file does.
    let next = found.last + 1;
    found.tail = found.tail.filter(|tail| tail.next == next);
    Ok(found)
}

fn read_snapshot(disk: &dyn Disk, dir: &Path) -> Result<(Option<Vec<u8>>, u64), MetadataLogError> {
    let path = dir.join(SNAPSHOT_NAME);
    let Some(bytes) = read(disk, &path, SNAPSHOT_BYTES_MAX)? else { return Ok((None, 0)) };
    match decode_snapshot(&bytes) {
        Ok((sequence, state)) => Ok((Some(state.to_vec()), sequence)),
        Err(error) => Err(header_error(path, error)),
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
    files.sort();
    Ok(files)
}

fn read_log(
    found: &mut Found,
    path: PathBuf,
    first: u64,
    bytes: &[u8],
    is_last: bool,
) -> Result<Tail, MetadataLogError> {
    let cut_bytes = bytes.len() as u64;
    let mut tail = Tail { path, first, next: first, last_record: None, end: 0, cut_bytes };
    match decode_log_header(bytes) {
        Ok(named) if named == first => {}
        Ok(_) => return Err(MetadataLogError::Damaged { path: tail.path, position: 0 }),
        Err(HeaderError::Newer(found)) => {
            return Err(MetadataLogError::Newer { path: tail.path, found });
        }
        // A file that was being made when the power went has no record yet.
        Err(HeaderError::Damaged) if is_last && first == found.last + 1 => {
            if has_record(bytes, 0, first) {
                return Err(MetadataLogError::Damaged { path: tail.path, position: 0 });
            }
            return Ok(tail);
        }
        Err(HeaderError::Damaged) => {
            return Err(MetadataLogError::Damaged { path: tail.path, position: 0 });
        }
    }
    let mut at = LOG_HEADER_BYTES;
    let mut sequence = first;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(record) = decode_record(rest).filter(|record| record.sequence == sequence) else {
            if !is_last || has_record(bytes, at, sequence) {
                return Err(MetadataLogError::Damaged { path: tail.path, position: at as u64 });
            }
            break;
        };
        if sequence > found.snapshot_sequence {
            found.records.push(record.payload.to_vec());
            found.last = sequence;
        }
        let whole = rest.get(..record.bytes()).unwrap_or(rest);
        tail.last_record = Some((at as u64, whole.to_vec()));
        at += record.bytes();
        sequence += 1;
    }
    tail.next = sequence;
    tail.end = at as u64;
    tail.cut_bytes = (bytes.len() - at) as u64;
    Ok(tail)
}

/// Whether a sound record with a number not below `sequence` is anywhere behind `at`.
fn has_record(bytes: &[u8], at: usize, sequence: u64) -> bool {
    let mut at = at.next_multiple_of(RECORD_ALIGN);
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

fn header_error(path: PathBuf, error: HeaderError) -> MetadataLogError {
    match error {
        HeaderError::Newer(found) => MetadataLogError::Newer { path, found },
        HeaderError::Damaged => MetadataLogError::Damaged { path, position: 0 },
    }
}

pub(super) fn disk_error(path: &Path, source: io::Error) -> MetadataLogError {
    MetadataLogError::Disk { path: path.to_owned(), source }
}
