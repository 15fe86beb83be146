//! What the writer and the readers of a log share.
//!
//! The lock around this state is never held across a system call.
//! Part of INV-CONTIGUOUS: each segment starts where the one before ends; the active one is the last.
//!
//! Times do not decrease in a segment. From one to the next they may, where the clock was ahead and was
//! set right; then segments are not searched by time as if they were ordered.

use crate::checkpoint::SealedSegment;
use crate::file_cache::FileHandle;
use crate::index::Index;
use crate::segment::verified::VerifiedRanges;
use crate::segment::{Boundary, CHECKSUM_UNKNOWN};
use galgo_wire::id::{Offset, Timestamp};

/// Segments, fences and bounds of a log.
#[derive(Default)]
pub(super) struct LogState {
    /// Oldest offset that may be read.
    pub(super) start: Offset,
    /// Offset of the next message.
    pub(super) end: Offset,
    /// Segments that never change again, oldest first.
    pub(super) sealed: Vec<Sealed>,
    /// The segment being written.
    pub(super) active: Option<ActiveView>,
    /// Ranges that fail their checks, in no order; almost always none.
    pub(super) fences: Vec<Fence>,
    /// The log is being removed: it reads as empty.
    pub(super) retired: bool,
    /// Whether times start over somewhere, so that segments are not ordered by time.
    pub(super) starts_over: bool,
}

/// A sealed segment.
pub(super) struct Sealed {
    pub(super) known: SealedSegment,
    /// The time at which the segment was first seen to be ahead of the clock.
    pub(super) seen_ahead: Option<Timestamp>,
    pub(super) verified: VerifiedRanges,
}

/// The segment being written, as readers see it.
pub(super) struct ActiveView {
    pub(super) base: Offset,
    /// The time of its first message, when it is known; see [`LogReader::written_since`].
    ///
    /// [`LogReader::written_since`]: super::LogReader::written_since
    pub(super) since: Option<Timestamp>,
    pub(super) handle: FileHandle,
    /// The place after the last message written.
    pub(super) end: Boundary,
    pub(super) last_timestamp: Timestamp,
    pub(super) verified: VerifiedRanges,
    /// Where `live` begins; what is before is in the index file.
    pub(super) live_from: Boundary,
    /// Entries made by this process.
    pub(super) live: Index,
}

/// A segment at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentView {
    pub(super) base: Offset,
    /// The place after its last message.
    pub(super) end: Boundary,
}

/// Messages that fail their checks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fence {
    /// The segment they are in.
    pub(super) base: Offset,
    /// First bad message.
    pub(super) from: Offset,
    /// First good message after it, or the end of the segment.
    pub(super) to: Offset,
    /// Where `to` starts, when it is in the segment.
    pub(super) resume: Option<u64>,
}

impl LogState {
    /// The segment that holds `offset`.
    pub(super) fn view_at(&self, offset: Offset) -> Option<SegmentView> {
        let at = self.sealed.partition_point(|sealed| sealed.known.end <= offset);
        match self.sealed.get(at) {
            Some(sealed) => Some(sealed.view()).filter(|view| view.base <= offset),
            None => self
                .active
                .as_ref()
                .map(ActiveView::view)
                .filter(|view| view.base <= offset && offset < view.end.offset),
        }
    }

    /// The first segment with a message of this time or later. Segments whose times are ahead of the end
    /// of the log do not count: the clock was, and has been set right.
    pub(super) fn view_at_time(&self, timestamp: Timestamp) -> Option<SegmentView> {
        let at = if self.starts_over {
            let newest = self.newest_time();
            let holds = |sealed: &Sealed| {
                let last = sealed.known.last_timestamp;
                timestamp <= last && last <= newest
            };
            self.sealed.iter().position(holds).unwrap_or(self.sealed.len())
        } else {
            self.sealed.partition_point(|sealed| sealed.known.last_timestamp < timestamp)
        };
        match self.sealed.get(at) {
            Some(sealed) => Some(sealed.view()),
            None => {
                let active = self.active.as_ref();
                active.filter(|active| active.last_timestamp >= timestamp).map(ActiveView::view)
            }
        }
    }

    /// The first of the segments right before `base` whose last messages are ahead of the end of the log:
    /// those were stored before the first message at `base`, and nothing tells how long.
    pub(super) fn ahead_before(&self, base: Offset) -> Option<SegmentView> {
        if !self.starts_over {
            return None;
        }
        let newest = self.newest_time();
        let before = self.sealed.iter().rev().skip_while(|sealed| sealed.known.end > base);
        let ahead = before.take_while(|sealed| sealed.known.last_timestamp > newest);
        ahead.last().map(Sealed::view)
    }

    /// The time of the last message.
    pub(super) fn newest_time(&self) -> Timestamp {
        let sealed = || self.sealed.last().map(|sealed| sealed.known.last_timestamp);
        let active = self.active.as_ref().filter(|active| active.end.offset > active.base);
        active.map(|active| active.last_timestamp).or_else(sealed).unwrap_or(Timestamp::ZERO)
    }

