//! Sending: where batches go and what becomes of their messages.

use galgo_wire::batch::NewMessage;
use galgo_wire::command::{CommandCode, Topic};
use galgo_wire::{
    ErrorCode, IdentifierRef, PartitionId, PartitioningRef, PollingStrategy, Timestamp,
    key_partition,
};

use crate::requests::{
    Polled, create_partitions, create_stream, create_topic, flush, get_topic, get_topics, id, poll,
    to,
};
use crate::rig::{Connection, Rig, START_US, send_payload};

fn with_topic(partitions: u32) -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", partitions)).unwrap();
    (rig, root)
}

fn read(root: &mut Connection, partition: u32) -> Polled {
    root.poll(&poll("t", partition, PollingStrategy::First)).unwrap()
}

fn counts(root: &mut Connection) -> Vec<u64> {
    let details = root.call(&get_topic("s", "t")).unwrap().unwrap();
    details.partitions.iter().map(|partition| partition.messages_count).collect()
}

#[test]
fn balanced_batches_take_the_partitions_in_turn() {
    let (_rig, mut root) = with_topic(3);
    for sent in 0..7 {
        let text = sent.to_string();
        root.send("t", PartitioningRef::Balanced, &[text.as_str(), "and one more"]).unwrap();
    }
    assert_eq!(counts(&mut root), [6, 4, 4], "a batch stays together");
    let firsts = |polled: Polled| polled.texts().into_iter().step_by(2).collect::<Vec<_>>();
    assert_eq!(firsts(read(&mut root, 0)), ["0", "3", "6"]);
    assert_eq!(firsts(read(&mut root, 1)), ["1", "4"]);
    assert_eq!(firsts(read(&mut root, 2)), ["2", "5"]);
}

#[test]
fn each_topic_counts_its_own_turns() {
    let (_rig, mut root) = with_topic(2);
    root.call(&create_topic("s", "u", 2)).unwrap();
    root.send("t", PartitioningRef::Balanced, &["t0"]).unwrap();
    root.send("u", PartitioningRef::Balanced, &["u0"]).unwrap();
    root.send("t", PartitioningRef::Balanced, &["t1"]).unwrap();
    assert_eq!(counts(&mut root), [1, 1]);
    assert_eq!(root.poll(&poll("u", 0, PollingStrategy::First)).unwrap().texts(), ["u0"]);
}

#[test]
fn a_key_chooses_by_its_xxh32() {
    let (_rig, mut root) = with_topic(7);
    for (key, hash) in [("abc", 852_579_327_u32), ("a", 1_426_945_110), ("user-42", 1_635_883_646)]
    {
        let before = counts(&mut root);
        root.send("t", PartitioningRef::Key(key.as_bytes()), &[key]).unwrap();
        let partition = hash % 7;
        assert_eq!(key_partition(key.as_bytes(), 7), Some(PartitionId::new(partition)));
        let mut expected = before;
        expected[partition as usize] += 1;
        assert_eq!(counts(&mut root), expected, "{key}");
    }
    let longest = [0xff; 255];
    root.send("t", PartitioningRef::Key(&longest), &["longest"]).unwrap();
}

#[test]
fn a_missing_target_takes_no_messages() {
    let (_rig, mut root) = with_topic(2);
    assert_eq!(root.send("t", to(2), &["x"]), Err(ErrorCode::PartitionNotFound));
    assert_eq!(root.send("none", to(0), &["x"]), Err(ErrorCode::TopicIdNotFound));
    let mut payload = send_payload("t", to(0), &[NewMessage::default()]);
    payload[6] = b'?';
    let missing = root.call_bytes(CommandCode::SendMessages, &payload);
    assert_eq!(missing, Err(ErrorCode::StreamIdNotFound));
    assert_eq!(counts(&mut root), [0, 0]);
}

#[test]
fn a_topic_without_partitions_takes_no_messages() {
    let (_rig, mut root) = with_topic(0);
    let balanced = root.send("t", PartitioningRef::Balanced, &["x"]);
    assert_eq!(balanced, Err(ErrorCode::TopicIdNotFound), "as classic servers answer");
    let keyed = root.send("t", PartitioningRef::Key(b"k"), &["x"]);
    assert_eq!(keyed, Err(ErrorCode::NoPartitions));
    assert_eq!(root.send("t", to(0), &["x"]), Err(ErrorCode::PartitionNotFound));
    root.call(&create_partitions("s", "t", 1)).unwrap();
    root.send("t", PartitioningRef::Key(b"k"), &["x"]).unwrap();
    root.send("t", PartitioningRef::Balanced, &["x"]).unwrap();
    assert_eq!(counts(&mut root), [2]);
}

