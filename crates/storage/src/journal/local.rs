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

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::files::{Files, JournalFile};
use super::format::{FRAME_HEADER_BYTES, FrameHeader, SECTOR_BYTES, frame_bytes, payload_crc};
use super::list::FileList;
use super::recovery::{Run, recover};
use super::{Bundle, Frame, FramePlace, Journal, JournalError, JournalUsage, Lsn, ReadReport};
use crate::disk::{Disk, create_dir_synced};

mod found;
mod read;

use found::{Found, disk_error_of, missing, next_generation, report};

/// Bytes of a journal file unless told otherwise.
pub const FILE_BYTES_DEFAULT: u64 = 16 << 20;

/// Journal files there may be unless told otherwise.
pub const FILES_MAX_DEFAULT: u32 = 16;

/// Fewest files a journal works with: one being written, one being checkpointed.
const FILES_MIN: u32 = 2;

/// Files a bundle is tried in before it is refused.
const WRITE_ATTEMPTS: u32 = 2;

/// Smallest file: a header and a few frames.
const FILE_BYTES_MIN: u64 = 16 * SECTOR_BYTES;

const _: () = assert!(FILE_BYTES_MIN <= FILE_BYTES_DEFAULT && FILES_MIN <= FILES_MAX_DEFAULT);

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

/// A [`Journal`] in preallocated files that are overwritten again and again.
pub struct LocalJournal {
    files: Files,
    list: FileList,
    files_max: u32,
    state: Mutex<State>,
    /// Told when [`State::making`] ends.
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

/// Why a frame was not committed.
enum FrameError {
    /// It was not written, or in part: it does not count.
    NotWritten(io::Error),
    /// It was written, and whether it is durable is not known.
    NotSynced(io::Error),
}

struct State {
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
        let disk_error = |source| JournalError::Disk { path: dir.to_owned(), source };
        create_dir_synced(&*disk, dir).map_err(disk_error)?;
        // A file that was made, but whose name was not synced, must not take commits.
        disk.sync_dir(dir).map_err(disk_error)?;
        let file_bytes = options.file_bytes.max(FILE_BYTES_MIN).next_multiple_of(SECTOR_BYTES);
        let files = Files { disk, dir: dir.to_owned(), file_bytes, salt: options.salt };
        let (opened, number_next) = files.open_all()?;
        let checkpoint = options.checkpoint.get();
        let there = opened.iter().map(|file| file.number).collect();
        let list = FileList::read(&*files.disk, dir, there)?;
        let missing = missing(&files, &list, opened.is_empty() && checkpoint > 0);
        let recovery = recover(&opened, options.salt, checkpoint)
            .map_err(|(index, error)| disk_error_of(&opened, index, dir, error))?;
        read::make_durable(&opened, &recovery, options.salt)
            .map_err(|(index, error)| disk_error_of(&opened, index, dir, error))?;
        report(dir, &recovery, &missing);
        let found = Found { opened, recovery, missing, number_next };
        Ok(Self::with(files, list, found, options.files_max))
    }

    fn with(files: Files, list: FileList, found: Found, files_max: u32) -> Self {
        let Found { opened, recovery, missing, number_next } = found;
        let mut state = State {
            used: Vec::new(),
            active: None,
            free: Vec::new(),
            making: false,
            number_next,
            lsn_next: recovery.last + 1,
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
            state: Mutex::new(state),
        };
        journal.count_used(&journal.state.lock());
        journal
    }

    fn count_used(&self, state: &State) {
        let count = u32::try_from(state.used.len()).unwrap_or(u32::MAX);
        self.files_in_use.store(count, Ordering::Relaxed);
    }

    /// Takes a free file into use, or makes one.
    fn switch_file(
        &self,
        state: &mut MutexGuard<'_, State>,
        files_max: u32,
    ) -> Result<(), JournalError> {
        while state.free.is_empty() && state.making {
            self.made.wait(state);
        }
        let file = match state.free.pop() {
            Some(file) => file,
            None => {
                let files = u32::try_from(state.used.len()).unwrap_or(u32::MAX);
                if files >= files_max {
                    return Err(JournalError::Full { files });
                }
                let number = state.number_next;
                state.number_next += 1;
                self.files.make(&self.list, number)?
            }
        };
        // Only the active file is synced from here on, so what is unsynced in the old one goes now.
        if state.synced + 1 < state.lsn_next
            && let Some(used) = state.used.last()
            && let Err(error) = used.file.file.sync_data()
        {
            let error = used.file.error(error);
            state.fenced = true;
            return Err(error);
        }
        state.synced = state.lsn_next - 1;
        let generation = state.generation_next;
        state.generation_next += 1;
        state.active =
            Some(Active { generation, first_lsn: state.lsn_next, position: SECTOR_BYTES });
        state.used.push(UsedFile { file, runs: Vec::new(), stray: false, suspect: false });
        self.count_used(state);
        Ok(())
    }

