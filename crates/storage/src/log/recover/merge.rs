//! Puts the end of a log together from the journal and the segment files.
//!
//! At every offset, in this order: the journal's batch, written again even when the same bytes seem
//! to be in the file (after a failed writeback the page cache may lie); whole messages in the
//! segment; the segment that starts at the offset; what comes behind damage, when it is damage; else
//! that is the end.

use super::super::reader::LogReader;
use super::super::state::{Fence, Sealed};
use super::batches::JournalBatches;
use super::segment::{Current, unverified};
use super::{Evidence, FencedRange, RecoverError, RecoveryReport};
use crate::checkpoint::{LogCheckpoint, SealedSegment};
use crate::disk::{OpenMode, create_dir_synced};
use crate::index::IndexEntry;
use crate::log::name::tell;
use crate::segment::format::MessageFrame;
use crate::segment::reader::SegmentWalk;
use crate::segment::recovery::accept;
use crate::segment::writer::{Tip, check_batch};
use crate::segment::{Boundary, CHECKSUM_UNKNOWN};
use galgo_wire::batch::{Stop, first_invalid_after};
use galgo_wire::id::{Offset, Timestamp};
use std::collections::BTreeMap;

/// A log while it is put together.
pub(super) struct LogMerge<'a> {
    pub(super) reader: &'a LogReader,
    pub(super) start: Offset,
    /// Segment files not yet part of the log, with their lengths.
    pub(super) found: BTreeMap<Offset, u64>,
    pub(super) journal: JournalBatches<'a>,
    pub(super) sealed: Vec<Sealed>,
    pub(super) current: Option<Current>,
    /// Sealed segments whose file is shorter than it should be, with the length.
    pub(super) short: Vec<(Offset, u64)>,
    pub(super) fences: Vec<Fence>,
    /// The end so far.
    pub(super) at: Offset,
    pub(super) last_timestamp: Timestamp,
    /// Whether names were made, changed or accepted that may not be durable.
    pub(super) names_changed: bool,
    pub(super) evidence: Evidence,
    pub(super) report: RecoveryReport,
}

impl<'a> LogMerge<'a> {
    /// Starts from what the checkpoint knows and the segment files that were `found`.
    pub(super) fn new(
        reader: &'a LogReader,
        known: &LogCheckpoint,
        found: BTreeMap<Offset, u64>,
        journal: JournalBatches<'a>,
        evidence: Evidence,
    ) -> Self {
        let mut merge = Self {
            reader,
            start: known.start,
            found,
            journal,
            sealed: Vec::new(),
            current: None,
            short: Vec::new(),
            fences: Vec::new(),
            at: known.start,
            last_timestamp: Timestamp::ZERO,
            names_changed: false,
            evidence,
            report: RecoveryReport::default(),
        };
        for sealed in known.sealed.iter().filter(|sealed| sealed.end > known.start) {
            merge.take_sealed(sealed.clone());
        }
        if let Some(last) = known.sealed.last() {
            merge.last_timestamp = last.last_timestamp;
            merge.at = last.end.max(known.start);
        }
        merge.take_active(known);
        merge.skip_dropped();
        merge
    }

    /// Takes a sealed segment of the checkpoint into the log.
    fn take_sealed(&mut self, known: SealedSegment) {
        match self.found.remove(&known.base) {
            Some(len) if len >= known.bytes => {}
            missing => self.short.push((known.base, missing.unwrap_or(0))),
        }
        self.sealed.push(unverified(known));
    }

    /// Takes the active segment of the checkpoint into the log. A segment that lost durable bytes is
    /// not written again: it is sealed as it should be, with a fence.
    fn take_active(&mut self, known: &LogCheckpoint) {
        let Some(active) = &known.active else { return };
        self.last_timestamp = active.last_timestamp;
        let len = self.found.get(&active.base).copied();
        let lost = len.is_none_or(|len| len < active.durable_bytes);
        if lost && active.durable_end > active.base {
            // Retention may have removed it after the checkpoint; then the start is past it.
            if active.durable_end > known.start {
                self.at = active.durable_end;
                self.take_sealed(SealedSegment {
                    base: active.base,
                    end: active.durable_end,
                    bytes: active.durable_bytes,
                    checksum: active.running_checksum.unwrap_or(CHECKSUM_UNKNOWN),
                    last_timestamp: active.last_timestamp,
                });
            }
            return;
        }
        self.at = active.durable_end;
        let tip = Tip {
            bytes: active.durable_bytes,
            end: active.durable_end,
            last_timestamp: active.last_timestamp,
            checksum: active.running_checksum,
        };
        if let Some(len) = self.found.remove(&active.base) {
            let current = Current::open(self.reader, active.base, tip, OpenMode::ReadWrite);
            self.current = Some(Current { file_len: len, ..current });
        }
    }

