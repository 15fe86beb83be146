//! What was copied, and whether the target agrees.

use serde::Serialize;

use crate::command::topic::{Extent, TopicPath};
use crate::failure::{Failure, Outcome};
use crate::mirror::place::Place;

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
    /// The offset of the source that comes next.
    pub(crate) next_offset: u64,
    #[serde(skip)]
    target_end_before: u64,
    #[serde(skip)]
    source_end: u64,
}

impl PartitionReport {
    /// A copy that begins at `place`; `source` is what there is to copy.
    pub(crate) fn new(partition: u32, source: Extent, place: &Place) -> Self {
        Self {
            partition,
            there_before: place.held.end - place.held.start,
            copied: 0,
            bytes: 0,
            gone_from_source: 0,
            next_offset: place.next,
            target_end_before: place.held.end,
            source_end: source.end,
        }
    }

    /// The target tells where it stands: after a broken connection it may hold more than was
    /// acknowledged.
    pub(super) fn stands_at(&mut self, place: &Place) {
        self.copied = place.held.end.saturating_sub(self.target_end_before);
        self.next_offset = place.next;
    }

    /// Messages with these offsets were acknowledged.
    pub(super) fn took(&mut self, offsets: impl Iterator<Item = u64>, bytes: u64) {
        for offset in offsets {
            self.gone_from_source += offset.saturating_sub(self.next_offset);
            self.next_offset = offset.saturating_add(1);
            self.copied += 1;
        }
        self.bytes += bytes;
    }

    /// Whether the target, which now stands at `place`, holds what was copied and nothing else.
    pub(super) fn verify(&self, place: &Place, target: &TopicPath) -> Outcome {
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
        if place.next != self.next_offset || place.next < self.source_end {
            return wrong(format!(
                "has the source up to offset {}, which ends at {}",
                place.next, self.source_end
            ));
        }
        let held = place.held.end - place.held.start;
        match place.span {
            Some((first, last)) if held > (last + 1).saturating_sub(first) => wrong(format!(
                "holds {held} messages for the offsets {first} to {last}: some are there twice"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(next: u64, start: u64, end: u64, span: Option<(u64, u64)>) -> Place {
        Place { next, held: Extent { start, end }, span }
    }

    fn path() -> TopicPath {
        TopicPath { stream: "s".parse().unwrap(), topic: "t".parse().unwrap() }
    }

    #[test]
    fn a_copy_agrees_when_nothing_is_missing_and_nothing_is_twice() {
        let source = Extent { start: 5, end: 10 };
        let mut report = PartitionReport::new(0, source, &place(0, 0, 0, None));
        report.took(5..10, 50);
        assert_eq!((report.copied, report.gone_from_source, report.next_offset), (5, 5, 10));
        assert!(report.verify(&place(10, 0, 5, Some((5, 9))), &path()).is_ok());
        for (what, place) in [
            ("one more", place(10, 0, 6, Some((5, 9)))),
            ("one less", place(10, 0, 4, Some((5, 9)))),
            ("not the end", place(9, 0, 5, Some((5, 8)))),
        ] {
            assert!(report.verify(&place, &path()).is_err(), "{what}");
        }
    }

    #[test]
    fn more_messages_than_offsets_are_told() {
        let report = PartitionReport::new(0, Extent { start: 0, end: 3 }, &place(3, 0, 4, None));
        let failure = report.verify(&place(3, 0, 4, Some((0, 2))), &path()).unwrap_err();
        assert!(failure.to_string().contains("twice"), "{failure}");
    }

    #[test]
    fn the_target_is_believed_after_a_broken_connection() {
        let mut report =
            PartitionReport::new(0, Extent { start: 0, end: 9 }, &place(0, 0, 0, None));
        report.took(0..3, 3);
        report.stands_at(&place(6, 0, 6, Some((0, 5))));
        assert_eq!((report.copied, report.next_offset), (6, 6));
    }
}
