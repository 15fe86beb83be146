//! Which sealed segments a topic gives up: sizes and ages in, new starts out. Pure.
//!
//! A partition gives up its oldest segments first and never the one being written.
//! INV-BARRIER: a segment with a message at or above the partition's barrier stays.

use crate::checkpoint::SealedSegment;
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::index::part;

/// A topic is cut down when it reaches this many percent of its largest size.
const FULL_PERCENT: u64 = 90;

const _: () = assert!(FULL_PERCENT <= 100, "a topic is cut down before it is over its size");

/// What a topic keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionLimits {
    /// How long a message is kept; `None` for ever.
    pub expiry_micros: Option<u64>,
    /// Most bytes of all partitions together; `None` for no limit.
    pub bytes_max: Option<u64>,
}

/// A sealed segment as retention looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSegment {
    /// The segment.
    pub segment: SealedSegment,
    /// By when its messages had all been stored: the time of the last of them. Where that is ahead of the
    /// clock, because the clock was, it is the time of those after it, or that at which it was first seen
    /// to be ahead.
    pub stored_by: Timestamp,
}

/// What retention knows of a partition.
#[derive(Debug, Clone, Copy)]
pub struct PartitionSegments<'a> {
    /// Its sealed and published segments, oldest first.
    pub sealed: &'a [KeptSegment],
    /// Bytes of its other segments.
    pub active_bytes: u64,
    /// Messages from here on are still wanted by somebody; `None` when nobody says so.
    pub barrier: Option<Offset>,
}

/// How many of its oldest segments a partition gives up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Surrender {
    /// The oldest so many, because they are expired.
    pub expired: usize,
    /// So many behind those, because the topic is too large.
    pub oversize: usize,
}

impl Surrender {
    /// How many segments go.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.expired + self.oversize
    }

    /// The segments that go, of those it was made from.
    #[must_use]
    pub fn of<'a>(&self, partition: &PartitionSegments<'a>) -> &'a [KeptSegment] {
        part(partition.sealed, ..self.segments(), "INV-BARRIER: what goes is of the partition")
    }
}

/// What each partition gives up, in the order given.
///
/// Expired segments go first; then, while the topic is too large, the oldest segment of any
/// partition. Files are removed only after the moves of the starts were made durable.
#[must_use]
pub fn plan(
    now: Timestamp,
    rules: RetentionLimits,
    partitions: &[PartitionSegments<'_>],
) -> Vec<Surrender> {
    let expired: Vec<&[KeptSegment]> =
        partitions.iter().map(|partition| expire(now, rules, partition)).collect();
    let mut kept = expired.clone();
    let active: u64 = partitions.iter().map(|partition| partition.active_bytes).sum();
    let sealed: u64 =
        kept.iter().flat_map(|segments| segments.iter()).map(|kept| kept.segment.bytes).sum();
    let mut bytes = active + sealed;
    // Behind what is expired, which may be enough. Of any partition: the size is the topic's.
    while rules.is_full(bytes) {
        let Some(dropped) = drop_oldest(&mut kept, partitions) else { break };
        assert!(dropped <= bytes, "what goes of a topic is part of its size");
        bytes -= dropped;
    }
    let counts = partitions.iter().zip(expired.iter().zip(&kept));
    let counts = counts.map(|(partition, (unexpired, kept))| Surrender {
        expired: partition.sealed.len() - unexpired.len(),
        oversize: unexpired.len() - kept.len(),
    });
    counts.collect()
}

impl RetentionLimits {
    /// Whether segments go because a topic of this size is too large.
    #[must_use]
    pub fn is_full(&self, bytes: u64) -> bool {
        let full = self.bytes_max.map(|most| u128::from(most) * u128::from(FULL_PERCENT) / 100);
        full.is_some_and(|full| u128::from(bytes) >= full)
    }

    /// Whether a segment whose messages were all stored by this time goes because of its age.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp, stored_by: Timestamp) -> bool {
        self.expiry_micros.is_some_and(|expiry| stored_by.get().saturating_add(expiry) <= now.get())
    }
}

/// The segments that are not expired.
fn expire<'a>(
    now: Timestamp,
    rules: RetentionLimits,
    partition: &PartitionSegments<'a>,
) -> &'a [KeptSegment] {
    let may_go =
        |kept: &&KeptSegment| rules.is_expired(now, kept.stored_by) && !is_wanted(partition, kept);
    // Up to the first that stays: a log has no holes, so that one behind it stays as well, however old it is.
    let gone = partition.sealed.iter().take_while(may_go).count();
    part(partition.sealed, gone.., "INV-BARRIER: what is expired is of the partition")
}

