//! A bounded number of open files, whatever the number of segments.
//!
//! A [`FileHandle`] names a file for as long as its owner wants; the descriptor behind it comes and
//! goes. A hit costs one uncontended read lock; only opening takes the cache's own lock.
//!
//! INV-WRITER: whoever writes holds the file from [`FileHandle::get`] until after
//! [`FileHandle::mark_dirty`]. A file that somebody holds is never closed by the cache, so a write is
//! never separated from its mark.
//! INV-NO-SYNC: [`FileHandle::get_now`] never syncs a file to make room for another: threads that serve
//! connections open with it. Where only dirty files are open it exceeds the capacity; so whoever is about to
//! dirty one more file asks [`FileHandle::needs_room`] first, and makes room where waiting is no harm. What is
//! exceeded by is then one file for each thread that was overtaken in between.
//! INV-UNSYNCED: a dirty file is closed only after a successful sync. A failed sync stays with the
//! handle: every later [`FileHandle::sync`] of it fails.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::lock::{Ranked, RankedRw, rank};

/// Files looked at to find one that may be closed without a sync.
const CLEAN_LOOKS_MAX: usize = 64;

/// Keeps at most `capacity` files open that nobody is using at the moment.
pub struct FileCache {
    disk: Arc<dyn Disk>,
    capacity: usize,
    open: Arc<AtomicUsize>,
    /// Slots in the order they were opened; the clock hand is the front.
    ring: Ranked<{ rank::FILE_RING }, VecDeque<Weak<FileSlot>>>,
}

impl FileCache {
    /// A cache of at most `capacity` (at least 1) open files.
    ///
    /// Files in use at the moment come on top: their holders keep them open.
    pub fn new(disk: Arc<dyn Disk>, capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            disk,
            capacity: capacity.max(1),
            open: Arc::new(AtomicUsize::new(0)),
            ring: Ranked::new(VecDeque::new()),
        })
    }

    /// A handle for a file, not opened before it is used. Two handles of one path are independent.
    ///
    /// After the first opening of [`OpenMode::CreateNew`] or [`OpenMode::Create`] the file is
    /// reopened, never made again.
    pub fn handle(self: &Arc<Self>, path: PathBuf, mode: OpenMode) -> FileHandle {
        FileHandle {
            slot: Arc::new(FileSlot {
                cache: Arc::clone(self),
                open_files: Arc::clone(&self.open),
                path,
                mode,
                created: AtomicBool::new(false),
                file: RankedRw::new(None),
                used: AtomicBool::new(false),
                dirty: AtomicBool::new(false),
                synced: AtomicBool::new(false),
                failed: Ranked::new(None),
            }),
        }
    }

    /// Files open at the moment on behalf of handles.
    pub fn open_files(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The disk the files are on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Closes files until there is room for one more; clean ones first, as closing them is free. May wait
    /// for the disk: dirty ones are synced.
    pub fn make_room(&self) {
        if !self.make_clean_room() {
            self.close_files(true);
        }
    }

    /// Whether opening one more file exceeds the capacity unless a dirty one is synced.
    pub fn needs_room(&self) -> bool {
        !self.make_clean_room()
    }

    /// Closes clean files until there is room for one more; tells whether there is.
    fn make_clean_room(&self) -> bool {
        self.close_files(false);
        self.has_room()
    }

    fn has_room(&self) -> bool {
        self.open.load(Ordering::Relaxed) < self.capacity
    }

    fn close_files(&self, sync_dirty: bool) {
        // Two turns: the first takes the mark of use off, the second finds it off. A clean file is
        // looked for only so far: where almost all are dirty, each opening would look at all of them.
        let turns = self.ring.lock().len() * 2;
        // Who may sync looks at all of them: it stops at the first that gives room.
        let turns = if sync_dirty { turns } else { turns.min(CLEAN_LOOKS_MAX) };
        for _ in 0..turns {
            if self.has_room() {
                return;
            }
            // The lock is given up meanwhile: closing may wait for the disk.
            let Some(weak) = self.ring.lock().pop_front() else { return };
            // Its handles are gone, and with them the file: `Drop` has counted it.
            let Some(slot) = weak.upgrade() else { continue };
            if !slot.close_if_idle(sync_dirty) {
                self.ring.lock().push_back(weak);
            }
        }
    }

    /// Takes a file into the ring, and those out of it whose handles are gone, when they are many.
    fn keep(&self, slot: Weak<FileSlot>) {
        let mut ring = self.ring.lock();
        if ring.len() > 2 * self.open.load(Ordering::Relaxed) + CLEAN_LOOKS_MAX {
            ring.retain(|slot| slot.strong_count() > 0);
        }
        ring.push_back(slot);
    }
}

