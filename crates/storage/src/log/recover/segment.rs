//! The segment at the end of a log that is being put together.

use super::super::files::LogFiles;
use super::super::state::{ActiveView, LiveIndex, Sealed};
use super::LogRecoverError;
use crate::checkpoint::SealedSegment;
use crate::disk::OpenMode;
use crate::file_cache::FileHandle;
use crate::index::{Index, IndexMarker};
use crate::lock::Ranked;
use crate::segment::verified::VerifiedRanges;
use crate::segment::writer::{SegmentWriter, Tip};
use crate::segment::{Boundary, CHECKSUM_UNKNOWN};
use galgo_wire::id::{Offset, Timestamp};

/// The segment at the end of the log so far.
pub(super) struct Current {
    pub(super) handle: FileHandle,
    pub(super) tip: Tip,
    /// Bytes in the file.
    pub(super) file_len: u64,
    /// Where the entries of `live` begin; those before are in the index file.
    pub(super) live_from: Boundary,
    pub(super) live: Index,
    pub(super) marker: IndexMarker,
    pub(super) verified: VerifiedRanges,
    /// Whether it holds accepted bytes, or a length, that may not be durable.
    pub(super) unsynced: bool,
}

impl Current {
    /// A segment that is whole up to `tip`.
    pub(super) fn open(files: &LogFiles, tip: Tip, mode: OpenMode) -> Self {
        Self {
            handle: files.handle(tip.base, mode),
            tip,
            file_len: 0,
            live_from: tip.place(),
            live: Index::default(),
            marker: IndexMarker::new(files.options.index_interval_bytes, None),
            // What a checkpoint calls durable is not read at a start, so it is checked when it is first read.
            verified: VerifiedRanges::default(),
            unsynced: false,
        }
    }

    /// Takes in bytes that are good and in the file.
    pub(super) fn grew_to(&mut self, tip: Tip) {
        assert!(
            tip.base == self.tip.base && tip.bytes > self.tip.bytes,
            "INV-CHAIN: what is taken into a segment is behind what it has"
        );
        self.verified.insert(self.tip.bytes..tip.bytes);
        self.file_len = self.file_len.max(tip.bytes);
        self.tip = tip;
        self.unsynced = true;
    }

    /// The earliest time its next message may have. The first one may be earlier than those of the
    /// segments before: times start over where the clock was set back.
    pub(super) fn earliest_next(&self) -> Timestamp {
        if self.tip.bytes == 0 { Timestamp::ZERO } else { self.tip.last_timestamp }
    }

    /// Leaves damaged bytes behind and goes on at `place`.
    pub(super) fn step_to(&mut self, place: Boundary, interval_bytes: u32) {
        let (end, bytes) = (self.tip.end, self.tip.bytes);
        assert!(
            place != self.tip.place() && place.offset >= end && place.position >= bytes,
            "INV-RESUME: a segment goes on behind its damage"
        );
        self.tip.bytes = place.position;
        self.tip.end = place.offset;
        // The sum would be of messages that are not all there, and pass for that of those that are.
        self.tip.checksum = None;
        self.marker = IndexMarker::new(interval_bytes, None);
    }

    /// Makes what was accepted durable.
    pub(super) fn sync(&mut self) -> Result<(), LogRecoverError> {
        // The mark goes first: a sync that failed is not to be tried again by whoever comes here next, and be believed.
        if std::mem::take(&mut self.unsynced) {
            self.handle.sync().map_err(|source| {
                let path = self.handle.path().to_path_buf();
                LogRecoverError::Sync { path, source }
            })?;
        }
        Ok(())
    }

    /// Seals the segment with the messages up to `end`, in at least `bytes` bytes.
    pub(super) fn into_sealed(self, end: Offset, bytes: u64) -> Sealed {
        assert!(end >= self.tip.end, "INV-NO-REUSE: a segment is sealed behind all it holds");
        let known = SealedSegment {
            base: self.tip.base,
            end,
            bytes: self.tip.bytes.max(bytes),
            checksum: self.tip.checksum.unwrap_or(CHECKSUM_UNKNOWN),
            last_timestamp: self.tip.last_timestamp,
        };
        Sealed::verified(known, self.verified)
    }

    /// The segment as readers see it, and as it is written on.
    pub(super) fn into_writer(self) -> (ActiveView, SegmentWriter) {
        let live = LiveIndex { from: self.live_from, index: self.live };
        let active = ActiveView::new(self.tip, self.handle.clone()).with(self.verified, live);
        let (handle, tip, marker) = (self.handle, self.tip, self.marker);
        (active, SegmentWriter { handle, tip, index: Ranked::default(), marker })
    }
}
