//! What an append takes, and why it may be refused.

use galgo_wire::id::{Offset, Timestamp};
use std::io;

pub use crate::segment::writer::BatchSize;

/// How far the times of a log may be ahead of the clock before they start over, in microseconds.
/// Smaller differences are what setting a clock again and again makes; then times stand still until
/// the clock has caught up.
pub const AHEAD_US_MAX: u64 = 5_000_000;

/// Messages to write, stamped and checked, exactly as they will be polled.
#[derive(Debug, Clone, Copy)]
pub struct AppendBatch<'a> {
    /// Offset of the first message; must be the end of the log.
    pub base_offset: Offset,
    /// How many messages `bytes` holds, at least one.
    pub count: u32,
    /// The one ingest time of all of them; not before that of the message before.
    pub timestamp: Timestamp,
    /// The messages, back to back.
    pub bytes: &'a [u8],
    /// What is known of them, if exactly these bytes were stamped by this process and not changed
    /// since; without it the log walks over their headers.
    pub walked: Option<WalkedBatch<'a>>,
}

/// What the pass that stamped a batch found, so that its headers need no second walk.
#[derive(Debug, Clone, Copy)]
pub struct WalkedBatch<'a> {
    /// The index block that the batch came with and was found to agree with.
    pub indexes: &'a [u8],
    /// The wrapped sum of the checksums.
    pub checksums: u64,
}

/// Why a batch was not appended. In every case the end of the log is where it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The caller's mistake: the batch starts elsewhere.
    #[error("the batch starts at offset {got}, the log ends at {expected}")]
    OutOfOrder {
        /// Where the log ends.
        expected: Offset,
        /// Where the batch starts.
        got: Offset,
    },
    /// The caller's mistake: the bytes are not the messages announced.
    #[error("the batch is malformed at byte {position}")]
    Malformed {
        /// Where the first message that does not fit starts.
        position: usize,
    },
    /// The caller's mistake: the batch is earlier than the last message.
    #[error("the batch has timestamp {got}, before the last message's {last}")]
    TimeWentBack {
        /// Timestamp of the last message.
        last: Timestamp,
        /// Timestamp of the batch.
        got: Timestamp,
    },
    /// The caller's mistake: no segment can hold it.
    #[error("a batch of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// Bytes in the batch.
        len: usize,
        /// Most bytes a batch may have.
        max: u32,
    },
    /// The disk did not take it; it was taken back and the log may be used on.
    #[error("segment {base} did not take the batch")]
    Disk {
        /// The segment written to.
        base: Offset,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier sync, or the taking back of a failed write, failed: what the disk holds is not
    /// known. The log takes no more writes until it is recovered anew.
    #[error("the log takes no writes since a disk error; reopen it")]
    Fenced,
}

impl AppendBatch<'_> {
    /// Its size.
    pub(super) fn size(&self) -> BatchSize {
        BatchSize { bytes: self.bytes.len() as u64, count: self.count }
    }
}
