//! When a batch is full and which one a message joins.

use super::*;
use crate::Message;

const LINGER: Duration = Duration::from_millis(10);

struct Fixture {
    batcher: Batcher,
    start: Instant,
}

impl Fixture {
    fn new(messages: u32, bytes: usize) -> Self {
        let batcher = Batcher::new(BatchLimits { messages, bytes, linger: LINGER });
        Self { batcher, start: Instant::now() }
    }

    fn push(&mut self, lane: SendLane, after_ms: u64, tracking: Tracking) -> Pushed {
        let message = Message::new(vec![0; 20]);
        let entry = BatcherEntry {
            lane,
            message: &message.encode().unwrap(),
            origin_timestamp: Timestamp::ZERO,
            now: self.at(after_ms),
            room: 100,
            tracking,
        };
        self.batcher.push(&entry).unwrap()
    }

    fn at(&self, after_ms: u64) -> Instant {
        self.start + Duration::from_millis(after_ms)
    }

    /// Number, lane and length of every batch that can be taken.
    fn take(&mut self, after_ms: u64) -> Vec<(u64, SendLane, u32)> {
        let now = self.at(after_ms);
        std::iter::from_fn(|| self.batcher.take(now, |_| false))
            .map(|batch| (batch.number, batch.lane, batch.messages.len()))
            .collect()
    }
}

const A: SendLane = SendLane::Partition(0);
const B: SendLane = SendLane::Partition(1);

#[test]
fn a_batch_is_taken_when_it_is_full_or_due() {
    let mut fixture = Fixture::new(3, 10_000);
    assert!(fixture.push(A, 0, Tracking::None).news);
    assert!(!fixture.push(A, 1, Tracking::None).news);
    assert_eq!(fixture.take(9), []);
    assert_eq!(fixture.batcher.next_due(|_| false), Some(fixture.at(10)));
    assert_eq!(fixture.take(10), [(0, A, 2)]);
    for _ in 0..4 {
        fixture.push(A, 20, Tracking::None);
    }
    assert_eq!(fixture.take(20), [(1, A, 3)]);
    assert_eq!(fixture.take(30), [(2, A, 1)]);
    assert_eq!(fixture.batcher.next_due(|_| false), None);
}

#[test]
fn a_message_that_does_not_fit_opens_the_next_batch() {
    // A message of 20 bytes takes 100.
    let mut fixture = Fixture::new(100, 250);
    for _ in 0..5 {
        fixture.push(A, 0, Tracking::None);
    }
    assert_eq!(fixture.take(0), [(0, A, 2), (1, A, 2)]);
    assert_eq!(fixture.take(10), [(2, A, 1)]);
}

#[test]
fn lanes_do_not_mix_and_keep_their_order() {
    let mut fixture = Fixture::new(2, 10_000);
    for lane in [A, B, SendLane::Balanced, B, A, A] {
        fixture.push(lane, 0, Tracking::None);
    }
    assert_eq!(fixture.take(0), [(1, B, 2), (0, A, 2)]);
    fixture.push(B, 5, Tracking::None);
    assert_eq!(fixture.take(10), [(2, SendLane::Balanced, 1), (3, A, 1)]);
    assert_eq!(fixture.take(15), [(4, B, 1)]);
}

#[test]
fn somebody_who_waits_ends_the_linger() {
    let mut fixture = Fixture::new(100, 10_000);
    fixture.push(A, 0, Tracking::Receipt);
    assert_eq!(fixture.take(1), []);
    assert!(fixture.push(A, 2, Tracking::Waiting).news);
    fixture.push(A, 2, Tracking::None);
    assert_eq!(fixture.take(2), [(0, A, 3)]);
}

#[test]
fn closing_all_leaves_nothing_to_linger() {
    let mut fixture = Fixture::new(100, 10_000);
    fixture.push(B, 0, Tracking::None);
    fixture.push(A, 0, Tracking::None);
    let upto = fixture.batcher.close_all();
    assert_eq!(upto, 2);
    assert!(!fixture.batcher.is_settled_below(upto));
    fixture.push(A, 0, Tracking::None);
    assert_eq!(fixture.take(0), [(0, B, 1), (1, A, 1)]);
    fixture.batcher.settle(1);
    assert!(!fixture.batcher.is_settled_below(upto));
    fixture.batcher.settle(0);
    assert!(fixture.batcher.is_settled_below(upto), "what came later does not count");
    assert!(!fixture.batcher.is_settled_below(u64::MAX));
}

#[tokio::test]
async fn every_receipt_of_a_batch_hears_the_verdict() {
    let mut fixture = Fixture::new(3, 10_000);
    let receipts: Vec<Receipt> = [Tracking::Receipt, Tracking::None, Tracking::Waiting]
        .into_iter()
        .filter_map(|tracking| fixture.push(A, 0, tracking).receipt)
        .collect();
    let now = fixture.at(0);
    let mut batch = fixture.batcher.take(now, |_| false).unwrap();
    assert_eq!((receipts.len(), batch.room), (2, 300));
    batch.judge(Ok(()));
    for receipt in receipts {
        receipt.await.unwrap();
    }
}
