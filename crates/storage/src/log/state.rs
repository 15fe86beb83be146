//! What the writer and the readers of a log share.
//!
//! The lock around this state is never held across a system call.
//! Part of INV-CONTIGUOUS: each segment starts where the one before ends; the active one is the last. Whatever
//! changes the segments is a method here, and says so before it changes anything.
//!
//! Times do not decrease in a segment. From one to the next they may, where the clock was ahead and was
//! set right; then segments are not searched by time as if they were ordered.

use crate::checkpoint::SealedSegment;
use crate::file_cache::FileHandle;
use crate::index::IndexEntry;
use crate::lock::{RankedRw, rank};
use crate::segment::verified::VerifiedRanges;
use crate::segment::writer::Tip;
use crate::segment::{Boundary, CHECKSUM_UNKNOWN};
use galgo_wire::id::{Offset, Timestamp};
use std::ops::Range;

mod retained;
mod segments;

pub use retained::OldestSealed;
pub(super) use retained::is_ahead;
pub(super) use segments::{ActiveView, Fence, LiveIndex, Sealed, SegmentView};

/// The state with its lock.
pub(super) type SharedState = RankedRw<{ rank::LOG_STATE }, LogState>;

/// Segments, fences and bounds of a log.
#[derive(Default)]
pub(super) struct LogState {
    /// Oldest offset that may be read.
    start: Offset,
    /// Offset of the next message.
    end: Offset,
    /// Segments that never change again, oldest first.
    sealed: Vec<Sealed>,
    /// The segment being written.
    active: Option<ActiveView>,
    /// Ranges that fail their checks, in no order; almost always none.
    fences: Vec<Fence>,
    /// The log is being removed: it reads as empty.
    retired: bool,
    /// Whether times start over somewhere, so that segments are not ordered by time.
    starts_over: bool,
}

impl LogState {
    /// What a recovery has put together.
    pub(super) fn recovered(
        bounds: Range<Offset>,
        sealed: Vec<Sealed>,
        active: Option<ActiveView>,
        fences: Vec<Fence>,
    ) -> Self {
        let (start, end) = (bounds.start, bounds.end);
        let mut state = Self { start, end, sealed, active, fences, ..Self::default() };
        // Looked at once, over all of them: while the log is open only `start_over` brings it about.
        state.starts_over = !state.times_rise();
        state
    }

    /// The state of a log of which is known that it has these offsets, and nothing else.
    pub(super) fn offline(known: Range<Offset>) -> Self {
        let (start, end) = (known.start, known.end.max(known.start));
        let mut state = Self { start, end, ..Self::default() };
        if start < end {
            // All of it is damaged to whoever reads: an answer without messages would be taken for the end.
            state.fences.push(Fence { base: start, from: start, to: end, resume: None });
            state.sealed.push(Sealed::without_bytes(known, Timestamp::ZERO));
        }
        state
    }

    /// Begins a segment at the end of the log.
    pub(super) fn begin(&mut self, active: ActiveView) {
        assert!(self.active.is_none(), "INV-CONTIGUOUS: one segment is written at a time");
        assert!(active.base == self.end, "INV-CONTIGUOUS: a segment begins where the log ends");
        self.active = Some(active);
    }

    /// Takes in what was written behind the end of the segment that is written: up to `tip`, with these entries.
    /// Returns how many entries this process has made of the segment.
    pub(super) fn grow(&mut self, tip: Tip, entries: &mut Vec<IndexEntry>) -> usize {
        let Some(active) = &mut self.active else {
            unreachable!("INV-CONTIGUOUS: what was written is in the active segment")
        };
        assert!(tip.end > self.end, "INV-END: an append moves the end of the log on");
        let before = active.end.position;
        if before == 0 {
            // All messages of a batch have one time.
            active.since = Some(tip.last_timestamp);
        }
        self.end = tip.end;
        active.end = tip.place();
        active.last_timestamp = tip.last_timestamp;
        active.verified.insert(before..tip.bytes);
        for entry in entries.drain(..) {
            active.live.push(entry);
        }
        active.live.entries().len()
    }

