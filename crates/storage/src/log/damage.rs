//! What happens when messages turn out to be damaged: they are fenced, the rest stays readable.
//!
//! INV-RESUME: reading goes on after a fence only at a place from which the messages chain exactly
//! into the next place known from the index, or into the end of the segment.

use super::reader::LogReader;
use super::search::{LandingTarget, SegmentSearch};
use super::state::{Fence, SegmentView};
use crate::disk::DiskFile;
use crate::index::rebuild::{self, IndexSpan};
use crate::index::{Index, IndexEntry};
use crate::segment::Boundary;
use crate::segment::reader::{Effort, SegmentWalk, WalkError, after};
use crate::segment::recovery::SegmentBytes;
use galgo_wire::id::{Offset, Timestamp};
use std::io;

/// A segment in which damage was come upon.
pub(super) struct DamagedSegment<'a> {
    log: &'a LogReader,
    view: SegmentView,
    file: &'a dyn DiskFile,
}

impl<'a> DamagedSegment<'a> {
    pub(super) fn new(log: &'a LogReader, view: SegmentView, file: &'a dyn DiskFile) -> Self {
        Self { log, view, file }
    }

    /// What is to be fenced where damage was come upon at `seen`.
    pub(super) fn fence_at(&self, seen: Boundary) -> io::Result<Fence> {
        let bad = self.first_bad(seen)?;
        let resume = self.resume_after(bad)?;
        Ok(Fence::within(self.view, bad.offset, resume))
    }

    /// The first bad message at or before `seen`: a wrong length shows only at the message after it.
    fn first_bad(&self, seen: Boundary) -> io::Result<Boundary> {
        let view = self.view;
        if seen.offset <= view.base {
            return Ok(seen);
        }
        let before = LandingTarget::Offset(Offset::new(seen.offset.get() - 1));
        let search = SegmentSearch::new(self.log, view, self.file, Effort::Disk);
        // Header by header: a larger piece may lie on a bad place of the disk that is none of the messages before.
        let from = match search.reading(0).land(before, None) {
            Ok(from) => from,
            Err(WalkError::Damaged(place)) => return Ok(place),
            Err(WalkError::Disk(error)) => return Err(error),
        };
        // What is behind a known fence was reached from its end, not through the damage.
        let resume = self.log.state.read().resume(view.base, |place| place.offset <= seen.offset);
        let from = resume.filter(|resume| resume.position > from.position).unwrap_or(from);
        let bytes = SegmentBytes::new(self.file, view.end.position);
        let bad = bytes.accept(from, seen.offset.plus(1), Timestamp::ZERO, |_, _| {})?;
        Ok(if bad.offset > seen.offset { seen } else { bad })
    }

    /// The first good place behind damage (INV-RESUME).
    fn resume_after(&self, bad: Boundary) -> io::Result<Option<Boundary>> {
        let (file, view) = (self.file, self.view);
        let anchor = self.anchor_after(bad)?;
        let into = anchor.unwrap_or(view.end);
        // Most often the header is right and only the message behind it is not.
        if let Ok(frame) = SegmentWalk::new(file, view.end.position, 0).frame(bad) {
            let next = after(bad, &frame);
            if next == into || SegmentBytes::chains_into(file, next, into)? {
                return Ok(Some(next).filter(|next| next.offset < view.end.offset));
            }
        }
        let offsets = Offset::new(bad.offset.get().saturating_add(1))..into.offset;
        let mut from = bad.position + 1;
        let bytes = SegmentBytes::new(file, into.position);
        // A whole message is not enough: it may lie in the payload of the damaged one, and others with it.
        while let Some(found) = bytes.next_valid(from, offsets.clone())? {
            if SegmentBytes::chains_into(file, found, into)? {
                return Ok(Some(found));
            }
            from = found.position + 1;
        }
        Ok(anchor)
    }

    /// The first place behind `bad` that the index knows and the log confirms.
    fn anchor_after(&self, bad: Boundary) -> io::Result<Option<Boundary>> {
        let mut walk = SegmentWalk::new(self.file, self.view.end.position, 0);
        for entry in self.entries_after(bad)? {
            let place = entry.place(self.view.base);
            match walk.frame(place) {
                Ok(frame) if frame.timestamp == entry.timestamp => return Ok(Some(place)),
                // The entry is wrong, or damage reaches as far as here: the next one may be good.
                Ok(_) | Err(WalkError::Damaged(_)) => {}
                Err(WalkError::Disk(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Entries of the index behind `bad`, not confirmed.
    fn entries_after(&self, bad: Boundary) -> io::Result<Vec<IndexEntry>> {
        let view = self.view;
        let behind = |entry: &&IndexEntry| {
            let place = entry.place(view.base);
            place.position > bad.position && place.offset > bad.offset
        };
        let mut live: Vec<IndexEntry> = Vec::new();
        let mut end = view.end;
        {
            let state = self.log.state.read();
            if let Some(active) = state.active_at(view.base) {
                live.extend(active.live().entries().iter().filter(behind));
                end = active.live_from();
            }
        }
        if end.position <= bad.position {
            return Ok(live);
        }
        // Straight from the file, whatever is in memory: entries made from a damaged log may be
        // missing just the part that is wanted.
        let files = &self.log.files;
        let interval_bytes = files.options.index_interval_bytes;
        let span = IndexSpan { base: view.base, end, interval_bytes };
        let slots = rebuild::load(&*files.disk, &files.index_path(view.base), span);
        let index = if slots.is_empty() {
            rebuild::complete(self.file, span, slots)?
        } else {
            Index::from_sorted(slots.into_iter().flatten().collect())
        };
        let mut entries: Vec<IndexEntry> = index.entries().iter().filter(behind).copied().collect();
        entries.append(&mut live);
        Ok(entries)
    }
}
