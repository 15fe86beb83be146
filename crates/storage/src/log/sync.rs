//! Making appended bytes durable without holding the log's lock.
//!
//! Part of INV-SYNC: what a sync covered is what was appended when the set was taken. A sync that failed
//! makes nothing durable, and the log takes no more writes: it is never retried to get an `Ok`.
//! Part of INV-CHECKPOINT: a checkpoint tells durable only what a successful sync covered.

use super::Log;
use super::reader::LogReader;
use crate::checkpoint::{ActiveSegment, LogCheckpoint};
use crate::file_cache::FileHandle;
use crate::segment::writer::Tip;
use galgo_wire::id::Offset;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A segment with bytes no sync covered yet.
pub(super) struct Unsynced {
    pub(super) base: Offset,
    pub(super) handle: FileHandle,
    /// What is durable of it; `None` when not even its name is.
    pub(super) durable: Option<Tip>,
    /// Where it ended when it was sealed; `None` while it is being written.
    pub(super) sealed_at: Option<Tip>,
}

/// What a sync must cover: everything appended when it was taken.
#[derive(Clone, Default)]
pub struct DirtySet {
    pub(super) generation: u64,
    pub(super) files: Vec<DirtyFile>,
    pub(super) dirs: Vec<PathBuf>,
    reader: Option<Arc<LogReader>>,
    fenced: Arc<AtomicBool>,
}

/// A file of a [`DirtySet`].
#[derive(Clone)]
pub(super) struct DirtyFile {
    pub(super) base: Offset,
    pub(super) handle: FileHandle,
    pub(super) tip: Tip,
}

impl DirtySet {
    /// Whether there is nothing to sync.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty()
    }

    /// Makes it durable: data of each file, and the directories when files were made.
    ///
    /// Needs no lock; appends may go on meanwhile. Then call [`Log::synced`].
    ///
    /// # Errors
    /// Those of the disk. The log takes no more writes then.
    pub fn sync(&self) -> io::Result<()> {
        let synced = self.sync_all();
        if synced.is_err() {
            self.fenced.store(true, Ordering::Release);
            self.distrust();
        }
        synced
    }

    /// After a failed sync the pages count as clean: once they leave the page cache, what comes back is
    /// what the disk has, so that it must be checked again before it is served (P-TRUTH).
    fn distrust(&self) {
        let Some(reader) = &self.reader else { return };
        let mut state = reader.state.write();
        for file in &self.files {
            if let Some(verified) = state.verified_mut(file.base) {
                verified.truncate(0);
            }
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        let Some(reader) = &self.reader else { return Ok(()) };
        for file in &self.files {
            if let Err(error) = file.handle.sync() {
                // Retention may have removed the segment meanwhile; nothing of it is to be kept.
                if reader.state.read().has_segment(file.base) {
                    return Err(error);
                }
            }
        }
        for dir in &self.dirs {
            reader.disk.sync_dir(dir)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for DirtySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files = self.files.iter().map(|file| (file.base, file.tip.bytes));
        f.debug_struct("DirtySet")
            .field("files", &files.collect::<Vec<_>>())
            .field("dirs", &self.dirs)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// What a sync must cover now.
    #[must_use]
    pub fn dirty(&self) -> DirtySet {
        let state = self.reader.state.read();
        // Nothing of what was dropped is to be kept.
        let kept = self.unsynced.iter().filter(|unsynced| state.has_segment(unsynced.base));
        let files = kept.filter_map(|unsynced| {
            let written = self.writer.as_ref().map(|writer| writer.tip);
            let tip = unsynced.sealed_at.or(written)?;
            let (base, handle) = (unsynced.base, unsynced.handle.clone());
            Some(DirtyFile { base, handle, tip })
        });
        DirtySet {
            generation: self.generation,
            files: files.collect(),
            dirs: self.unsynced_dirs.clone(),
            reader: Some(Arc::clone(&self.reader)),
            fenced: Arc::clone(&self.fenced),
        }
    }

    /// Tells the log that `set` was synced without an error.
    ///
    /// A set taken before a rewind counts for nothing.
    pub fn synced(&mut self, set: &DirtySet) {
        self.forget_dropped();
        if set.generation != self.generation || self.is_fenced() {
            return;
        }
        // Files made since the set was taken come after those in it, so the directories they made
        // dirty again stay in the list.
        let made_since = self.unsynced.iter().any(|unsynced| {
            unsynced.durable.is_none() && set.files.iter().all(|file| file.base != unsynced.base)
        });
        if !made_since {
            self.unsynced_dirs.retain(|dir| !set.dirs.contains(dir));
        }
        for file in &set.files {
            let at = self.unsynced.iter().position(|unsynced| unsynced.base == file.base);
            let Some(at) = at else { continue };
            let Some(unsynced) = self.unsynced.get_mut(at) else { continue };
            unsynced.durable = Some(file.tip);
            let written = self.writer.as_ref().map(|writer| writer.tip);
            if unsynced.sealed_at.or(written) == Some(file.tip) {
                self.unsynced.remove(at);
            }
        }
    }

    /// What is durable, for the checkpoint. Entries of the index that wait are written on the way.
    ///
    /// # Panics
    /// For a log that could not be opened, of which nothing is known.
    pub fn checkpoint(&self) -> LogCheckpoint {
        assert!(!self.is_offline, "INV-OFFLINE: no checkpoint is made of a log that is not open");
        self.flush_index();
        let state = self.reader.state.read();
        let frontier = self.unsynced.iter().find(|unsynced| state.has_segment(unsynced.base));
        let sealed = state.sealed.iter().map(|sealed| &sealed.known);
        let durable =
            sealed.take_while(|known| frontier.is_none_or(|unsynced| known.base < unsynced.base));
        let sealed = durable.cloned().collect();
        let active = match frontier {
            Some(unsynced) => unsynced.durable.map(|tip| active_segment(unsynced.base, tip)),
            None => self.writer.as_ref().map(|writer| active_segment(writer.base, writer.tip)),
        };
        let checkpoint = LogCheckpoint { start: state.start, sealed, active };
        drop(state);
        let end = durable_end(&checkpoint);
        self.checkpointed.fetch_max(end.get(), Ordering::AcqRel);
        checkpoint
    }
}

/// The offset behind everything a checkpoint tells durable.
#[must_use]
pub fn durable_end(checkpoint: &LogCheckpoint) -> Offset {
    let sealed = checkpoint.sealed.last().map(|sealed| sealed.end);
    let active = checkpoint.active.as_ref().map(|active| active.durable_end);
    active.or(sealed).unwrap_or(checkpoint.start).max(checkpoint.start)
}

fn active_segment(base: Offset, tip: Tip) -> ActiveSegment {
    ActiveSegment {
        base,
        durable_bytes: tip.bytes,
        durable_end: tip.end,
        last_timestamp: tip.last_timestamp,
        running_checksum: tip.checksum,
    }
}