    /// Seals the segment that is written, as `known`; returns the entries made of it.
    pub(super) fn seal(&mut self, known: SealedSegment) -> LiveIndex {
        let Some(active) = self.active.take() else {
            unreachable!("INV-CONTIGUOUS: what is sealed is the active segment")
        };
        let follows = self.sealed.last().is_none_or(|last| last.known.end == active.base);
        assert!(follows, "INV-CONTIGUOUS: a segment starts where the one before ends");
        assert!(
            known.base == active.base
                && known.end == self.end
                && known.bytes == active.end.position,
            "INV-CONTIGUOUS: a segment is sealed where the log ends"
        );
        // What was checked of it stays checked: it is the same file.
        self.sealed.push(Sealed::verified(known, active.verified));
        LiveIndex { from: active.live_from, index: active.live }
    }

    /// Opens the newest sealed segment for writing again, through the handle that `open` gives for it; `None`
    /// where there is none. Under one lock: a reader finds the segment sealed or active, never missing.
    pub(super) fn unseal(
        &mut self,
        open: impl FnOnce(Offset) -> FileHandle,
    ) -> Option<(Tip, FileHandle)> {
        assert!(self.active.is_none(), "INV-CONTIGUOUS: one segment is written at a time");
        let Sealed { known, verified, .. } = self.sealed.pop()?;
        let tip = Tip {
            base: known.base,
            bytes: known.bytes,
            end: known.end,
            last_timestamp: known.last_timestamp,
            checksum: Some(known.checksum).filter(|checksum| *checksum != CHECKSUM_UNKNOWN),
        };
        let handle = open(known.base);
        let active = ActiveView::new(tip, handle.clone());
        self.active = Some(ActiveView { verified, ..active });
        Some((tip, handle))
    }

    /// Takes the segment that is written out of the log: the log ends where it began.
    pub(super) fn drop_newest(&mut self, base: Offset) {
        let dropped = self.active.take();
        assert!(
            dropped.is_none_or(|active| active.base == base),
            "INV-CONTIGUOUS: the newest segment is the active one"
        );
        self.end = base;
        self.fences.retain(|fence| fence.base != base);
    }

    /// Takes back the messages behind `tip`, which is in the segment that is written.
    pub(super) fn cut_back(&mut self, tip: Tip) {
        self.end = tip.end;
        // Before the file is cut: whoever is told of these messages from here on would be told of a fence that is
        // none, as the next messages get their offsets.
        self.fences.retain(|fence| fence.from < tip.end);
        if let Some(active) = &mut self.active {
            active.cut_back(tip);
        }
    }

    /// Notes that the next message may be earlier than the last; where nothing was written to the active segment
    /// yet, that is the one which begins at `now`.
    pub(super) fn start_over(&mut self, now: Timestamp) {
        if let Some(active) = self.active.as_mut().filter(|active| active.end.position == 0) {
            active.last_timestamp = now;
        }
        self.starts_over = true;
    }

    /// Has the segment that is written read through another handle: its file was replaced.
    pub(super) fn reopen(&mut self, base: Offset, handle: FileHandle) {
        if let Some(active) = self.active.as_mut().filter(|active| active.base == base) {
            active.handle = handle;
        }
    }

    /// Takes the place of one that only stood in for it; what readers were told of a removal stays.
    pub(super) fn come_online(&mut self, recovered: Self) {
        // Whoever removes the log may have said so while it was offline.
        *self = Self { retired: self.retired, ..recovered };
    }

    /// Oldest offset that may be read.
    pub(super) fn start(&self) -> Offset {
        self.start
    }

    /// Offset of the next message.
    pub(super) fn end(&self) -> Offset {
        self.end
    }

    /// The sealed segments, oldest first.
    pub(super) fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    /// The segment that is written.
    pub(super) fn active(&self) -> Option<&ActiveView> {
        self.active.as_ref()
    }

