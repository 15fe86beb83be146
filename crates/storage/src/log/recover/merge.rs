//! Puts the end of a log together from the journal and the segment files.
//!
//! At every offset, in this order: the journal's batch, written again even when the same bytes seem
//! to be in the file (after a failed writeback the page cache may lie); whole messages in the
//! segment; the segment that starts at the offset; what comes behind damage, when it is damage; else
//! that is the end.

use super::super::reader::LogReader;
use super::super::state::{Fence, Sealed};
use super::batches::JournalBatches;
use super::segment::Current;
use super::tail::Leftovers;
use super::{Evidence, FencedRange, LogRecoverError, RecoveryReport};
use crate::checkpoint::{LogCheckpoint, SealedSegment};
use crate::disk::{OpenMode, create_dir_synced};
use crate::index::IndexEntry;
use crate::log::name::tell;
use crate::segment::format::MessageFrame;
use crate::segment::reader::SegmentWalk;
use crate::segment::recovery::SegmentBytes;
use crate::segment::writer::{BatchSize, Tip, check_batch};
use crate::segment::{Boundary, CHECKSUM_UNKNOWN};
use galgo_wire::batch::{Stop, first_invalid_after};
use galgo_wire::id::{Offset, Timestamp};

/// A sealed segment whose file is shorter than it should be.
pub(super) struct ShortFile {
    pub(super) base: Offset,
    /// Bytes in the file; none when there is none.
    pub(super) len: u64,
}

/// A log that was put together.
pub(super) struct MergedLog {
    pub(super) sealed: Vec<Sealed>,
    pub(super) current: Option<Current>,
    pub(super) short: Vec<ShortFile>,
    pub(super) fences: Vec<Fence>,
    pub(super) end: Offset,
    pub(super) last_timestamp: Timestamp,
    pub(super) report: RecoveryReport,
}

/// A log while it is put together.
pub(super) struct LogMerge<'a> {
    pub(super) reader: &'a LogReader,
    pub(super) start: Offset,
    /// Segment files that are not part of the log, or not yet.
    pub(super) leftovers: Leftovers<'a>,
    pub(super) journal: JournalBatches<'a>,
    pub(super) sealed: Vec<Sealed>,
    pub(super) current: Option<Current>,
    short: Vec<ShortFile>,
    fences: Vec<Fence>,
    /// The end so far.
    pub(super) at: Offset,
    pub(super) last_timestamp: Timestamp,
    pub(super) evidence: Evidence,
    report: RecoveryReport,
}

impl<'a> LogMerge<'a> {
    /// Starts from what the checkpoint knows and the segment files that were found.
    pub(super) fn new(
        reader: &'a LogReader,
        known: &LogCheckpoint,
        leftovers: Leftovers<'a>,
        journal: JournalBatches<'a>,
        evidence: Evidence,
    ) -> Self {
        let mut merge = Self {
            reader,
            start: known.start,
            leftovers,
            journal,
            sealed: Vec::new(),
            current: None,
            short: Vec::new(),
            fences: Vec::new(),
            at: known.start,
            last_timestamp: Timestamp::ZERO,
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
        // Behind what the checkpoint knows: only past all of that is anything not missed.
        merge.skip_dropped();
        merge
    }

    /// Takes a sealed segment of the checkpoint into the log.
    fn take_sealed(&mut self, known: SealedSegment) {
        // Taken by its base, whatever its length: under another name its messages would be gone for good, short of
        // its last ones they are fenced.
        match self.leftovers.take(known.base) {
            Some(len) if len >= known.bytes => {}
            // One that never had a byte, too: all of its messages were lost, and are so still.
            found => {
                let (base, len) = (known.base, found.unwrap_or(0));
                self.short.push(ShortFile { base, len });
            }
        }
        self.sealed.push(Sealed::unverified(known));
    }

    /// Takes the active segment of the checkpoint into the log. A segment that lost durable bytes is
    /// not written again: it is sealed as it should be, with a fence.
    fn take_active(&mut self, known: &LogCheckpoint) {
        let Some(active) = &known.active else { return };
        self.last_timestamp = active.last_timestamp;
        let len = self.leftovers.len_of(active.base);
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
            base: active.base,
            bytes: active.durable_bytes,
            end: active.durable_end,
            last_timestamp: active.last_timestamp,
            checksum: active.running_checksum,
        };
        if let Some(len) = self.leftovers.take(active.base) {
            let current = Current::open(&self.reader.files, tip, OpenMode::ReadWrite);
            self.current = Some(Current { file_len: len, ..current });
        }
    }

    /// Begins at the segment of the start, when retention went past all that the checkpoint knows:
    /// what lies between may be gone, and is not missed.
    fn skip_dropped(&mut self) {
        if self.at >= self.start {
            return;
        }
        match self.leftovers.last_within(self.at..=self.start) {
            Some(base) => self.leave_for(base),
            None if self.current.is_none() => self.leave_for(self.start),
            None => {}
        }
    }

