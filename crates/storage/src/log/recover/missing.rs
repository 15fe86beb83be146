//! Damage at the end that was recovered, told from a write that was cut short; and segments that are too
//! short.
//!
//! A torn write ends the log. Damage is stepped over: it is fenced, and what comes behind it is kept.
//! Which of the two it is, the evidence tells: what others prove about the end, whether the page cache
//! outlived the process, and what lies behind the bad bytes (see `docs/format.md`).
//!
//! INV-NO-REUSE: an offset that evidence shows to have been given is never given out again.

use super::super::reader::LogReader;
use super::super::state::{Fence, Sealed};
use super::LogRecoverError;
use super::merge::LogMerge;
use super::tail::LooseFile;
use crate::disk::OpenMode;
use crate::segment::Boundary;
use crate::segment::reader::{SegmentWalk, WalkError, check_messages};
use crate::segment::recovery::{Behind, SegmentBytes};
use galgo_wire::id::Offset;
use std::io;

/// Bytes of headers read at a time while the end of a short segment is looked for.
const WALK_BYTES: usize = 1 << 16;

/// Where the log goes on after missing messages.
#[derive(Clone, Copy)]
enum ResumeAt {
    /// In the segment with the damage.
    Here(Boundary),
    /// In another segment, found or to be made.
    Elsewhere(Offset),
}

impl ResumeAt {
    fn offset(self) -> Offset {
        match self {
            Self::Here(place) => place.offset,
            Self::Elsewhere(offset) => offset,
        }
    }
}

/// The bytes at which the log does not go on.
#[derive(Clone, Copy)]
struct Bad {
    /// They are the start of a segment that was not entered yet.
    not_entered: bool,
    position: u64,
    behind: Behind,
}