/// Drops the segment that was stored by the earliest time; returns its size.
fn drop_oldest(kept: &mut [&[KeptSegment]], partitions: &[PartitionSegments<'_>]) -> Option<u64> {
    let firsts = kept.iter_mut().zip(partitions).filter_map(|(kept, partition)| {
        let (first, rest) = kept.split_first()?;
        (!is_wanted(partition, first)).then_some((first, kept, rest))
    });
    let (first, kept, rest) = firsts.min_by_key(|(first, ..)| first.stored_by)?;
    let bytes = first.segment.bytes;
    *kept = rest;
    Some(bytes)
}

fn is_wanted(partition: &PartitionSegments<'_>, kept: &KeptSegment) -> bool {
    partition.barrier.is_some_and(|barrier| kept.segment.end > barrier)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of 100 messages and 1,000 bytes, each ending at one of these times.
    fn segments(times: &[u64]) -> Vec<KeptSegment> {
        let numbered = (0..).zip(times);
        let made = numbered.map(|(at, time)| KeptSegment {
            segment: SealedSegment {
                base: Offset::new(at * 100),
                end: Offset::new(at * 100 + 100),
                bytes: 1_000,
                checksum: 0,
                last_timestamp: Timestamp::new(*time),
            },
            stored_by: Timestamp::new(*time),
        });
        made.collect()
    }

    fn starts(
        now: u64,
        rules: RetentionLimits,
        partitions: &[PartitionSegments<'_>],
    ) -> Vec<Option<u64>> {
        let plans = plan(Timestamp::new(now), rules, partitions);
        let starts =
            plans.iter().zip(partitions).map(|(plan, partition)| plan.of(partition).last());
        starts.map(|last| last.map(|last| last.segment.end.get())).collect()
    }

    #[test]
    fn segments_go_when_their_newest_message_is_old_enough() {
        let sealed = segments(&[10, 20, 30]);
        let partition = PartitionSegments { sealed: &sealed, active_bytes: 5, barrier: None };
        let rules = RetentionLimits { expiry_micros: Some(100), bytes_max: None };
        let start = |now, partition| starts(now, rules, &[partition]).remove(0);
        assert_eq!(start(109, partition), None);
        assert_eq!(start(110, partition), Some(100));
        assert_eq!(start(129, partition), Some(200));
        assert_eq!(start(9_999, partition), Some(300));
        let held = PartitionSegments { barrier: Some(Offset::new(150)), ..partition };
        assert_eq!(start(9_999, held), Some(100));
        assert_eq!(starts(9_999, RetentionLimits::default(), &[partition]), [None]);
    }

    #[test]
    fn a_full_topic_gives_up_the_oldest_segments_of_any_partition() {
        let (first, second) = (segments(&[10, 40]), segments(&[20, 30]));
        let of = |sealed, barrier| PartitionSegments { sealed, active_bytes: 500, barrier };
        let rules = |bytes_max| RetentionLimits { expiry_micros: None, bytes_max: Some(bytes_max) };
        let both = [of(&first, None), of(&second, None)];
        assert_eq!(starts(50, rules(10_000), &both), [None, None]);
        assert_eq!(starts(50, rules(5_000), &both), [Some(100), None]);
        assert_eq!(starts(50, rules(4_000), &both), [Some(100), Some(100)]);
        assert_eq!(starts(50, rules(3_000), &both), [Some(100), Some(200)]);
        assert_eq!(starts(50, rules(1), &both), [Some(200), Some(200)]);
        let held = [of(&first, Some(Offset::ZERO)), of(&second, None)];
        assert_eq!(starts(50, rules(1), &held), [None, Some(200)]);
        assert_eq!(starts(50, rules(u64::MAX), &both), [None, None]);
    }

    #[test]
    fn age_is_the_reason_before_size() {
        let sealed = segments(&[10, 20, 30]);
        let partition = PartitionSegments { sealed: &sealed, active_bytes: 0, barrier: None };
        let rules = RetentionLimits { expiry_micros: Some(100), bytes_max: Some(1_200) };
        let plan = plan(Timestamp::new(110), rules, &[partition]);
        assert_eq!(plan, [Surrender { expired: 1, oversize: 1 }]);
        assert_eq!(plan[0].of(&partition), &sealed[..2]);
    }

    #[test]
    fn a_topic_is_full_from_nine_tenths_on() {
        let rules = RetentionLimits { expiry_micros: None, bytes_max: Some(1_000) };
        assert!(!rules.is_full(899));
        assert!(rules.is_full(900));
        assert!(!RetentionLimits::default().is_full(u64::MAX));
    }
}
