//! A segment: one `.log` file of consecutive messages and the `.index` file that hints into it.
//!
//! INV-WIRE: a `.log` file is the concatenation of messages exactly as a poll returns them, nothing
//! before, between or after.
//! INV-CHAIN: offsets in a segment are consecutive from its base, timestamps do not decrease.
//! INV-TAIL: nothing after the first bad message at the end of a log is ever served.

pub(crate) mod format;
pub(crate) mod reader;
pub(crate) mod recovery;
pub(crate) mod verified;
pub(crate) mod writer;

use galgo_wire::id::Offset;

/// Most bytes a segment may have: positions are four bytes in the index.
pub(crate) const SEGMENT_BYTES_MAX: u64 = u32::MAX as u64;
/// Most bytes one append may have.
pub(crate) const BATCH_BYTES_MAX: u32 = 1 << 30;
/// Stands in a checkpoint for the checksum of a segment that is not known, after damage.
pub(crate) const CHECKSUM_UNKNOWN: u64 = 0;
// Whatever a sender may send has a segment that takes it: an append never fails for want of one.
const _: () =
    assert!((BATCH_BYTES_MAX as u64) < SEGMENT_BYTES_MAX, "an empty segment takes any batch");

/// A message boundary: the message with this offset starts (or would start) at this byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Boundary {
    /// Offset of the message.
    pub(crate) offset: Offset,
    /// Its first byte in the segment.
    pub(crate) position: u64,
}
