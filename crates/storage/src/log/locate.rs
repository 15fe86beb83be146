//! Finding the byte ranges of messages.
//!
//! No byte of a message at or above the caller's `upto` is ever located.
//! INV-DAMAGED: no byte of a fenced message is ever located.

use super::damage::DamagedSegment;
use super::name::tell;
use super::newest::NewestRequest;
use super::reader::{LocateRequest, Located, LocatedSlice, LogReader, ReadError};
use super::search::{LandingTarget, SegmentSearch};
use super::state::{Fence, SegmentView};
use crate::segment::Boundary;
use crate::segment::reader::{Effort, WalkError};
use galgo_wire::id::{Offset, Timestamp};
use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_wire::index::{to_u32, to_usize};

/// Most segments one answer spans; each holds a file open.
const SLICES_MAX: usize = 32;
const _: () = assert!(SLICES_MAX > 0, "an answer has room for a message");
/// Attempts of one call before it gives up, each ended by damage not known before.
const ATTEMPTS_MAX: usize = 16;
/// Most fences of one log; with more damage than that, a fence goes to the end of its segment: every look at the log
/// goes over all of them.
const FENCES_MAX: usize = 1_024;
const _: () = assert!(
    0 < ATTEMPTS_MAX && ATTEMPTS_MAX < FENCES_MAX,
    "one look at a damaged log does not use up all fences of it"
);

/// What the header of a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenMessage {
    /// Its id.
    pub id: u128,
    /// Its offset.
    pub offset: Offset,
    /// When the server took it.
    pub timestamp: Timestamp,
}

/// Why an attempt did not finish.
pub(super) enum LocateStop {
    /// The answer.
    Read(ReadError),
    /// A walk failed in this segment.
    Walk(SegmentView, WalkError),
}

/// What a slice may still add to an answer.
#[derive(Clone, Copy)]
struct AnswerRoom {
    bytes: u64,
    /// The first slice of an answer holds a message in any case.
    one_fits: bool,
}

impl From<ReadError> for LocateStop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl LogReader {
    /// Finds the byte ranges of a request without reading more than a few headers.
    ///
    /// Damage on the way ends the answer before it.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when the first message wanted is fenced.
    pub fn locate(&self, request: LocateRequest) -> Result<Located, ReadError> {
        self.attempt(|| self.try_locate(request, Effort::Disk))
    }

    /// As [`LogReader::locate`], without waiting for the disk: `None` when a header on the way is not in
    /// the page cache, or the index of a segment not in memory.
    ///
    /// # Errors
    /// As [`LogReader::locate`].
    pub fn locate_cached(&self, request: LocateRequest) -> Result<Option<Located>, ReadError> {
        self.attempt_cached(|| self.try_locate(request, Effort::Cache))
    }

    /// Offset of the first message below `upto` whose timestamp is `timestamp` or later.
    ///
    /// Where the clock was ahead and has been set right, messages with times behind that of the last
    /// message count as stored together with the first one after them.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when damaged messages stand in the way.
    pub fn offset_at(
        &self,
        timestamp: Timestamp,
        upto: Offset,
    ) -> Result<Option<Offset>, ReadError> {
        self.attempt(|| self.try_offset_at(timestamp, upto, Effort::Disk))
    }

    /// As [`LogReader::offset_at`], without waiting for the disk: `None` when that would have to be
    /// waited for, and `upto` when there is no such message.
    ///
    /// # Errors
    /// As [`LogReader::offset_at`].
    pub fn offset_at_cached(
        &self,
        timestamp: Timestamp,
        upto: Offset,
    ) -> Result<Option<Offset>, ReadError> {
        self.attempt_cached(|| {
            let found = self.try_offset_at(timestamp, upto, Effort::Cache)?;
            Ok(found.unwrap_or(upto))
        })
    }

    /// The offset from which on all messages of the request fit: its first when all do.
    ///
    /// Damage parts a log: what is older than it is left out, too.
    ///
    /// # Errors
    /// [`ReadError`] when headers on the way cannot be read.
    pub fn newest(&self, request: NewestRequest) -> Result<Offset, ReadError> {
        self.attempt(|| request.find(self, Effort::Disk))
    }

