//! Opening a log after a stop, clean or not.
//!
//! From the checkpoint's durable end on, the log is put together from two sources: the journal's
//! batches, and the whole messages that the segment files hold.
//!
//! INV-KEEP: nothing readable or unreadable is deleted: a cut tail with a whole message in it, and a
//! segment that cannot be reached, are kept under another name.
//! Part of INV-REPEAT: recovering what was recovered changes nothing on disk.
//! INV-RECOVERED: when recovery returns, everything it accepted is durable.

mod batches;
mod merge;
mod missing;
mod segment;
mod tail;

use super::state::LogState;
use super::sync::{SyncLedger, durable_end};
use super::{Log, LogReader};
use crate::checkpoint::LogCheckpoint;
use crate::disk::Disk;
use crate::replace_file::TEMPORARY_SUFFIX;
use crate::segment::format::{parse_index_name, parse_log_name};
use batches::JournalBatches;
use galgo_wire::id::Offset;
use merge::{LogMerge, MergedLog, ShortFile};
use missing::fence_short;
use segment::Current;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tail::Leftovers;

/// A batch found in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournaledBatch {
    /// Offset of its first message.
    pub base_offset: Offset,
    /// Where its messages are; means something to the [`BatchSource`] only.
    pub place: u64,
}

/// Where the messages of journaled batches come from: a journal is larger than the memory a start may take.
pub trait BatchSource {
    /// The messages of a batch, as appended.
    ///
    /// # Errors
    /// Those of the disk.
    fn messages(&self, batch: JournaledBatch) -> io::Result<Vec<u8>>;
}

/// What the journal holds of a log.
pub struct JournaledLog<'a> {
    /// The batches, in the order of the journal.
    pub batches: Vec<JournaledBatch>,
    /// The highest high watermark with which one was staged.
    pub high_watermark: Offset,
    /// Where their messages come from.
    pub source: &'a dyn BatchSource,
}

/// What others than the log's own files prove about its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Messages below this offset were there for good: acknowledged, or synced, or seen by a consumer.
    /// What is missing of them is damage.
    pub end: Offset,
    /// The system has run on since the messages were written, so that the page cache outlived the
    /// process: of all writes only the last can be cut short, and a file holds every earlier one.
    pub cache_survived: bool,
}

/// Messages that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FencedRange {
    /// First message of the range.
    pub from: Offset,
    /// First message after it.
    pub to: Offset,
}

/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Messages written again from the journal.
    pub replayed_messages: u64,
    /// Messages found whole in segment files after the checkpoint's durable end.
    pub accepted_messages: u64,
    /// Bytes cut off the end of the last segment.
    pub cut_bytes: u64,
    /// Files made to keep what was cut or could not be reached.
    pub kept_aside: Vec<PathBuf>,
    /// Messages known to be lost or damaged; others may still turn out to be when they are read.
    pub fenced: Vec<FencedRange>,
    /// Messages after the checkpoint that are damaged or missing, as this recovery found out; part of
    /// `fenced`.
    pub missing: Vec<FencedRange>,
}

impl RecoveryReport {
    /// Whether messages after the checkpoint are missing that were there.
    #[must_use]
    pub fn acknowledged_missing(&self) -> bool {
        !self.missing.is_empty()
    }
}

/// Why a log could not be recovered.
#[derive(Debug, thiserror::Error)]
pub enum LogRecoverError {
    /// The disk failed; recovery may be tried again.
    #[error("cannot recover {path:?}")]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was recovered could not be made durable. A sync that is tried again may succeed without having
    /// written it, so that only another process may try.
    #[error("cannot sync {path:?}")]
    Sync {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A batch cannot be read from the journal.
    #[error("cannot read a batch of the log from the journal")]
    Journal {
        /// What the system said.
        source: io::Error,
    },
    /// The checkpoint contradicts itself.
    #[error("the checkpoint of the log does not fit together at offset {at}")]
    Checkpoint {
        /// Where.
        at: Offset,
    },
}

impl LogRecoverError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Disk { path, source }
    }
}

