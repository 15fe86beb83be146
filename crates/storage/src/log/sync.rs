//! What of a log's files is durable, and making the rest durable without holding the log's lock.
//!
//! Part of INV-SYNC: what a sync covered is what was appended when the set was taken. A sync that failed
//! makes nothing durable, and the log takes no more writes: it is never retried to get an `Ok`.
//! Part of INV-CHECKPOINT: a checkpoint tells durable only what a successful sync covered.

use super::reader::LogReader;
use super::state::LogState;
use crate::checkpoint::{ActiveSegment, LogCheckpoint};
use crate::file_cache::FileHandle;
use crate::segment::writer::Tip;
use galgo_wire::id::Offset;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What no sync has covered of a log yet, in the order in which it was written.
#[derive(Default)]
pub(super) struct SyncLedger {
    /// Segments with bytes no sync covered, oldest first.
    unsynced: Vec<Unsynced>,
    /// Directories in which names were made since the last sync, and their parents.
    dirs: Vec<PathBuf>,
    /// Set by a failed sync, on whatever thread it ran.
    fenced: Arc<AtomicBool>,
    /// Raised by each rewind, so that a sync begun before it counts for nothing.
    generation: u64,
    /// The end of what a checkpoint called durable.
    checkpointed: AtomicU64,
}

/// A segment with bytes no sync covered yet.
struct Unsynced {
    base: Offset,
    handle: FileHandle,
    /// What is durable of it; `None` when not even its name is.
    durable: Option<Tip>,
    /// Where it ended when it was sealed; `None` while it is being written.
    sealed_at: Option<Tip>,
}

/// A file with bytes of which a failed sync left unknown whether the disk has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnsureFile {
    pub(super) tip: Tip,
    /// Up to where a sync succeeded.
    pub(super) sure: Offset,
}

/// What a sync must cover: everything appended when it was taken.
#[derive(Clone, Default)]
pub struct DirtySet {
    generation: u64,
    files: Vec<DirtyFile>,
    dirs: Vec<PathBuf>,
    reader: Option<Arc<LogReader>>,
    fenced: Arc<AtomicBool>,
}

/// A file of a [`DirtySet`].
#[derive(Clone)]
struct DirtyFile {
    base: Offset,
    handle: FileHandle,
    tip: Tip,
}