    /// Goes on until neither source has the next message.
    pub(super) fn run(&mut self) -> Result<(), LogRecoverError> {
        loop {
            self.journal.skip_below(self.at);
            // The journal first: its batch is what was acknowledged, and the file may show an older one, or one that the disk
            // does not hold. Then what is there without any doubt, before what has to be judged.
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
    fn replay(&mut self) -> Result<bool, LogRecoverError> {
        if self.journal.next_offset() != Some(self.at) {
            return Ok(false);
        }
        let Some(batch) = self.journal.messages()? else {
            unreachable!("INV-STREAM: the journal has the batch whose offset it told")
        };
        // Whatever becomes of it: it is never this one's turn again.
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
            false => {
                let (bytes, count) = (batch.len() as u64, valid.count);
                self.choose_segment(BatchSize { bytes, count })?;
            }
        }
        let Some(current) = &mut self.current else {
            unreachable!("INV-CONTIGUOUS: a segment was chosen for the batch")
        };
        let mut entries = Vec::new();
        let last_timestamp = current.earliest_next();
        let tip = Tip { last_timestamp, ..current.tip };
        let mut marker = current.marker;
        // Before anything is written: another program may have written what passes its checksums and is no message of ours.
        let Ok(tip) = check_batch(tip, &batch, valid.count, &mut marker, &mut entries) else {
            tell!(error, self.reader, offset = self.at.get(), "journaled batch is not valid");
            return Ok(true);
        };
        // Even where the file seems to have the same bytes: after a failed writeback the page cache shows what the disk
        // does not hold, and a sync would not write it.
        let written = current.handle.get().and_then(|file| {
            let written = file.write_at(&batch, current.tip.bytes);
            current.handle.mark_dirty();
            written
        });
        written.map_err(LogRecoverError::at(current.handle.path()))?;
        current.marker = marker;
        entries.into_iter().for_each(|entry| current.live.push(entry));
        current.grew_to(tip);
        self.at = tip.end;
        self.last_timestamp = tip.last_timestamp;
        self.report.replayed_messages += u64::from(valid.count);
        Ok(true)
    }

    /// Makes current the segment that the journal's next batch goes to: where it was before, when
    /// that can be told.
    fn choose_segment(&mut self, batch: BatchSize) -> Result<(), LogRecoverError> {
        if let Some(current) = &self.current {
            let file = current.handle.get().map_err(LogRecoverError::at(current.handle.path()))?;
            // The message that is there has this offset, so this is where the batch was written before.
            if SegmentWalk::new(&*file, current.file_len, 0).frame(current.tip.place()).is_ok() {
                return Ok(());
            }
        }
        if self.leftovers.len_of(self.at).is_some() {
            return self.enter(self.at);
        }
        let segment_bytes = self.reader.files.options.segment_bytes;
        match &self.current {
            Some(current) if !current.tip.is_full(segment_bytes, batch) => Ok(()),
            _ => self.make(),
        }
    }

    /// Whether a batch is earlier than the message before it: the clock was set back.
    fn starts_over(&self, batch: &[u8]) -> bool {
        MessageFrame::parse(batch).is_some_and(|frame| frame.timestamp < self.last_timestamp)
    }

    /// Makes current a segment without messages: the one that has none yet, one that was found here, or
    /// a new one.
    fn begin_segment(&mut self) -> Result<(), LogRecoverError> {
        match &self.current {
            Some(current) if current.tip.bytes == 0 => Ok(()),
            _ if self.leftovers.len_of(self.at).is_some() => self.enter(self.at),
            _ => self.make(),
        }
    }

    /// Takes whole messages that are in the current segment already.
    fn accept(&mut self) -> Result<bool, LogRecoverError> {
        // Not past the journal's next batch: where both have a message, its one counts.
        let upto = self.journal.next_offset();
        let Some(current) = &mut self.current else { return Ok(false) };
        if current.file_len <= current.tip.bytes {
            return Ok(false);
        }
        let before = current.tip;
        let earliest = current.earliest_next();
        let mut tip = before;
        let taken = current.handle.get().and_then(|file| {
            let (base, marker, live) = (before.base, &mut current.marker, &mut current.live);
            let bytes = SegmentBytes::new(&*file, current.file_len);
            bytes.accept(before.place(), upto, earliest, |place, frame| {
                if marker.marks(place.position)
                    && let Some(entry) = IndexEntry::of(base, place, frame.timestamp)
                {
                    live.push(entry);
                }
                tip = tip.after(frame);
            })
        });
        taken.map_err(LogRecoverError::at(current.handle.path()))?;
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
    fn enter_next(&mut self) -> Result<bool, LogRecoverError> {
        let good = match self.leftovers.len_of(self.at) {
            Some(len) => self.starts_well(self.at, len)?,
            None => false,
        };
        if good {
            self.enter(self.at)?;
        }
        Ok(good)
    }

    /// Whether the first message of a segment file is good and is the one that follows.
    pub(super) fn starts_well(&self, base: Offset, len: u64) -> Result<bool, LogRecoverError> {
        let path = self.reader.files.log_path(base);
        let from = Boundary { offset: base, position: 0 };
        // By itself, not through the cache: most of the files that are looked at are never entered.
        let file = self.reader.files.disk.open(&path, OpenMode::Read);
        let end = file.and_then(|file| {
            let bytes = SegmentBytes::new(&*file, len);
            bytes.accept(from, base.plus(1), Timestamp::ZERO, |_, _| {})
        });
        end.map(|end| end.offset > base).map_err(LogRecoverError::at(&path))
    }

    /// Makes a segment file that was found the current one.
    pub(super) fn enter(&mut self, base: Offset) -> Result<(), LogRecoverError> {
        self.seal_current(0)?;
        let Some(file_len) = self.leftovers.take(base) else {
            unreachable!("INV-CONTIGUOUS: a segment is entered that was found")
        };
        let tip = Tip::empty(base, self.last_timestamp);
        let current = Current::open(&self.reader.files, tip, OpenMode::ReadWrite);
        self.current = Some(Current { file_len, ..current });
        self.leftovers.note_name();
        Ok(())
    }

    /// Makes a new segment the current one.
    fn make(&mut self) -> Result<(), LogRecoverError> {
        // Synced and out of the way first: what is put into the new one follows it.
        self.seal_current(0)?;
        let files = &self.reader.files;
        let dir = &files.options.dir;
        create_dir_synced(&*files.disk, dir).map_err(LogRecoverError::at(dir))?;
        let tip = Tip::empty(self.at, self.last_timestamp);
        // Never one that is there, as it would have been found: its bytes would count as messages of the log.
        let current = Current::open(files, tip, OpenMode::CreateNew);
        current.handle.get().map_err(LogRecoverError::at(current.handle.path()))?;
        self.current = Some(current);
        self.leftovers.note_name();
        Ok(())
    }

    /// Seals the current segment at the end so far, with at least `bytes` bytes.
    pub(super) fn seal_current(&mut self, bytes: u64) -> Result<(), LogRecoverError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        // INV-RECOVERED: it is not looked at again, and only the last one is synced at the end.
        current.sync()?;
        if current.tip.base == self.at {
            // Nothing is in it, so it may not stand between two others.
            self.leftovers.put_back(current.tip.base, current.file_len);
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
        // Given back, not forgotten: files that begin below the start are removed at the end (INV-BOUNDARY), and one that
        // begins at it may be entered again.
        if let Some(current) = self.current.take() {
            self.leftovers.put_back(current.tip.base, current.file_len);
        }
        self.sealed.clear();
        self.at = at;
    }

    /// Remembers that messages are not there that were.
    pub(super) fn note_missing(&mut self, fence: Fence) {
        assert!(fence.from < fence.to, "INV-NO-REUSE: what is missing has an offset");
        self.report.missing.push(FencedRange { from: fence.from, to: fence.to });
        self.fences.push(fence);
    }

    /// Cuts the tail, sets aside what is not part of the log, and makes everything durable.
    pub(super) fn finish(mut self) -> Result<MergedLog, LogRecoverError> {
        // Before what lies below the start is given up, which may be the segment that this one follows.
        self.keep_begun()?;
        let start = self.start;
        let gone = self.sealed.partition_point(|sealed| sealed.known.end <= start);
        for sealed in self.sealed.drain(..gone) {
            self.leftovers.put_back(sealed.known.base, sealed.known.bytes);
        }
        let sealed = &self.sealed;
        self.short.retain(|short| sealed.iter().any(|sealed| sealed.known.base == short.base));
        self.fences.retain(|fence| fence.to > start);
        // Before other names change: a stop in between leaves all of it to the next start.
        if let Some(current) = &mut self.current {
            self.report.cut_bytes = self.leftovers.cut_tail(current, self.at)?;
        }
        self.report.kept_aside = self.leftovers.set_aside(start)?;
        // INV-RECOVERED: last, so that it covers all of the above. Whoever goes on with the log acknowledges messages
        // that follow these, and recycles the journal that had them.
        if let Some(current) = &mut self.current {
            current.sync()?;
        }
        let accepted = self.report.accepted_messages + self.report.replayed_messages > 0;
        self.leftovers.sync_names(accepted)?;
        let Self { sealed, current, short, fences, at, last_timestamp, report, .. } = self;
        Ok(MergedLog { sealed, current, short, fences, end: at, last_timestamp, report })
    }

    /// Goes on in the segment that was begun behind all others and holds nothing yet. Where these are given up its name
    /// is what says where the log ends, should the newest checkpoint be lost (INV-NO-REUSE).
    fn keep_begun(&mut self) -> Result<(), LogRecoverError> {
        let is_begun = self.leftovers.len_of(self.at) == Some(0);
        // What comes behind its end is cut off the one before, which only the last one can have.
        let is_whole = self.current.as_ref().is_none_or(|it| it.file_len <= it.tip.bytes);
        if is_begun && is_whole { self.enter(self.at) } else { Ok(()) }
    }
}
