//! Where the newest messages begin that fit into an answer.
//!
//! Whatever is left out is older than what is not.

use super::landing::LandingTarget;
use super::locate::LocateStop;
use super::reader::{LogReader, ReadError};
use super::state::SegmentView;
use crate::segment::Boundary;
use crate::segment::reader::{Effort, SegmentWalk};
use galgo_wire::id::Offset;

/// Which messages are wanted, the newest before the others.
#[derive(Debug, Clone, Copy)]
pub struct NewestRequest {
    /// The oldest message wanted.
    pub from: Offset,
    /// Messages from here on are not wanted.
    pub upto: Offset,
    /// Most bytes wanted; the newest message is wanted even when it is larger.
    pub bytes_max: u64,
}

impl LogReader {
    /// The offset from which on all messages of the request fit: its first when all do.
    ///
    /// Damage parts a log: what is older than it is left out, too.
    ///
    /// # Errors
    /// [`ReadError`] when headers on the way cannot be read.
    pub fn newest(&self, request: NewestRequest) -> Result<Offset, ReadError> {
        self.attempt(|| self.try_newest(request, Effort::Disk))
    }

    /// As [`LogReader::newest`], without waiting for the disk: `None` when that would have to be waited
    /// for.
    ///
    /// # Errors
    /// As [`LogReader::newest`].
    pub fn newest_cached(&self, request: NewestRequest) -> Result<Option<Offset>, ReadError> {
        self.attempt_cached(|| self.try_newest(request, Effort::Cache))
    }

    fn try_newest(&self, request: NewestRequest, effort: Effort) -> Result<Offset, LocateStop> {
        let (from, upto) = {
            let state = self.state.read();
            let (from, upto) = (request.from.max(state.start), request.upto.min(state.end));
            let (from, upto) = state.newest_run(from, upto);
            if from >= upto || state.bytes_from(from) <= request.bytes_max {
                return Ok(from);
            }
            (from, upto)
        };
        let newest = Offset::new(upto.get().saturating_sub(1));
        let (mut end, mut room) = (upto, request.bytes_max);
        while end > from {
            let last = Offset::new(end.get().saturating_sub(1));
            // Dropped meanwhile: what is left begins behind it.
            let Some(view) = self.state.read().view_at(last) else { break };
            let (begin, bytes) = self.newest_of(view, (from, end), room, effort)?;
            end = begin;
            if begin > view.base.max(from) {
                break;
            }
            room = room.saturating_sub(bytes);
        }
        Ok(end.min(newest))
    }

    /// Where the messages of a segment between `from` and `end` begin that have room, and their bytes.
    fn newest_of(
        &self,
        view: SegmentView,
        (from, end): (Offset, Offset),
        room: u64,
        effort: Effort,
    ) -> Result<(Offset, u64), LocateStop> {
        let start = Boundary { offset: view.base, position: 0 };
        if end == view.end.offset && from <= view.base && view.end.position <= room {
            return Ok((view.base, view.end.position));
        }
        let failed = |error| LocateStop::Walk(view, error);
        let file = self.open(view.base).map_err(|error| failed(error.into()))?;
        let mut walk = SegmentWalk::new(&*file, view.end.position, self.chunk_bytes()).with(effort);
        let floor = match from <= view.base {
            true => start,
            false => self.walk_to(view, &mut walk, from, None).map_err(failed)?,
        };
        let end = match end == view.end.offset {
            true => view.end,
            false => self.walk_to(view, &mut walk, end, Some(floor)).map_err(failed)?,
        };
        let limit = end.position.saturating_sub(room).max(floor.position);
        let near = self.land(view, &mut walk, LandingTarget::Position(limit), Some(floor));
        let near = near.map_err(failed)?;
        let begin = walk.find(near, end.offset, |_, place| place.position >= limit);
        let begin = begin.map_err(failed)?;
        Ok((begin.offset, end.position.saturating_sub(begin.position)))
    }
}