#[test]
fn messages_keep_what_the_client_set_and_get_what_the_server_sets() {
    let (rig, mut root) = with_topic(1);
    rig.environment.advance_us(50);
    let messages = [
        NewMessage { id: 0, payload: b"no id", ..NewMessage::default() },
        NewMessage {
            id: u128::MAX - 1,
            payload: b"",
            user_headers: b"any bytes at all",
            origin_timestamp: Timestamp::new(123),
        },
        NewMessage { id: 0, payload: &[0xff, 0], ..NewMessage::default() },
    ];
    let payload = send_payload("t", to(0), &messages);
    root.call_bytes(CommandCode::SendMessages, &payload).unwrap();
    rig.environment.advance_us(1);
    root.send("t", to(0), &["later"]).unwrap();

    let Polled { current_offset, messages: found, .. } = read(&mut root, 0);
    assert_eq!(current_offset, 3);
    assert_eq!(found.iter().map(|m| m.offset).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let times: Vec<_> = found.iter().map(|m| m.timestamp_us - START_US).collect();
    assert_eq!(times, [50, 50, 50, 51], "one time for a whole batch");
    assert_eq!((found[1].id, found[1].origin_us), (u128::MAX - 1, 123));
    assert_eq!((found[0].origin_us, found[0].payload.as_slice()), (0, b"no id".as_slice()));
    assert_eq!(found[1].user_headers, b"any bytes at all");
    assert_eq!((found[1].payload.len(), found[2].payload.as_slice()), (0, &[0xff, 0][..]));
    let ids = [found[0].id, found[2].id, found[3].id];
    assert!(ids.iter().all(|id| *id != 0) && ids[0] != ids[1] && ids[1] != ids[2]);
}

#[test]
fn time_never_goes_back_within_a_partition() {
    let (rig, mut root) = with_topic(1);
    rig.environment.advance_us(1_000);
    root.send("t", to(0), &["early"]).unwrap();
    drop(root);
    // The clock of the next start is behind.
    let rig = rig.restart();
    let mut root = rig.root();
    root.send("t", to(0), &["late"]).unwrap();
    let times: Vec<_> = read(&mut root, 0).messages.iter().map(|m| m.timestamp_us).collect();
    assert_eq!(times, [START_US + 1_000, START_US + 1_000]);
}

#[test]
fn a_client_may_set_offsets_and_reserved_bytes_and_they_are_overwritten() {
    let (_rig, mut root) = with_topic(1);
    let mut payload =
        send_payload("t", to(0), &[NewMessage { payload: b"x", ..NewMessage::default() }]);
    let message = payload.len() - 65;
    payload[message + 24] = 9;
    payload[message + 32] = 9;
    payload[message + 56] = 9;
    root.call_bytes(CommandCode::SendMessages, &payload).unwrap();
    let polled = read(&mut root, 0);
    assert_eq!(polled.offsets(), [0]);
    assert_eq!(polled.messages[0].timestamp_us, START_US);
}

#[test]
fn many_batches_roll_many_segments_and_come_back_in_order() {
    let (rig, mut root) = with_topic(1);
    let texts: Vec<String> = (0..60).map(|n| format!("{n} {}", "y".repeat(n * 10))).collect();
    for batch in texts.chunks(3) {
        let batch: Vec<_> = batch.iter().map(String::as_str).collect();
        root.send("t", to(0), &batch).unwrap();
    }
    let partition = root.call(&get_topic("s", "t")).unwrap().unwrap().partitions[0];
    let bytes: usize = texts.iter().map(|text| 64 + text.len()).sum();
    assert_eq!((partition.messages_count, partition.size), (60, bytes as u64));
    assert_eq!(partition.current_offset.get(), 59);
    assert!(partition.segments_count > 3);
    assert_eq!(read(&mut root, 0).texts(), texts);
    let counters = rig.broker.counters();
    assert_eq!((counters.messages_appended, counters.bytes_appended), (60, bytes as u64));
}

#[test]
fn sizes_of_a_topic_are_the_sums_over_its_partitions() {
    let (_rig, mut root) = with_topic(3);
    root.send("t", to(0), &["a", "b"]).unwrap();
    root.send("t", to(2), &["c"]).unwrap();
    let details = root.call(&get_topic("s", "t")).unwrap().unwrap();
    let Topic { size, messages_count, .. } = details.topic.clone();
    assert_eq!((size, messages_count), (3 * 65, 3));
    let sizes: Vec<_> = details.partitions.iter().map(|p| p.size).collect();
    assert_eq!(sizes, [130, 0, 65]);
    assert_eq!(root.call(&get_topics("s")).unwrap(), [details.topic]);
}

#[test]
fn a_flush_finds_its_partition_or_says_what_is_missing() {
    let (_rig, mut root) = with_topic(1);
    for fsync in [false, true] {
        assert_eq!(root.call(&flush("t", 0, fsync)), Ok(()), "an empty partition");
        root.send("t", to(0), &["x"]).unwrap();
        assert_eq!(root.call(&flush("t", 0, fsync)), Ok(()));
        assert_eq!(root.call(&flush("t", 1, fsync)), Err(ErrorCode::PartitionNotFound));
        assert_eq!(root.call(&flush("none", 0, fsync)), Err(ErrorCode::TopicIdNotFound));
        let mut missing = flush("t", 0, fsync);
        missing.stream = id("none");
        assert_eq!(root.call(&missing), Err(ErrorCode::StreamIdNotFound));
    }
}

#[test]
fn stream_and_topic_may_be_named_by_number() {
    let (_rig, mut root) = with_topic(1);
    let mut batch = galgo_wire::batch::BatchBuilder::new();
    batch.push(&NewMessage { payload: b"x", ..NewMessage::default() }).unwrap();
    let mut payload = Vec::new();
    let zero = IdentifierRef::Numeric(0);
    batch.encode_send(zero, zero, to(0), &mut payload);
    root.call_bytes(CommandCode::SendMessages, &payload).unwrap();
    let mut command = poll("0", 0, PollingStrategy::First);
    command.stream = id("0");
    assert_eq!(root.poll(&command).unwrap().offsets(), [0]);
}