    /// As [`LogReader::newest`], without waiting for the disk: `None` when that would have to be waited
    /// for.
    ///
    /// # Errors
    /// As [`LogReader::newest`].
    pub fn newest_cached(&self, request: NewestRequest) -> Result<Option<Offset>, ReadError> {
        self.attempt_cached(|| request.find(self, Effort::Cache))
    }

    /// Calls `visit` with the messages of a range, in order, reading their headers only. Checksums are not looked
    /// at; what is fenced is left out.
    ///
    /// # Errors
    /// [`ReadError`] when the disk does not give the headers.
    pub fn visit(
        &self,
        messages: Range<Offset>,
        visit: &mut dyn FnMut(SeenMessage),
    ) -> Result<(), ReadError> {
        let (next, upto) = (Cell::new(messages.start), messages.end);
        let visit = RefCell::new(visit);
        loop {
            match self.attempt(|| self.try_visit(&next, upto, &mut **visit.borrow_mut())) {
                // Only onwards: the same damage told twice would be visited for ever.
                Err(ReadError::Damaged { to, .. }) if to > next.get() => next.set(to),
                done => return done,
            }
        }
    }

    fn try_visit(
        &self,
        next: &Cell<Offset>,
        upto: Offset,
        visit: &mut dyn FnMut(SeenMessage),
    ) -> Result<(), LocateStop> {
        loop {
            let request =
                LocateRequest { from: next.get(), count_max: u32::MAX, bytes_max: u64::MAX, upto };
            let Range { start: from, end: stop } = self.bounds(&request)?;
            let Some(view) = self.state.read().view_at(from).filter(|_| from < stop) else {
                return Ok(());
            };
            let failed = |error| LocateStop::Walk(view, error);
            let file = self.open(view.base).map_err(|error| failed(error.into()))?;
            let mut search = SegmentSearch::new(self, view, &*file, Effort::Disk);
            let begin = search.walk_to(from, None).map_err(failed)?;
            let found = search.walk.find(begin, stop.min(view.end.offset), |frame, place| {
                // Before it is noted: after damage the walk begins again behind what was told.
                visit(SeenMessage {
                    id: frame.id,
                    offset: place.offset,
                    timestamp: frame.timestamp,
                });
                next.set(Offset::new(place.offset.get().saturating_add(1)));
                false
            });
            next.set(found.map_err(failed)?.offset);
        }
    }

    /// Runs `attempt` again each time it came upon damage not known before, or on a segment that
    /// retention removed under its eyes.
    fn attempt<T>(&self, attempt: impl Fn() -> Result<T, LocateStop>) -> Result<T, ReadError> {
        // Bounded: a disk that goes bad under a request would have it fence one message after the other.
        let mut failed = None;
        for _ in 0..ATTEMPTS_MAX {
            match attempt() {
                Ok(answer) => return Ok(answer),
                Err(LocateStop::Read(error)) => return Err(error),
                Err(LocateStop::Walk(view, error)) => match self.walk_failed(view, error) {
                    Ok(found) | Err(found @ ReadError::Gone { .. }) => failed = Some(found),
                    Err(error) => return Err(error),
                },
            }
        }
        let gave_up = ReadError::Damaged { from: Offset::ZERO, to: Offset::ZERO };
        Err(failed.unwrap_or(gave_up))
    }

    /// As [`LogReader::attempt`], for what does not wait for the disk: `None` when it would have to.
    fn attempt_cached<T>(
        &self,
        attempt: impl Fn() -> Result<T, LocateStop>,
    ) -> Result<Option<T>, ReadError> {
        self.attempt(|| match attempt() {
            Ok(found) => Ok(Some(found)),
            // No failure: whoever asked sends the request to a thread that may wait.
            Err(LocateStop::Walk(_, error)) if error.is_cold() => Ok(None),
            Err(stop) => Err(stop),
        })
    }