    /// Writes one frame at the end of the active file, which has room for it.
    fn write_frame(&self, state: &mut State, bundle: &Bundle<'_>) -> Result<u64, FrameError> {
        let (Some(active), Some(used)) = (state.active.as_mut(), state.used.last_mut()) else {
            return Err(FrameError::NotWritten(io::ErrorKind::NotFound.into()));
        };
        let salt = self.files.salt;
        let header = FrameHeader {
            generation: active.generation,
            lsn: state.lsn_next,
            first_lsn: active.first_lsn,
            synced_lsn: state.synced,
            payload_len: u32::try_from(bundle.payload.len())
                .map_err(|_| FrameError::NotWritten(io::ErrorKind::FileTooLarge.into()))?,
            payload_crc: payload_crc(salt, active.generation, bundle.payload),
        };
        let end = active.position + header.frame_bytes();
        let written = FRAME_HEADER_BYTES as u64 + u64::from(header.payload_len);
        let zeros = [0; SECTOR_BYTES as usize];
        let padding = usize::try_from(header.frame_bytes() - written).unwrap_or(0);
        let padding = zeros.get(..padding).unwrap_or_default();
        assert!(end <= used.file.bytes, "INV-WHOLE-FILE: a commit never grows a file");
        let slices: [&[u8]; 3] = [&header.encode(salt), bundle.payload, padding];
        let written = used.file.file.write_vectored_at(&slices, active.position);
        written.map_err(FrameError::NotWritten)?;
        match used.runs.last_mut() {
            Some(run) => {
                run.last = header.lsn;
                run.end = end;
            }
            None => used.runs.push(Run {
                generation: header.generation,
                first: header.lsn,
                last: header.lsn,
                position: active.position,
                end,
                synced: header.synced_lsn,
                file: 0,
            }),
        }
        active.position = end;
        state.lsn_next += 1;
        if bundle.sync {
            used.file.file.sync_data().map_err(FrameError::NotSynced)?;
            state.synced = header.lsn;
        }
        Ok(header.lsn)
    }

    /// Gives up the active file after a write that failed; the frames before it stay.
    ///
    /// A part of the frame may be in it, even all of it. The next file is a later generation that
    /// begins with the same number, so it is void once a frame is there (INV-STALE).
    fn leave_file(&self, state: &mut State, error: &io::Error) -> PathBuf {
        self.write_errors.fetch_add(1, Ordering::Relaxed);
        state.active = None;
        let Some(used) = state.used.last_mut() else { return self.files.dir.clone() };
        // For want of room the file is as good as any; after anything else it is not used again.
        used.suspect |= !matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let path = used.file.path.clone();
        tracing::error!(
            path = %path.display(), %error,
            "a journal file did not take a write; another one is tried, nothing is lost"
        );
        path
    }

    /// Frees the files whose frames are all at most `upto`.
    fn recycle(&self, state: &mut State, upto: u64) -> Result<(), JournalError> {
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
                if used.suspect {
                    self.files.put_aside(&self.list, &used.file)?;
                } else if used.stray || !self.files.is_reusable(&used.file) {
                    self.files.remove(&self.list, &used.file)?;
                }
                let used = state.used.remove(index);
                if !used.suspect && !used.stray && self.files.is_reusable(&used.file) {
                    state.free.push(used.file);
                }
            }
        }
        Ok(())
    }
}