    /// Begins at the segment of the start, when retention went past all that the checkpoint knows:
    /// what lies between may be gone, and is not missed.
    fn skip_dropped(&mut self) {
        if self.at >= self.start {
            return;
        }
        let last = self.found.range(self.at..=self.start).next_back().map(|(base, _)| *base);
        match last {
            Some(base) => self.leave_for(base),
            None if self.current.is_none() => self.leave_for(self.start),
            None => {}
        }
    }

    /// Goes on until neither source has the next message.
    pub(super) fn run(&mut self) -> Result<(), RecoverError> {
        loop {
            self.journal.skip_below(self.at);
            let on = self.replay()?
                || self.accept()?
                || self.enter_next()?
                || self.step_over_missing()?
                || self.leave_dropped();
            if !on {
                return Ok(());
            }
        }
    }

    /// Writes the journal's batch for this offset.
    fn replay(&mut self) -> Result<bool, RecoverError> {
        if self.journal.next_offset() != Some(self.at) {
            return Ok(false);
        }
        let Some(batch) = self.journal.messages()? else { return Ok(false) };
        self.journal.skip();
        // Only a new segment begins with an earlier time than that of the message before.
        let starts_over = self.starts_over(&batch);
        let last_timestamp = if starts_over { Timestamp::ZERO } else { self.last_timestamp };
        let valid = first_invalid_after(&batch, self.at, last_timestamp);
        if valid.stop != Stop::End || valid.count == 0 {
            tell!(error, self.reader, offset = self.at.get(), "journaled batch is not valid");
            return Ok(true);
        }
        match starts_over {
            true => self.begin_segment()?,
            false => self.choose_segment((batch.len() as u64, valid.count))?,
        }
        let Some(current) = &mut self.current else { return Ok(false) };
        let written = current.handle.get().and_then(|file| {
            let written = file.write_at(&batch, current.tip.bytes);
            current.handle.mark_dirty();
            written
        });
        written.map_err(RecoverError::at(current.handle.path()))?;
        let mut entries = Vec::new();
        let last_timestamp = current.earliest_next();
        let place = (current.base, Tip { last_timestamp, ..current.tip });
        let messages = (batch.as_slice(), valid.count);
        let Ok(tip) = check_batch(place, messages, &mut current.marker, &mut entries) else {
            return Ok(false);
        };
        entries.into_iter().for_each(|entry| current.live.push(entry));
        current.grew_to(tip);
        self.at = tip.end;
        self.last_timestamp = tip.last_timestamp;
        self.report.replayed_messages += u64::from(valid.count);
        Ok(true)
    }

    /// Makes current the segment that the journal's next batch goes to: where it was before, when
    /// that can be told.
    fn choose_segment(&mut self, batch: (u64, u32)) -> Result<(), RecoverError> {
        if let Some(current) = &self.current {
            let file = current.handle.get().map_err(RecoverError::at(current.handle.path()))?;
            if SegmentWalk::new(&*file, current.file_len, 0).frame(current.tip.place()).is_ok() {
                return Ok(());
            }
        }
        if self.found.contains_key(&self.at) {
            return self.enter(self.at);
        }
        let segment_bytes = self.reader.options.segment_bytes;
        match &self.current {
            Some(current) if !current.tip.is_full(current.base, segment_bytes, batch) => Ok(()),
            _ => self.make(),
        }
    }

    /// Whether a batch is earlier than the message before it: the clock was set back.
    fn starts_over(&self, batch: &[u8]) -> bool {
        MessageFrame::parse(batch).is_some_and(|frame| frame.timestamp < self.last_timestamp)
    }

    /// Makes current a segment without messages: the one that has none yet, one that was found here, or
    /// a new one.
    fn begin_segment(&mut self) -> Result<(), RecoverError> {
        match &self.current {
            Some(current) if current.tip.bytes == 0 => Ok(()),
            _ if self.found.contains_key(&self.at) => self.enter(self.at),
            _ => self.make(),
        }
    }

