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

use super::state::{ActiveView, LogState};
use super::sync::durable_end;
use super::{Log, LogOptions, LogReader};
use crate::checkpoint::LogCheckpoint;
use crate::disk::Disk;
use crate::file_cache::FileCache;
use crate::lock::Ranked;
use crate::replace_file::TEMPORARY_SUFFIX;
use crate::segment::format::{parse_index_name, parse_log_name};
use crate::segment::writer::SegmentWriter;
use batches::JournalBatches;
use galgo_wire::id::Offset;
use merge::LogMerge;
use segment::Current;
pub(super) use segment::unverified;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

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
pub enum RecoverError {
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

impl RecoverError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Disk { path, source }
    }
}

impl Log {
    /// Opens a log from what the last checkpoint knew, the journal's batches since (in the order of
    /// the journal), what `evidence` says of its end, and the files.
    ///
    /// # Errors
    /// [`RecoverError`]; damage found is no error but in the report.
    pub fn recover(
        disk: Arc<dyn Disk>,
        files: Arc<FileCache>,
        options: LogOptions,
        known: LogCheckpoint,
        journaled: JournaledLog<'_>,
        evidence: Evidence,
    ) -> Result<(Self, RecoveryReport), RecoverError> {
        check(&known)?;
        let found = list_segments(&*disk, &options.dir)?;
        remove_dropped_indexes(&*disk, &options.dir, known.start);
        let dir_exists = found.is_some();
        let reader = LogReader::new(disk, files, options, LogState::default());
        let found = found.unwrap_or_default();
        let journal = JournalBatches::newest(journaled)?;
        let mut merge = LogMerge::new(&reader, &known, found, journal, evidence);
        merge.run()?;
        merge.finish()?;
        let LogMerge { sealed, current, short, fences, at, last_timestamp, mut report, .. } = merge;
        let mut log = Self::of_reader(reader);
        log.end = at;
        log.last_timestamp = last_timestamp;
        log.checkpointed = AtomicU64::new(durable_end(&known).get());
        log.dir_exists = dir_exists || current.is_some();
        let mut state =
            LogState { start: known.start, end: at, sealed, fences, ..LogState::default() };
        if let Some(current) = current {
            log.open_for_writing(current, &mut state);
        }
        state.find_starts_over();
        *log.reader.state.write() = state;
        for (base, len) in short {
            log.reader.fence_short(base, len);
        }
        report.fenced = log.reader.fenced();
        Ok((log, report))
    }

    fn open_for_writing(&mut self, current: Current, state: &mut LogState) {
        state.active = Some(ActiveView {
            base: current.base,
            since: None,
            handle: current.handle.clone(),
            end: current.tip.place(),
            last_timestamp: current.tip.last_timestamp,
            verified: current.verified,
            live_from: current.live_from,
            live: current.live,
        });
        let (base, handle, tip) = (current.base, current.handle, current.tip);
        let (index, marker) = (Ranked::default(), current.marker);
        self.writer = Some(SegmentWriter { base, handle, tip, index, marker });
    }
}

/// Refuses a checkpoint whose segments do not follow each other.
fn check(known: &LogCheckpoint) -> Result<(), RecoverError> {
    let mut end: Option<Offset> = None;
    let sealed = known.sealed.iter().map(|sealed| (sealed.base, sealed.end, sealed.bytes));
    let active = known.active.iter();
    let active = active.map(|active| (active.base, active.durable_end, active.durable_bytes));
    for (base, next, bytes) in sealed.chain(active) {
        let follows = end.is_none_or(|end| end == base);
        if !follows || next < base || bytes > crate::segment::SEGMENT_BYTES_MAX {
            return Err(RecoverError::Checkpoint { at: base });
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
) -> Result<Option<BTreeMap<Offset, u64>>, RecoverError> {
    let entries = match disk.read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RecoverError::at(dir)(source)),
    };
    let mut segments = BTreeMap::new();
    for entry in entries {
        if entry.is_dir {
            // Nobody makes it; passed over, the log would do without the messages that were there.
            if parse_log_name(&entry.name).is_some() {
                let path = dir.join(&entry.name);
                return Err(RecoverError::at(&path)(io::ErrorKind::IsADirectory.into()));
            }
            continue;
        }
        let unfinished = entry.name.strip_suffix(TEMPORARY_SUFFIX).and_then(parse_log_name);
        if unfinished.is_some() {
            let _ = disk.remove_file(&dir.join(&entry.name));
        }
        segments.extend(parse_log_name(&entry.name).map(|base| (base, entry.len)));
    }
    Ok(Some(segments))
}
