//! Where the newest messages begin that fit into an answer.
//!
//! Whatever is left out is older than what is not.

use super::locate::LocateStop;
use super::reader::LogReader;
use super::search::{LandingTarget, SegmentSearch};
use super::state::SegmentView;
use crate::segment::Boundary;
use crate::segment::reader::Effort;
use galgo_wire::id::Offset;
use std::ops::Range;

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

/// The newest messages of a segment that have room.
struct NewestOf {
    begin: Offset,
    bytes: u64,
}

impl NewestRequest {
    /// The offset from which on all messages of the request fit.
    pub(super) fn find(self, log: &LogReader, effort: Effort) -> Result<Offset, LocateStop> {
        let Range { start: from, end: upto } = {
            let state = log.state.read();
            let run = self.from.max(state.start())..self.upto.min(state.end());
            // Behind the last damage: with older messages before it the answer would have a hole.
            let run = state.newest_run(run);
            if run.is_empty() || state.bytes_from(run.start) <= self.bytes_max {
                return Ok(run.start);
            }
            run
        };
        let newest = Offset::new(upto.get().saturating_sub(1));
        let (mut end, mut room) = (upto, self.bytes_max);
        while end > from {
            let last = Offset::new(end.get().saturating_sub(1));
            // Dropped meanwhile: what is left begins behind it.
            let Some(view) = log.state.read().view_at(last) else { break };
            let NewestOf { begin, bytes } = newest_of(log, view, from..end, room, effort)?;
            end = begin;
            if begin > view.base.max(from) {
                break;
            }
            room = room.saturating_sub(bytes);
        }
        // The newest message is wanted even where it alone is larger than the room.
        Ok(end.min(newest))
    }
}

/// Of the messages of a segment in a range, the newest that have room.
fn newest_of(
    log: &LogReader,
    view: SegmentView,
    wanted: Range<Offset>,
    room: u64,
    effort: Effort,
) -> Result<NewestOf, LocateStop> {
    let Range { start: from, end } = wanted;
    let start = Boundary { offset: view.base, position: 0 };
    if end == view.end.offset && from <= view.base && view.end.position <= room {
        return Ok(NewestOf { begin: view.base, bytes: view.end.position });
    }
    let failed = |error| LocateStop::Walk(view, error);
    let file = log.open(view.base).map_err(|error| failed(error.into()))?;
    let mut search = SegmentSearch::new(log, view, &*file, effort);
    let floor = match from <= view.base {
        true => start,
        false => search.walk_to(from, None).map_err(failed)?,
    };
    let end = match end == view.end.offset {
        true => view.end,
        false => search.walk_to(end, Some(floor)).map_err(failed)?,
    };
    let limit = end.position.saturating_sub(room).max(floor.position);
    let near = search.land(LandingTarget::Position(limit), Some(floor)).map_err(failed)?;
    let begin = search.walk.find(near, end.offset, |_, place| place.position >= limit);
    let begin = begin.map_err(failed)?;
    let bytes = end.position.saturating_sub(begin.position);
    Ok(NewestOf { begin: begin.offset, bytes })
}
