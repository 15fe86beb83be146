//! Giving up the oldest segments, and the log as a whole.
//!
//! INV-DROP: whoever drops segments has made the move of the start durable before; their files may then
//! go at any later time, and a recovery removes those that are left, which it knows by the start.
//! INV-SPACE: of a file that was removed, nothing is kept open, reads that are under way aside.
//! INV-BOUNDARY: a start that moves is the end of a sealed segment, so a file that begins below it holds
//! nothing that is still to be read.

use super::reader::LogReader;
use crate::checkpoint::SealedSegment;
use crate::disk::Disk;
use crate::segment::format::parse_log_name;
use galgo_wire::id::{Offset, Timestamp};
use std::io;
use std::path::{Path, PathBuf};

/// How much could be dropped, told without looking at more than the oldest segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestSealed {
    /// Offset after its last message.
    pub end: Offset,
    /// Timestamp of its last message.
    pub last_timestamp: Timestamp,
}

impl LogReader {
    /// The sealed segments, oldest first.
    #[must_use]
    pub fn sealed(&self) -> Vec<SealedSegment> {
        self.state.read().sealed.iter().map(|sealed| sealed.known.clone()).collect()
    }

    /// The segments that may be dropped, oldest first: sealed, not the newest of the log, and wholly
    /// below `upto`.
    #[must_use]
    pub fn droppable(&self, upto: Offset) -> Vec<SealedSegment> {
        let state = self.state.read();
        let newest = usize::from(state.active.is_none());
        let sealed = state.sealed.len().saturating_sub(newest);
        let sealed = state.sealed.iter().take(sealed).map(|sealed| &sealed.known);
        sealed.take_while(|known| known.end <= upto).cloned().collect()
    }

    /// The oldest sealed segment, when there are others behind it.
    #[must_use]
    pub fn oldest_sealed(&self) -> Option<OldestSealed> {
        let state = self.state.read();
        let newest = usize::from(state.active.is_none());
        let oldest = state.sealed.first().filter(|_| state.sealed.len() > newest)?;
        let known = &oldest.known;
        Some(OldestSealed { end: known.end, last_timestamp: known.last_timestamp })
    }

    /// Messages below `start` are no longer read, and the sealed segments wholly below it are no
    /// longer part of the log; returns those. Touches no disk: see [`LogReader::remove_dropped`].
    pub fn drop_before(&self, start: Offset) -> Vec<SealedSegment> {
        let dropped: Vec<_> = {
            let mut state = self.state.write();
            let start = start.min(state.end).max(state.start);
            let gone = state.sealed.partition_point(|sealed| sealed.known.end <= start);
            state.start = start;
            state.fences.retain(|fence| fence.to > start);
            state.sealed.drain(..gone).map(|sealed| sealed.known).collect()
        };
        dropped.iter().for_each(|known| self.forget(known.base));
        dropped
    }

    /// Removes the files of segments that were dropped.
    ///
    /// # Errors
    /// Those of the disk, after all removals were tried; they may be tried again.
    pub fn remove_dropped(&self, dropped: &[SealedSegment]) -> io::Result<()> {
        let mut result = Ok(());
        for known in dropped {
            result = self.remove_files(known.base).and(result);
        }
        result
    }

    /// The log is about to be removed: from here on it reads as empty, and files that are missing are
    /// no damage.
    pub fn retire(&self) {
        self.state.write().retired = true;
    }

    /// Whether [`LogReader::retire`] was called.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.state.read().retired
    }

    pub(super) fn remove_files(&self, base: Offset) -> io::Result<()> {
        let remove = |path: PathBuf| match self.disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let removed = remove(self.index_path(base)).and(remove(self.log_path(base)));
        // Behind the removal: a read that began before the segment was dropped may have opened its file
        // until then, and a removed file that is still open keeps its space.
        self.forget(base);
        removed
    }
}

/// The base of the oldest segment file of a directory; for when nothing else knows where a log starts.
///
/// # Errors
/// Those of the disk.
pub fn first_base(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Offset>> {
    if !disk.exists(dir)? {
        return Ok(None);
    }
    let entries = disk.read_dir(dir)?;
    Ok(entries.iter().filter_map(|entry| parse_log_name(&entry.name)).min())
}
