//! What was copied, and whether the target agrees.

use std::ops::Range;

use galgo::Life;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::mirror::place::CopyPlace;
use crate::noun::extent::Extent;
use crate::noun::topic::TopicPath;

/// The copy of one partition.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PartitionReport {
    /// The partition.
    pub(crate) partition: u32,
    /// Messages the target had of it before.
    pub(crate) there_before: u64,
    /// Messages copied by this command.
    pub(crate) copied: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    /// Offsets the source no longer had when their turn came.
    pub(crate) gone_from_source: u64,
    /// Offsets left out because the source has them damaged.
    pub(crate) damaged: u64,
    /// How often the source was purged or made again meanwhile.
    pub(crate) anew: u64,
    /// The offset of the source that comes next.
    pub(crate) next_offset: u64,
    /// The life of the source that the newest copy comes from, if it is known.
    #[serde(skip)]
    pub(super) life: Life,
    /// The first offset of the source this command was to copy.
    #[serde(skip)]
    first_offset: u64,
    /// Damaged offsets since the last copy, and where they end.
    #[serde(skip)]
    damaged_since: u64,
    #[serde(skip)]
    damaged_end: u64,
    #[serde(skip)]
    target_end_before: u64,
    #[serde(skip)]
    source_end: u64,
}

impl PartitionReport {
    /// A copy that begins at `place`; `source` is what there is to copy.
    pub(crate) fn new(partition: u32, source: Extent, place: &CopyPlace) -> Self {
        Self {
            partition,
            there_before: place.held.end - place.held.start,
            copied: 0,
            bytes: 0,
            gone_from_source: 0,
            damaged: 0,
            anew: 0,
            next_offset: place.next,
            // Of a source that began anew, the newest copy is no message.
            life: if place.anew { Life::UNKNOWN } else { place.life },
            first_offset: place.next,
            damaged_since: 0,
            damaged_end: 0,
            target_end_before: place.held.end,
            source_end: source.end,
        }
    }

    /// The target tells where it stands: after a broken connection it may hold more than was
    /// acknowledged.
    pub(super) fn stands_at(&mut self, place: &CopyPlace) {
        self.copied = place.held.end.saturating_sub(self.target_end_before);
        self.next_offset = place.next;
    }

    /// The source begins anew: what is next is its first message.
    pub(super) fn begins_anew(&mut self) {
        self.anew += 1;
        (self.next_offset, self.source_end) = (0, 0);
        (self.damaged_since, self.damaged_end) = (0, 0);
    }

    /// Damaged offsets come next and are left out; tells whether that is news.
    pub(super) fn leaves_out(&mut self, offsets: &Range<u64>) -> bool {
        let from = offsets.start.max(self.damaged_end);
        let left_out = offsets.end.saturating_sub(from);
        self.damaged += left_out;
        self.damaged_since += left_out;
        self.damaged_end = self.damaged_end.max(offsets.end);
        assert!(
            self.damaged_since <= self.damaged,
            "no more is left out since the last message than in all"
        );
        left_out > 0
    }

    /// Messages with these offsets were acknowledged.
    pub(super) fn took(&mut self, offsets: impl Iterator<Item = u64>, bytes: u64) {
        for offset in offsets {
            let missing = offset.saturating_sub(self.next_offset);
            self.gone_from_source += missing.saturating_sub(self.damaged_since);
            self.damaged_since = self.damaged_since.saturating_sub(missing);
            self.next_offset = offset.saturating_add(1);
            self.copied += 1;
        }
        self.bytes += bytes;
    }

    /// Whether the target, which now stands at `place`, holds what was copied and nothing else.
    pub(super) fn verify(&self, place: &CopyPlace, target: &TopicPath) -> Outcome {
        let wrong = |what: String| {
            let partition = self.partition;
            let at = format!("partition {partition} of {}", target.phrase());
            Err(Failure::io(format!("the copy does not agree with the source: {at} {what}")))
        };
        let expected = self.target_end_before + self.copied;
        if place.held.end != expected {
            return wrong(format!(
                "ends at offset {} and should end at {expected}; did something else write to it?",
                place.held.end
            ));
        }
        if place.next != self.next_offset || place.next + self.damaged_since < self.source_end {
            return wrong(format!(
                "has the source up to offset {}, which ends at {}",
                place.next, self.source_end
            ));
        }
        let offsets = place.next.saturating_sub(self.first_offset);
        if self.anew == 0 && self.copied > offsets {
            return wrong(format!(
                "got {} messages for {offsets} offsets from {} on: some are there twice",
                self.copied, self.first_offset
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(next: u64, start: u64, end: u64) -> CopyPlace {
        CopyPlace { next, held: Extent { start, end }, life: Life::UNKNOWN, anew: false }
    }

    fn path() -> TopicPath {
        TopicPath { stream: "s".parse().unwrap(), topic: "t".parse().unwrap() }
    }

    #[test]
    fn a_copy_agrees_when_nothing_is_missing_and_nothing_is_twice() {
        let source = Extent { start: 5, end: 10 };
        let mut report = PartitionReport::new(0, source, &place(0, 0, 0));
        report.took(5..10, 50);
        assert_eq!((report.copied, report.gone_from_source, report.next_offset), (5, 5, 10));
        assert!(report.verify(&place(10, 0, 5), &path()).is_ok());
        for (what, place) in [
            ("one more", place(10, 0, 6)),
            ("one less", place(10, 0, 4)),
            ("not the end", place(9, 0, 5)),
        ] {
            assert!(report.verify(&place, &path()).is_err(), "{what}");
        }
    }

    #[test]
    fn more_messages_than_offsets_are_told() {
        let mut report = PartitionReport::new(0, Extent { start: 0, end: 3 }, &place(0, 0, 0));
        report.stands_at(&place(3, 0, 4));
        let failure = report.verify(&place(3, 0, 4), &path()).unwrap_err();
        assert!(failure.to_string().contains("twice"), "{failure}");
    }

    #[test]
    fn a_source_that_begins_anew_is_no_disagreement() {
        let mut report = PartitionReport::new(0, Extent { start: 0, end: 9 }, &place(0, 0, 0));
        report.took(0..4, 4);
        report.begins_anew();
        report.took(0..2, 2);
        assert_eq!((report.copied, report.gone_from_source, report.anew), (6, 0, 1));
        assert!(report.verify(&place(2, 0, 6), &path()).is_ok());
    }

    #[test]
    fn what_is_damaged_is_not_gone() {
        let mut report = PartitionReport::new(0, Extent { start: 0, end: 9 }, &place(0, 0, 0));
        report.took(0..2, 2);
        assert!(report.leaves_out(&(2..4)) && !report.leaves_out(&(2..4)));
        report.took(5..7, 2);
        assert!(report.leaves_out(&(7..9)));
        assert_eq!((report.gone_from_source, report.damaged), (1, 4));
        assert!(report.verify(&place(7, 0, 4), &path()).is_ok());
    }

    #[test]
    fn the_target_is_believed_after_a_broken_connection() {
        let mut report = PartitionReport::new(0, Extent { start: 0, end: 9 }, &place(0, 0, 0));
        report.took(0..3, 3);
        report.stands_at(&place(6, 0, 6));
        assert_eq!((report.copied, report.next_offset), (6, 6));
    }
}