impl DirtySet {
    /// Whether there is nothing to sync.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty()
    }

    /// Makes it durable: data of each file, and the directories when files were made.
    ///
    /// Needs no lock; appends may go on meanwhile. Then call [`Log::synced`](super::Log::synced).
    ///
    /// # Errors
    /// Those of the disk. The log takes no more writes then.
    pub fn sync(&self) -> io::Result<()> {
        let synced = self.sync_all();
        if synced.is_err() {
            // Before whoever asked for the sync is told: an append that is on its way on another thread must not find
            // the log open once one is known to have failed.
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
        // Behind the bytes: the other way round a power cut could leave names of files that have none, and the sync as a
        // whole says nothing before both are done.
        for dir in &self.dirs {
            reader.files.disk.sync_dir(dir)?;
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

impl SyncLedger {
    /// The ledger of a log of which a checkpoint called everything below `end` durable.
    pub(super) fn checkpointed(end: Offset) -> Self {
        Self { checkpointed: AtomicU64::new(end.get()), ..Self::default() }
    }

    /// Whether the log takes no more writes (INV-LOG-FENCE).
    pub(super) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// Lets the log take no more writes.
    pub(super) fn fence(&self) {
        self.fenced.store(true, Ordering::Release);
    }

    /// The number of the last rewind.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Has every set that was taken before count for nothing.
    pub(super) fn outdate(&mut self) {
        self.generation += 1;
    }

    /// The ledger of a log that was opened in the place of the one that had `before`.
    pub(super) fn after(self, before: &Self) -> Self {
        Self { generation: before.generation + 1, ..self }
    }

    /// The end of what a checkpoint called durable.
    pub(super) fn checkpointed_end(&self) -> Offset {
        Offset::new(self.checkpointed.load(Ordering::Acquire))
    }

    /// Notes that a name was made in `dir`.
    pub(super) fn note_dir(&mut self, dir: &Path) {
        if !self.dirs.iter().any(|known| known == dir) {
            self.dirs.push(dir.to_path_buf());
        }
    }

    /// Notes that a segment was made: not even its name is durable.
    pub(super) fn note_made(&mut self, base: Offset, handle: FileHandle) {
        let follows = self.unsynced.last().is_none_or(|last| last.base < base);
        assert!(follows, "INV-CONTIGUOUS: a new segment is behind all others");
        self.unsynced.push(Unsynced { base, handle, durable: None, sealed_at: None });
    }

    /// Notes that something was written to the newest segment, which ended at `before`.
    pub(super) fn note_written(&mut self, before: Tip, handle: &FileHandle) {
        let base = before.base;
        if self.unsynced.last().is_none_or(|unsynced| unsynced.base != base) {
            let follows = self.unsynced.last().is_none_or(|last| last.base < base);
            assert!(
                follows,
                "INV-CHECKPOINT: what is not durable is listed in the order of the log"
            );
            let (handle, durable) = (handle.clone(), Some(before));
            self.unsynced.push(Unsynced { base, handle, durable, sealed_at: None });
        }
    }

    /// Notes that a segment was sealed.
    pub(super) fn note_sealed(&mut self, tip: Tip) {
        for unsynced in self.unsynced.iter_mut().filter(|unsynced| unsynced.base == tip.base) {
            // From here on its end is not that of what is written.
            unsynced.sealed_at = Some(tip);
        }
    }

    /// Notes that a sealed segment is written again; gives the handle it was written through, if a sync is due. It has
    /// to be that one: another has not the mark of what was not synced (INV-UNSYNCED).
    pub(super) fn note_unsealed(&mut self, base: Offset) -> Option<FileHandle> {
        let unsynced = self.unsynced.iter_mut().find(|unsynced| unsynced.base == base)?;
        unsynced.sealed_at = None;
        Some(unsynced.handle.clone())
    }

    /// Notes that messages of the segment that is written were taken back.
    pub(super) fn note_cut_back(&mut self, tip: Tip, handle: &FileHandle) {
        match self.unsynced.iter_mut().find(|unsynced| unsynced.base == tip.base) {
            Some(unsynced) => {
                let shorter = unsynced.durable.filter(|durable| durable.bytes <= tip.bytes);
                // Of what was durable no more is than is left, and where not even the name was, it still is not.
                unsynced.durable = unsynced.durable.and(shorter.or(Some(tip)));
            }
            // The new length is not durable: after a power cut the bytes that were taken back may be there.
            None => {
                let follows = self.unsynced.last().is_none_or(|last| last.base < tip.base);
                assert!(
                    follows,
                    "INV-CHECKPOINT: what is not durable is listed in the order of the log"
                );
                let (handle, durable) = (handle.clone(), Some(tip));
                self.unsynced.push(Unsynced { base: tip.base, handle, durable, sealed_at: None });
            }
        }
    }

    /// Forgets a segment whose file goes away.
    pub(super) fn forget(&mut self, base: Offset) {
        self.unsynced.retain(|unsynced| unsynced.base != base);
    }

    /// Forgets the segments that are no longer part of the log.
    pub(super) fn forget_dropped(&mut self, state: &LogState) {
        self.unsynced.retain(|unsynced| state.has_segment(unsynced.base));
    }

    /// What a sync must cover now; `written` is the end of the segment that is written.
    pub(super) fn dirty(&self, reader: &Arc<LogReader>, written: Option<Tip>) -> DirtySet {
        let state = reader.state.read();
        // Nothing of what was dropped is to be kept.
        let kept = self.unsynced.iter().filter(|unsynced| state.has_segment(unsynced.base));
        let files = kept.filter_map(|unsynced| {
            let tip = unsynced.sealed_at.or(written)?;
            let (base, handle) = (unsynced.base, unsynced.handle.clone());
            assert!(tip.base == base, "INV-SYNC: what is synced of a segment is up to its own end");
            Some(DirtyFile { base, handle, tip })
        });
        DirtySet {
            generation: self.generation,
            files: files.collect(),
            dirs: self.dirs.clone(),
            reader: Some(Arc::clone(reader)),
            fenced: Arc::clone(&self.fenced),
        }
    }

    /// Notes that `set` was synced without an error.
    pub(super) fn note_synced(&mut self, set: &DirtySet, written: Option<Tip>) {
        // What was synced is what was there then: after a rewind other messages are in its place, and after a failed
        // sync an `Ok` says nothing.
        if set.generation != self.generation || self.is_fenced() {
            return;
        }
        // Files made since the set was taken come after those in it, so the directories they made
        // dirty again stay in the list.
        let made_since = self.unsynced.iter().any(|unsynced| {
            unsynced.durable.is_none() && set.files.iter().all(|file| file.base != unsynced.base)
        });
        if !made_since {
            self.dirs.retain(|dir| !set.dirs.contains(dir));
        }
        for file in &set.files {
            self.unsynced.retain_mut(|unsynced| {
                if unsynced.base != file.base {
                    return true;
                }
                unsynced.durable = Some(file.tip);
                // Where appends have gone on meanwhile it stays, until a sync covers these too.
                unsynced.sealed_at.or(written) != Some(file.tip)
            });
        }
    }

    /// What is durable, for the checkpoint.
    pub(super) fn checkpoint(&self, state: &LogState, written: Option<Tip>) -> LogCheckpoint {
        // All before the first segment that is not wholly durable are; of those behind it nothing is told, even where
        // they are: a recovery reads on from the first that is not.
        let frontier = self.unsynced.iter().find(|unsynced| state.has_segment(unsynced.base));
        let sealed = state.sealed().iter().map(|sealed| &sealed.known);
        let durable =
            sealed.take_while(|known| frontier.is_none_or(|unsynced| known.base < unsynced.base));
        let sealed = durable.cloned().collect();
        let active = match frontier {
            Some(unsynced) => unsynced.durable.map(active_segment),
            None => written.map(active_segment),
        };
        let checkpoint = LogCheckpoint { start: state.start(), sealed, active };
        let end = durable_end(&checkpoint);
        assert!(
            self.is_fenced() || end <= state.end().max(state.start()),
            "INV-CHECKPOINT: no more is called durable than there is"
        );
        // Before it is handed out: once it is saved, nothing below it may be taken back (INV-CHECKPOINTED).
        self.checkpointed.fetch_max(end.get(), Ordering::AcqRel);
        checkpoint
    }

    /// The files that have to be written anew after a failed sync.
    pub(super) fn unsure(&self, state: &LogState, written: Option<Tip>) -> Vec<UnsureFile> {
        let kept = self.unsynced.iter().filter(|unsynced| state.has_segment(unsynced.base));
        let files = kept.filter_map(|unsynced| {
            let sure = unsynced.durable.map_or(unsynced.base, |durable| durable.end);
            Some(UnsureFile { tip: unsynced.sealed_at.or(written)?, sure })
        });
        let mut files: Vec<_> = files.collect();
        // Of a write that failed half-way the segment may hold a part behind its end, synced or not.
        if let Some(tip) = written
            && files.iter().all(|file| file.tip.base != tip.base)
        {
            files.push(UnsureFile { tip, sure: tip.end });
        }
        files
    }

    /// Directories in which names were made since the last sync, and their parents.
    pub(super) fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// Notes that all there is was written anew and is durable: the log takes writes again.
    pub(super) fn note_rescued(&mut self) {
        self.unsynced.clear();
        self.dirs.clear();
        // Last: whoever sees the log open may append at once.
        self.fenced.store(false, Ordering::Release);
    }
}

/// The offset behind everything a checkpoint tells durable.
#[must_use]
pub fn durable_end(checkpoint: &LogCheckpoint) -> Offset {
    let sealed = checkpoint.sealed.last().map(|sealed| sealed.end);
    let active = checkpoint.active.as_ref().map(|active| active.durable_end);
    active.or(sealed).unwrap_or(checkpoint.start).max(checkpoint.start)
}

fn active_segment(tip: Tip) -> ActiveSegment {
    ActiveSegment {
        base: tip.base,
        durable_bytes: tip.bytes,
        durable_end: tip.end,
        last_timestamp: tip.last_timestamp,
        running_checksum: tip.checksum,
    }
}
