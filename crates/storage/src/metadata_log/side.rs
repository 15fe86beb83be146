//! One of the two places of a metadata log, as it is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{
    LOG_HEADER_BYTES, RECORD_ALIGN, encode_log_header, encode_record, encode_snapshot,
};
use super::merge::{Merged, PlaceVerdict, Tail};
use super::recovery::{MetadataPlace, log_files};
use super::{LOG_SUFFIX, SNAPSHOT_BYTES_MAX, SNAPSHOT_NAME};
use crate::disk::{Disk, DiskFile, OpenMode, create_dir_synced};
use crate::replace_file::{keep_beside, read_file, replace_file};

/// What a damaged file is kept as when its name gets sound content.
const DAMAGED_SUFFIX: &str = ".damaged";

/// The files of one place.
pub(super) struct LogSide {
    dir: PathBuf,
    pub(super) path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Number of the first record of `file`.
    pub(super) first: u64,
    /// Where the next record goes.
    end: u64,
}

impl LogSide {
    /// Makes a place hold what `merged` holds, durably, and gets it ready for the next record.
    ///
    /// At every moment of it the place is as good as it was: what it alone holds sound stays until what
    /// takes its place is durable.
    pub(super) fn settle(
        disk: &dyn Disk,
        place: &MetadataPlace,
        merged: &Merged,
        verdict: &PlaceVerdict,
    ) -> io::Result<Self> {
        create_dir_synced(disk, &place.dir)?;
        // A snapshot or log file whose name never reached the disk is visible all the same; what
        // follows builds on it.
        disk.sync_dir(&place.dir)?;
        // From what both held, not by mending single records: what one place lost may be anywhere in it.
        if !verdict.whole {
            return Self::rewrite(disk, place, merged, verdict);
        }
        match &verdict.tail {
            Some(tail) => Ok(Self {
                dir: place.dir.clone(),
                path: tail.path.clone(),
                file: settle_tail(disk, tail)?,
                first: tail.first,
                end: tail.end.max(LOG_HEADER_BYTES as u64),
            }),
            None => Self::begin(disk, &place.dir, merged.last + 1),
        }
    }

    fn rewrite(
        disk: &dyn Disk,
        place: &MetadataPlace,
        merged: &Merged,
        verdict: &PlaceVerdict,
    ) -> io::Result<Self> {
        // First, as their names get other bytes below.
        for path in &verdict.damaged {
            keep_aside(disk, place, path)?;
        }
        // The snapshot before the records behind it: the other way round a stop in between leaves records that follow
        // nothing.
        if let Some((sequence, state)) = &merged.snapshot {
            let path = place.dir.join(SNAPSHOT_NAME);
            replace_file(disk, &path, &encode_snapshot(*sequence, state))?;
        }
        let first = merged.base() + 1;
        let mut bytes = encode_log_header(first).to_vec();
        for (sequence, record) in (first..).zip(&merged.records) {
            bytes.extend_from_slice(&encode_record(sequence, record));
        }
        let path = log_path(&place.dir, first);
        replace_file(disk, &path, &bytes)?;
        assert!(
            first == merged.last + 1 - merged.records.len() as u64,
            "INV-META-WHOLE: no record is left out"
        );
        // What was in them is in the file above now.
        for later in place.files.iter().filter(|file| file.first > first) {
            disk.remove_file(&later.path)?;
        }
        disk.sync_dir(&place.dir)?;
        let file = disk.open(&path, OpenMode::ReadWrite)?;
        let end = bytes.len() as u64;
        Ok(Self { dir: place.dir.clone(), path, file, first, end })
    }

    fn begin(disk: &dyn Disk, dir: &Path, first: u64) -> io::Result<Self> {
        let (dir, path) = (dir.to_owned(), log_path(dir, first));
        // Made and named durably before the first record is written to it.
        let file = make_log(disk, &dir, &path, first)?;
        Ok(Self { dir, path, file, first, end: LOG_HEADER_BYTES as u64 })
    }

    /// Writes the bytes of the next record, without making them durable.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.end)
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Counts `bytes` that were written and synced.
    pub(super) fn advance(&mut self, bytes: u64) {
        assert!(
            bytes.is_multiple_of(RECORD_ALIGN as u64),
            "INV-META-WHOLE: records are found where they are aligned"
        );
        self.end += bytes;
    }

    /// Cuts off what is behind the last record, durably.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        // Else a power cut could bring it back, behind records that took its number.
        self.file.sync_data()
    }

    /// Replaces all records up to `next`, which is not written yet, by a snapshot.
    pub(super) fn snapshot(&mut self, disk: &dyn Disk, next: u64, state: &[u8]) -> io::Result<()> {
        let path = self.dir.join(SNAPSHOT_NAME);
        // Durable before the file for the records behind it is begun; until the old ones are removed, which comes last of
        // all and in both places, either is enough.
        replace_file(disk, &path, &encode_snapshot(next - 1, state))?;
        if self.first != next {
            *self = Self::begin(disk, &self.dir, next)?;
        }
        Ok(())
    }

    /// Removes log files that the snapshot covers; tells whether they are gone for good.
    pub(super) fn remove_covered(&self, disk: &dyn Disk) -> bool {
        let Ok(files) = log_files(disk, &self.dir) else { return false };
        let mut removed = Ok(());
        for (_, path) in files.iter().filter(|(first, _)| *first < self.first) {
            if let Err(error) = disk.remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "old metadata log not removed");
                removed = Err(error);
            }
        }
        // A removal that a power cut takes back is none: what the records held may have been deleted for good.
        removed.and_then(|()| disk.sync_dir(&self.dir)).is_ok()
    }
}

pub(super) fn log_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{LOG_SUFFIX}"))
}

fn make_log(disk: &dyn Disk, dir: &Path, path: &Path, first: u64) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(path, OpenMode::CreateNew)?;
    // With its header durable before anything is acknowledged in it: a file without one is damaged, not empty.
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

/// Keeps the bytes of a damaged file for people to look at: the file itself is replaced.
fn keep_aside(disk: &dyn Disk, place: &MetadataPlace, path: &Path) -> io::Result<()> {
    let bytes = match place.files.iter().find(|file| file.path == *path) {
        Some(file) => file.bytes.clone(),
        None if *path == place.dir => return Ok(()),
        // Gone since it was found damaged: nothing is left to be kept.
        None => match read_file(disk, path, SNAPSHOT_BYTES_MAX)? {
            Some(bytes) => bytes,
            None => return Ok(()),
        },
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(DAMAGED_SUFFIX);
    // A start that was stopped before it had mended the file kept it already.
    keep_beside(disk, Path::new(&aside), &bytes)
}
