//! Writing frames: into the file that is written, the next one, or another when that fails.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use galgo_wire::id::Epoch;
use galgo_wire::index::{part, to_u32, to_usize};

use super::super::error::LocalError;
use super::super::format::{
    FRAME_HEADER_BYTES, FrameHeader, SECTOR_BYTES, frame_bytes, payload_crc,
};
use super::super::recovery::Run;
use super::super::{Bundle, Journal as _, JournalRoom, Lsn};
use super::{Active, JournalState, LocalJournal, UsedFile};
use crate::lock::{Held, rank};

/// Files a bundle is tried in before it is refused.
const WRITE_ATTEMPTS: u32 = 2;

/// Why a frame was not committed.
enum FrameError {
    /// It was not written, or in part: it does not count.
    NotWritten(io::Error),
    /// It was written, and whether it is durable is not known.
    NotSynced(io::Error),
}

impl LocalJournal {
    /// Writes a bundle of the owner of `own`, and syncs it where that is asked for.
    pub(super) fn commit(&self, own: Epoch, bundle: &Bundle) -> Result<Lsn, LocalError> {
        let files_max = match bundle.room {
            JournalRoom::Shared => self.files_max,
            JournalRoom::Reserved => u32::MAX,
        };
        let len = bundle.payload.len() as u64;
        let max = self.payload_bytes_max();
        if len > max {
            return Err(LocalError::TooLarge { len, max });
        }
        // Held over the write and the sync: frames have consecutive numbers, and lie in the order of these.
        let mut state = self.state.lock();
        // INV-EPOCH: before anything of it is written.
        if state.owner != own {
            return Err(LocalError::NotOwner);
        }
        if state.fenced {
            return Err(LocalError::Fenced);
        }
        let end = state.active.as_ref().map(|active| active.position + frame_bytes(len));
        if end.is_none_or(|end| end > self.files.file_bytes) {
            self.switch_file(&mut state, files_max)?;
        }
        for attempt in 1..=WRITE_ATTEMPTS {
            match self.write_frame(&mut state, bundle) {
                Ok(lsn) => {
                    // Only now: whoever reads it takes the frame to be committed.
                    self.last.store(lsn, Ordering::Release);
                    return Ok(Lsn::new(lsn));
                }
                Err(FrameError::NotWritten(source)) => {
                    let path = self.leave_file(&mut state, &source);
                    if attempt == WRITE_ATTEMPTS {
                        return Err(LocalError::NotWritten { path, source });
                    }
                    self.switch_file(&mut state, files_max)?;
                }
                Err(FrameError::NotSynced(source)) => {
                    // INV-JOURNAL-FENCE: a sync that is tried again succeeds without having written it.
                    // Frames behind it would be durable without it, or with it.
                    state.fenced = true;
                    let path = state.used.last().map_or(&self.files.dir, |used| &used.file.path);
                    let path = path.clone();
                    tracing::error!(path = %path.display(), error = %source, "journal fenced");
                    return Err(LocalError::Disk { path, source });
                }
            }
        }
        unreachable!("INV-JOURNAL-FENCE: the last attempt returns")
    }

    /// Takes a free file into use, or makes one.
    fn switch_file(
        &self,
        state: &mut Held<'_, { rank::JOURNAL }, JournalState>,
        files_max: u32,
    ) -> Result<(), LocalError> {
        // One is on its way: two made at once would be one more than there may be.
        while state.free.is_empty() && state.making {
            state.wait(&self.made);
        }
        let files = to_u32(state.used.len());
        if files >= files_max {
            return Err(LocalError::Full { files });
        }
        let file = match state.free.pop() {
            Some(file) => file,
            None => {
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
            // INV-JOURNAL-FENCE: frames of bundles that asked for no sync are among them, and readers have seen them.
            state.fenced = true;
            return Err(error);
        }
        state.synced = state.lsn_next - 1;
        // Counted even where nothing gets written under it: a number that was given once may be on the disk.
        let generation = state.generation_next;
        state.generation_next += 1;
        state.active =
            Some(Active { generation, first_lsn: state.lsn_next, position: SECTOR_BYTES });
        state.used.push(UsedFile { file, runs: Vec::new(), stray: false, suspect: false });
        self.count_used(state);
        Ok(())
    }

    /// Writes one frame at the end of the active file, which has room for it.
    fn write_frame(&self, state: &mut JournalState, bundle: &Bundle) -> Result<u64, FrameError> {
        let (Some(active), Some(used)) = (state.active.as_mut(), state.used.last_mut()) else {
            unreachable!("INV-WHOLE-FILE: a file is taken into use before a frame is written")
        };
        assert!(
            state.synced < state.lsn_next,
            "INV-LSN: no frame is durable that has no number yet"
        );
        let salt = self.files.salt;
        let header = FrameHeader {
            generation: active.generation,
            lsn: state.lsn_next,
            first_lsn: active.first_lsn,
            synced_lsn: state.synced,
            epoch: state.owner,
            payload_len: u32::try_from(bundle.payload.len())
                .map_err(|_| FrameError::NotWritten(io::ErrorKind::FileTooLarge.into()))?,
            payload_crc: payload_crc(salt, active.generation, &bundle.payload),
        };
        let end = active.position + header.frame_bytes();
        let written = FRAME_HEADER_BYTES as u64 + u64::from(header.payload_len);
        let zeros = [0; SECTOR_BYTES as usize];
        let padding = to_usize(header.frame_bytes() - written);
        let padding = part(&zeros, ..padding, "INV-WHOLE-FILE: a frame ends with its last sector");
        assert!(end <= used.file.bytes, "INV-WHOLE-FILE: a commit never grows a file");
        let slices: [&[u8]; 3] = [&header.encode(salt), &bundle.payload, padding];
        // To the end of its last sector: the next frame begins a sector of its own, so that a torn write never reaches
        // this one, and what the file held before does not show through.
        let written = used.file.file.write_vectored_at(&slices, active.position);
        written.map_err(FrameError::NotWritten)?;
        // From here on its number is taken, synced or not: it may be on the disk, and read back.
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
            // It covers every frame before it as well: those in earlier files were synced when they were left.
            state.synced = header.lsn;
        }
        Ok(header.lsn)
    }

    /// Gives up the active file after a write that failed; the frames before it stay.
    ///
    /// A part of the frame may be in it, even all of it. The next file is a later generation that
    /// begins with the same number, so it is void once a frame is there (INV-STALE).
    fn leave_file(&self, state: &mut JournalState, error: &io::Error) -> PathBuf {
        self.write_errors.fetch_add(1, Ordering::Relaxed);
        // Never written on: behind the part of a frame another one would be found, or not, as the torn one reads.
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
}