struct FileSlot {
    cache: Arc<FileCache>,
    open_files: Arc<AtomicUsize>,
    path: PathBuf,
    mode: OpenMode,
    created: AtomicBool,
    file: RankedRw<{ rank::FILE_SLOT }, Option<Arc<dyn DiskFile>>>,
    /// Set by every use, taken off by the passing clock hand.
    used: AtomicBool,
    dirty: AtomicBool,
    /// Whether a sync through this handle succeeded: what is not dirty since is durable.
    synced: AtomicBool,
    failed: Ranked<{ rank::FILE_FAILURE }, Option<SyncFailure>>,
}

/// What is kept of a failed sync, as an `io::Error` cannot be cloned.
#[derive(Clone, Copy)]
struct SyncFailure {
    kind: io::ErrorKind,
    os: Option<i32>,
}

impl SyncFailure {
    fn of(error: &io::Error) -> Self {
        Self { kind: error.kind(), os: error.raw_os_error() }
    }

    fn to_error(self) -> io::Error {
        self.os.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error)
    }
}

impl FileSlot {
    fn open(self: &Arc<Self>) -> io::Result<Arc<dyn DiskFile>> {
        let mut file = self.file.write();
        // Another thread was faster.
        if let Some(file) = file.as_ref() {
            return Ok(Arc::clone(file));
        }
        // Made once: a file that went away meanwhile is an error, not an empty one in its place.
        let mode = match self.mode {
            OpenMode::Read => OpenMode::Read,
            _ if self.created.load(Ordering::Acquire) => OpenMode::ReadWrite,
            mode => mode,
        };
        let opened = self.cache.disk.open(&self.path, mode)?;
        self.created.store(true, Ordering::Release);
        self.used.store(true, Ordering::Relaxed);
        *file = Some(Arc::clone(&opened));
        self.open_files.fetch_add(1, Ordering::Relaxed);
        // Let go of first: whoever walks along the ring tries the slots' locks.
        drop(file);
        self.cache.keep(Arc::downgrade(self));
        Ok(opened)
    }

    /// Whether the file was closed with everything in it durable.
    fn is_closed_synced(&self) -> bool {
        // Held meanwhile: whoever writes has opened the file before (INV-WRITER).
        let file = self.file.read();
        file.is_none() && self.synced.load(Ordering::Acquire) && !self.dirty.load(Ordering::Acquire)
    }

    /// Closes the file unless it was used lately, is held by somebody, or is dirty and may not be
    /// synced now. Answers whether the slot needs no place in the ring anymore.
    fn close_if_idle(&self, sync_dirty: bool) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        let Some(mut file) = self.file.try_write() else { return false };
        let Some(open) = file.as_ref() else { return true };
        // With the write lock held nobody can take another reference, so a count of 1 stays 1.
        if Arc::strong_count(open) > 1 {
            return false;
        }
        if self.dirty.load(Ordering::Acquire) {
            if !sync_dirty {
                return false;
            }
            // INV-UNSYNCED: the kernel reports a failed writeback once, to a descriptor that is
            // still open; closed unsynced, the next sync would be told that all is well.
            match open.sync_data() {
                Ok(()) => self.synced.store(true, Ordering::Release),
                Err(error) => {
                    tracing::error!(path = %self.path.display(), %error, "file not synced");
                    // Kept for the one who is to be told, who asks for a sync later: another one would succeed.
                    self.failed.lock().get_or_insert(SyncFailure::of(&error));
                }
            }
            self.dirty.store(false, Ordering::Release);
        }
        *file = None;
        let before = self.open_files.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a file that is closed was counted when it was opened");
        true
    }
}

