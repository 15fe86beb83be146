//! The segment at the end of a log that is being put together.

use super::super::reader::LogReader;
use super::super::state::Sealed;
use super::RecoverError;
use crate::checkpoint::SealedSegment;
use crate::disk::OpenMode;
use crate::file_cache::FileHandle;
use crate::index::{Index, IndexMarker};
use crate::segment::verified::VerifiedRanges;
use crate::segment::writer::Tip;
use crate::segment::{Boundary, CHECKSUM_UNKNOWN};
use galgo_wire::id::{Offset, Timestamp};

/// The segment at the end of the log so far.
pub(super) struct Current {
    pub(super) base: Offset,
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
    pub(super) fn open(reader: &LogReader, base: Offset, tip: Tip, mode: OpenMode) -> Self {
        Self {
            base,
            handle: reader.files.handle(reader.log_path(base), mode),
            tip,
            file_len: 0,
            live_from: tip.place(),
            live: Index::default(),
            marker: IndexMarker::new(reader.options.index_interval_bytes, None),
            verified: VerifiedRanges::default(),
            unsynced: false,
        }
    }

    /// Takes in bytes that are good and in the file.
    pub(super) fn grew_to(&mut self, tip: Tip) {
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
        self.tip.bytes = place.position;
        self.tip.end = place.offset;
        self.tip.checksum = None;
        self.marker = IndexMarker::new(interval_bytes, None);
    }

    /// Makes what was accepted durable.
    pub(super) fn sync(&mut self) -> Result<(), RecoverError> {
        if std::mem::take(&mut self.unsynced) {
            self.handle.sync().map_err(|source| {
                let path = self.handle.path().to_path_buf();
                RecoverError::Sync { path, source }
            })?;
        }
        Ok(())
    }

    /// Seals the segment with the messages up to `end`, in at least `bytes` bytes.
    pub(super) fn into_sealed(self, end: Offset, bytes: u64) -> Sealed {
        let known = SealedSegment {
            base: self.base,
            end,
            bytes: self.tip.bytes.max(bytes),
            checksum: self.tip.checksum.unwrap_or(CHECKSUM_UNKNOWN),
            last_timestamp: self.tip.last_timestamp,
        };
        Sealed { known, seen_ahead: None, verified: self.verified }
    }
}

/// A sealed segment that the checkpoint knows.
pub(in crate::log) fn unverified(known: SealedSegment) -> Sealed {
    Sealed { known, seen_ahead: None, verified: VerifiedRanges::default() }
}
