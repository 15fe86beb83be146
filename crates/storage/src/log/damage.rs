//! What happens when messages turn out to be damaged: they are fenced, the rest stays readable.
//!
//! INV-RESUME: reading goes on after a fence only at a place from which the messages chain exactly
//! into the next place known from the index, or into the end of the segment.

use super::landing::LandingTarget;
use super::name::tell;
use super::reader::{LogReader, ReadError};
use super::state::{Fence, SegmentView};
use crate::disk::DiskFile;
use crate::index::rebuild::{self, IndexSpan};
use crate::index::{Index, IndexEntry};
use crate::segment::Boundary;
use crate::segment::reader::{SegmentWalk, WalkError, after};
use crate::segment::recovery::{accept, chains_into, next_valid};
use galgo_wire::id::{Offset, Timestamp};
use std::io;
use std::sync::atomic::Ordering;

/// Most fences of one log; with more damage than that, a fence goes to the end of its segment.
const FENCES_MAX: usize = 1_024;

impl LogReader {
    /// What a failed walk means: damage is fenced and returned as the `Ok` value, for another try.
    pub(super) fn walk_failed(
        &self,
        view: SegmentView,
        error: WalkError,
    ) -> Result<ReadError, ReadError> {
        let base = view.base;
        match error {
            WalkError::Damaged(place) if self.state.read().is_kept(base) => {
                Ok(self.damaged(base, place))
            }
            WalkError::Disk(source) if source.kind() == io::ErrorKind::NotFound => {
                if !self.state.read().is_kept(base) {
                    return Err(ReadError::Gone { base });
                }
                Ok(self.fence(Fence { base, from: base, to: view.end.offset, resume: None }))
            }
            WalkError::Damaged(_) => Err(ReadError::Gone { base }),
            WalkError::Disk(source) => Err(ReadError::Disk { base, source }),
        }
    }

    /// Fences the damage that was come upon at `seen`.
    pub(super) fn damaged(&self, base: Offset, seen: Boundary) -> ReadError {
        let view = self.state.read().view_at(seen.offset).filter(|view| view.base == base);
        let Some(view) = view else { return ReadError::Gone { base } };
        let found = self.open(base).and_then(|file| {
            let bad = self.first_bad(&*file, view, seen)?;
            Ok((bad, self.resume_after(&*file, view, bad)?))
        });
        let (bad, resume) = match found {
            Ok(found) => found,
            Err(error) => {
                tell!(warn, self, base = base.get(), %error, "segment not searched for good messages");
                (seen, None)
            }
        };
        let crowded = self.state.read().fences.len() >= FENCES_MAX;
        let resume = resume.filter(|_| !crowded);
        let to = resume.map_or(view.end.offset, |place| place.offset);
        let resume = resume.map(|place| place.position);
        self.fence(Fence { base, from: bad.offset, to, resume })
    }

    /// Adds a fence, and tells.
    pub(super) fn fence(&self, fence: Fence) -> ReadError {
        tell!(
            error,
            self,
            dir = %self.options.dir.display(),
            segment = fence.base.get(),
            from = fence.from.get(),
            to = fence.to.get(),
            "damaged messages fenced"
        );
        self.state.write().fence(fence);
        self.damaged_ranges.fetch_add(1, Ordering::Relaxed);
        ReadError::Damaged { from: fence.from, to: fence.to }
    }

    /// The first bad message at or before `seen`: a wrong length shows only at the message after it.
    fn first_bad(
        &self,
        file: &dyn DiskFile,
        view: SegmentView,
        seen: Boundary,
    ) -> io::Result<Boundary> {
        if seen.offset <= view.base {
            return Ok(seen);
        }
        let before = LandingTarget::Offset(Offset::new(seen.offset.get() - 1));
        let mut walk = SegmentWalk::new(file, view.end.position, 0);
        let from = match self.land(view, &mut walk, before, None) {
            Ok(from) => from,
            Err(WalkError::Damaged(place)) => return Ok(place),
            Err(WalkError::Disk(error)) => return Err(error),
        };
        // What is behind a known fence was reached from its end, not through the damage.
        let resume = self.state.read().resume(view.base, |place| place.offset <= seen.offset);
        let from = resume.filter(|resume| resume.position > from.position).unwrap_or(from);
        let range = (from, view.end.position);
        let bad = accept(file, range, seen.offset.plus(1), Timestamp::ZERO, |_, _| {})?;
        Ok(if bad.offset > seen.offset { seen } else { bad })
    }

    /// The first good place behind damage (INV-RESUME).
    fn resume_after(
        &self,
        file: &dyn DiskFile,
        view: SegmentView,
        bad: Boundary,
    ) -> io::Result<Option<Boundary>> {
        let anchor = self.anchor_after(file, view, bad)?;
        let into = anchor.unwrap_or(view.end);
        // Most often the header is right and only the message behind it is not.
        if let Ok(frame) = SegmentWalk::new(file, view.end.position, 0).frame(bad) {
            let next = after(bad, &frame);
            if next == into || chains_into(file, next, into)? {
                return Ok(Some(next).filter(|next| next.offset < view.end.offset));
            }
        }
        let offsets = Offset::new(bad.offset.get().saturating_add(1))..into.offset;
        let mut from = bad.position + 1;
        while let Some(found) = next_valid(file, (from, into.position), offsets.clone())? {
            if chains_into(file, found, into)? {
                return Ok(Some(found));
            }
            from = found.position + 1;
        }
        Ok(anchor)
    }

    /// The first place behind `bad` that the index knows and the log confirms.
    fn anchor_after(
        &self,
        file: &dyn DiskFile,
        view: SegmentView,
        bad: Boundary,
    ) -> io::Result<Option<Boundary>> {
        let mut walk = SegmentWalk::new(file, view.end.position, 0);
        for entry in self.entries_after(file, view, bad)? {
            let place = entry.place(view.base);
            match walk.frame(place) {
                Ok(frame) if frame.timestamp == entry.timestamp => return Ok(Some(place)),
                Ok(_) | Err(WalkError::Damaged(_)) => {}
                Err(WalkError::Disk(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Entries of the index behind `bad`, not confirmed.
    fn entries_after(
        &self,
        file: &dyn DiskFile,
        view: SegmentView,
        bad: Boundary,
    ) -> io::Result<Vec<IndexEntry>> {
        let behind = |entry: &&IndexEntry| {
            let place = entry.place(view.base);
            place.position > bad.position && place.offset > bad.offset
        };
        let mut live: Vec<IndexEntry> = Vec::new();
        let mut end = view.end;
        {
            let state = self.state.read();
            if let Some(active) = state.active.as_ref().filter(|active| active.base == view.base) {
                live.extend(active.live.entries().iter().filter(behind));
                end = active.live_from;
            }
        }
        if end.position <= bad.position {
            return Ok(live);
        }
        // Straight from the file, whatever is in memory: entries made from a damaged log may be
        // missing just the part that is wanted.
        let interval_bytes = self.options.index_interval_bytes;
        let span = IndexSpan { base: view.base, end, interval_bytes };
        let slots = rebuild::load(&*self.disk, &self.index_path(view.base), span);
        let index = if slots.is_empty() {
            rebuild::complete(file, span, slots)?
        } else {
            Index::from_sorted(slots.into_iter().flatten().collect())
        };
        let mut entries: Vec<IndexEntry> = index.entries().iter().filter(behind).copied().collect();
        entries.append(&mut live);
        Ok(entries)
    }
}