impl Drop for FileSlot {
    fn drop(&mut self) {
        if self.file.get_mut().take().is_some() {
            self.open_files.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A file of a [`FileCache`]; clones share it. Dropping the last one closes the file, unsynced.
#[derive(Clone)]
pub struct FileHandle {
    slot: Arc<FileSlot>,
}

impl FileHandle {
    /// The open file, reopened when the cache had closed it. May wait for the disk: to make room for it, others
    /// may be synced.
    ///
    /// # Errors
    /// Those of [`Disk::open`].
    pub fn get(&self) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.open_file() {
            return Ok(file);
        }
        self.slot.cache.make_room();
        self.slot.open()
    }

    /// As [`FileHandle::get`], without a sync (INV-NO-SYNC).
    ///
    /// # Errors
    /// Those of [`Disk::open`].
    pub fn get_now(&self) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.open_file() {
            return Ok(file);
        }
        self.slot.cache.make_clean_room();
        self.slot.open()
    }

    /// Whether the file is closed, and opening it exceeds the capacity unless another is synced.
    pub fn needs_room(&self) -> bool {
        // Let go of first: looking for room looks at other files.
        let is_closed = self.slot.file.read().is_none();
        is_closed && self.slot.cache.needs_room()
    }

    fn open_file(&self) -> Option<Arc<dyn DiskFile>> {
        let file = self.slot.file.read();
        let file = file.as_ref()?;
        // Looked at before it is written: handles of one file are used by many threads, and a store each time would move
        // the line from one processor to the next.
        if !self.slot.used.load(Ordering::Relaxed) {
            self.slot.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(file))
    }

    /// Tells that the file was written; called before the writer lets go of the file (INV-WRITER).
    pub fn mark_dirty(&self) {
        self.slot.dirty.store(true, Ordering::Release);
    }

    /// Whether there are writes that no sync covered yet.
    pub fn is_dirty(&self) -> bool {
        self.slot.dirty.load(Ordering::Acquire)
    }

    /// Makes durable what was written before the call, whether marked or not.
    ///
    /// # Errors
    /// Those of the disk; and once a sync of this handle failed, here or when the cache closed the
    /// file, every later one (INV-UNSYNCED).
    pub fn sync(&self) -> io::Result<()> {
        // Before the sync: once one failed the pages count as clean, and this one would be told that all is well.
        self.refuse_after_failure()?;
        if self.slot.is_closed_synced() {
            // Not opened for nothing: where no more files may be opened, that would count as a failed sync.
            return self.refuse_after_failure();
        }
        let file = self.get()?;
        // Taken off first: a write during the sync marks the file dirty again.
        self.slot.dirty.store(false, Ordering::Release);
        if let Err(error) = file.sync_data() {
            // For good: what becomes of the file is for whoever writes it anew under another handle.
            self.slot.failed.lock().get_or_insert(SyncFailure::of(&error));
            return Err(error);
        }
        self.slot.synced.store(true, Ordering::Release);
        // Another thread's sync, or the cache's, may have been the one to be told of a failure.
        self.refuse_after_failure()
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.slot.path
    }

    /// The length of the file.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn len(&self) -> io::Result<u64> {
        self.get()?.len()
    }

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn is_empty(&self) -> io::Result<bool> {
        self.get()?.is_empty()
    }

    /// Lets go of the descriptor without a sync, for a file that is being removed.
    pub fn close(&self) {
        if self.slot.file.write().take().is_some() {
            self.slot.open_files.fetch_sub(1, Ordering::Relaxed);
        }
        // Nothing of it is to be kept: the mark would have the cache wait for a sync of a file that is gone.
        self.slot.dirty.store(false, Ordering::Release);
    }

    fn refuse_after_failure(&self) -> io::Result<()> {
        match *self.slot.failed.lock() {
            Some(failure) => Err(failure.to_error()),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for FileCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileCache").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileHandle").field("path", &self.slot.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
