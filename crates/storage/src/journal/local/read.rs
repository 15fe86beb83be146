//! Walking along the frames of runs: to visit them, and to write the last ones again.

use std::io;
use std::ops::ControlFlow;

use galgo_wire::id::Epoch;

use super::super::error::LocalError;
use super::super::files::JournalFile;
use super::super::format::{FRAME_HEADER_BYTES, FrameHeader, SECTOR_BYTES, payload_crc};
use super::super::recovery::{JournalWindow, Recovery, Run};
use super::super::{Frame, FramePlace, Lsn, ReadReport};

/// Walks along the frames of one run.
struct Walk<'a> {
    file: &'a JournalFile,
    run: Run,
    salt: u64,
    position: u64,
    window: JournalWindow,
}

impl<'a> Walk<'a> {
    fn new(file: &'a JournalFile, run: Run, salt: u64) -> Self {
        Self { file, run, salt, position: run.position, window: JournalWindow::default() }
    }

    /// The next frame's header and place; `None` at the end, or where there is no sound header.
    fn next_frame(&mut self) -> io::Result<Option<(FrameHeader, u64)>> {
        if self.position >= self.run.end {
            return Ok(None);
        }
        let position = self.position;
        let start = self.window.read(self.file, position, FRAME_HEADER_BYTES as u64)?;
        let header = FrameHeader::decode(start, self.salt)
            .filter(|header| header.generation == self.run.generation);
        self.position += header.map_or(0, |header| header.frame_bytes());
        Ok(header.filter(|header| header.lsn <= self.run.last).map(|header| (header, position)))
    }

    /// The payload of a frame; `None` when its checksum fails.
    fn payload(&mut self, header: &FrameHeader, position: u64) -> io::Result<Option<&[u8]>> {
        let start = position + FRAME_HEADER_BYTES as u64;
        let payload = self.window.read(self.file, start, u64::from(header.payload_len))?;
        let sound = payload.len() == header.payload_len as usize
            && payload_crc(self.salt, header.generation, payload) == header.payload_crc;
        Ok(sound.then_some(payload))
    }
}

impl FramePlace {
    /// The frame at `position`, a whole sector's, of a file.
    fn in_file(number: u32, position: u64) -> Self {
        let sector = position / SECTOR_BYTES;
        assert!(
            sector <= u64::from(u32::MAX),
            "INV-WHOLE-FILE: a file has fewer than 2^32 sectors"
        );
        Self(u64::from(number) << 32 | sector)
    }

    /// The number of its file, and where its payload begins in there.
    pub(super) fn file_and_payload(self) -> (u32, u64) {
        let sector = self.0 & u64::from(u32::MAX);
        ((self.0 >> 32) as u32, sector * SECTOR_BYTES + FRAME_HEADER_BYTES as u64)
    }
}

/// What is read of a journal.
pub(super) struct FrameReading {
    pub(super) salt: u64,
    /// The first frame that is visited.
    pub(super) from: Lsn,
    /// Frames of a lower epoch do not count.
    pub(super) floor: Epoch,
}

impl FrameReading {
    /// Visits the frames of `runs`, which are in the order of their numbers.
    pub(super) fn visit(
        &self,
        runs: &[(JournalFile, Run)],
        visit: &mut dyn FnMut(&Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ReadReport, LocalError> {
        let from = self.from.get();
        let mut report =
            ReadReport { last: Lsn::new(from.saturating_sub(1)), ..Default::default() };
        let mut owner = self.floor;
        for (file, run) in runs.iter().filter(|(_, run)| run.last >= from) {
            let mut walk = Walk::new(file, *run, self.salt);
            let mut expected = run.first;
            while let Some((header, position)) = walk.next_frame().map_err(|e| file.error(e))? {
                // INV-EPOCH. Programs that wrote no epochs had the directory to themselves.
                let is_deposed = header.epoch < owner && header.epoch > Epoch::default();
                owner = owner.max(header.epoch);
                if header.lsn < from.max(run.first) {
                    continue;
                }
                expected = header.lsn + 1;
                let lsn = Lsn::new(header.lsn);
                match walk.payload(&header, position).map_err(|error| file.error(error))? {
                    Some(_) if is_deposed => report.deposed.push(header.lsn..=header.lsn),
                    Some(payload) => {
                        report.last = lsn;
                        report.frames += 1;
                        let place = FramePlace::in_file(file.number, position);
                        if visit(&Frame { lsn, payload, place }).is_break() {
                            return Ok(report);
                        }
                    }
                    // Its header was sound when the journal was opened, and its number is taken: reported, and passed
                    // over, as a frame behind it counts (INV-LOUD).
                    None => report.damaged.push(header.lsn..=header.lsn),
                }
            }
            // It was there when the journal was opened; INV-LOUD.
            if expected <= run.last {
                report.damaged.push(expected.max(from)..=run.last);
            }
        }
        Ok(report)
    }
}

/// Writes the frames that nothing proves durable once more, in place, and syncs them.
///
/// They were read from the page cache. After a sync that failed in an earlier life of the process,
/// the cache shows what the platter may not have, and a sync alone would not write it.
pub(super) fn make_durable(
    files: &[JournalFile],
    recovery: &Recovery,
    salt: u64,
) -> Result<(), (usize, io::Error)> {
    for run in recovery.runs.iter().filter(|run| run.last > recovery.synced) {
        let Some(file) = files.get(run.file) else {
            unreachable!("INV-LOUD: a run is in one of the files that were searched")
        };
        rewrite(file, *run, salt, recovery.synced).map_err(|error| (run.file, error))?;
    }
    Ok(())
}

fn rewrite(file: &JournalFile, run: Run, salt: u64, synced: u64) -> io::Result<()> {
    let mut walk = Walk::new(file, run, salt);
    while let Some((header, position)) = walk.next_frame()? {
        // What a later frame proves durable is left alone: to write it again could only tear it.
        if header.lsn <= synced {
            continue;
        }
        // It was read a moment ago. One that goes bad in between is an error of the disk, and no reason to go on without.
        let Some(payload) = walk.payload(&header, position)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        file.file.write_vectored_at(&[&header.encode(salt), payload], position)?;
    }
    // Once for all of them: nobody is told of one before the journal is open.
    file.file.sync_data()
}