impl LogMerge<'_> {
    /// Fences the messages from here to the next that is there, when what is here is damage.
    pub(super) fn step_over_missing(&mut self) -> Result<bool, LogRecoverError> {
        if self.at < self.start {
            return self.step_over_dropped();
        }
        let bad = self.look()?;
        let proven = self.proven_end();
        if proven <= self.at && !self.is_damage(bad) {
            return Ok(false);
        }
        // INV-NO-REUSE: from here on it is damage. What lies behind it is kept, and where nothing does, the offsets that
        // may have been given are passed over all the same.
        let resume = self.find_resume(bad, proven)?;
        // Entered although its first message is bad: its bytes are to stay, under their name.
        if let Some(Bad { not_entered: true, .. }) = bad {
            self.enter(self.at)?;
        }
        let from = self.at;
        let to = match resume {
            Some(resume) => resume.offset(),
            // How many messages there were is not known better than that.
            None => {
                let most = bad.map_or(0, |bad| bad.behind.messages_max);
                proven.max(Offset::new(from.get().saturating_add(most)))
            }
        };
        assert!(from < to, "INV-NO-REUSE: a fence covers at least the message that is not there");
        self.at = to;
        if let (Some(ResumeAt::Here(place)), Some(current)) = (resume, &mut self.current) {
            let base = current.tip.base;
            current.step_to(place, self.reader.files.options.index_interval_bytes);
            self.note_missing(Fence { base, from, to, resume: Some(place.position) });
            return Ok(true);
        }
        let base = match &mut self.current {
            Some(current) => {
                let base = current.tip.base;
                // Its bytes end before its offsets do, which a reader has to know.
                current.tip.checksum = None;
                // The damaged bytes stay part of the segment, so that nobody cuts them off.
                let bytes = current.file_len;
                self.seal_current(bytes)?;
                base
            }
            // No file has a byte of them. Their place is taken by a segment without one, so that segments still follow
            // each other.
            None => {
                self.seal_nothing(from);
                from
            }
        };
        self.note_missing(Fence { base, from, to, resume: None });
        Ok(true)
    }

    /// The offset below which messages were there for good.
    fn proven_end(&self) -> Offset {
        let acknowledged = self.journal.acknowledged();
        acknowledged.map_or(self.evidence.end, |acknowledged| acknowledged.max(self.evidence.end))
    }

    /// Whether the log was longer, although nothing from elsewhere proves it.
    ///
    /// After a restart of the system that is never said: blocks reach the disk in any order, so that
    /// what was never acknowledged may be there in part, with whole messages behind a hole.
    fn is_damage(&self, bad: Option<Bad>) -> bool {
        if !self.evidence.cache_survived {
            return false;
        }
        // Every write but the last is there as it was made. So what came later shows that this was
        // there; and a write that was cut short ends the file, within a message.
        let later = self.leftovers.behind(self.at).next().is_some();
        let behind = bad.map(|bad| bad.behind);
        later
            || !self.journal.is_empty()
            || behind.is_some_and(|behind| behind.resume.is_some() || !behind.cut_short)
    }

    /// What is there where the next message should be; `None` when no file has a byte there.
    fn look(&self) -> Result<Option<Bad>, LogRecoverError> {
        let current = self.current.as_ref().filter(|current| current.file_len > current.tip.bytes);
        let (path, position, limit) = match (current, self.leftovers.len_of(self.at)) {
            (Some(current), _) => {
                let path = current.handle.path().to_path_buf();
                (path, current.tip.bytes, current.file_len)
            }
            (None, Some(len)) if len > 0 => (self.reader.files.log_path(self.at), 0, len),
            (None, _) => return Ok(None),
        };
        let file = self
            .reader
            .files
            .disk
            .open(&path, OpenMode::Read)
            .map_err(LogRecoverError::at(&path))?;
        let place = Boundary { offset: self.at, position };
        let bytes = SegmentBytes::new(&*file, limit);
        let behind = bytes.look_behind(place, self.last_timestamp);
        let behind = behind.map_err(LogRecoverError::at(&path))?;
        Ok(Some(Bad { not_entered: current.is_none(), position, behind }))
    }

    /// Steps over damage below the start, which nobody misses, to what the segment holds behind it.
    fn step_over_dropped(&mut self) -> Result<bool, LogRecoverError> {
        let Some(place) = self.next_here()? else { return Ok(false) };
        let Some(current) = &mut self.current else { return Ok(false) };
        current.step_to(place, self.reader.files.options.index_interval_bytes);
        self.at = place.offset;
        let (base, from, to) = (current.tip.base, self.start, place.offset);
        if from < to {
            self.note_missing(Fence { base, from, to, resume: Some(place.position) });
        }
        Ok(true)
    }

    /// The next whole message in the current segment.
    fn next_here(&self) -> Result<Option<Boundary>, LogRecoverError> {
        let Some(current) = &self.current else { return Ok(None) };
        let offsets = self.at..Offset::new(u64::MAX);
        let here = current.tip.place();
        let found = current.handle.get().and_then(|file| {
            let bytes = SegmentBytes::new(&*file, current.file_len);
            match bytes.next_valid(here.position, offsets.clone())? {
                // Whole, and yet it was not taken: its time is before that of the message before it. Found here again and
                // again, it would keep the start from ending.
                Some(found) if found == here => bytes.next_valid(here.position + 1, offsets),
                found => Ok(found),
            }
        });
        found.map_err(LogRecoverError::at(current.handle.path()))
    }

    /// The nearest place where messages are there again.
    fn find_resume(
        &self,
        bad: Option<Bad>,
        proven: Offset,
    ) -> Result<Option<ResumeAt>, LogRecoverError> {
        let journaled = self.journal.next_offset();
        // The nearest of all: everything between is given up.
        let mut nearest = journaled.map(ResumeAt::Elsewhere);
        for LooseFile { base, len } in self.leftovers.behind(self.at) {
            let nearer = nearest.is_none_or(|nearest| base < nearest.offset());
            // A segment that was begun before this was lost begins where it says, readable or not.
            let certain = self.evidence.cache_survived || base <= proven;
            if nearer && (certain || self.starts_well(base, len)?) {
                nearest = Some(ResumeAt::Elsewhere(base));
            }
        }
        let here = bad.and_then(|bad| Some((bad.position, bad.behind.resume?)));
        let Some((from, found)) = here else { return Ok(nearest) };
        if nearest.is_none_or(|nearest| found.offset <= nearest.offset()) {
            return Ok(Some(ResumeAt::Here(found)));
        }
        // When the journal's batch belongs right before what was found, it is put back there.
        let batch = journaled.zip(self.journal.messages()?);
        let fits = batch.and_then(|(base, messages)| {
            let position = found.position.checked_sub(messages.len() as u64)?;
            let count = u32::try_from(found.offset.get() - base.get()).ok()?;
            let whole = check_messages(&messages, base, count).is_ok();
            let place = Boundary { offset: base, position };
            (whole && position >= from).then_some(ResumeAt::Here(place))
        });
        Ok(fits.or(nearest))
    }

    /// Puts a segment without a file where messages should be.
    fn seal_nothing(&mut self, from: Offset) {
        self.sealed.push(Sealed::without_bytes(from..self.at, self.last_timestamp));
    }
}

/// Fences what a segment lacks whose file has only `len` bytes.
pub(super) fn fence_short(reader: &LogReader, base: Offset, len: u64) {
    let Some(view) = reader.state.read().view_at(base) else { return };
    let start = Boundary { offset: base, position: 0 };
    let from = match reader.open(base) {
        Ok(file) => {
            let mut walk = SegmentWalk::new(&*file, len, WALK_BYTES);
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
    reader.fence(Fence::within(view, from, None));
}