    fn try_locate(&self, request: LocateRequest, effort: Effort) -> Result<Located, LocateStop> {
        let Range { start: from, end: stop } = self.bounds(&request)?;
        let mut located =
            Located { first: from, count: 0, bytes: 0, slices: Vec::new(), cut: false };
        let mut next = from;
        while next < stop {
            // Each is an open file until the answer is written, however slowly its reader takes it.
            if located.slices.len() >= SLICES_MAX {
                located.cut = true;
                break;
            }
            // Looked up anew for each segment: nothing is locked in between, and retention may have taken it away.
            let Some(view) = self.state.read().view_at(next) else { break };
            let wanted = stop.min(view.end.offset);
            let bytes_left = request.bytes_max.saturating_sub(located.bytes);
            let room = AnswerRoom { bytes: bytes_left, one_fits: located.slices.is_empty() };
            let slice = self.slice(view, next..wanted, room, effort)?;
            let Some(slice) = slice else {
                located.cut = true;
                break;
            };
            next = Offset::new(next.get() + u64::from(slice.count));
            located.count += slice.count;
            located.bytes += slice.len;
            located.slices.push(slice);
            if next < wanted {
                located.cut = true;
                break;
            }
        }
        Ok(located)
    }

    /// The range of offsets that may be given out.
    fn bounds(&self, request: &LocateRequest) -> Result<Range<Offset>, ReadError> {
        let state = self.state.read();
        let from = request.from.max(state.start());
        let upto = request.upto.min(state.end());
        if from >= upto || request.count_max == 0 || state.is_retired() {
            return Ok(from..from);
        }
        let mut stop = from.plus(request.count_max).map_or(upto, |stop| stop.min(upto));
        if !state.fences().is_empty() {
            if let Some(fence) = state.fence_around(from) {
                return Err(ReadError::Damaged { from: fence.from, to: fence.to });
            }
            // Up to the next one: an answer has no hole, and the next request is told of the damage.
            if let Some(fence) = state.fence_from(from) {
                stop = stop.min(fence.from);
            }
        }
        Ok(from..stop)
    }

    /// The part of a segment with the messages of `wanted` for which there is room.
    fn slice(
        &self,
        view: SegmentView,
        wanted: Range<Offset>,
        room: AnswerRoom,
        effort: Effort,
    ) -> Result<Option<LocatedSlice>, LocateStop> {
        let failed = |error| LocateStop::Walk(view, error);
        let file = self.open(view.base).map_err(|error| failed(error.into()))?;
        let mut search = SegmentSearch::new(self, view, &*file, effort);
        let begin = search.walk_to(wanted.start, None).map_err(failed)?;
        // Behind damage the last messages may be missing: then the end of the bytes is not theirs.
        let certain = self.state.read().ends_for_certain(view.base);
        let mut end = if wanted.end == view.end.offset && certain {
            view.end
        } else {
            search.walk_to(wanted.end, Some(begin)).map_err(failed)?
        };
        if end.position.saturating_sub(begin.position) > room.bytes {
            let limit = begin.position + room.bytes;
            end = search.walk_below(begin, end.offset, limit).map_err(failed)?;
            if end == begin {
                if !room.one_fits {
                    return Ok(None);
                }
                // Larger than all the room there is: else whoever reads would ask for it for ever.
                let one = Offset::new(begin.offset.get() + 1);
                end = search.walk.reach(begin, one).map_err(failed)?;
            }
        }
        let range = begin.position..end.position;
        let verified = self.state.read().is_verified(view.base, &range);
        Ok(Some(LocatedSlice {
            file: Arc::clone(&file),
            base: view.base,
            first: begin.offset,
            count: to_u32(end.offset.get() - begin.offset.get()),
            position: range.start,
            len: range.end - range.start,
            verified,
        }))
    }

    fn try_offset_at(
        &self,
        timestamp: Timestamp,
        upto: Offset,
        effort: Effort,
    ) -> Result<Option<Offset>, LocateStop> {
        let (start, upto, mut next) = {
            let state = self.state.read();
            let upto = if state.is_retired() { Offset::ZERO } else { upto.min(state.end()) };
            (state.start(), upto, state.view_at_time(timestamp))
        };
        while let Some(view) = next {
            if view.base >= upto {
                break;
            }
            if let Some(found) = self.first_at(view, timestamp, upto, effort)? {
                // Where the clock was ahead, the messages right before were stored no later than this one.
                let ahead = self.state.read().ahead_before(view.base);
                let first = match ahead.filter(|_| found == view.base) {
                    Some(ahead) => self.first_at(ahead, timestamp, upto, effort)?.unwrap_or(found),
                    None => found,
                };
                return Ok(Some(first.max(start)).filter(|offset| *offset < upto));
            }
            next = self.state.read().view_at(view.end.offset);
        }
        Ok(None)
    }

