//! Acknowledged messages that are missing after the checkpoint, and segments that are too short.
//!
//! INV-NO-REUSE: an offset below a high watermark that the journal has seen is never given out
//! again. Missing messages are fenced, and what comes after them is kept.

use super::super::reader::LogReader;
use super::super::state::Fence;
use super::RecoverError;
use super::merge::Merge;
use super::segment::unverified;
use crate::checkpoint::SealedSegment;
use crate::segment::reader::{Walk, WalkError, check_messages};
use crate::segment::recovery::next_valid;
use crate::segment::{CHECKSUM_UNKNOWN, Place};
use galgo_wire::id::Offset;
use std::io;

/// Bytes of headers read at a time while the end of a short segment is looked for.
const WALK_BYTES: usize = 1 << 16;

/// Where the log goes on after missing messages.
#[derive(Clone, Copy)]
enum Resume {
    /// In the current segment.
    Here(Place),
    /// In another segment, found or to be made.
    Elsewhere(Offset),
}

impl Resume {
    fn offset(self) -> Offset {
        match self {
            Self::Here(place) => place.offset,
            Self::Elsewhere(offset) => offset,
        }
    }
}

impl Merge<'_> {
    /// Fences the messages from here to the next that is there, when a batch of the journal shows
    /// that messages from here on were acknowledged.
    pub(super) fn step_over_missing(&mut self) -> Result<bool, RecoverError> {
        if self.at < self.start {
            return self.step_over_dropped();
        }
        let acknowledged = self.journal.iter().map(|batch| batch.high_watermark).max();
        if acknowledged.is_none_or(|acknowledged| acknowledged <= self.at) {
            return Ok(false);
        }
        let Some(resume) = self.find_resume()? else { return Ok(false) };
        let (from, to) = (self.at, resume.offset());
        self.at = to;
        if let (Resume::Here(place), Some(current)) = (resume, &mut self.current) {
            let base = current.base;
            current.step_to(place, self.reader.options.index_interval_bytes);
            self.note_missing(Fence { base, from, to, resume: Some(place.position) });
            return Ok(true);
        }
        let base = match &self.current {
            Some(current) => {
                let base = current.base;
                // The damaged bytes stay part of the segment, so that nobody cuts them off.
                self.seal_current(current.file_len)?;
                base
            }
            None => {
                self.seal_nothing(from);
                from
            }
        };
        self.note_missing(Fence { base, from, to, resume: None });
        Ok(true)
    }

    /// Steps over damage below the start, which nobody misses, to what the segment holds behind it.
    fn step_over_dropped(&mut self) -> Result<bool, RecoverError> {
        let Some(place) = self.next_here()? else { return Ok(false) };
        let Some(current) = &mut self.current else { return Ok(false) };
        current.step_to(place, self.reader.options.index_interval_bytes);
        self.at = place.offset;
        let (base, from, to) = (current.base, self.start, place.offset);
        if from < to {
            self.note_missing(Fence { base, from, to, resume: Some(place.position) });
        }
        Ok(true)
    }

    /// The next whole message in the current segment.
    fn next_here(&self) -> Result<Option<Place>, RecoverError> {
        let Some(current) = &self.current else { return Ok(None) };
        let range = (current.tip.bytes, current.file_len);
        let offsets = self.at..Offset::new(u64::MAX);
        let found = current.handle.get().and_then(|file| next_valid(&*file, range, offsets));
        found.map_err(RecoverError::at(current.handle.path()))
    }

    /// The nearest place where messages are there again.
    fn find_resume(&self) -> Result<Option<Resume>, RecoverError> {
        let journaled = self.journal.front().copied();
        let mut nearest = journaled.map(|batch| Resume::Elsewhere(batch.base_offset));
        for (base, len) in self.found.range(self.at..) {
            let nearer = nearest.is_none_or(|nearest| *base < nearest.offset());
            if nearer && self.starts_well(*base, *len)? {
                nearest = Some(Resume::Elsewhere(*base));
            }
        }
        let Some(found) = self.next_here()? else { return Ok(nearest) };
        let from = self.current.as_ref().map_or(0, |current| current.tip.bytes);
        if nearest.is_none_or(|nearest| found.offset <= nearest.offset()) {
            return Ok(Some(Resume::Here(found)));
        }
        // When the journal's batch belongs right before what was found, it is put back there.
        let fits = journaled.and_then(|batch| {
            let position = found.position.checked_sub(batch.bytes.len() as u64)?;
            let count = u32::try_from(found.offset.get() - batch.base_offset.get()).ok()?;
            let place = Place { offset: batch.base_offset, position };
            let whole = check_messages(batch.bytes, batch.base_offset, count).is_ok();
            (whole && position >= from).then_some(Resume::Here(place))
        });
        Ok(fits.or(nearest))
    }

    /// Puts a segment without a file where messages should be.
    fn seal_nothing(&mut self, from: Offset) {
        self.sealed.push(unverified(SealedSegment {
            base: from,
            end: self.at,
            bytes: 0,
            checksum: CHECKSUM_UNKNOWN,
            last_timestamp: self.last_timestamp,
        }));
    }
}

impl LogReader {
    /// Fences what a segment lacks whose file has only `len` bytes.
    pub(super) fn fence_short(&self, base: Offset, len: u64) {
        let Some(view) = self.state.read().view_at(base) else { return };
        let start = Place { offset: base, position: 0 };
        let from = match self.open(base) {
            Ok(file) => {
                let mut walk = Walk::new(&*file, len, WALK_BYTES);
                match walk.reach(start, view.end.offset) {
                    Ok(_) => return,
                    Err(WalkError::Damaged(place)) => place.offset,
                    Err(WalkError::Disk(_)) => base,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => base,
            // Not readable now; reads will tell.
            Err(_) => return,
        };
        self.fence(Fence { base, from, to: view.end.offset, resume: None });
    }
}
