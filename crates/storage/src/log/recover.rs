//! Opening a log after a stop, clean or not.

use galgo_wire::id::Offset;
use std::io;
use std::path::PathBuf;

/// A batch found in the journal.
#[derive(Debug, Clone, Copy)]
pub struct JournaledBatch<'a> {
    /// Offset of its first message.
    pub base_offset: Offset,
    /// The high watermark when it was staged.
    pub high_watermark: Offset,
    /// Its messages, as appended.
    pub bytes: &'a [u8],
}

/// Messages that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FencedRange {
    /// First message of the range.
    pub from: Offset,
    /// First message after it.
    pub to: Offset,
}

/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Messages written again from the journal.
    pub replayed_messages: u64,
    /// Messages found whole in segment files after the checkpoint's durable end.
    pub accepted_messages: u64,
    /// Bytes cut off the end of the last segment.
    pub cut_bytes: u64,
    /// Files made to keep what was cut or could not be reached.
    pub kept_aside: Vec<PathBuf>,
    /// Messages known to be lost or damaged; the broker must tell the operator.
    pub fenced: Vec<FencedRange>,
}

/// Why a log could not be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk failed; nothing was acknowledged and recovery may be tried again.
    #[error("cannot recover {path:?}")]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The checkpoint contradicts itself.
    #[error("the checkpoint of the log does not fit together at offset {at}")]
    Checkpoint {
        /// Where.
        at: Offset,
    },
}
