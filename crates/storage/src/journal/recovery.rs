//! Finds out what a journal holds after any kind of stop.
//!
//! Each file is searched for sound frames, sector by sector, and not followed from frame to frame: so
//! a frame that cannot be read hides none behind it. Frames that lie one after the other form a
//! [`Run`]. Out of the runs of all files come the frames that count: void ones are left out
//! (INV-STALE), and where a number is missing, either a later frame proves that it had been durable,
//! which is damage (INV-LOUD), or the journal ends there.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;

use galgo_wire::id::Epoch;
use galgo_wire::index::{part, to_usize};

use super::files::JournalFile;
use super::format::{FRAME_HEADER_BYTES, FrameHeader, SECTOR_BYTES, payload_crc};

/// Bytes read at a time when a file is searched.
const WINDOW_BYTES: u64 = 1 << 20;

/// Frames of one generation that lie one after the other and have consecutive numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) generation: u64,
    /// First and last number that count.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Where the first frame of the run, maybe one before `first`, is.
    pub(super) position: u64,
    /// Where the last frame found ends.
    pub(super) end: u64,
    /// Highest number that one of its frames proves durable.
    pub(super) synced: u64,
    /// Which of the searched files it is in.
    pub(super) file: usize,
}

/// What counts of a journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recovery {
    /// In the order of their numbers.
    pub(super) runs: Vec<Run>,
    pub(super) damaged: Vec<RangeInclusive<u64>>,
    /// The last number that is taken.
    pub(super) last: u64,
    /// Frames up to here are known to be on the platter.
    pub(super) synced: u64,
    pub(super) torn_tail: bool,
    pub(super) generation_max: u64,
    /// The highest epoch of any frame, whether it counts or not.
    pub(super) epoch_max: Epoch,
    /// Files with frames above the checkpoint that do not count, by index.
    pub(super) stray: Vec<usize>,
    /// Files next to damage, by index.
    pub(super) suspect: Vec<usize>,
}

/// Searches `files` for what counts after `checkpoint`.
pub(super) fn recover(
    files: &[JournalFile],
    salt: u64,
    checkpoint: u64,
) -> Result<Recovery, (usize, io::Error)> {
    // All files before anything is decided: the frame that makes one void may be in any other.
    let mut found = FoundRuns::default();
    for (index, file) in files.iter().enumerate() {
        let mut search = Search { file, index, salt, checkpoint, window: JournalWindow::default() };
        search.run(&mut found).map_err(|error| (index, error))?;
    }
    Ok(select(found, checkpoint))
}

#[derive(Debug, Default)]
struct FoundRuns {
    runs: Vec<Run>,
    /// First number of each generation seen.
    generations: BTreeMap<u64, u64>,
    epoch_max: Epoch,
}

struct Search<'a> {
    file: &'a JournalFile,
    index: usize,
    salt: u64,
    checkpoint: u64,
    window: JournalWindow,
}

impl Search<'_> {
    fn run(&mut self, found: &mut FoundRuns) -> io::Result<()> {
        let mut position = SECTOR_BYTES;
        while position + SECTOR_BYTES <= self.file.bytes {
            let start = self.window.read(self.file, position, FRAME_HEADER_BYTES as u64)?;
            let Some(header) = FrameHeader::decode(start, self.salt) else {
                position += SECTOR_BYTES;
                continue;
            };
            // Of every sound header, whether its payload is sound or not: that a number was given again shows even in a
            // frame that was torn.
            found.generations.insert(header.generation, header.first_lsn);
            found.epoch_max = found.epoch_max.max(header.epoch);
            if header.lsn <= self.checkpoint || !self.payload_is_sound(&header, position)? {
                // Not skipped as a whole: a later frame may have overwritten a part of this one.
                position += SECTOR_BYTES;
                continue;
            }
            self.note(&mut found.runs, &header, position);
            position += header.frame_bytes();
        }
        Ok(())
    }

    fn payload_is_sound(&mut self, header: &FrameHeader, position: u64) -> io::Result<bool> {
        let start = position + FRAME_HEADER_BYTES as u64;
        // Compared before it is read, which is before memory is taken for it: the file may have been cut.
        if start + u64::from(header.payload_len) > self.file.bytes {
            return Ok(false);
        }
        let payload = self.window.read(self.file, start, u64::from(header.payload_len))?;
        Ok(payload.len() == header.payload_len as usize
            && payload_crc(self.salt, header.generation, payload) == header.payload_crc)
    }

    fn note(&self, runs: &mut Vec<Run>, header: &FrameHeader, position: u64) {
        let end = position + header.frame_bytes();
        if let Some(run) = runs.last_mut().filter(|run| {
            run.file == self.index
                && run.generation == header.generation
                && run.end == position
                && run.last + 1 == header.lsn
        }) {
            run.last = header.lsn;
            run.end = end;
            run.synced = run.synced.max(header.synced_lsn);
            return;
        }
        runs.push(Run {
            generation: header.generation,
            first: header.lsn,
            last: header.lsn,
            position,
            end,
            synced: header.synced_lsn,
            file: self.index,
        });
    }
}