    /// The segment that is written, when it starts at `base`.
    pub(super) fn active_at(&self, base: Offset) -> Option<&ActiveView> {
        self.active.as_ref().filter(|active| active.base == base)
    }

    /// What is known to be damaged.
    pub(super) fn fences(&self) -> &[Fence] {
        &self.fences
    }

    /// The sealed segment that starts at `base`.
    fn sealed_at(&self, base: Offset) -> Option<&Sealed> {
        let at = self.sealed.binary_search_by_key(&base, |sealed| sealed.known.base);
        at.ok().and_then(|at| self.sealed.get(at))
    }

    /// Whether a segment is sealed, with this end.
    pub(super) fn is_sealed(&self, base: Offset, end: Boundary) -> bool {
        self.sealed_at(base).is_some_and(|sealed| sealed.view().end == end)
    }

    /// Timestamp of the last message before the segment at `base`.
    pub(super) fn last_timestamp_before(&self, base: Offset) -> Timestamp {
        let before = self.sealed.iter().rev().find(|sealed| sealed.known.end <= base);
        before.map_or(Timestamp::ZERO, |sealed| sealed.known.last_timestamp)
    }

    /// The segment that holds `offset`.
    pub(super) fn view_at(&self, offset: Offset) -> Option<SegmentView> {
        // By ends, so that of segments without a message none is found.
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
            // One by one: times that start over are in no order that could be halved.
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

    /// Whether segments are ordered by time.
    fn times_rise(&self) -> bool {
        let sealed = self.sealed.iter().map(|sealed| sealed.known.last_timestamp);
        sealed.chain([self.newest_time()]).is_sorted()
    }

    /// Whether a segment starts at `base` and its file is to be there.
    pub(super) fn is_kept(&self, base: Offset) -> bool {
        !self.retired && self.has_segment(base)
    }

    /// Whether a segment starts at `base`.
    pub(super) fn has_segment(&self, base: Offset) -> bool {
        self.active_at(base).is_some() || self.sealed_at(base).is_some()
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
        self.sealed_at(base).is_none_or(|sealed| sealed.known.checksum != CHECKSUM_UNKNOWN)
    }

    /// Whether all of `range` in that segment is verified.
    pub(super) fn is_verified(&self, base: Offset, range: &Range<u64>) -> bool {
        let verified = match self.active_at(base) {
            Some(active) => Some(&active.verified),
            None => self.sealed_at(base).map(|sealed| &sealed.verified),
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
    pub(super) fn newest_run(
        &self,
        Range { start: from, end: mut upto }: Range<Offset>,
    ) -> Range<Offset> {
        while let Some(fence) =
            self.fences.iter().find(|fence| fence.from < upto && upto <= fence.to)
        {
            if fence.from <= from {
                return from..upto;
            }
            upto = fence.from;
        }
        let parting = self.fences.iter().filter(|fence| fence.from < upto && fence.to > from);
        parting.map(|fence| fence.to).fold(from, Offset::max)..upto
    }

    /// The last place in a segment where reading goes on after a fence, if `fits`.
    pub(super) fn resume(&self, base: Offset, fits: impl Fn(Boundary) -> bool) -> Option<Boundary> {
        let resumes = self.fences.iter().filter(|fence| fence.base == base).filter_map(|fence| {
            fence.resume.map(|position| Boundary { offset: fence.to, position })
        });
        // The last that fits: from one further back the walk would lead into the next fence.
        resumes.filter(|place| fits(*place)).max_by_key(|place| place.position)
    }

    /// Adds a fence, in place of those it covers.
    pub(super) fn fence(&mut self, fence: Fence) {
        assert!(fence.from < fence.to, "INV-DAMAGED: a fence has a message in it");
        // Those inside of it are told by it; many readers may come upon the same damage at once.
        self.fences.retain(|known| known.from < fence.from || known.to > fence.to);
        self.fences.push(fence);
    }
}
