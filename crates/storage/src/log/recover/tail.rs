//! What recovery leaves behind: a cut tail, and files that are not part of the log.
//!
//! Part of INV-KEEP: bytes with a whole message in them are copied before they are cut off, and a segment
//! that cannot be reached gets another name.

use super::RecoverError;
use super::merge::LogMerge;
use crate::disk::{DiskFile, OpenMode};
use crate::log::name::tell;
use crate::segment::format::log_name;
use crate::segment::recovery::next_valid;
use galgo_wire::id::Offset;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use galgo_wire::index::{part, part_mut};

/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;
/// Names tried for one file set aside.
const NAMES_MAX: u32 = 1_000;

impl LogMerge<'_> {
    /// Cuts the tail, sets aside what is not part of the log, and makes everything durable.
    pub(super) fn finish(&mut self) -> Result<(), RecoverError> {
        // Before what lies below the start is given up, which may be the segment that this one follows.
        self.keep_begun()?;
        let start = self.start;
        let gone = self.sealed.partition_point(|sealed| sealed.known.end <= start);
        for sealed in self.sealed.drain(..gone) {
            self.found.insert(sealed.known.base, sealed.known.bytes);
        }
        let sealed = &self.sealed;
        self.short.retain(|(base, _)| sealed.iter().any(|sealed| sealed.known.base == *base));
        self.fences.retain(|fence| fence.to > start);
        self.cut_tail()?;
        for (base, len) in std::mem::take(&mut self.found) {
            self.set_aside(base, len)?;
        }
        if let Some(current) = &mut self.current {
            current.sync()?;
        }
        let accepted = self.report.accepted_messages + self.report.replayed_messages > 0;
        if accepted || self.names_changed {
            let dir = &self.reader.options.dir;
            self.sync_dir(dir)?;
            dir.parent().map_or(Ok(()), |parent| self.sync_dir(parent))?;
        }
        Ok(())
    }

    /// Goes on in the segment that was begun behind all others and holds nothing yet. Where these are given up its name
    /// is what says where the log ends, should the newest checkpoint be lost (INV-NO-REUSE).
    fn keep_begun(&mut self) -> Result<(), RecoverError> {
        let is_begun = self.found.get(&self.at) == Some(&0);
        // What comes behind its end is cut off the one before, which only the last one can have.
        let is_whole = self.current.as_ref().is_none_or(|it| it.file_len <= it.tip.bytes);
        if is_begun && is_whole { self.enter(self.at) } else { Ok(()) }
    }

    /// Cuts bytes off the end of the current segment that are no messages of the log.
    fn cut_tail(&mut self) -> Result<(), RecoverError> {
        let Some(current) = &self.current else { return Ok(()) };
        let (bytes, len) = (current.tip.bytes, current.file_len);
        if len <= bytes {
            return Ok(());
        }
        let path = current.handle.path().to_path_buf();
        let file = current.handle.get().map_err(RecoverError::at(&path))?;
        let offsets = self.at..Offset::new(u64::MAX);
        let found = next_valid(&*file, (bytes, len), offsets).map_err(RecoverError::at(&path))?;
        if found.is_some() {
            let name = format!("{}.cut-{bytes}", log_name(current.base));
            let kept = self.keep_copy(&file, (bytes, len), &path.with_file_name(name))?;
            self.report.kept_aside.push(kept);
            // The copy has its name for good before the original goes.
            self.sync_dir(&self.reader.options.dir)?;
        }
        file.set_len(bytes).map_err(RecoverError::at(&path))?;
        if let Some(current) = &mut self.current {
            current.handle.mark_dirty();
            current.unsynced = true;
            current.file_len = bytes;
        }
        self.report.cut_bytes = len - bytes;
        let file = path.display();
        tell!(warn, self.reader, %file, position = bytes, bytes = len - bytes, "tail cut off");
        Ok(())
    }

    /// Copies a range of a file to a new file of this name, or of one like it.
    fn keep_copy(
        &self,
        file: &Arc<dyn DiskFile>,
        (from, end): (u64, u64),
        path: &Path,
    ) -> Result<PathBuf, RecoverError> {
        let path = self.free_name(path)?;
        let copied = || -> io::Result<()> {
            let copy = self.reader.disk.open(&path, OpenMode::CreateNew)?;
            let mut buffer = vec![0; COPY_BYTES];
            let mut at = from;
            while at < end {
                let wanted = usize::try_from(end - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
                let piece = part_mut(&mut buffer, ..wanted, "INV-KEEP: a piece fits its buffer");
                let read = file.read_at(piece, at)?;
                if read == 0 {
                    break;
                }
                let read_bytes =
                    part(piece, ..read, "INV-KEEP: no more is read than was asked for");
                copy.write_at(read_bytes, at - from)?;
                at += read as u64;
            }
            copy.sync_data()
        };
        copied().map_err(|error| {
            // Of no use to anybody, and each try would leave another.
            let _ = self.reader.disk.remove_file(&path);
            RecoverError::at(&path)(error)
        })?;
        Ok(path)
    }

    /// Deals with a segment file that is not part of the log.
    fn set_aside(&mut self, base: Offset, len: u64) -> Result<(), RecoverError> {
        let path = self.reader.log_path(base);
        self.names_changed = true;
        let disk = &self.reader.disk;
        let done = if base < self.start || len == 0 {
            // Dropped by retention, or empty: there is nothing to keep.
            tell!(info, self.reader, file = %path.display(), "segment file removed");
            disk.remove_file(&path)
        } else {
            let mut aside = path.clone().into_os_string();
            aside.push(".cut");
            let kept = self.free_name(Path::new(&aside))?;
            tell!(warn, self.reader, file = %path.display(), kept = %kept.display(), "segment set aside");
            let renamed = disk.rename(&path, &kept);
            self.report.kept_aside.push(kept);
            renamed
        };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RecoverError::at(&path)(error));
            }
            _ => {}
        }
        // The index is worth nothing without its log; whether it went does not matter.
        let _ = disk.remove_file(&self.reader.index_path(base));
        Ok(())
    }

    /// `path`, or the first like it that is not taken.
    fn free_name(&self, path: &Path) -> Result<PathBuf, RecoverError> {
        let mut candidate = path.to_path_buf();
        for number in 1..NAMES_MAX {
            if !self.reader.disk.exists(&candidate).map_err(RecoverError::at(&candidate))? {
                break;
            }
            let mut name = path.as_os_str().to_os_string();
            name.push(format!(".{number}"));
            candidate = PathBuf::from(name);
        }
        Ok(candidate)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), RecoverError> {
        let synced = self.reader.disk.sync_dir(dir);
        synced.map_err(|source| RecoverError::Sync { path: dir.to_path_buf(), source })
    }
}