impl LocalJournal {
    /// Commits with at most `files_max` files in use.
    fn commit_within(&self, bundle: &Bundle<'_>, files_max: u32) -> Result<Lsn, JournalError> {
        let len = bundle.payload.len() as u64;
        let max = self.payload_bytes_max();
        if len > max {
            return Err(JournalError::TooLarge { len, max });
        }
        let mut state = self.state.lock();
        if state.fenced {
            return Err(JournalError::Fenced);
        }
        let end = state.active.as_ref().map(|active| active.position + frame_bytes(len));
        if end.is_none_or(|end| end > self.files.file_bytes) {
            self.switch_file(&mut state, files_max)?;
        }
        for attempt in 1..=WRITE_ATTEMPTS {
            match self.write_frame(&mut state, bundle) {
                Ok(lsn) => {
                    self.last.store(lsn, Ordering::Release);
                    return Ok(Lsn::new(lsn));
                }
                Err(FrameError::NotWritten(source)) => {
                    let path = self.leave_file(&mut state, &source);
                    if attempt == WRITE_ATTEMPTS {
                        return Err(JournalError::NotWritten { path, source });
                    }
                    self.switch_file(&mut state, files_max)?;
                }
                Err(FrameError::NotSynced(source)) => {
                    // INV-FENCE: a sync that is tried again succeeds without having written it.
                    state.fenced = true;
                    let path = state.used.last().map_or(&self.files.dir, |used| &used.file.path);
                    let path = path.clone();
                    tracing::error!(path = %path.display(), error = %source, "journal fenced");
                    return Err(JournalError::Disk { path, source });
                }
            }
        }
        unreachable!("INV-FENCE: the last attempt returns")
    }
}

impl Journal for LocalJournal {
    fn commit(&self, bundle: &Bundle<'_>) -> Result<Lsn, JournalError> {
        self.commit_within(bundle, self.files_max)
    }

    fn commit_reserved(&self, payload: &[u8]) -> Result<Lsn, JournalError> {
        self.commit_within(&Bundle { payload, sync: true }, u32::MAX)
    }

    fn read(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(&Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ReadReport, JournalError> {
        let runs: Vec<(JournalFile, Run)> = {
            let state = self.state.lock();
            let runs = |used: &UsedFile| -> Vec<(JournalFile, Run)> {
                used.runs.iter().map(|run| (used.file.clone(), *run)).collect()
            };
            state.used.iter().flat_map(runs).collect()
        };
        let mut report = read::visit_runs(runs, self.files.salt, from.get(), visit)?;
        let known = self.damaged.iter().filter(|range| *range.end() >= from.get());
        report.damaged.extend(known.map(|range| from.get().max(*range.start())..=*range.end()));
        report.damaged.sort_by_key(|range| *range.start());
        report.missing.clone_from(&self.missing);
        report.torn_tail = self.torn_tail;
        Ok(report)
    }

    fn read_part(
        &self,
        place: FramePlace,
        at: u64,
        buffer: &mut [u8],
    ) -> Result<usize, JournalError> {
        let file = {
            let state = self.state.lock();
            let found = state.used.iter().find(|used| used.file.number == place.file);
            found.map(|used| used.file.clone())
        };
        let gone = || JournalError::Disk {
            path: self.files.dir.clone(),
            source: io::ErrorKind::NotFound.into(),
        };
        let file = file.ok_or_else(gone)?;
        let payload = u64::from(place.sector) * SECTOR_BYTES + FRAME_HEADER_BYTES as u64;
        file.file.read_at(buffer, payload + at).map_err(|error| file.error(error))
    }

    fn checkpoint(&self, upto: Lsn) -> Result<(), JournalError> {
        let mut state = self.state.lock();
        if upto.get() >= state.lsn_next {
            // Frames that were never synced are gone, and the checkpoint has them: their numbers
            // are taken all the same, or what is committed next would count as checkpointed.
            state.lsn_next = upto.get() + 1;
            state.synced = upto.get();
            state.active = None;
            self.last.store(upto.get(), Ordering::Release);
        }
        let result = self.recycle(&mut state, upto.get());
        self.count_used(&state);
        drop(state);
        // Only here: until what is left is durable elsewhere, every start tells what is missing.
        result.and_then(|()| self.list.settle(&*self.files.disk))
    }

    fn last(&self) -> Lsn {
        Lsn::new(self.last.load(Ordering::Acquire))
    }

    fn needs_checkpoint(&self) -> bool {
        self.files_in_use.load(Ordering::Relaxed) >= FILES_MIN
    }

    fn prepare_next(&self) -> Result<(), JournalError> {
        let number = {
            let mut state = self.state.lock();
            let files = u32::try_from(state.used.len()).unwrap_or(u32::MAX);
            if state.fenced || state.making || !state.free.is_empty() || files >= self.files_max {
                return Ok(());
            }
            state.making = true;
            state.number_next += 1;
            state.number_next - 1
        };
        let made = self.files.make(&self.list, number);
        let mut state = self.state.lock();
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
            files_in_use: self.files_in_use.load(Ordering::Relaxed),
            files_max: self.files_max,
            write_errors: self.write_errors.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
