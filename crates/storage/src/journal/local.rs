//! The journal in local files: preallocated, overwritten, recycled.
//!
//! One file is active and takes frames until it is full; the next one is ready before. A file whose
//! frames are all checkpointed is free and is overwritten from its start, under a new generation.
//! After opening, the first commit takes a file of its own, so that what a torn write left behind the
//! last frame is never followed.

use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use galgo_wire::id::Epoch;
use galgo_wire::index::to_u32;
use parking_lot::Condvar;

use super::error::LocalError;
use super::files::{Files, JournalFile};
use super::format::{FRAME_HEADER_BYTES, SECTOR_BYTES};
use super::list::FileList;
use super::recovery::{Run, recover};
use super::{
    Bundle, CommitFailure, Frame, FramePlace, InFlight, Journal, JournalError, JournalUsage, Lsn,
    ReadReport, Settled,
};
use crate::disk::{Disk, create_dir_synced};
use crate::lock::{Ranked, rank};

mod found;
mod read;
mod write;

use found::{FoundJournal, disk_error_of, missing, next_generation, report};

/// Bytes of a journal file unless told otherwise.
pub const FILE_BYTES_DEFAULT: u64 = 16 << 20;

/// Journal files there may be unless told otherwise.
pub const FILES_MAX_DEFAULT: u32 = 16;

/// Fewest files a journal works with: one being written, one being checkpointed.
const FILES_MIN: u32 = 2;

/// Smallest file: a header and a few frames.
const FILE_BYTES_MIN: u64 = 16 * SECTOR_BYTES;

const _: () = assert!(FILE_BYTES_MIN <= FILE_BYTES_DEFAULT && FILES_MIN <= FILES_MAX_DEFAULT);
const _: () = assert!(
    FILE_BYTES_MIN > SECTOR_BYTES + FRAME_HEADER_BYTES as u64,
    "the smallest file has room for a payload"
);

/// How a [`LocalJournal`] is opened.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// The last frame that the saved checkpoint covers: reading starts after it, and numbering
    /// never falls back to it.
    pub checkpoint: Lsn,
    /// Bytes of each file, rounded to whole sectors.
    pub file_bytes: u64,
    /// Files there may be; at least 2.
    pub files_max: u32,
    /// A number that clients cannot know, the same at every start (part of the identity of the
    /// node): it goes into every checksum, so that no payload can pass for a frame.
    pub salt: u64,
}

impl JournalOptions {
    /// The defaults, going on after `checkpoint`.
    pub fn after(checkpoint: Lsn) -> Self {
        Self { checkpoint, file_bytes: FILE_BYTES_DEFAULT, files_max: FILES_MAX_DEFAULT, salt: 0 }
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenJournalError {
    /// A file was written by a newer program.
    #[error("{} has format version {found}, newer than this program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A file belongs to another server: its salt differs.
    #[error("journal file {} belongs to another server", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] JournalError),
}

impl From<LocalError> for OpenJournalError {
    fn from(error: LocalError) -> Self {
        Self::Disk(error.into())
    }
}

/// A [`Journal`] in preallocated files that are overwritten again and again.
pub struct LocalJournal {
    files: Files,
    list: FileList,
    files_max: u32,
    state: Ranked<{ rank::JOURNAL }, JournalState>,
    /// Told when [`JournalState::making`] ends.
    made: Condvar,
    damaged: Vec<RangeInclusive<u64>>,
    missing: Vec<PathBuf>,
    torn_tail: bool,
    /// The last frame found on opening.
    last_found: u64,
    last: AtomicU64,
    files_in_use: AtomicU32,
    write_errors: AtomicU64,
}

struct JournalState {
    /// Whose bundles are taken (INV-EPOCH); that of the newest frame until somebody claims it.
    owner: Epoch,
    /// Frames of a lower epoch are of somebody who had been followed before the last checkpoint.
    floor: Epoch,
    /// Files with frames above the checkpoint, in the order of their frames; the last may be active.
    used: Vec<UsedFile>,
    active: Option<Active>,
    /// Files to overwrite.
    free: Vec<JournalFile>,
    /// A file is being made outside the lock.
    making: bool,
    number_next: u32,
    lsn_next: u64,
    synced: u64,
    generation_next: u64,
    fenced: bool,
}

struct UsedFile {
    file: JournalFile,
    runs: Vec<Run>,
    /// Holds frames that do not count: it is removed, not reused, before what outdates them is.
    stray: bool,
    /// Is next to damage, or damaged: it is put aside, not reused.
    suspect: bool,
}

impl UsedFile {
    fn last(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.last)
    }
}

/// Where the next frame goes: into the last of the used files.
struct Active {
    generation: u64,
    first_lsn: u64,
    position: u64,
}

impl LocalJournal {
    /// Opens the journal in `dir`, made when missing. What was found is durable on return, also what
    /// had only reached the page cache before.
    ///
    /// # Errors
    /// See [`OpenJournalError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: JournalOptions,
    ) -> Result<Self, OpenJournalError> {
        let disk_error = |source| LocalError::Disk { path: dir.to_owned(), source };
        create_dir_synced(&*disk, dir).map_err(disk_error)?;
        // A file that was made, but whose name was not synced, must not take commits.
        disk.sync_dir(dir).map_err(disk_error)?;
        let file_bytes = options.file_bytes.max(FILE_BYTES_MIN).next_multiple_of(SECTOR_BYTES);
        let files = Files { disk, dir: dir.to_owned(), file_bytes, salt: options.salt };
        let (opened, number_next) = files.open_all()?;
        let checkpoint = options.checkpoint.get();
        // Read before anything is written: a file that was taken away is told by the list as it was.
        let there = opened.iter().map(|file| file.number).collect();
        let list = FileList::read(&*files.disk, dir, there)?;
        let missing = missing(&files, &list, opened.is_empty() && checkpoint > 0);
        let recovery = recover(&opened, options.salt, checkpoint)
            .map_err(|(index, error)| disk_error_of(&opened, index, dir, error))?;
        // Before the first commit: what is acknowledged behind these frames stands on them, and they may be in the page
        // cache only.
        read::make_durable(&opened, &recovery, options.salt)
            .map_err(|(index, error)| disk_error_of(&opened, index, dir, error))?;
        report(dir, &recovery, &missing);
        let found = FoundJournal { opened, recovery, missing, number_next };
        Ok(Self::with(files, list, found, options.files_max))
    }