    /// Looks whether times start over somewhere.
    pub(super) fn find_starts_over(&mut self) {
        let sealed = self.sealed.iter().map(|sealed| sealed.known.last_timestamp);
        let times: Vec<Timestamp> = sealed.chain([self.newest_time()]).collect();
        self.starts_over = !times.is_sorted();
    }

    /// Whether a segment starts at `base` and its file is to be there.
    pub(super) fn is_kept(&self, base: Offset) -> bool {
        !self.retired && self.has_segment(base)
    }

    /// Whether a segment starts at `base`.
    pub(super) fn has_segment(&self, base: Offset) -> bool {
        self.active.as_ref().is_some_and(|active| active.base == base)
            || self.sealed.binary_search_by_key(&base, |sealed| sealed.known.base).is_ok()
    }

    /// The verified ranges of the segment that starts at `base`.
    pub(super) fn verified_mut(&mut self, base: Offset) -> Option<&mut VerifiedRanges> {
        let is_active = self.active.as_ref().is_some_and(|active| active.base == base);
        if is_active {
            return self.active.as_mut().map(|active| &mut active.verified);
        }
        let at = self.sealed.binary_search_by_key(&base, |sealed| sealed.known.base).ok()?;
        self.sealed.get_mut(at).map(|sealed| &mut sealed.verified)
    }

    /// Whether the segment that starts at `base` is known to hold all messages up to its end; of one with
    /// damage in it only the offsets are known.
    pub(super) fn ends_for_certain(&self, base: Offset) -> bool {
        let at = self.sealed.binary_search_by_key(&base, |sealed| sealed.known.base);
        let sealed = at.ok().and_then(|at| self.sealed.get(at));
        sealed.is_none_or(|sealed| sealed.known.checksum != CHECKSUM_UNKNOWN)
    }

    /// Whether all of `range` in that segment is verified.
    pub(super) fn is_verified(&self, base: Offset, range: &std::ops::Range<u64>) -> bool {
        let verified = match &self.active {
            Some(active) if active.base == base => Some(&active.verified),
            _ => {
                let at = self.sealed.binary_search_by_key(&base, |sealed| sealed.known.base);
                at.ok().and_then(|at| self.sealed.get(at)).map(|sealed| &sealed.verified)
            }
        };
        verified.is_some_and(|verified| verified.contains(range))
    }

    /// The fence around `offset`.
    pub(super) fn fence_around(&self, offset: Offset) -> Option<Fence> {
        self.fences.iter().find(|fence| fence.from <= offset && offset < fence.to).copied()
    }

    /// The first fence that starts at or after `offset`.
    pub(super) fn fence_from(&self, offset: Offset) -> Option<Fence> {
        let after = self.fences.iter().filter(|fence| fence.from >= offset);
        after.min_by_key(|fence| fence.from).copied()
    }

    /// Bytes of the segments from the one that holds `offset` on.
    pub(super) fn bytes_from(&self, offset: Offset) -> u64 {
        let at = self.sealed.partition_point(|sealed| sealed.known.end <= offset);
        let sealed: u64 = self.sealed.iter().skip(at).map(|sealed| sealed.known.bytes).sum();
        sealed + self.active.as_ref().map_or(0, |active| active.end.position)
    }

    /// The newest messages of a range that no fence parts. Where the range begins in the fence that ends
    /// it, there are none, and it stays as it is.
    pub(super) fn newest_run(&self, from: Offset, upto: Offset) -> (Offset, Offset) {
        let mut upto = upto;
        while let Some(fence) =
            self.fences.iter().find(|fence| fence.from < upto && upto <= fence.to)
        {
            if fence.from <= from {
                return (from, upto);
            }
            upto = fence.from;
        }
        let parting = self.fences.iter().filter(|fence| fence.from < upto && fence.to > from);
        (parting.map(|fence| fence.to).fold(from, Offset::max), upto)
    }

    /// The last place in a segment where reading goes on after a fence, if `fits`.
    pub(super) fn resume(&self, base: Offset, fits: impl Fn(Boundary) -> bool) -> Option<Boundary> {
        let resumes = self.fences.iter().filter(|fence| fence.base == base).filter_map(|fence| {
            fence.resume.map(|position| Boundary { offset: fence.to, position })
        });
        resumes.filter(|place| fits(*place)).max_by_key(|place| place.position)
    }

    /// Adds a fence, in place of those it covers.
    pub(super) fn fence(&mut self, fence: Fence) {
        self.fences.retain(|known| known.from < fence.from || known.to > fence.to);
        self.fences.push(fence);
    }
}

impl Sealed {
    pub(super) fn view(&self) -> SegmentView {
        let end = Boundary { offset: self.known.end, position: self.known.bytes };
        SegmentView { base: self.known.base, end }
    }
}

impl ActiveView {
    pub(super) fn view(&self) -> SegmentView {
        SegmentView { base: self.base, end: self.end }
    }
}
