//! The files of a log: where they are, which of them are kept open, and how they go.
//!
//! INV-SPACE: of a file that was removed, nothing is kept open, reads that are under way aside.

use super::{LogName, LogOptions};
use crate::disk::{Disk, OpenMode};
use crate::file_cache::{FileCache, FileHandle};
use crate::index::cache::IndexKey;
use crate::lock::{Ranked, rank};
use crate::segment::format::{index_name, log_name, parse_log_name};
use galgo_wire::id::Offset;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most files of sealed segments a log keeps handles of for its readers: one that reads back and one that has caught up
/// are in different ones. Every partition may have so many, so it is few.
const HANDLES_MAX: usize = 4;

/// The files of one log.
pub(super) struct LogFiles {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) cache: Arc<FileCache>,
    pub(super) options: LogOptions,
    /// The log's number in the index cache.
    number: u64,
    /// Those of sealed segments that were read lately, newest last.
    kept: Ranked<{ rank::LOG_HANDLES }, Vec<KeptHandle>>,
}

/// The file of a sealed segment.
#[derive(Clone)]
struct KeptHandle {
    base: Offset,
    handle: FileHandle,
}

impl LogFiles {
    pub(super) fn new(disk: Arc<dyn Disk>, cache: Arc<FileCache>, options: LogOptions) -> Self {
        let number = options.indexes.number_log();
        Self { disk, cache, options, number, kept: Ranked::default() }
    }

    /// What the log is called in lines for the operator.
    pub(super) fn name(&self) -> &LogName {
        &self.options.name
    }

    /// A handle of its own for the `.log` of a segment.
    pub(super) fn handle(&self, base: Offset, mode: OpenMode) -> FileHandle {
        self.cache.handle(self.log_path(base), mode)
    }

    /// The handle that readers of a sealed segment share.
    pub(super) fn sealed(&self, base: Offset) -> FileHandle {
        let mut kept = self.kept.lock();
        if let Some(at) = kept.iter().position(|known| known.base == base) {
            let found = kept.remove(at);
            kept.push(found.clone());
            return found.handle;
        }
        // Made under the lock: two readers that come at once share one, and open the file once.
        let handle = self.handle(base, OpenMode::Read);
        keep(&mut kept, base, handle.clone());
        handle
    }

    /// Keeps the handle of a segment that was just sealed: it is likely to be read soon.
    pub(super) fn keep(&self, base: Offset, handle: FileHandle) {
        keep(&mut self.kept.lock(), base, handle);
    }

    /// Forgets what is kept in memory of a segment whose files go away or change.
    pub(super) fn forget(&self, base: Offset) {
        self.kept.lock().retain(|known| known.base != base);
        self.options.indexes.forget(self.number, base);
    }

    /// Forgets the index of a segment of which messages were taken back.
    pub(super) fn forget_index(&self, base: Offset) {
        self.options.indexes.forget(self.number, base);
    }

    /// What the index of the first `bytes` of a segment is called in the cache.
    pub(super) fn index_key(&self, base: Offset, bytes: u64) -> IndexKey {
        IndexKey { log: self.number, base, bytes }
    }

    /// Removes the files of a segment that is no longer part of the log.
    ///
    /// # Errors
    /// Those of the disk; it may be tried again.
    pub(super) fn remove(&self, base: Offset) -> io::Result<()> {
        let remove = |path: PathBuf| match self.disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        // The index first: nothing but the name of its log leads to it, so that one left alone would stay.
        let removed = remove(self.index_path(base)).and(remove(self.log_path(base)));
        // Behind the removal: a read that began before the segment was dropped may have opened its file
        // until then, and a removed file that is still open keeps its space.
        self.forget(base);
        removed
    }

    pub(super) fn log_path(&self, base: Offset) -> PathBuf {
        self.options.dir.join(log_name(base))
    }

    pub(super) fn index_path(&self, base: Offset) -> PathBuf {
        self.options.dir.join(index_name(base))
    }
}

fn keep(kept: &mut Vec<KeptHandle>, base: Offset, handle: FileHandle) {
    if kept.len() >= HANDLES_MAX {
        kept.remove(0);
    }
    kept.push(KeptHandle { base, handle });
}

impl Drop for LogFiles {
    fn drop(&mut self) {
        // Its number is given to no other log, so nothing would ever ask for them again.
        self.options.indexes.forget_log(self.number);
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