    fn with(files: Files, list: FileList, found: FoundJournal, files_max: u32) -> Self {
        let FoundJournal { opened, recovery, missing, number_next } = found;
        let mut state = JournalState {
            owner: recovery.epoch_max,
            floor: Epoch::default(),
            used: Vec::new(),
            active: None,
            free: Vec::new(),
            making: false,
            number_next,
            lsn_next: recovery.last + 1,
            // They were just made durable, all of them; a frame that says so proves it to the next start.
            synced: recovery.last,
            generation_next: next_generation(&recovery, &missing),
            fenced: false,
        };
        for (index, file) in opened.into_iter().enumerate() {
            let runs: Vec<Run> =
                recovery.runs.iter().filter(|run| run.file == index).copied().collect();
            let stray = recovery.stray.contains(&index);
            let suspect = recovery.suspect.contains(&index) || !file.sound;
            // While there are strays, every file may be what shows that they are void.
            let has_strays = !recovery.stray.is_empty();
            if runs.is_empty() && !has_strays && files.is_reusable(&file) {
                state.free.push(file);
            } else {
                state.used.push(UsedFile { file, runs, stray, suspect });
            }
        }
        state.used.sort_by_key(UsedFile::last);
        let journal = Self {
            files,
            list,
            files_max: files_max.max(FILES_MIN),
            last: AtomicU64::new(recovery.last),
            files_in_use: AtomicU32::new(0),
            write_errors: AtomicU64::new(0),
            made: Condvar::new(),
            damaged: recovery.damaged,
            missing,
            torn_tail: recovery.torn_tail,
            last_found: recovery.last,
            state: Ranked::new(state),
        };
        journal.count_used(&journal.state.lock());
        journal
    }

    fn count_used(&self, state: &JournalState) {
        // Beside the lock, which is held over each sync: whoever asks how full the journal is does not wait for one.
        let count = to_u32(state.used.len());
        self.files_in_use.store(count, Ordering::Relaxed);
    }

    /// Frees the files whose frames are all at most `upto`.
    fn recycle(&self, state: &mut JournalState, upto: u64) -> Result<(), LocalError> {
        assert!(upto < state.lsn_next, "INV-LSN: nothing is recycled that was not written");
        // Strays first: they are void only as long as a later generation is there to show it.
        for strays in [true, false] {
            if !strays && state.used.iter().any(|used| used.stray) {
                break;
            }
            let mut index = 0;
            while let Some(used) = state.used.get(index) {
                let is_active = state.active.is_some() && index + 1 == state.used.len();
                let void = !used.stray || upto >= self.last_found;
                if is_active || used.stray != strays || used.last() > upto || !void {
                    index += 1;
                    continue;
                }
                // What was carried may have taken more files than there may be.
                let is_surplus = state.used.len() + state.free.len() > self.files_max as usize;
                let is_kept = !used.suspect
                    && !used.stray
                    && !is_surplus
                    && self.files.is_reusable(&used.file);
                // Renamed or removed before it is out of the list in memory: after an error it is tried again, by the
                // next checkpoint.
                if used.suspect {
                    self.files.put_aside(&self.list, &used.file)?;
                } else if !is_kept {
                    self.files.remove(&self.list, &used.file)?;
                }
                let used = state.used.remove(index);
                if is_kept {
                    // Overwritten as it is: its frames are of a lower generation than those that will be written there,
                    // and void where their numbers come again (INV-STALE).
                    state.free.push(used.file);
                }
            }
        }
        Ok(())
    }
}

