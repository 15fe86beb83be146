//! Finding and reading messages while one writer appends.

use crate::disk::DiskFile;
use galgo_wire::id::{Offset, Timestamp};
use std::io;
use std::sync::Arc;

/// What a reader wants.
#[derive(Debug, Clone, Copy)]
pub struct LocateRequest {
    /// First message wanted; below the start of the log means the oldest.
    pub from: Offset,
    /// Most messages wanted.
    pub count_max: u32,
    /// Most bytes wanted; one message is found even when it is larger.
    pub bytes_max: u64,
    /// The high watermark: messages from here on are not found.
    pub upto: Offset,
}

/// Where the messages of a request are.
#[derive(Debug, Clone)]
pub struct Located {
    /// Offset of the first message found; `upto` or the request's `from` when nothing was.
    pub first: Offset,
    /// How many messages were found.
    pub count: u32,
    /// Bytes of all slices.
    pub bytes: u64,
    /// The byte ranges that hold them, in order.
    pub slices: Vec<LocatedSlice>,
}

/// Consecutive messages in one segment.
#[derive(Clone)]
pub struct LocatedSlice {
    /// The segment's open file; stays readable when retention removes the segment.
    pub file: Arc<dyn DiskFile>,
    /// First offset of the segment.
    pub base: Offset,
    /// Offset of the first message of the slice.
    pub first: Offset,
    /// How many messages the slice holds.
    pub count: u32,
    /// First byte in the file.
    pub position: u64,
    /// Bytes in the slice.
    pub len: u64,
    /// Whether this process wrote or has verified these bytes (P-TRUTH); if not, go through
    /// [`LogReader::read_verified`].
    pub verified: bool,
}

impl std::fmt::Debug for LocatedSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocatedSlice")
            .field("base", &self.base)
            .field("first", &self.first)
            .field("count", &self.count)
            .field("position", &self.position)
            .field("len", &self.len)
            .field("verified", &self.verified)
            .finish_non_exhaustive()
    }
}

/// Why messages could not be found or read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// These messages fail their checks and are fenced; others may still be read.
    #[error("messages {from} to {to} (exclusive) are damaged")]
    Damaged {
        /// First damaged message.
        from: Offset,
        /// First message after them that can be read again.
        to: Offset,
    },
    /// The disk did not give the bytes.
    #[error("segment {base} cannot be read")]
    Disk {
        /// The segment.
        base: Offset,
        /// What the system said.
        source: io::Error,
    },
    /// Retention removed the segment meanwhile; locate again.
    #[error("segment {base} is gone")]
    Gone {
        /// The segment.
        base: Offset,
    },
}

/// Reads a log; shared by any number of threads.
pub struct LogReader {}

impl LogReader {
    /// Offset of the oldest message kept.
    #[must_use]
    pub fn start(&self) -> Offset {
        Offset::ZERO
    }

    /// Finds the byte ranges of a request without reading more than a few headers.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when the first message wanted is fenced.
    pub fn locate(&self, request: LocateRequest) -> Result<Located, ReadError> {
        Ok(Located { first: request.from, count: 0, bytes: 0, slices: Vec::new() })
    }

    /// Offset of the first message below `upto` whose timestamp is `timestamp` or later.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when damaged messages stand in the way.
    pub fn offset_at(
        &self,
        timestamp: Timestamp,
        upto: Offset,
    ) -> Result<Option<Offset>, ReadError> {
        let _ = (timestamp, upto);
        Ok(None)
    }

    /// Reads a slice, checks every message and marks the range verified.
    ///
    /// # Errors
    /// [`ReadError::Damaged`]: the bad range is fenced now; locate again for what comes before it.
    pub fn read_verified(&self, slice: &LocatedSlice) -> Result<Vec<u8>, ReadError> {
        let _ = slice;
        Ok(Vec::new())
    }

    /// Checks a slice as [`LogReader::read_verified`] does, without returning the bytes.
    ///
    /// # Errors
    /// Those of [`LogReader::read_verified`].
    pub fn verify(&self, slice: &LocatedSlice) -> Result<(), ReadError> {
        self.read_verified(slice).map(drop)
    }
}
