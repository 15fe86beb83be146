//! Appends entries to the index file of the segment being written.

use super::format::{ENTRY_BYTES, HEADER_BYTES, encode_entry};
use super::rebuild::{IndexSpan, load, store};
use super::{Index, IndexEntry};
use crate::disk::{Disk, OpenMode};
use std::io;
use std::path::Path;

/// How far an index file is written.
#[derive(Debug, Default)]
pub(crate) struct IndexTail {
    /// Good slots in front of the entries in memory; `None` until the file was looked at.
    slots: Option<u64>,
    /// How many of the entries in memory are in the file.
    flushed: usize,
}

impl IndexTail {
    /// How many of the entries in memory are in the file.
    pub(crate) fn flushed(&self) -> usize {
        self.flushed
    }

    /// Looks at the file again before the next write, as entries in memory were taken back.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Writes the entries in memory behind those [`IndexTail::flushed`]. `span` ends where the
    /// entries in memory begin.
    ///
    /// # Errors
    /// Those of the disk; all entries in memory are written again next time.
    pub(crate) fn flush(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        span: IndexSpan,
        new: &[IndexEntry],
    ) -> io::Result<()> {
        let written = self.write(disk, path, span, new);
        // How much of it is there is not known: the file is looked at again, and all of it written once more.
        if written.is_err() {
            self.reset();
        }
        written
    }

    fn write(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        span: IndexSpan,
        new: &[IndexEntry],
    ) -> io::Result<()> {
        // Before the first write of this process the file is made to hold what is good in it and nothing else: entries are
        // found by their slots, and behind a bad or a missing one all later ones would be in the wrong place.
        let slots = match self.slots {
            Some(slots) => slots,
            None => align(disk, path, span)?,
        };
        let mut bytes = Vec::with_capacity(new.len() * ENTRY_BYTES);
        for entry in new {
            encode_entry(span.base, entry, &mut bytes);
        }
        let slot = slots + self.flushed as u64;
        let position = HEADER_BYTES as u64 + slot * ENTRY_BYTES as u64;
        // Opened anew each time and not synced: it is a hint, and would take a place among the open files. What a crash
        // leaves of it shows in the checksum of each entry.
        disk.open(path, OpenMode::ReadWrite)?.write_at(&bytes, position)?;
        self.slots = Some(slots);
        self.flushed += new.len();
        Ok(())
    }
}

/// Makes the file hold exactly the good entries of `span`; returns how many.
fn align(disk: &dyn Disk, path: &Path, span: IndexSpan) -> io::Result<u64> {
    let entries: Vec<IndexEntry> = load(disk, path, span).into_iter().flatten().collect();
    let slots = entries.len() as u64;
    store(disk, path, span, &Index::from_sorted(entries))?;
    Ok(slots)
}