    /// Takes whole messages that are in the current segment already.
    fn accept(&mut self) -> Result<bool, RecoverError> {
        let upto = self.journal.next_offset();
        let Some(current) = &mut self.current else { return Ok(false) };
        if current.file_len <= current.tip.bytes {
            return Ok(false);
        }
        let before = current.tip;
        let earliest = current.earliest_next();
        let mut tip = before;
        let taken = current.handle.get().and_then(|file| {
            let (base, marker, live) = (current.base, &mut current.marker, &mut current.live);
            let range = (before.place(), current.file_len);
            accept(&*file, range, upto, earliest, |place, frame| {
                if marker.marks(place.position)
                    && let Some(entry) = IndexEntry::of(base, place, frame.timestamp)
                {
                    live.push(entry);
                }
                tip = tip.after(frame);
            })
        });
        taken.map_err(RecoverError::at(current.handle.path()))?;
        if tip.end == before.end {
            return Ok(false);
        }
        current.grew_to(tip);
        self.report.accepted_messages += tip.end.get() - before.end.get();
        self.at = tip.end;
        self.last_timestamp = tip.last_timestamp;
        Ok(true)
    }

    /// Goes on in the segment that starts here, when its first message is good.
    fn enter_next(&mut self) -> Result<bool, RecoverError> {
        let good = match self.found.get(&self.at) {
            Some(len) => self.starts_well(self.at, *len)?,
            None => false,
        };
        if good {
            self.enter(self.at)?;
        }
        Ok(good)
    }

    /// Whether the first message of a segment file is good and is the one that follows.
    pub(super) fn starts_well(&self, base: Offset, len: u64) -> Result<bool, RecoverError> {
        let path = self.reader.log_path(base);
        let from = Boundary { offset: base, position: 0 };
        let file = self.reader.disk.open(&path, OpenMode::Read);
        let end = file
            .and_then(|file| accept(&*file, (from, len), base.plus(1), Timestamp::ZERO, |_, _| {}));
        end.map(|end| end.offset > base).map_err(RecoverError::at(&path))
    }

    /// Makes a segment file that was found the current one.
    pub(super) fn enter(&mut self, base: Offset) -> Result<(), RecoverError> {
        self.seal_current(0)?;
        let file_len = self.found.remove(&base).unwrap_or(0);
        let tip = Tip::empty(base, self.last_timestamp);
        let current = Current::open(self.reader, base, tip, OpenMode::ReadWrite);
        self.current = Some(Current { file_len, ..current });
        self.names_changed = true;
        Ok(())
    }

    /// Makes a new segment the current one.
    fn make(&mut self) -> Result<(), RecoverError> {
        self.seal_current(0)?;
        let dir = &self.reader.options.dir;
        create_dir_synced(&*self.reader.disk, dir).map_err(RecoverError::at(dir))?;
        let tip = Tip::empty(self.at, self.last_timestamp);
        let current = Current::open(self.reader, self.at, tip, OpenMode::CreateNew);
        current.handle.get().map_err(RecoverError::at(current.handle.path()))?;
        self.current = Some(current);
        self.names_changed = true;
        Ok(())
    }

    /// Seals the current segment at the end so far, with at least `bytes` bytes.
    pub(super) fn seal_current(&mut self, bytes: u64) -> Result<(), RecoverError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        current.sync()?;
        if current.base == self.at {
            // Nothing is in it, so it may not stand between two others.
            self.found.insert(current.base, current.file_len);
            return Ok(());
        }
        self.sealed.push(current.into_sealed(self.at, bytes));
        Ok(())
    }

    /// Gives up segments that end below the start: retention was about to remove them.
    fn leave_dropped(&mut self) -> bool {
        if self.at >= self.start {
            return false;
        }
        self.leave_for(self.start);
        true
    }

    fn leave_for(&mut self, at: Offset) {
        if let Some(current) = self.current.take() {
            self.found.insert(current.base, current.file_len);
        }
        self.sealed.clear();
        self.at = at;
    }

    /// Remembers that messages are not there that were.
    pub(super) fn note_missing(&mut self, fence: Fence) {
        self.report.missing.push(FencedRange { from: fence.from, to: fence.to });
        self.fences.push(fence);
    }
}
