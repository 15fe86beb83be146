//! Taking writes again after a sync that failed.
//!
//! Of what such a sync was to write, some may be on the disk and some not, and nothing tells any more: the
//! pages count as clean, and another sync would say that all is well. So each file with bytes that no sync
//! covered is written anew under another name, from what can be read of it and passes its checks, synced, and
//! only then put in the place of the old one.
//!
//! INV-RESCUE: a file that takes the place of another holds the same messages, every one of them checked in
//! the new file and all of them against the sum of what was written, and is durable before it does. Until all
//! of them are, the log takes no writes.

use super::Log;
use super::reader::LogReader;
use super::state::Fence;
use crate::disk::{DiskFile, OpenMode};
use crate::replace_file::begin_temporary;
use crate::segment::Boundary;
use crate::segment::recovery::accept;
use crate::segment::writer::Tip;
use galgo_wire::id::{Offset, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes that are copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What has to be written anew for a log to take writes again.
pub struct Rescue {
    generation: u64,
    files: Vec<Unsure>,
    dirs: Vec<PathBuf>,
    reader: Arc<LogReader>,
}

/// A file with bytes that no sync covered.
#[derive(Clone, Copy, Debug)]
struct Unsure {
    base: Offset,
    tip: Tip,
    /// Up to where one did.
    sure: Offset,
}

impl Rescue {
    /// Writes it. Needs no lock: a log that takes no writes stays as it is. Blocks on the disk.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` when what was written cannot be read any more. The old files are in
    /// their places then.
    pub fn write(&self) -> io::Result<()> {
        for file in &self.files {
            self.write_file(*file)?;
        }
        // The names of directories: a file system that could not write these has stopped taking any.
        for dir in self.dirs.iter().chain([&self.reader.options.dir]) {
            self.reader.disk.sync_dir(dir)?;
        }
        Ok(())
    }

    fn write_file(&self, Unsure { base, tip, sure }: Unsure) -> io::Result<()> {
        let disk = &*self.reader.disk;
        let path = self.reader.log_path(base);
        let source = self.reader.open(base)?;
        // Before anything takes room that may be needed elsewhere.
        match compare(&*source, base, tip)? {
            Reread::Same => {}
            Reread::Damaged => return Err(io::ErrorKind::InvalidData.into()),
            Reread::Other => {
                // P-TRUTH: each of them passes its own check, so that no reader would know.
                self.reader.fence(Fence { base, from: sure, to: tip.end, resume: None });
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let (temporary, file) = begin_temporary(disk, &path)?;
        let written = copy(&*source, &*file, tip.bytes).and_then(|()| {
            if compare(&*file, base, tip)? != Reread::Same {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // Before it is named: a name may reach the disk before the bytes it stands for.
            file.sync_data()
        });
        drop(file);
        match written {
            Ok(()) => disk.rename(&temporary, &path),
            Err(error) => {
                self.discard(&temporary);
                Err(error)
            }
        }
    }

    /// Gives the space back; what is left over is removed by the next try, or by hand.
    fn discard(&self, temporary: &Path) {
        if let Err(error) = self.reader.disk.remove_file(temporary) {
            tracing::debug!(path = %temporary.display(), %error, "temporary file not removed");
        }
    }
}

impl std::fmt::Debug for Rescue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rescue").field("files", &self.files).finish_non_exhaustive()
    }
}

/// What is read of a file, against what was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reread {
    Same,
    /// A message fails its check.
    Damaged,
    /// Each passes it, and they are others: of a page that has left the cache, what is read may be older, with messages
    /// that were taken back, of the same length as those in their place.
    Other,
}

fn compare(file: &dyn DiskFile, base: Offset, tip: Tip) -> io::Result<Reread> {
    let mut checksum = 0_u64;
    let whole = (Boundary { offset: base, position: 0 }, tip.bytes);
    let end = accept(file, whole, None, Timestamp::ZERO, |_, frame| {
        checksum = checksum.wrapping_add(frame.checksum);
    })?;
    Ok(match tip.checksum {
        _ if end != tip.place() => Reread::Damaged,
        Some(known) if known != checksum => Reread::Other,
        _ => Reread::Same,
    })
}

fn copy(from: &dyn DiskFile, to: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut position = 0;
    while position < bytes {
        let left = usize::try_from(bytes - position).unwrap_or(COPY_BYTES);
        let Some(chunk) = buffer.get_mut(..left.min(COPY_BYTES)) else { break };
        from.read_exact_at(chunk, position)?;
        to.write_at(chunk, position)?;
        position += chunk.len() as u64;
    }
    Ok(())
}

impl Log {
    /// What has to be written anew; `None` while the log takes writes, or when its end is not `upto`: then
    /// it holds what was to be taken back, and only a recovery tells what becomes of that.
    #[must_use]
    pub fn rescue(&self, upto: Offset) -> Option<Rescue> {
        if !self.is_fenced() || self.end != upto {
            return None;
        }
        let state = self.reader.state.read();
        let kept = self.unsynced.iter().filter(|unsynced| state.has_segment(unsynced.base));
        let written = self.writer.as_ref().map(|writer| writer.tip);
        let files = kept.filter_map(|unsynced| {
            let base = unsynced.base;
            let sure = unsynced.durable.map_or(base, |durable| durable.end);
            Some(Unsure { base, tip: unsynced.sealed_at.or(written)?, sure })
        });
        let mut files: Vec<_> = files.collect();
        // Of a write that failed half-way the segment may hold a part behind its end, synced or not.
        if let Some(writer) = &self.writer
            && files.iter().all(|file| file.base != writer.base)
        {
            files.push(Unsure { base: writer.base, tip: writer.tip, sure: writer.tip.end });
        }
        drop(state);
        let (generation, reader) = (self.generation, Arc::clone(&self.reader));
        Some(Rescue { generation, files, dirs: self.unsynced_dirs.clone(), reader })
    }

    /// Takes what `rescue` has written in place of the old files, all of it durable, and takes writes again.
    ///
    /// # Panics
    /// When the log has changed since, which one that takes no writes does not.
    pub fn rescued(&mut self, rescue: &Rescue) {
        assert_eq!(rescue.generation, self.generation, "INV-RESCUE: the log was changed meanwhile");
        for Unsure { base, .. } in &rescue.files {
            self.reader.forget(*base);
            if let Some(writer) = self.writer.as_mut().filter(|writer| writer.base == *base) {
                let path = self.reader.log_path(*base);
                let handle = self.reader.files.handle(path, OpenMode::ReadWrite);
                writer.handle = handle.clone();
                if let Some(active) = &mut self.reader.state.write().active {
                    active.handle = handle;
                }
            }
        }
        self.unsynced.clear();
        self.unsynced_dirs.clear();
        self.fenced.store(false, Ordering::Release);
    }
}
