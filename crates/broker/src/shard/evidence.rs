//! Evidence of how far partitions came whose messages are in no batch of the journal: large batches,
//! and topics whose messages rest in the page cache.
//!
//! A recovery needs it to tell damage from a write that was cut short (see
//! [`galgo_storage::log::Evidence`]). It rides on the next bundle, or on one of its own when the committer
//! has nothing else to do, which waits for no sync and which nobody waits for. Once in a tick what was
//! evidence of a sync is synced itself.
//!
//! INV-EVIDENCE: an end on record was published, and if it says so, synced, before it was staged.

use std::collections::BTreeMap;

use galgo_wire::id::{Offset, PartitionUid};
use galgo_wire::index::to_usize;

use super::ShardRecord;

/// Bytes one end takes in a bundle.
const RECORD_BYTES: u64 = 24;
/// Most ends in one bundle; the others go with the next.
const ENDS_PER_BUNDLE_MAX: u64 = 4_096;
const _: () = assert!(
    RECORD_BYTES * ENDS_PER_BUNDLE_MAX <= 128 << 10,
    "evidence that rides along makes no bundle much larger"
);

/// Ends of partitions, those that a sync covered beside those that were only written.
type Ends = BTreeMap<(PartitionUid, Synced), Offset>;
/// Whether a sync covered an end.
type Synced = bool;

/// Ends that wait for a bundle.
#[derive(Debug, Default)]
pub(super) struct PendingEnds {
    ends: Ends,
    /// A bundle is to be written now, whether or not anything else is staged.
    pub(super) due: bool,
}

impl PendingEnds {
    pub(super) fn note(&mut self, uid: PartitionUid, end: Offset, synced: Synced) {
        // Only ever further: an older note that comes late says less than what is known.
        let known = self.ends.entry((uid, synced)).or_insert(end);
        *known = end.max(*known);
    }

    /// Appends as many as fit to a bundle; whether any says that something was synced.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>, bytes_max: u64) -> bool {
        let before = out.len() as u64;
        let room = bytes_max.saturating_sub(before) / RECORD_BYTES;
        let room = to_usize(room.min(ENDS_PER_BUNDLE_MAX));
        // What has no room stays, and goes back to the round that gathers.
        let rest = match self.ends.keys().nth(room).copied() {
            Some(first) => self.ends.split_off(&first),
            None => Ends::new(),
        };
        let mut any_synced = false;
        for ((uid, synced), end) in std::mem::replace(&mut self.ends, rest) {
            any_synced |= synced;
            ShardRecord::EndReached { uid, end, synced }.encode(out);
        }
        assert!(
            out.len() as u64 <= bytes_max.max(before),
            "INV-EVIDENCE: an end takes the bytes it is counted with"
        );
        any_synced
    }

    /// Takes back in what found no room, unless newer ends are known by now.
    pub(super) fn put_back(&mut self, other: &mut Self) {
        for ((uid, synced), end) in std::mem::take(&mut other.ends) {
            self.note(uid, end, synced);
            // Nobody may have anything to commit for long, and what is left is to be on record
            // soon.
            self.due = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::decode_bundle;

    #[test]
    fn what_finds_no_room_goes_with_the_next_bundle() {
        let mut ends = PendingEnds::default();
        for uid in 1..=5 {
            ends.note(PartitionUid::new(uid), Offset::new(uid * 10), uid % 2 == 0);
        }
        let mut bundle = vec![0; 10];
        assert!(ends.encode(&mut bundle, 10 + 3 * RECORD_BYTES + 5));
        assert_eq!(bundle.len() as u64, 10 + 3 * RECORD_BYTES, "the size of a record");
        let mut pending = PendingEnds::default();
        pending.note(PartitionUid::new(5), Offset::new(51), false);
        pending.put_back(&mut ends);
        assert!(pending.due);
        let mut bundle = Vec::new();
        pending.encode(&mut bundle, 1 << 20);
        let mut seen = Vec::new();
        decode_bundle(&bundle, &mut |_, record| seen.push(record)).unwrap();
        let end = |uid, end, synced| {
            let (uid, end) = (PartitionUid::new(uid), Offset::new(end));
            ShardRecord::EndReached { uid, end, synced }
        };
        assert_eq!(seen, [end(4, 40, true), end(5, 51, false)]);
    }

    /// INV-EVIDENCE.
    #[test]
    fn an_end_that_was_only_written_does_not_pass_for_a_synced_one() {
        let uid = PartitionUid::new(1);
        let mut ends = PendingEnds::default();
        ends.note(uid, Offset::new(5), false);
        ends.note(uid, Offset::new(4), true);
        assert_eq!(ends.ends.get(&(uid, true)), Some(&Offset::new(4)));
    }
}