/// A part of a file in memory, so that a search makes few system calls.
#[derive(Default)]
pub(super) struct JournalWindow {
    start: u64,
    bytes: Vec<u8>,
}

impl JournalWindow {
    /// The bytes at `position`; fewer than `len` only at the end of the file.
    pub(super) fn read(
        &mut self,
        file: &JournalFile,
        position: u64,
        len: u64,
    ) -> io::Result<&[u8]> {
        let end = position + len;
        if position < self.start || end > self.start + self.bytes.len() as u64 {
            let want = WINDOW_BYTES.max(len).min(file.bytes.saturating_sub(position));
            let want = usize::try_from(want).map_err(|_| io::ErrorKind::OutOfMemory)?;
            // A read that fails leaves no bytes behind that could be taken for the file's.
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(want, 0);
            let count = file.file.read_at(&mut bytes, position)?;
            bytes.truncate(count);
            self.start = position;
            self.bytes = bytes;
        }
        // The file may end before any of it, or within: it is shorter than it was made where somebody cut it.
        let there = self.bytes.len();
        let from = to_usize(position - self.start).min(there);
        let to = from.saturating_add(to_usize(len)).min(there);
        Ok(part(&self.bytes, from..to, "a window is cut where the bytes end"))
    }
}

/// Chooses the frames that count.
fn select(found: FoundRuns, checkpoint: u64) -> Recovery {
    let mut recovery = Recovery {
        last: checkpoint,
        epoch_max: found.epoch_max,
        generation_max: found.generations.keys().next_back().copied().unwrap_or(0),
        ..Recovery::default()
    };
    let runs = without_void(found, &mut recovery.stray);
    let synced = runs.iter().map(|run| run.synced).max().unwrap_or(0);
    for mut run in runs {
        let expected = recovery.last + 1;
        if recovery.torn_tail || run.last < expected {
            recovery.stray.push(run.file);
            continue;
        }
        if run.first > expected && !bridge(&mut recovery, &run, synced) {
            recovery.torn_tail = true;
            recovery.stray.push(run.file);
            continue;
        }
        // A file that was copied has frames once more; each number is read from one place.
        run.first = run.first.max(recovery.last + 1);
        recovery.last = run.last;
        recovery.runs.push(run);
    }
    recovery.synced = synced.clamp(checkpoint, recovery.last.max(checkpoint));
    let in_order = recovery.runs.is_sorted_by(|before, after| before.last < after.first);
    assert!(in_order, "INV-LSN: of what counts each number is there once, in order");
    recovery
}

/// Leaves out frames whose number a later generation took again; the rest by their numbers.
fn without_void(found: FoundRuns, stray: &mut Vec<usize>) -> Vec<Run> {
    let mut runs = found.runs;
    runs.retain_mut(|run| {
        let later = found.generations.range(run.generation + 1..);
        let Some(limit) = later.map(|(_, first)| *first).min() else { return true };
        if run.last >= limit {
            // Such a file is removed, and before what outdates its frames: reused, the frames that show them to be void
            // could go first.
            stray.push(run.file);
            run.last = limit - 1;
            run.synced = run.synced.min(run.last);
        }
        run.first <= run.last
    });
    runs.sort_by_key(|run| run.first);
    runs
}

/// Judges the missing numbers before `run`; whether the journal goes on with it.
fn bridge(recovery: &mut Recovery, run: &Run, synced: u64) -> bool {
    let missing = recovery.last + 1..=run.first - 1;
    assert!(!missing.is_empty(), "INV-LSN: a run that follows leaves nothing to bridge");
    // Nothing says that they ever were durable: writes reach the disk in any order, and those behind a hole were
    // acknowledged to nobody.
    if synced < *missing.start() {
        return false;
    }
    // Where the lost frames were nobody knows: in the file before, or in that behind. Neither is written again.
    recovery.suspect.extend(recovery.runs.last().map(|before| before.file));
    recovery.suspect.push(run.file);
    let lost = *missing.start()..=synced.min(*missing.end());
    recovery.last = *lost.end();
    recovery.damaged.push(lost);
    synced >= *missing.end()
}

#[cfg(test)]
mod tests;
