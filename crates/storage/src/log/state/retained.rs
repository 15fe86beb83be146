//! What a log keeps: its oldest segments, and giving them up.
//!
//! INV-BOUNDARY: a start that moves is the end of a sealed segment, so a file that begins below it holds
//! nothing that is still to be read.

use super::{LogState, Sealed};
use crate::checkpoint::SealedSegment;
use crate::log::{AHEAD_US_MAX, LogStats};
use crate::retention::KeptSegment;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::index::to_u32;

/// How much could be dropped, told without looking at more than the oldest segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestSealed {
    /// Offset after its last message.
    pub end: Offset,
    /// By when its messages had all been stored; see [`KeptSegment::stored_by`].
    pub stored_by: Timestamp,
}

impl LogState {
    /// Segments, bytes and messages kept.
    pub(in crate::log) fn stats(&self) -> LogStats {
        let active = self.active.as_ref().map_or(0, |active| active.end.position);
        let sealed: u64 = self.sealed.iter().map(|sealed| sealed.known.bytes).sum();
        let segments = self.sealed.len() + usize::from(self.active.is_some());
        LogStats {
            segments: to_u32(segments.max(1)),
            bytes: sealed + active,
            messages: self.end.get().saturating_sub(self.start.get()),
        }
    }

    /// See [`LogReader::droppable`].
    ///
    /// [`LogReader::droppable`]: crate::log::LogReader::droppable
    pub(in crate::log) fn droppable(&self, upto: Offset, now: Timestamp) -> Vec<KeptSegment> {
        let droppable = self.sealed.len().saturating_sub(self.newest_sealed());
        let mut later = now.min(self.newest_time());
        let mut kept: Vec<KeptSegment> = Vec::with_capacity(droppable);
        // From the newest back: what is ahead of the clock was stored no later than all that is behind it.
        for (at, sealed) in self.sealed.iter().enumerate().rev() {
            if at < droppable && sealed.known.end <= upto {
                let stored_by = sealed.stored_by(now, later);
                kept.push(KeptSegment { segment: sealed.known.clone(), stored_by });
            }
            later = later.min(sealed.known.last_timestamp);
        }
        kept.reverse();
        kept
    }

    /// The oldest sealed segment, when there are others behind it.
    pub(in crate::log) fn oldest_sealed(&self, now: Timestamp) -> Option<OldestSealed> {
        let newest = self.newest_sealed();
        let (oldest, rest) = self.sealed.split_first().filter(|(_, rest)| rest.len() >= newest)?;
        let later = || {
            let rest = rest.iter().map(|sealed| sealed.known.last_timestamp);
            rest.chain([self.newest_time()]).fold(now, Timestamp::min)
        };
        let ahead = is_ahead(oldest.known.last_timestamp, now);
        let later = if ahead { later() } else { now };
        let stored_by = oldest.stored_by(now, later);
        Some(OldestSealed { end: oldest.known.end, stored_by })
    }

    /// How many sealed segments are the newest of the log, and stay: its name is what says where the log ends,
    /// should the newest checkpoint be lost (INV-NO-REUSE).
    fn newest_sealed(&self) -> usize {
        usize::from(self.active.is_none())
    }

    /// Whether a sealed segment is ahead of the clock that was not seen to be.
    pub(in crate::log) fn has_unseen_ahead(&self, now: Timestamp) -> bool {
        let unseen = |sealed: &Sealed| {
            sealed.seen_ahead.is_none() && is_ahead(sealed.known.last_timestamp, now)
        };
        self.sealed.iter().any(unseen)
    }

    /// Takes note of the sealed segments that are ahead of the clock.
    pub(in crate::log) fn see_ahead(&mut self, now: Timestamp) {
        for sealed in &mut self.sealed {
            if is_ahead(sealed.known.last_timestamp, now) {
                // Once: noted again and again, it would never be old enough to go.
                sealed.seen_ahead.get_or_insert(now);
            }
        }
    }

    /// The time of the first message of the segment that is written, when it is known.
    pub(in crate::log) fn written_since(&self) -> Option<Timestamp> {
        self.active.as_ref().and_then(|active| active.since)
    }

    /// Takes note of that time, unless another segment is written by now.
    pub(in crate::log) fn note_since(&mut self, base: Offset, since: Timestamp) {
        if let Some(active) = self.active.as_mut().filter(|active| active.base == base) {
            active.since = Some(since);
        }
    }

    /// Moves the start, and takes the sealed segments wholly below it out of the log; returns those.
    pub(in crate::log) fn drop_before(&mut self, start: Offset) -> Vec<SealedSegment> {
        // Never back, or messages whose files are gone would be read; never past the end, or the next message would
        // be below the start.
        let start = start.min(self.end).max(self.start);
        let gone = self.sealed.partition_point(|sealed| sealed.known.end <= start);
        self.start = start;
        self.fences.retain(|fence| fence.to > start);
        let dropped = self.sealed.drain(..gone).map(|sealed| sealed.known).collect();
        assert!(
            self.sealed.first().is_none_or(|oldest| oldest.known.end > self.start),
            "INV-BOUNDARY: a segment that stays has a message at or behind the start"
        );
        dropped
    }

    /// See [`LogReader::retire`].
    ///
    /// [`LogReader::retire`]: crate::log::LogReader::retire
    pub(in crate::log) fn retire(&mut self) {
        self.retired = true;
    }

    /// Whether the log is being removed.
    pub(in crate::log) fn is_retired(&self) -> bool {
        self.retired
    }
}

impl Sealed {
    /// See [`KeptSegment::stored_by`]; `later` is the earliest time after the segment.
    fn stored_by(&self, now: Timestamp, later: Timestamp) -> Timestamp {
        let last = self.known.last_timestamp;
        if is_ahead(last, now) { later.min(self.seen_ahead.unwrap_or(now)) } else { last }
    }
}

/// Whether a time is further ahead of the clock than times of messages may be.
pub(in crate::log) fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.get() > now.get().saturating_add(AHEAD_US_MAX)
}
