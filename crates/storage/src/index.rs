//! The sparse index of a segment: one entry per some KiB of log, by offset, position and time.
//!
//! The index is a hint. It is written without a sync, and what is missing or bad is read again from
//! the headers in the log.
//!
//! INV-INDEX: an entry never points past the bytes it describes, and is used only after the header
//! it points to turned out to be the one it names, unless this process made it from that header.
//! INV-SORTED: offsets and positions rise from entry to entry, timestamps do not fall.

pub(crate) mod cache;
pub(crate) mod format;
pub(crate) mod rebuild;
mod search;
pub(crate) mod tail;

use crate::segment::Boundary;
use galgo_wire::id::{Offset, Timestamp};

pub use cache::IndexCache;

/// One message of a segment and where it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Offset of the message, counted from the base of the segment.
    pub(crate) relative_offset: u32,
    /// Its first byte.
    pub(crate) position: u32,
    /// Its timestamp.
    pub(crate) timestamp: Timestamp,
}

impl IndexEntry {
    /// The entry of a message; `None` when the segment is too large for one.
    pub(crate) fn of(base: Offset, place: Boundary, timestamp: Timestamp) -> Option<Self> {
        let relative_offset = u32::try_from(place.offset.get().checked_sub(base.get())?).ok()?;
        let position = u32::try_from(place.position).ok()?;
        Some(Self { relative_offset, position, timestamp })
    }

    /// The place the entry names.
    pub(crate) fn place(&self, base: Offset) -> Boundary {
        Boundary {
            offset: Offset::new(base.get() + u64::from(self.relative_offset)),
            position: u64::from(self.position),
        }
    }
}

/// Entries of one segment, or of its end, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    entries: Vec<IndexEntry>,
}

impl Index {
    /// Takes entries that are in order.
    pub(crate) fn from_sorted(entries: Vec<IndexEntry>) -> Self {
        Self { entries }
    }

    /// Adds an entry; one that breaks INV-SORTED is left out.
    pub(crate) fn push(&mut self, entry: IndexEntry) {
        // Not asserted: entries come out of files, and times out of messages, which may be damaged.
        if self.entries.last().is_none_or(|last| follows(last, &entry)) {
            self.entries.push(entry);
        }
    }

    /// All entries.
    pub(crate) fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// Forgets the entries from byte `position` on.
    pub(crate) fn truncate(&mut self, position: u64) {
        let kept = self.entries.partition_point(|entry| u64::from(entry.position) < position);
        self.entries.truncate(kept);
    }
}

/// Whether `entry` may stand after `last`.
pub(crate) fn follows(last: &IndexEntry, entry: &IndexEntry) -> bool {
    last.relative_offset < entry.relative_offset
        && last.position < entry.position
        && last.timestamp <= entry.timestamp
}

/// Decides which messages get an entry: the first, then one per interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexMarker {
    interval: u64,
    next: u64,
}

impl IndexMarker {
    /// A marker whose last entry was at byte `last`, or that has none yet.
    pub(crate) fn new(interval_bytes: u32, last: Option<u64>) -> Self {
        // 0 would ask for an entry at the same byte again and again.
        let interval = u64::from(interval_bytes.max(1));
        Self { interval, next: last.map_or(0, |last| last + interval) }
    }

    /// Whether the message at byte `position` gets an entry; asked in order.
    #[inline]
    pub(crate) fn marks(&mut self, position: u64) -> bool {
        let wants = self.wants(position);
        if wants {
            self.marked(position);
        }
        wants
    }

    /// Whether an entry is due at byte `position`.
    #[inline]
    pub(crate) fn wants(&self, position: u64) -> bool {
        position >= self.next
    }

    /// Takes note of an entry at byte `position`.
    pub(crate) fn marked(&mut self, position: u64) {
        self.next = position + self.interval;
    }
}
