//! Polling: every strategy at its edges.

use galgo_broker::{Answer, Outcome, Reply, Slice};
use galgo_wire::command::{CommandCode, Durability, Payload, PollMessages};
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::requests::{
    Polled, at, create_stream, create_topic, create_topic_with, id, poll, since, to,
};
use crate::rig::{Connection, Rig, START_US};

/// Three batches of three messages each in `t`, a millisecond between them, segments rolling.
fn with_batches() -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("t", 2, Durability::Os)).unwrap();
    for batch in 0..3 {
        let payload = format!("batch {batch} {}", "x".repeat(1_300));
        root.send("t", to(0), &[payload.as_str(); 3]).unwrap();
        rig.environment.advance_us(1_000);
    }
    (rig, root)
}

fn offsets(root: &mut Connection, strategy: PollingStrategy, count: u32) -> Vec<u64> {
    let polled = root.poll(&PollMessages { count, ..poll("t", 0, strategy) }).unwrap();
    assert_eq!((polled.partition, polled.current_offset), (0, 8));
    polled.offsets()
}

#[test]
fn offset_starts_at_the_offset() {
    let (_rig, mut root) = with_batches();
    assert_eq!(offsets(&mut root, at(0), 100), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(offsets(&mut root, at(0), 1), [0]);
    assert_eq!(offsets(&mut root, at(2), 3), [2, 3, 4], "over the border of two segments");
    assert_eq!(offsets(&mut root, at(8), 100), [8]);
    assert_eq!(offsets(&mut root, at(9), 100), [0_u64; 0]);
    assert_eq!(offsets(&mut root, at(u64::MAX), u32::MAX), [0_u64; 0]);
    assert_eq!(offsets(&mut root, at(7), u32::MAX), [7, 8]);
}

#[test]
fn first_starts_with_the_oldest_and_last_ends_with_the_newest() {
    let (_rig, mut root) = with_batches();
    assert_eq!(offsets(&mut root, PollingStrategy::First, 4), [0, 1, 2, 3]);
    assert_eq!(offsets(&mut root, PollingStrategy::Last, 1), [8]);
    assert_eq!(offsets(&mut root, PollingStrategy::Last, 4), [5, 6, 7, 8]);
    assert_eq!(offsets(&mut root, PollingStrategy::Last, 9), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let all = offsets(&mut root, PollingStrategy::Last, 1_000);
    assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, 7, 8], "fewer than asked for");
    assert_eq!(offsets(&mut root, PollingStrategy::Last, u32::MAX), all);
}

#[test]
fn timestamp_starts_with_the_first_message_that_is_not_older() {
    let (_rig, mut root) = with_batches();
    let cases = [
        (0, 0),
        (START_US, 0),
        (START_US + 1, 3),
        (START_US + 999, 3),
        (START_US + 1_000, 3),
        (START_US + 1_001, 6),
        (START_US + 2_000, 6),
    ];
    for (time, first) in cases {
        let found = offsets(&mut root, since(time), 2);
        assert_eq!(found, [first, first + 1], "since {time}");
    }
    for time in [START_US + 2_001, u64::MAX] {
        assert_eq!(offsets(&mut root, since(time), 2), [0_u64; 0], "later than all");
    }
}

#[test]
fn a_count_of_0_is_a_header_alone() {
    let (_rig, mut root) = with_batches();
    let strategies =
        [at(0), since(0), PollingStrategy::First, PollingStrategy::Last, PollingStrategy::Next];
    for strategy in strategies {
        assert_eq!(offsets(&mut root, strategy, 0), [0_u64; 0], "{strategy}");
    }
}

#[test]
fn an_empty_partition_answers_with_a_header_alone() {
    let (_rig, mut root) = with_batches();
    let strategies =
        [at(0), since(0), PollingStrategy::First, PollingStrategy::Last, PollingStrategy::Next];
    for strategy in strategies {
        let polled = root.poll(&poll("t", 1, strategy)).unwrap();
        assert_eq!(polled, Polled { partition: 1, current_offset: 0, messages: Vec::new() });
    }
}

#[test]
fn without_a_partition_a_consumer_reads_partition_0() {
    let (_rig, mut root) = with_batches();
    let command = PollMessages { partition_id: None, ..poll("t", 1, PollingStrategy::First) };
    let polled = root.poll(&command).unwrap();
    assert_eq!((polled.partition, polled.messages.len()), (0, 9));
}

