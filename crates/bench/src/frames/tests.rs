//! PreparedFrames are what a server expects, and amounts are what is in them.

use super::*;

fn load(sizes: (u32, u32), batch: u32, is_stamped: bool) -> Load {
    Load { sizes: Sizes { min: sizes.0, max: sizes.1 }, batch, is_stamped, seed: 1 }
}

fn places(count: u32) -> Vec<Spot> {
    (0..count).map(|partition| Spot { stream: 0, topic: 0, partition }).collect()
}

/// The whole bytes of a frame.
fn bytes(frame: &PreparedFrame<'_>) -> Vec<u8> {
    [frame.head, frame.body].concat()
}

#[test]
fn a_frame_has_the_length_it_says() {
    for (places_count, sizes, batch) in
        [(1, (100, 100), 1), (3, (1, 900), 7), (50, (1000, 1000), 1000), (2, (10, 20), 1)]
    {
        let names = StreamNames::new("b");
        let load = load(sizes, batch, false);
        let mut frames = PreparedFrames::build(&names, &places(places_count), load).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let (frame, amounts) = frames.next(Duration::ZERO).unwrap();
            let bytes = bytes(&frame);
            let header = RequestHeader::read(*bytes.first_chunk().unwrap()).unwrap();
            assert_eq!(header.payload_len as usize, bytes.len() - REQUEST_HEADER_BYTES);
            assert_eq!(amounts.messages, u64::from(batch));
            let smallest = u64::from(sizes.0) * u64::from(batch);
            assert!((smallest..=u64::from(sizes.1) * u64::from(batch)).contains(&amounts.bytes));
            if let Some(whole) = frame.whole {
                assert_eq!(whole, &bytes);
            }
            seen.insert(amounts.bytes);
        }
        assert_eq!(seen.len() > 1, sizes.0 != sizes.1);
    }
}

#[test]
fn every_message_of_a_latency_run_carries_when_it_was_due() {
    let mut frames =
        PreparedFrames::build(&StreamNames::new("b"), &places(2), load((8, 30), 3, true)).unwrap();
    for seconds in [1, 2, 3] {
        let due = Duration::from_secs(seconds);
        let (frame, _) = frames.next(due).unwrap();
        let indexes = 3 * galgo_wire::limits::INDEX_ENTRY_BYTES;
        let messages: Vec<_> =
            MessagesView::new(&frame.body[indexes..]).map(Result::unwrap).collect();
        assert_eq!(messages.len(), 3);
        assert!(messages.iter().all(|message| stamp_of(message.payload) == Some(due)));
    }
    assert_eq!(stamp_of(b"short"), None);
}

#[test]
fn sizes_reach_both_ends() {
    let mut lengths = Lengths { state: 9, sizes: Sizes { min: 3, max: 6 } };
    let seen: std::collections::BTreeSet<usize> = (0..100).map(|_| lengths.next()).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
}
