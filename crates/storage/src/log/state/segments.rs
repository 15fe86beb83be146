//! The segments of a log as its state has them.

use crate::checkpoint::SealedSegment;
use crate::file_cache::FileHandle;
use crate::index::Index;
use crate::segment::verified::VerifiedRanges;
use crate::segment::writer::Tip;
use crate::segment::{Boundary, CHECKSUM_UNKNOWN};
use galgo_wire::id::{Offset, Timestamp};
use std::ops::Range;

/// A sealed segment.
pub(in crate::log) struct Sealed {
    pub(in crate::log) known: SealedSegment,
    /// The time at which the segment was first seen to be ahead of the clock.
    pub(super) seen_ahead: Option<Timestamp>,
    pub(super) verified: VerifiedRanges,
}

/// The segment being written, as readers see it.
pub(in crate::log) struct ActiveView {
    pub(super) base: Offset,
    /// The time of its first message, when it is known; see [`LogReader::written_since`].
    ///
    /// [`LogReader::written_since`]: crate::log::LogReader::written_since
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

/// The index entries of a segment that this process made from its messages.
pub(in crate::log) struct LiveIndex {
    /// Where they begin; what is before is in the index file.
    pub(in crate::log) from: Boundary,
    /// The entries.
    pub(in crate::log) index: Index,
}

/// A segment at one moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::log) struct SegmentView {
    pub(in crate::log) base: Offset,
    /// The place after its last message.
    pub(in crate::log) end: Boundary,
}

/// Messages that fail their checks.
#[derive(Debug, Clone, Copy)]
pub(in crate::log) struct Fence {
    /// The segment they are in.
    pub(in crate::log) base: Offset,
    /// First bad message.
    pub(in crate::log) from: Offset,
    /// First good message after it, or the end of the segment.
    pub(in crate::log) to: Offset,
    /// Where `to` starts, when it is in the segment.
    pub(in crate::log) resume: Option<u64>,
}

impl Fence {
    /// A fence from a bad message to where reading goes on, or to the end of the segment.
    pub(in crate::log) fn within(
        segment: SegmentView,
        from: Offset,
        resume: Option<Boundary>,
    ) -> Self {
        let to = resume.map_or(segment.end.offset, |place| place.offset);
        Self { base: segment.base, from, to, resume: resume.map(|place| place.position) }
    }
}

impl Sealed {
    /// A segment of which nothing was checked by this process.
    pub(in crate::log) fn unverified(known: SealedSegment) -> Self {
        Self::verified(known, VerifiedRanges::default())
    }

    /// A segment with these ranges checked.
    pub(in crate::log) fn verified(known: SealedSegment, verified: VerifiedRanges) -> Self {
        Self { known, seen_ahead: None, verified }
    }

    /// A segment without a file, where messages should be.
    pub(in crate::log) fn without_bytes(missing: Range<Offset>, last_timestamp: Timestamp) -> Self {
        let (base, end) = (missing.start, missing.end);
        let checksum = CHECKSUM_UNKNOWN;
        Self::unverified(SealedSegment { base, end, bytes: 0, checksum, last_timestamp })
    }

    pub(in crate::log) fn view(&self) -> SegmentView {
        let end = Boundary { offset: self.known.end, position: self.known.bytes };
        SegmentView { base: self.known.base, end }
    }
}

impl ActiveView {
    /// A segment that ends at `tip`, with nothing checked and no entries made by this process.
    pub(in crate::log) fn new(tip: Tip, handle: FileHandle) -> Self {
        Self {
            base: tip.base,
            since: None,
            handle,
            end: tip.place(),
            last_timestamp: tip.last_timestamp,
            verified: VerifiedRanges::default(),
            live_from: tip.place(),
            live: Index::default(),
        }
    }

    /// The same, of which a recovery has checked these ranges and made these entries.
    pub(in crate::log) fn with(self, verified: VerifiedRanges, live: LiveIndex) -> Self {
        Self { verified, live_from: live.from, live: live.index, ..self }
    }

    /// Its file.
    pub(in crate::log) fn handle(&self) -> &FileHandle {
        &self.handle
    }

    /// The time of its last message; of the one before it, while it has none.
    pub(in crate::log) fn last_timestamp(&self) -> Timestamp {
        self.last_timestamp
    }

    /// Where the entries made by this process begin; what is before is in the index file.
    pub(in crate::log) fn live_from(&self) -> Boundary {
        self.live_from
    }

    /// The entries made by this process.
    pub(in crate::log) fn live(&self) -> &Index {
        &self.live
    }

    pub(in crate::log) fn view(&self) -> SegmentView {
        SegmentView { base: self.base, end: self.end }
    }

    /// Forgets everything behind `tip`.
    pub(super) fn cut_back(&mut self, tip: Tip) {
        self.end = tip.place();
        self.last_timestamp = tip.last_timestamp;
        // Other messages will have these bytes: what was checked of them says nothing of those.
        self.verified.truncate(tip.bytes);
        self.live.truncate(tip.bytes);
        if tip.bytes < self.live_from.position {
            self.live_from = tip.place();
        }
    }
}