    /// The first message of a segment below `upto` whose timestamp is `timestamp` or later.
    fn first_at(
        &self,
        view: SegmentView,
        timestamp: Timestamp,
        upto: Offset,
        effort: Effort,
    ) -> Result<Option<Offset>, LocateStop> {
        let failed = |error| LocateStop::Walk(view, error);
        let file = self.open(view.base).map_err(|error| failed(error.into()))?;
        let mut search = SegmentSearch::new(self, view, &*file, effort);
        let from = search.land(LandingTarget::BeforeTime(timestamp), None).map_err(failed)?;
        let stop = upto.min(view.end.offset);
        let fence = self.state.read().fence_from(from.offset);
        let fence = fence.filter(|fence| fence.from < stop);
        let walk_upto = fence.map_or(stop, |fence| fence.from);
        let found = search.walk.find(from, walk_upto, |frame, _| frame.timestamp >= timestamp);
        let found = found.map_err(failed)?;
        match fence {
            _ if found.offset < walk_upto => Ok(Some(found.offset)),
            Some(fence) => Err(ReadError::Damaged { from: fence.from, to: fence.to }.into()),
            None => Ok(None),
        }
    }

    pub(super) fn chunk_bytes(&self) -> usize {
        to_usize(self.files.options.index_interval_bytes)
    }

    /// What a failed walk means: damage is fenced and returned as the `Ok` value, for another try.
    fn walk_failed(&self, view: SegmentView, error: WalkError) -> Result<ReadError, ReadError> {
        let base = view.base;
        match error {
            WalkError::Damaged(place) if self.state.read().is_kept(base) => {
                Ok(self.damaged(base, place))
            }
            WalkError::Disk(source) if source.kind() == io::ErrorKind::NotFound => {
                // Looked up behind the failure: retention takes a segment out of the log before it removes the file.
                if !self.state.read().is_kept(base) {
                    return Err(ReadError::Gone { base });
                }
                Ok(self.fence(Fence::within(view, base, None)))
            }
            WalkError::Damaged(_) => Err(ReadError::Gone { base }),
            WalkError::Disk(source) => Err(ReadError::Disk { base, source }),
        }
    }

    /// Fences the damage that was come upon at `seen`.
    pub(super) fn damaged(&self, base: Offset, seen: Boundary) -> ReadError {
        let view = self.state.read().view_at(seen.offset).filter(|view| view.base == base);
        let Some(view) = view else { return ReadError::Gone { base } };
        let found = self.open(base);
        let found = found.and_then(|file| DamagedSegment::new(self, view, &*file).fence_at(seen));
        let fence = found.unwrap_or_else(|error| {
            tell!(warn, self, base = base.get(), %error, "segment not searched for good messages");
            Fence::within(view, seen.offset, None)
        });
        // Without a place to go on from: the fence ends the segment, and no look at it finds more.
        let crowded = self.state.read().fences().len() >= FENCES_MAX;
        self.fence(if crowded { Fence::within(view, fence.from, None) } else { fence })
    }

    /// Adds a fence, and tells.
    pub(super) fn fence(&self, fence: Fence) -> ReadError {
        tell!(
            error,
            self,
            dir = %self.files.options.dir.display(),
            segment = fence.base.get(),
            from = fence.from.get(),
            to = fence.to.get(),
            "damaged messages fenced"
        );
        // Behind the line: an operator who is told by a reader of the damage finds it in the log of the server.
        self.state.write().fence(fence);
        self.damaged_ranges.fetch_add(1, Ordering::Relaxed);
        ReadError::Damaged { from: fence.from, to: fence.to }
    }
}
