//! From an offset, a byte or a time to a place: the index, then a short walk over headers.
//!
//! Part of INV-INDEX: an entry that came from a file is used only after the header it points to turned out
//! to be the one it names; otherwise the index is made anew from the log.

use super::name::tell;
use super::reader::LogReader;
use super::state::SegmentView;
use crate::index::cache::{CachedIndex, IndexKey};
use crate::index::rebuild::{self, IndexSpan};
use crate::index::{Index, IndexEntry};
use crate::segment::Boundary;
use crate::segment::reader::{Effort, SegmentWalk, WalkError};
use galgo_wire::id::{Offset, Timestamp};
use std::sync::Arc;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum LandingTarget {
    /// The message with this offset.
    Offset(Offset),
    /// The last message boundary at or before this byte.
    Position(u64),
    /// The last known message before this time.
    BeforeTime(Timestamp),
}

/// A known place at or before a target.
#[derive(Debug, Clone, Copy)]
struct Landing {
    place: Boundary,
    /// The timestamp to confirm the place by; `None` when this process knows it.
    confirm: Option<Timestamp>,
}

impl LandingTarget {
    fn search(self, base: Offset, index: &Index) -> Option<IndexEntry> {
        match self {
            Self::Offset(offset) => {
                let relative = offset.get().saturating_sub(base.get());
                index.at_offset(u32::try_from(relative).unwrap_or(u32::MAX))
            }
            Self::Position(position) => index.at_position(position),
            Self::BeforeTime(timestamp) => index.before_time(timestamp),
        }
    }

    /// Whether a search may start at a place of which only offset and byte are known.
    fn starts_at(self, place: Boundary) -> bool {
        match self {
            Self::Offset(offset) => place.offset <= offset,
            Self::Position(position) => place.position <= position,
            Self::BeforeTime(_) => false,
        }
    }
}

impl LogReader {
    /// A place at or before `target`, and after `floor` when that is nearer; the walk to the target
    /// starts there.
    pub(super) fn land(
        &self,
        view: SegmentView,
        walk: &mut SegmentWalk<'_>,
        target: LandingTarget,
        floor: Option<Boundary>,
    ) -> Result<Boundary, WalkError> {
        let landing = self.landing(view, target, (walk.effort(), false))?;
        if let Some(floor) = floor.filter(|floor| floor.position >= landing.place.position) {
            return Ok(floor);
        }
        let Some(timestamp) = landing.confirm else { return Ok(landing.place) };
        match walk.frame(landing.place) {
            Ok(frame) if frame.timestamp == timestamp => return Ok(landing.place),
            Ok(_) | Err(WalkError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        // The entry or the log is wrong; entries made from the log tell which.
        Ok(self.landing(view, target, (walk.effort(), true))?.place)
    }

    fn landing(
        &self,
        view: SegmentView,
        target: LandingTarget,
        (effort, anew): (Effort, bool),
    ) -> Result<Landing, WalkError> {
        let start = Boundary { offset: view.base, position: 0 };
        let mut resume = None;
        let mut described = view.end;
        {
            let state = self.state.read();
            if !state.fences.is_empty() {
                resume = state.resume(view.base, |place| target.starts_at(place));
            }
            if let Some(active) = state.active.as_ref().filter(|active| active.base == view.base) {
                if let Some(entry) = target.search(view.base, &active.live) {
                    let place = later(entry.place(view.base), resume);
                    return Ok(Landing { place, confirm: None });
                }
                described = active.live_from;
            }
        }
        if described.position == 0 {
            return Ok(Landing { place: later(start, resume), confirm: None });
        }
        let cached = self.index(view.base, described, (effort, anew))?;
        let entry = target.search(view.base, &cached.index);
        let place = entry.map_or(start, |entry| entry.place(view.base));
        let known = cached.trusted
            || entry.is_none()
            || resume.is_some_and(|at| at.position >= place.position);
        let confirm = entry.filter(|_| !known).map(|entry| entry.timestamp);
        Ok(Landing { place: later(place, resume), confirm })
    }

    /// The index of a segment up to `end`, from memory, its file or (`anew`) only the log.
    fn index(
        &self,
        base: Offset,
        end: Boundary,
        (effort, anew): (Effort, bool),
    ) -> Result<Arc<CachedIndex>, WalkError> {
        let key = IndexKey { log: self.log, base, bytes: end.position };
        if let Some(cached) = self.options.indexes.get(&key)
            && (cached.trusted || !anew)
        {
            return Ok(cached);
        }
        if effort == Effort::Cache {
            return Err(WalkError::cold());
        }
        let span = IndexSpan { base, end, interval_bytes: self.options.index_interval_bytes };
        let path = self.index_path(base);
        let disk = &*self.disk;
        let slots = if anew { Vec::new() } else { rebuild::load(disk, &path, span) };
        let trusted = slots.is_empty();
        let whole = !trusted && slots.iter().all(Option::is_some);
        let file = self.open(base)?;
        let loaded = slots.len();
        let index = rebuild::complete(&*file, span, slots)?;
        let grown = index.entries().len() > loaded;
        // Spares the next process the work. The active segment's file belongs to the writer.
        if (grown || !whole)
            && self.is_sealed(base, end)
            && let Err(error) = rebuild::store(disk, &path, span, &index)
        {
            tell!(warn, self, path = %path.display(), %error, "index file not rewritten");
        }
        Ok(self.options.indexes.insert(key, CachedIndex { index, trusted }))
    }

    fn is_sealed(&self, base: Offset, end: Boundary) -> bool {
        let state = self.state.read();
        let at = state.sealed.binary_search_by_key(&base, |sealed| sealed.known.base);
        let sealed = at.ok().and_then(|at| state.sealed.get(at));
        sealed.is_some_and(|sealed| sealed.view().end == end)
    }
}

fn later(place: Boundary, resume: Option<Boundary>) -> Boundary {
    resume.filter(|resume| resume.position > place.position).unwrap_or(place)
}
