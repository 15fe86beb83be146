//! What recovery leaves behind: a cut tail, and files that are not part of the log.
//!
//! Part of INV-KEEP: bytes with a whole message in them are copied before they are cut off, and a segment
//! that cannot be reached gets another name.

use super::super::files::LogFiles;
use super::LogRecoverError;
use super::segment::Current;
use crate::disk::{DiskFile, OpenMode};
use crate::log::name::tell;
use crate::segment::format::log_name;
use crate::segment::recovery::SegmentBytes;
use galgo_wire::id::Offset;
use galgo_wire::index::{part, part_mut, to_usize};
use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};

/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;
/// Names tried for one file set aside.
const NAMES_MAX: u32 = 1_000;

/// A segment file that is not part of the log.
#[derive(Clone, Copy)]
pub(super) struct LooseFile {
    pub(super) base: Offset,
    /// Bytes in it.
    pub(super) len: u64,
}

/// The segment files that are not part of the log, or not yet; and what was kept of those that will never be.
pub(super) struct Leftovers<'a> {
    files: &'a LogFiles,
    /// By base, with their lengths.
    found: BTreeMap<Offset, u64>,
    kept_aside: Vec<PathBuf>,
    /// Whether names were made, changed or accepted that may not be durable.
    names_changed: bool,
}

impl<'a> Leftovers<'a> {
    /// The files that were found in the directory, by base, with their lengths.
    pub(super) fn new(files: &'a LogFiles, found: BTreeMap<Offset, u64>) -> Self {
        Self { files, found, kept_aside: Vec::new(), names_changed: false }
    }

    /// The length of the file that begins at `base`.
    pub(super) fn len_of(&self, base: Offset) -> Option<u64> {
        self.found.get(&base).copied()
    }

