//! The two ways to find the index entries of a batch, against each other.
//!
//! INV-INDEX: entries found by the index block are those that a walk over the headers finds.

use super::*;
use galgo_wire::batch::{BatchBuilder, NewMessage, StampOptions, stamp};
use proptest::prelude::*;

const BASE: Offset = Offset::new(40);

/// Tip, marker and entries after some batches, each noted by the walk or by its index block.
type Outcome = (Tip, IndexMarker, Vec<IndexEntry>);

fn append(batches: &[Vec<usize>], interval: u32, by_block: bool) -> Outcome {
    let (mut tip, mut entries) = (Tip::empty(BASE, Timestamp::new(3)), Vec::new());
    let mut marker = IndexMarker::new(interval, None);
    for (sizes, time) in batches.iter().zip(5..) {
        let mut builder = BatchBuilder::new();
        for size in sizes {
            let payload = vec![7; *size];
            builder.push(&NewMessage { payload: &payload, ..NewMessage::default() }).unwrap();
        }
        let (indexes, messages) = builder.parts();
        let (mut messages, count, timestamp) = (messages.to_vec(), builder.len(), time);
        let timestamp = Timestamp::new(timestamp);
        let options = StampOptions { first_offset: tip.end, timestamp, new_id: &mut |_| 9 };
        let stamped = stamp(indexes, &mut messages, count, options).unwrap();
        tip = if by_block {
            let walked = WalkedBatch { indexes, checksums: stamped.checksums };
            let (base_offset, bytes) = (tip.end, &*messages);
            let walked = Some(walked);
            let batch = AppendBatch { base_offset, count, timestamp, bytes, walked };
            let walked = batch.walked.unwrap();
            mark_batch(tip, &batch, walked, &mut marker, &mut entries).unwrap()
        } else {
            check_batch(tip, &messages, count, &mut marker, &mut entries).unwrap()
        };
    }
    (tip, marker, entries)
}

proptest! {
    #[test]
    fn the_index_block_gives_the_entries_that_the_headers_give(
        batches in prop::collection::vec(prop::collection::vec(0_usize..300, 1..20), 1..6),
        interval in 1_u32..2_000,
    ) {
        let (walked, by_block) = (append(&batches, interval, false), append(&batches, interval, true));
        prop_assert!(!walked.2.is_empty());
        prop_assert_eq!(walked, by_block);
    }
}

#[test]
fn an_index_block_of_other_messages_is_refused() {
    let tip = Tip::empty(BASE, Timestamp::new(3));
    let block = [[0_u8, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; 2].concat();
    for (indexes, len) in [(&block[..], 64), (&block[..16], 65), (&block[..15], 64), (&[], 0)] {
        let (bytes, timestamp) = (vec![0; len], Timestamp::new(3));
        let walked = WalkedBatch { indexes, checksums: 0 };
        let batch = AppendBatch {
            base_offset: BASE,
            count: 1,
            timestamp,
            bytes: &bytes,
            walked: Some(walked),
        };
        let (mut marker, mut entries) = (IndexMarker::new(1, None), Vec::new());
        let marked = mark_batch(tip, &batch, walked, &mut marker, &mut entries);
        assert_eq!(marked, Err(0));
        assert_eq!(entries, []);
    }
}
