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

use super::reader::LogReader;
use super::state::Fence;
use super::sync::{SyncLedger, UnsureFile};
use crate::disk::DiskFile;
use crate::replace_file::begin_temporary;
use crate::segment::Boundary;
use crate::segment::recovery::SegmentBytes;
use crate::segment::writer::Tip;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::index::{part_mut, to_usize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What has to be written anew for a log to take writes again.
pub struct Rescue {
    generation: u64,
    files: Vec<UnsureFile>,
    dirs: Vec<PathBuf>,
    reader: Arc<LogReader>,
}

impl Rescue {
    /// What `ledger` says has to be written anew; `written` is the end of the segment that is written.
    pub(super) fn of(ledger: &SyncLedger, reader: &Arc<LogReader>, written: Option<Tip>) -> Self {
        let files = ledger.unsure(&reader.state.read(), written);
        let (dirs, generation) = (ledger.dirs().to_vec(), ledger.generation());
        Self { generation, files, dirs, reader: Arc::clone(reader) }
    }

    /// The number of the last rewind before it was taken.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The segments whose files it has replaced.
    pub(super) fn bases(&self) -> impl Iterator<Item = Offset> {
        self.files.iter().map(|file| file.tip.base)
    }

    /// Writes it. Needs no lock: a log that takes no writes stays as it is. Blocks on the disk.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` when what was written cannot be read any more. The old files are in
    /// their places then.
    pub fn write(&self) -> io::Result<()> {
        // One after the other, each put in its place at once: should a later one fail, those before hold the same messages
        // as ever, and the log stays fenced until all are done.
        for file in &self.files {
            self.write_file(*file)?;
        }
        // The names of directories: a file system that could not write these has stopped taking any.
        for dir in self.dirs.iter().chain([&self.reader.files.options.dir]) {
            self.reader.files.disk.sync_dir(dir)?;
        }
        Ok(())
    }

    fn write_file(&self, UnsureFile { tip, sure }: UnsureFile) -> io::Result<()> {
        let base = tip.base;
        let disk = &*self.reader.files.disk;
        let path = self.reader.files.log_path(base);
        let source = self.reader.open(base)?;
        // Before anything takes room that may be needed elsewhere.
        match compare(&*source, tip)? {
            Reread::Same => {}
            Reread::Damaged => return Err(io::ErrorKind::InvalidData.into()),
            Reread::Other => {
                // P-TRUTH: each of them passes its own check, so that no reader would know. What a sync had covered is
                // what was written, and where that is all of it, it is the sum that was read wrong, of what was taken
                // back: those messages are not to be kept from readers.
                if sure < tip.end {
                    self.reader.fence(Fence { base, from: sure, to: tip.end, resume: None });
                }
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let (temporary, file) = begin_temporary(disk, &path)?;
        let written = copy(&*source, &*file, tip.bytes).and_then(|()| {
            // Read back from the new file: what was read for the copy is not what was compared, and a page may have been
            // read anew in between.
            if compare(&*file, tip)? != Reread::Same {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // Before it is named: a name may reach the disk before the bytes it stands for.
            file.sync_data()
        });
        // Closed before it is renamed or removed: a removed file that is open keeps its space, of which there may be none.
        drop(file);
        match written {
            // The directory is synced once for all of them, at the end: until then a power cut leaves the old file or
            // the new one, of the same messages.
            Ok(()) => disk.rename(&temporary, &path),
            Err(error) => {
                self.discard(&temporary);
                Err(error)
            }
        }
    }

    /// Gives the space back; what is left over is removed by the next try, or by hand.
    fn discard(&self, temporary: &Path) {
        if let Err(error) = self.reader.files.disk.remove_file(temporary) {
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

fn compare(file: &dyn DiskFile, tip: Tip) -> io::Result<Reread> {
    let mut checksum = 0_u64;
    let begin = Boundary { offset: tip.base, position: 0 };
    let bytes = SegmentBytes::new(file, tip.bytes);
    let end = bytes.accept(begin, None, Timestamp::ZERO, |_, frame| {
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
        let len = to_usize(bytes - position).min(COPY_BYTES);
        let chunk = part_mut(&mut buffer, ..len, "INV-RESCUE: a piece fits its buffer");
        // Exactly so many: the file has them, or it is not what was written. What is behind them is a part of a write that
        // failed, and is left behind.
        from.read_exact_at(chunk, position)?;
        to.write_at(chunk, position)?;
        position += chunk.len() as u64;
    }
    Ok(())
}