    /// The files that begin behind `at`, in order.
    pub(super) fn behind(&self, at: Offset) -> impl Iterator<Item = LooseFile> + '_ {
        let behind = self.found.range((Bound::Excluded(at), Bound::Unbounded));
        behind.map(|(base, len)| LooseFile { base: *base, len: *len })
    }

    /// The base of the last file that begins in `bases`.
    pub(super) fn last_within(&self, bases: std::ops::RangeInclusive<Offset>) -> Option<Offset> {
        self.found.range(bases).next_back().map(|(base, _)| *base)
    }

    /// Takes a file into the log; returns its length.
    pub(super) fn take(&mut self, base: Offset) -> Option<u64> {
        self.found.remove(&base)
    }

    /// Gives a file back that turned out not to be part of the log.
    pub(super) fn put_back(&mut self, base: Offset, len: u64) {
        self.found.insert(base, len);
    }

    /// Notes that a name was made, or accepted that may not be durable.
    pub(super) fn note_name(&mut self) {
        self.names_changed = true;
    }

    /// Cuts the bytes off the end of the last segment that are no messages of the log, which ends at `at`; returns how
    /// many.
    pub(super) fn cut_tail(
        &mut self,
        current: &mut Current,
        at: Offset,
    ) -> Result<u64, LogRecoverError> {
        let (bytes, len) = (current.tip.bytes, current.file_len);
        if len <= bytes {
            return Ok(0);
        }
        let path = current.handle.path().to_path_buf();
        let file = current.handle.get().map_err(LogRecoverError::at(&path))?;
        let offsets = at..Offset::new(u64::MAX);
        let found = SegmentBytes::new(&*file, len).next_valid(bytes, offsets);
        // The rest of a write that was cut short holds none, and is worth nothing; what holds one may be missed.
        if found.map_err(LogRecoverError::at(&path))?.is_some() {
            let name = format!("{}.cut-{bytes}", log_name(current.tip.base));
            let kept = self.keep_copy(&*file, bytes..len, &path.with_file_name(name))?;
            self.kept_aside.push(kept);
            // The copy has its name for good before the original goes.
            self.sync_dir(&self.files.options.dir)?;
        }
        file.set_len(bytes).map_err(LogRecoverError::at(&path))?;
        current.handle.mark_dirty();
        // Not durable before it is synced: what comes back after a power cut would lie behind the messages that are
        // written here next, and might go on with them.
        current.unsynced = true;
        current.file_len = bytes;
        let file = path.display();
        tell!(warn, self.files, %file, position = bytes, bytes = len - bytes, "tail cut off");
        Ok(len - bytes)
    }

    /// Copies a range of a file to a new file of this name, or of one like it.
    fn keep_copy(
        &self,
        file: &dyn DiskFile,
        bytes: Range<u64>,
        path: &Path,
    ) -> Result<PathBuf, LogRecoverError> {
        let path = self.free_name(path)?;
        let copied = || -> io::Result<()> {
            let copy = self.files.disk.open(&path, OpenMode::CreateNew)?;
            let mut buffer = vec![0; COPY_BYTES];
            let mut at = bytes.start;
            while at < bytes.end {
                let wanted = to_usize(bytes.end - at).min(COPY_BYTES);
                let piece = part_mut(&mut buffer, ..wanted, "INV-KEEP: a piece fits its buffer");
                let read = file.read_at(piece, at)?;
                if read == 0 {
                    break;
                }
                let read_bytes =
                    part(piece, ..read, "INV-KEEP: no more is read than was asked for");
                copy.write_at(read_bytes, at - bytes.start)?;
                at += read as u64;
            }
            // Before the original is cut, which is synced, too: after a power cut one of them is there.
            copy.sync_data()
        };
        copied().map_err(|error| {
            // Of no use to anybody, and each try would leave another.
            let _ = self.files.disk.remove_file(&path);
            LogRecoverError::at(&path)(error)
        })?;
        Ok(path)
    }

    /// Deals with all segment files that are not part of the log, which begins at `start`; returns what was kept, in
    /// this and while the tail was cut.
    pub(super) fn set_aside(&mut self, start: Offset) -> Result<Vec<PathBuf>, LogRecoverError> {
        for (base, len) in std::mem::take(&mut self.found) {
            self.set_one_aside(LooseFile { base, len }, start)?;
        }
        Ok(std::mem::take(&mut self.kept_aside))
    }

    fn set_one_aside(&mut self, file: LooseFile, start: Offset) -> Result<(), LogRecoverError> {
        let path = self.files.log_path(file.base);
        self.names_changed = true;
        let disk = &self.files.disk;
        let done = if file.base < start || file.len == 0 {
            // Dropped by retention, or empty: there is nothing to keep.
            tell!(info, self.files, file = %path.display(), "segment file removed");
            disk.remove_file(&path)
        } else {
            let mut aside = path.clone().into_os_string();
            aside.push(".cut");
            let kept = self.free_name(Path::new(&aside))?;
            tell!(warn, self.files, file = %path.display(), kept = %kept.display(), "segment set aside");
            let renamed = disk.rename(&path, &kept);
            self.kept_aside.push(kept);
            renamed
        };
        match done {
            // Gone meanwhile, or by a try before.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogRecoverError::at(&path)(error));
            }
            _ => {}
        }
        // The index is worth nothing without its log; whether it went does not matter.
        let _ = disk.remove_file(&self.files.index_path(file.base));
        Ok(())
    }

    /// `path`, or the first like it that is not taken. When all of them are, that is an error: what is kept must not take
    /// the place of what was kept before (INV-KEEP).
    fn free_name(&self, path: &Path) -> Result<PathBuf, LogRecoverError> {
        let mut candidate = path.to_path_buf();
        for number in 1..=NAMES_MAX {
            let taken = self.files.disk.exists(&candidate);
            if !taken.map_err(LogRecoverError::at(&candidate))? {
                return Ok(candidate);
            }
            let mut name = path.as_os_str().to_os_string();
            name.push(format!(".{number}"));
            candidate = PathBuf::from(name);
        }
        Err(LogRecoverError::at(path)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Makes the names durable that were made, changed or accepted; `accepted` tells that bytes were, whose file may
    /// be as new as they are.
    pub(super) fn sync_names(&self, accepted: bool) -> Result<(), LogRecoverError> {
        if accepted || self.names_changed {
            let dir = &self.files.options.dir;
            self.sync_dir(dir)?;
            dir.parent().map_or(Ok(()), |parent| self.sync_dir(parent))?;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), LogRecoverError> {
        let synced = self.files.disk.sync_dir(dir);
        synced.map_err(|source| LogRecoverError::Sync { path: dir.to_path_buf(), source })
    }
}