/// See [`Log::recover`]; `reader` is that of a log without segments.
pub(super) fn recover(
    reader: LogReader,
    known: &LogCheckpoint,
    journaled: JournaledLog<'_>,
    evidence: Evidence,
) -> Result<(Log, RecoveryReport), LogRecoverError> {
    // Before the disk is touched: segments that do not follow each other would give one offset to two messages.
    check(known)?;
    let (disk, dir) = (&*reader.files.disk, &reader.files.options.dir);
    let found = list_segments(disk, dir)?;
    remove_dropped_indexes(disk, dir, known.start);
    let dir_exists = found.is_some();
    let journal = JournalBatches::newest(journaled)?;
    let leftovers = Leftovers::new(&reader.files, found.unwrap_or_default());
    let mut merge = LogMerge::new(&reader, known, leftovers, journal, evidence);
    merge.run()?;
    // Nothing is cut, moved or removed before all was put together: of a recovery that stops in `run` the next one finds
    // what this one found.
    let MergedLog { sealed, current, short, fences, end, last_timestamp, mut report } =
        merge.finish()?;
    let dir_exists = dir_exists || current.is_some();
    let (active, writer) = current.map(Current::into_writer).unzip();
    assert!(known.start <= end, "INV-CONTIGUOUS: a log does not end before it starts");
    *reader.state.write() = LogState::recovered(known.start..end, sealed, active, fences);
    // Only now: whether a file is too short is looked up by way of the state.
    for ShortFile { base, len } in short {
        fence_short(&reader, base, len);
    }
    report.fenced = reader.fenced();
    let ledger = SyncLedger::checkpointed(durable_end(known));
    let log = Log { writer, end, last_timestamp, ledger, dir_exists, ..Log::of_reader(reader) };
    Ok((log, report))
}

/// Refuses a checkpoint whose segments do not follow each other.
fn check(known: &LogCheckpoint) -> Result<(), LogRecoverError> {
    let mut end: Option<Offset> = None;
    let sealed = known.sealed.iter().map(|sealed| (sealed.base, sealed.end, sealed.bytes));
    let active = known.active.iter().map(|it| (it.base, it.durable_end, it.durable_bytes));
    for (base, next, bytes) in sealed.chain(active) {
        let follows = end.is_none_or(|end| end == base);
        if !follows || next < base || bytes > crate::segment::SEGMENT_BYTES_MAX {
            return Err(LogRecoverError::Checkpoint { at: base });
        }
        end = Some(next);
    }
    Ok(())
}

/// Removes the indexes of segments that end below the start. A power cut may leave one without its log, so
/// that nothing else leads to it. It is worth nothing; whether it went does not matter.
fn remove_dropped_indexes(disk: &dyn Disk, dir: &Path, start: Offset) {
    if start == Offset::ZERO {
        return;
    }
    let Ok(entries) = disk.read_dir(dir) else { return };
    // INV-BOUNDARY: a segment that begins below the start ends there.
    let dropped = |name: &str| parse_index_name(name).is_some_and(|base| base < start);
    for entry in entries.iter().filter(|entry| dropped(&entry.name)) {
        let _ = disk.remove_file(&dir.join(&entry.name));
    }
}

/// The segment files in a directory, by base, with their lengths; `None` without the directory. What a rescue
/// was writing when the process ended is removed: it holds nothing.
fn list_segments(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<Option<BTreeMap<Offset, u64>>, LogRecoverError> {
    let entries = match disk.read_dir(dir) {
        Ok(entries) => entries,
        // The directory is made by the first append. Told apart from one that cannot be read: that one has messages.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LogRecoverError::at(dir)(source)),
    };
    let mut segments = BTreeMap::new();
    for entry in entries {
        if entry.is_dir {
            // Nobody makes it; passed over, the log would do without the messages that were there.
            if parse_log_name(&entry.name).is_some() {
                let path = dir.join(&entry.name);
                return Err(LogRecoverError::at(&path)(io::ErrorKind::IsADirectory.into()));
            }
            continue;
        }
        // Its name stands for nothing, and the file it was to replace is there (INV-RESCUE).
        let unfinished = entry.name.strip_suffix(TEMPORARY_SUFFIX).and_then(parse_log_name);
        if unfinished.is_some() {
            let _ = disk.remove_file(&dir.join(&entry.name));
        }
        segments.extend(parse_log_name(&entry.name).map(|base| (base, entry.len)));
    }
    Ok(Some(segments))
}
