//! A log that could not be opened.
//!
//! INV-OFFLINE: it stands in for what is on the disk and on record, and changes neither: it takes no writes, gives no
//! message, and no checkpoint is made of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use galgo_wire::id::{Offset, Timestamp};

use super::recover::unverified;
use super::state::{Fence, State};
use super::{Log, LogOptions, LogReader};
use crate::checkpoint::SealedSegment;
use crate::disk::Disk;
use crate::file_cache::FileCache;
use crate::segment::CHECKSUM_UNKNOWN;

impl Log {
    /// A log of which is known that it has the offsets from `start` to `end`, and nothing else: whoever reads it is
    /// told that all of them are damaged. Touches no disk.
    #[must_use]
    pub fn offline(
        disk: Arc<dyn Disk>,
        files: Arc<FileCache>,
        options: LogOptions,
        (start, end): (Offset, Offset),
    ) -> Self {
        let mut state = State { start, end: end.max(start), ..State::default() };
        if start < end {
            state.fences.push(Fence { base: start, from: start, to: end, resume: None });
            state.sealed.push(unverified(SealedSegment {
                base: start,
                end,
                bytes: 0,
                checksum: CHECKSUM_UNKNOWN,
                last_timestamp: Timestamp::ZERO,
            }));
        }
        let mut log = Self::of_reader(LogReader::new(disk, files, options, state));
        log.end = end.max(start);
        log.checkpointed = AtomicU64::new(log.end.get());
        log.is_offline = true;
        log.fenced.store(true, Ordering::Release);
        log
    }

    /// Whether it only stands in for one that could not be opened.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.is_offline
    }
}
