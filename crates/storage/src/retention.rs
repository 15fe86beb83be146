//! Which sealed segments a topic gives up: sizes and ages in, new starts out. Pure.
//!
//! INV-PREFIX: a partition gives up its oldest segments first and never the one being written.
//! INV-BARRIER: a segment with a message at or above the partition's barrier stays.

use crate::checkpoint::SealedSegment;
use galgo_wire::id::{Offset, Timestamp};

/// A topic is cut down when it reaches this many percent of its largest size.
const FULL_PERCENT: u64 = 90;

/// What a topic keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// How long a message is kept; `None` for ever.
    pub expiry_micros: Option<u64>,
    /// Most bytes of all partitions together; `None` for no limit.
    pub bytes_max: Option<u64>,
}

/// What retention knows of a partition.
#[derive(Debug, Clone, Copy)]
pub struct PartitionSegments<'a> {
    /// Its sealed segments, oldest first.
    pub sealed: &'a [SealedSegment],
    /// Bytes of the segment being written.
    pub active_bytes: u64,
    /// Messages from here on are still wanted by somebody; `None` when nobody says so.
    pub barrier: Option<Offset>,
}

/// The new start of each partition, in the order given; `None` where nothing goes.
///
/// Expired segments go first; then, while the topic is too large, the oldest segment of any
/// partition. The result is for `Log::drop_before`, after the move was made durable.
#[must_use]
pub fn plan(
    now: Timestamp,
    rules: Rules,
    partitions: &[PartitionSegments<'_>],
) -> Vec<Option<Offset>> {
    let mut kept: Vec<&[SealedSegment]> =
        partitions.iter().map(|partition| expire(now, rules, partition)).collect();
    let active: u64 = partitions.iter().map(|partition| partition.active_bytes).sum();
    let sealed: u64 = kept.iter().flat_map(|segments| segments.iter()).map(|kept| kept.bytes).sum();
    let mut bytes = active + sealed;
    let full = rules.bytes_max.map(|most| u128::from(most) * u128::from(FULL_PERCENT) / 100);
    while full.is_some_and(|full| u128::from(bytes) >= full) {
        let Some(dropped) = drop_oldest(&mut kept, partitions) else { break };
        bytes -= dropped;
    }
    let starts = partitions.iter().zip(&kept).map(|(partition, kept)| {
        let gone = partition.sealed.len() - kept.len();
        gone.checked_sub(1).and_then(|last| partition.sealed.get(last)).map(|last| last.end)
    });
    starts.collect()
}

/// The segments that are not expired.
fn expire<'a>(
    now: Timestamp,
    rules: Rules,
    partition: &PartitionSegments<'a>,
) -> &'a [SealedSegment] {
    let expired = |segment: &SealedSegment| {
        rules
            .expiry_micros
            .is_some_and(|expiry| segment.last_timestamp.get().saturating_add(expiry) <= now.get())
    };
    let may_go = |segment: &&SealedSegment| expired(segment) && !is_wanted(partition, segment);
    let gone = partition.sealed.iter().take_while(may_go).count();
    partition.sealed.get(gone..).unwrap_or_default()
}

/// Drops the segment whose newest message is the oldest; returns its size.
fn drop_oldest(kept: &mut [&[SealedSegment]], partitions: &[PartitionSegments<'_>]) -> Option<u64> {
    let firsts = kept.iter_mut().zip(partitions).filter_map(|(kept, partition)| {
        let (first, rest) = kept.split_first()?;
        (!is_wanted(partition, first)).then_some((first, kept, rest))
    });
    let (first, kept, rest) = firsts.min_by_key(|(first, ..)| first.last_timestamp)?;
    let bytes = first.bytes;
    *kept = rest;
    Some(bytes)
}

fn is_wanted(partition: &PartitionSegments<'_>, segment: &SealedSegment) -> bool {
    partition.barrier.is_some_and(|barrier| segment.end > barrier)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of 100 messages and 1,000 bytes, each ending at one of these times.
    fn segments(times: &[u64]) -> Vec<SealedSegment> {
        let numbered = (0..).zip(times);
        let made = numbered.map(|(at, time)| SealedSegment {
            base: Offset::new(at * 100),
            end: Offset::new(at * 100 + 100),
            bytes: 1_000,
            checksum: 0,
            last_timestamp: Timestamp::new(*time),
        });
        made.collect()
    }

    fn starts(now: u64, rules: Rules, partitions: &[PartitionSegments<'_>]) -> Vec<Option<u64>> {
        let starts = plan(Timestamp::new(now), rules, partitions).into_iter();
        starts.map(|start| start.map(Offset::get)).collect()
    }

    #[test]
    fn segments_go_when_their_newest_message_is_old_enough() {
        let sealed = segments(&[10, 20, 30]);
        let partition = PartitionSegments { sealed: &sealed, active_bytes: 5, barrier: None };
        let rules = Rules { expiry_micros: Some(100), bytes_max: None };
        let start = |now, partition| starts(now, rules, &[partition]).remove(0);
        assert_eq!(start(109, partition), None);
        assert_eq!(start(110, partition), Some(100));
        assert_eq!(start(129, partition), Some(200));
        assert_eq!(start(9_999, partition), Some(300));
        let held = PartitionSegments { barrier: Some(Offset::new(150)), ..partition };
        assert_eq!(start(9_999, held), Some(100));
        assert_eq!(starts(9_999, Rules::default(), &[partition]), [None]);
    }

    #[test]
    fn a_full_topic_gives_up_the_oldest_segments_of_any_partition() {
        let (first, second) = (segments(&[10, 40]), segments(&[20, 30]));
        let of = |sealed, barrier| PartitionSegments { sealed, active_bytes: 500, barrier };
        let rules = |bytes_max| Rules { expiry_micros: None, bytes_max: Some(bytes_max) };
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
}