impl Journal for LocalJournal {
    fn claim(&self, above: Epoch) -> Epoch {
        // In memory only: the first bundle carries it to the disk. A process that claims and dies has not owned anything.
        let mut state = self.state.lock();
        let next = state.owner.max(above).get().checked_add(1);
        let Some(next) = next else { unreachable!("INV-EPOCH: one claim is one start") };
        assert!(next > state.owner.get(), "INV-EPOCH: whoever claims it gets a higher one");
        state.owner = Epoch::new(next);
        state.floor = state.floor.max(above);
        state.owner
    }

    fn submit(&self, own: Epoch, bundle: Bundle) -> InFlight {
        let outcome = self.commit(own, &bundle).map_err(CommitFailure::from);
        InFlight::settled(Settled { outcome, payload: bundle.payload })
    }

    fn window(&self) -> usize {
        1
    }

    fn read(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(&Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ReadReport, JournalError> {
        let (floor, mut runs): (Epoch, Vec<(JournalFile, Run)>) = {
            let state = self.state.lock();
            let runs = |used: &UsedFile| -> Vec<(JournalFile, Run)> {
                used.runs.iter().map(|run| (used.file.clone(), *run)).collect()
            };
            (state.floor, state.used.iter().flat_map(runs).collect())
        };
        // Of frames that are there twice some may be read from a file that begins before the one between them.
        runs.sort_by_key(|(_, run)| run.first);
        let reading = read::FrameReading { salt: self.files.salt, from, floor };
        let mut report = reading.visit(&runs, visit)?;
        let known = self.damaged.iter().filter(|range| *range.end() >= from.get());
        report.damaged.extend(known.map(|range| from.get().max(*range.start())..=*range.end()));
        report.damaged.sort_by_key(|range| *range.start());
        report.missing = self.missing.iter().map(|path| path.display().to_string()).collect();
        report.torn_tail = self.torn_tail;
        Ok(report)
    }

    fn read_part(
        &self,
        place: FramePlace,
        at: u64,
        buffer: &mut [u8],
    ) -> Result<usize, JournalError> {
        let (number, payload) = place.file_and_payload();
        // A clone, which stays readable: a read from the disk under the lock would hold up the commits.
        let file = {
            let state = self.state.lock();
            let found = state.used.iter().find(|used| used.file.number == number);
            found.map(|used| used.file.clone())
        };
        let gone = || LocalError::Disk {
            path: self.files.path_of(number),
            source: io::ErrorKind::NotFound.into(),
        };
        let file = file.ok_or_else(gone)?;
        let read = file.file.read_at(buffer, payload + at);
        Ok(read.map_err(|error| file.error(error))?)
    }

    fn checkpoint(&self, upto: Lsn) -> Result<(), JournalError> {
        let mut state = self.state.lock();
        if upto.get() >= state.lsn_next {
            // Frames that were never synced are gone, and the checkpoint has them: their numbers
            // are taken all the same, or what is committed next would count as checkpointed.
            state.lsn_next = upto.get() + 1;
            state.synced = upto.get();
            // The next frame begins a file: behind the last one its number would not follow, and end the run there.
            state.active = None;
            self.last.store(upto.get(), Ordering::Release);
        }
        let result = self.recycle(&mut state, upto.get());
        self.count_used(&state);
        drop(state);
        // Only here: until what is left is durable elsewhere, every start tells what is missing.
        Ok(result.and_then(|()| self.list.settle(&*self.files.disk))?)
    }

    fn last(&self) -> Lsn {
        Lsn::new(self.last.load(Ordering::Acquire))
    }

    fn needs_checkpoint(&self) -> bool {
        self.files_in_use.load(Ordering::Relaxed) >= FILES_MIN
    }

    fn make_ready(&self) -> Result<(), JournalError> {
        let number = {
            let mut state = self.state.lock();
            let files = to_u32(state.used.len());
            if state.fenced || state.making || !state.free.is_empty() || files >= self.files_max {
                return Ok(());
            }
            // Taken under the lock, which is not held while the file is written: commits go on meanwhile, and one that
            // needs a file waits for this one rather than making another.
            state.making = true;
            state.number_next += 1;
            state.number_next - 1
        };
        let made = self.files.make(&self.list, number);
        let mut state = self.state.lock();
        // Whether it was made or not: who waits makes one itself then.
        state.making = false;
        self.made.notify_all();
        state.free.push(made?);
        Ok(())
    }

    fn payload_bytes_max(&self) -> u64 {
        let room = self.files.file_bytes - SECTOR_BYTES - FRAME_HEADER_BYTES as u64;
        room.min(u64::from(u32::MAX))
    }

    fn usage(&self) -> JournalUsage {
        JournalUsage {
            parts_in_use: self.files_in_use.load(Ordering::Relaxed),
            parts_max: self.files_max,
            write_errors: self.write_errors.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