#[test]
fn a_missing_target_is_an_error_even_for_a_count_of_0() {
    let (_rig, mut root) = with_batches();
    let command = PollMessages { count: 0, ..poll("t", 2, PollingStrategy::First) };
    assert_eq!(root.poll(&command), Err(ErrorCode::PartitionNotFound));
    let command = poll("none", 0, PollingStrategy::First);
    assert_eq!(root.poll(&command), Err(ErrorCode::TopicIdNotFound));
    let command = PollMessages { stream: id("none"), ..poll("t", 0, PollingStrategy::First) };
    assert_eq!(root.poll(&command), Err(ErrorCode::StreamIdNotFound));
    root.call(&create_topic("s", "empty", 0)).unwrap();
    let command = poll("empty", 0, PollingStrategy::First);
    assert_eq!(root.poll(&command), Err(ErrorCode::PartitionNotFound));
}

#[test]
fn an_unknown_strategy_or_kind_of_consumer_is_an_invalid_command() {
    let (_rig, mut root) = with_batches();
    let bytes = poll("t", 0, PollingStrategy::First).to_bytes();
    let code = CommandCode::PollMessages;
    let strategy = bytes.len() - 1 - 4 - 9;
    for (position, value) in [(strategy, 0), (strategy, 6), (0, 0), (0, 3)] {
        let mut bytes = bytes.clone();
        bytes[position] = value;
        assert_eq!(root.call_bytes(code, &bytes), Err(ErrorCode::InvalidCommand));
    }
    for cut in 0..bytes.len() {
        let cut = root.call_bytes(code, &bytes[..cut]);
        assert!(matches!(cut, Err(ErrorCode::InvalidCommand | ErrorCode::InvalidFormat)));
    }
    let longer = [bytes.as_slice(), b"ignored"].concat();
    assert_eq!(root.call_bytes(code, &longer), Ok(()));
}

#[test]
fn a_poll_reads_from_the_disk_what_the_page_cache_does_not_hold() {
    let (rig, mut root) = with_batches();
    let warm = root.poll(&poll("t", 0, PollingStrategy::First)).unwrap();
    drop(root);
    let rig = rig.restart();
    rig.disk.drop_caches();
    let mut root = rig.root();
    assert_eq!(root.poll(&poll("t", 0, PollingStrategy::First)).unwrap(), warm);
    assert_eq!(offsets(&mut root, at(4), 2), [4, 5]);
    assert_eq!(offsets(&mut root, since(START_US + 1), 1), [3]);
    assert_eq!(offsets(&mut root, PollingStrategy::Last, 1), [8]);
    let commits =
        PollMessages { auto_commit: true, count: 4, ..poll("t", 0, PollingStrategy::Next) };
    assert_eq!(root.poll(&commits).unwrap().offsets(), [0, 1, 2, 3]);
    assert_eq!(root.poll(&commits).unwrap().offsets(), [4, 5, 6, 7]);
}

/// Each client that reads cold messages slowly held megabytes of the server's memory meanwhile.
#[test]
fn large_answers_from_the_disk_wait_in_the_page_cache() {
    let (rig, mut root) = with_batches();
    root.send("t", to(1), &["x".repeat(100_000).as_str()]).unwrap();
    drop(root);
    let rig = rig.restart();
    rig.disk.drop_caches();
    let mut root = rig.root();
    let Outcome::Offload(job) = root.submit(&poll("t", 1, PollingStrategy::First)) else {
        panic!("what is not in the page cache is read elsewhere")
    };
    let outcome = job.run(&rig.broker, &mut root.session);
    let Outcome::Answer(Answer { after: None, reply: Reply::Messages(messages) }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(matches!(messages.slices[..], [Slice::File { .. }]), "{messages:?}");
    assert_eq!(root.poll(&poll("t", 1, PollingStrategy::First)).unwrap().texts()[0].len(), 100_000);
}

/// INV-VERIFIED.
#[test]
fn a_damaged_message_is_never_served() {
    let (rig, root) = with_batches();
    drop(root);
    let rig = rig.restart();
    let log = rig.partition_files().into_iter().find(|path| path.ends_with(LOG_OF_BATCH_1));
    rig.disk.flip_bit(&log.unwrap(), 100, 3).unwrap();
    rig.disk.drop_caches();
    let mut root = rig.root();
    let good = offsets(&mut root, at(0), 3);
    assert_eq!(good, [0, 1, 2], "what lies before the damage");
    let damaged = root.poll(&poll("t", 0, at(3)));
    assert_eq!(damaged, Err(ErrorCode::InvalidMessageChecksum));
    assert_eq!(offsets(&mut root, at(6), 3), [6, 7, 8], "what lies behind the damage");
}

/// A batch is a little more than a segment, so that each has one to itself.
const LOG_OF_BATCH_1: &str = "00000000000000000003.log";
