//! From an offset, a byte or a time to a place in a segment: the index, then a short walk over headers.
//!
//! Part of INV-INDEX: an entry that came from a file is used only after the header it points to turned out
//! to be the one it names; otherwise the index is made anew from the log.

use super::files::LogFiles;
use super::name::tell;
use super::reader::LogReader;
use super::state::{SegmentView, SharedState};
use crate::disk::DiskFile;
use crate::index::cache::CachedIndex;
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

/// Where an index comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IndexSource {
    /// Memory, its file, or the log where these do not have it.
    Nearest,
    /// The log, or what this process made of it: its file was found to be wrong.
    Log,
}

impl LandingTarget {
    fn search(self, base: Offset, index: &Index) -> Option<IndexEntry> {
        match self {
            Self::Offset(offset) => index.at_offset(offset.get().saturating_sub(base.get())),
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

/// A segment that is searched, as it was when the search began.
pub(super) struct SegmentSearch<'a> {
    files: &'a LogFiles,
    state: &'a SharedState,
    view: SegmentView,
    file: &'a dyn DiskFile,
    /// What goes from header to header in it.
    pub(super) walk: SegmentWalk<'a>,
}

impl<'a> SegmentSearch<'a> {
    /// A search in a segment that goes as far as `effort` says.
    pub(super) fn new(
        log: &'a LogReader,
        view: SegmentView,
        file: &'a dyn DiskFile,
        effort: Effort,
    ) -> Self {
        let walk = SegmentWalk::new(file, view.end.position, log.chunk_bytes()).with(effort);
        Self { files: &log.files, state: &log.state, view, file, walk }
    }

    /// The same, reading so many bytes at a time.
    pub(super) fn reading(self, chunk_bytes: usize) -> Self {
        let walk = SegmentWalk::new(self.file, self.view.end.position, chunk_bytes);
        Self { walk: walk.with(self.walk.effort()), ..self }
    }

    /// The place of a message; `floor` is a known place before it.
    pub(super) fn walk_to(
        &mut self,
        offset: Offset,
        floor: Option<Boundary>,
    ) -> Result<Boundary, WalkError> {
        let from = self.land(LandingTarget::Offset(offset), floor)?;
        self.walk.reach(from, offset)
    }

    /// The last message boundary between `begin` and `upto` that is not behind byte `limit`.
    pub(super) fn walk_below(
        &mut self,
        begin: Boundary,
        upto: Offset,
        limit: u64,
    ) -> Result<Boundary, WalkError> {
        let from = self.land(LandingTarget::Position(limit), Some(begin))?;
        self.walk.find(from, upto, |frame, place| place.position + frame.len > limit)
    }

    /// A place at or before `target`, and after `floor` when that is nearer; the walk to the target
    /// starts there.
    pub(super) fn land(
        &mut self,
        target: LandingTarget,
        floor: Option<Boundary>,
    ) -> Result<Boundary, WalkError> {
        let landing = self.landing(target, IndexSource::Nearest)?;
        if let Some(floor) = floor.filter(|floor| floor.position >= landing.place.position) {
            return Ok(floor);
        }
        let Some(timestamp) = landing.confirm else { return Ok(landing.place) };
        match self.walk.frame(landing.place) {
            Ok(frame) if frame.timestamp == timestamp => return Ok(landing.place),
            Ok(_) | Err(WalkError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        // The entry or the log is wrong; entries made from the log tell which. Taken for damage at once, an index
        // file that was not written whole would fence sound messages.
        Ok(self.landing(target, IndexSource::Log)?.place)
    }

    fn landing(&self, target: LandingTarget, source: IndexSource) -> Result<Landing, WalkError> {
        let base = self.view.base;
        let start = Boundary { offset: base, position: 0 };
        let mut resume = None;
        let mut described = self.view.end;
        {
            let state = self.state.read();
            if !state.fences().is_empty() {
                // Else the walk to what lies behind a fence would lead through it, and end there.
                resume = state.resume(base, |place| target.starts_at(place));
            }
            if let Some(active) = state.active_at(base) {
                // Entries that this process made of what it wrote: nothing is to be confirmed.
                if let Some(entry) = target.search(base, active.live()) {
                    let place = later(entry.place(base), resume);
                    return Ok(Landing { place, confirm: None });
                }
                // What is before was written by another process, or taken back since: its entries are in the file, if
                // anywhere.
                described = active.live_from();
            }
        }
        if described.position == 0 {
            return Ok(Landing { place: later(start, resume), confirm: None });
        }
        let cached = self.index(described, source)?;
        let entry = target.search(base, &cached.index);
        let place = entry.map_or(start, |entry| entry.place(base));
        let known = cached.trusted
            || entry.is_none()
            || resume.is_some_and(|at| at.position >= place.position);
        let confirm = entry.filter(|_| !known).map(|entry| entry.timestamp);
        Ok(Landing { place: later(place, resume), confirm })
    }

    /// The index of the segment up to `end`.
    fn index(&self, end: Boundary, source: IndexSource) -> Result<Arc<CachedIndex>, WalkError> {
        let base = self.view.base;
        let options = &self.files.options;
        let key = self.files.index_key(base, end.position);
        if let Some(cached) = options.indexes.get(&key)
            && (cached.trusted || source == IndexSource::Nearest)
        {
            return Ok(cached);
        }
        // Before any file is touched: whoever asked serves connections, and must not wait for the disk.
        if self.walk.effort() == Effort::Cache {
            return Err(WalkError::cold());
        }
        let span = IndexSpan { base, end, interval_bytes: options.index_interval_bytes };
        let path = self.files.index_path(base);
        let disk = &*self.files.disk;
        let slots = match source {
            IndexSource::Nearest => rebuild::load(disk, &path, span),
            IndexSource::Log => Vec::new(),
        };
        // Made from the log alone, by this process: nothing of it is to be confirmed (INV-INDEX).
        let trusted = slots.is_empty();
        let whole = !trusted && slots.iter().all(Option::is_some);
        let loaded = slots.len();
        let index = rebuild::complete(self.file, span, slots)?;
        let grown = index.entries().len() > loaded;
        // Spares the next process the work. The active segment's file belongs to the writer: two that write it would
        // put their entries in the same slots.
        let is_to_store = (grown || !whole) && self.state.read().is_sealed(base, end);
        if is_to_store && let Err(error) = rebuild::store(disk, &path, span, &index) {
            tell!(warn, self.files, path = %path.display(), %error, "index file not rewritten");
        }
        Ok(options.indexes.insert(key, CachedIndex { index, trusted }))
    }
}

fn later(place: Boundary, resume: Option<Boundary>) -> Boundary {
    resume.filter(|resume| resume.position > place.position).unwrap_or(place)
}
