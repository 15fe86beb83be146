//! Consumer offsets: store, get, delete, and what a poll commits.

use galgo_wire::command::{
    ConsumerOffset, DeleteConsumerOffset, GetConsumerOffset, PollMessages, StoreConsumerOffset,
};
use galgo_wire::{
    ConsumerId, ConsumerIdentity, ErrorCode, Identifier, Offset, PartitionId, PollingStrategy,
};

use crate::requests::{
    at, consumer, create_stream, create_topic, delete_offset, get_offset, id, poll, store_offset,
    to,
};
use crate::rig::{Connection, Rig};

/// Five messages in partition 0 of `t`, none in partition 1.
fn with_messages() -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 2)).unwrap();
    root.send("t", to(0), &["0", "1", "2", "3", "4"]).unwrap();
    (rig, root)
}

fn stored(root: &mut Connection, name: &str) -> Option<u64> {
    let found = root.call(&get_offset(name, "t", 0)).unwrap();
    found.map(|found| found.stored_offset.get())
}

#[test]
fn a_stored_offset_is_returned_with_the_last_offset_of_the_partition() {
    let (_rig, mut root) = with_messages();
    assert_eq!(root.call(&get_offset("c", "t", 0)), Ok(None));
    assert_eq!(root.call(&store_offset("c", "t", (0, 3))), Ok(()));
    let expected = ConsumerOffset {
        partition_id: PartitionId::new(0),
        current_offset: Offset::new(4),
        stored_offset: Offset::new(3),
    };
    assert_eq!(root.call(&get_offset("c", "t", 0)), Ok(Some(expected)));
    assert_eq!(root.call(&get_offset("c", "t", 1)), Ok(None), "one for each partition");
    assert_eq!(root.call(&get_offset("d", "t", 0)), Ok(None), "one for each consumer");
}

#[test]
fn an_offset_moves_forth_and_back_but_not_beyond_the_last_message() {
    let (_rig, mut root) = with_messages();
    for offset in [4, 0, 2, 2] {
        root.call(&store_offset("c", "t", (0, offset))).unwrap();
        assert_eq!(stored(&mut root, "c"), Some(offset));
    }
    let beyond = Err(ErrorCode::InvalidOffset);
    assert_eq!(root.call(&store_offset("c", "t", (0, 5))), beyond);
    assert_eq!(root.call(&store_offset("c", "t", (0, u64::MAX))), beyond);
    assert_eq!(root.call(&store_offset("c", "t", (1, 0))), beyond, "the partition is empty");
    assert_eq!(stored(&mut root, "c"), Some(2));
}

#[test]
fn a_deleted_offset_is_gone_and_cannot_be_deleted_again() {
    let (_rig, mut root) = with_messages();
    let missing = Err(ErrorCode::ConsumerOffsetNotFound);
    assert_eq!(root.call(&delete_offset("c", "t", 0)), missing);
    root.call(&store_offset("c", "t", (0, 3))).unwrap();
    root.call(&store_offset("d", "t", (0, 1))).unwrap();
    assert_eq!(root.call(&delete_offset("c", "t", 0)), Ok(()));
    assert_eq!(stored(&mut root, "c"), None);
    assert_eq!(stored(&mut root, "d"), Some(1));
    assert_eq!(root.call(&delete_offset("c", "t", 0)), missing);
    let next =
        root.poll(&PollMessages { consumer: consumer("c"), ..poll("t", 0, PollingStrategy::Next) });
    assert_eq!(next.unwrap().offsets(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_name_is_the_same_consumer_as_its_hash() {
    let (_rig, mut root) = with_messages();
    root.call(&store_offset("orders-reader", "t", (0, 2))).unwrap();
    let number = ConsumerId::from_name("orders-reader").get();
    let by_number = StoreConsumerOffset {
        consumer: ConsumerIdentity::new(Identifier::Numeric(number)),
        ..store_offset("-", "t", (0, 1))
    };
    root.call(&by_number).unwrap();
    assert_eq!(stored(&mut root, "orders-reader"), Some(1));
    root.call(&store_offset("7", "t", (0, 4))).unwrap();
    assert_eq!(stored(&mut root, "orders-reader"), Some(1));
    assert_eq!(stored(&mut root, "7"), Some(4));
}

#[test]
fn without_a_partition_a_consumer_means_partition_0() {
    let (_rig, mut root) = with_messages();
    let store = StoreConsumerOffset { partition_id: None, ..store_offset("c", "t", (0, 2)) };
    root.call(&store).unwrap();
    let get = GetConsumerOffset { partition_id: None, ..get_offset("c", "t", 0) };
    assert_eq!(root.call(&get).unwrap().unwrap().stored_offset, Offset::new(2));
    assert_eq!(stored(&mut root, "c"), Some(2));
    let delete = DeleteConsumerOffset { partition_id: None, ..delete_offset("c", "t", 0) };
    root.call(&delete).unwrap();
    assert_eq!(stored(&mut root, "c"), None);
}

#[test]
fn offsets_of_a_missing_target_are_empty_to_read_and_an_error_to_change() {
    let (_rig, mut root) = with_messages();
    let get = |stream: &str, topic: &str, partition| GetConsumerOffset {
        stream: id(stream),
        ..get_offset("c", topic, partition)
    };
    for command in [get("none", "t", 0), get("s", "none", 0), get("s", "t", 2)] {
        assert_eq!(root.call(&command), Ok(None));
    }
    let cases = [
        ("none", "t", 0, ErrorCode::StreamIdNotFound),
        ("s", "none", 0, ErrorCode::TopicIdNotFound),
        ("s", "t", 2, ErrorCode::PartitionNotFound),
    ];
    for (stream, topic, partition, error) in cases {
        let store = store_offset("c", topic, (partition, 0));
        let store = StoreConsumerOffset { stream: id(stream), ..store };
        assert_eq!(root.call(&store), Err(error));
        let delete = delete_offset("c", topic, partition);
        let delete = DeleteConsumerOffset { stream: id(stream), ..delete };
        assert_eq!(root.call(&delete), Err(error));
    }
}

#[test]
fn offsets_of_a_group_that_does_not_exist_are_missing() {
    let (_rig, mut root) = with_messages();
    let group = || ConsumerIdentity::group(id("g"));
    let missing = ErrorCode::ConsumerGroupIdNotFound;
    let get = GetConsumerOffset { consumer: group(), ..get_offset("c", "t", 0) };
    assert_eq!(root.call(&get), Ok(None));
    let store = StoreConsumerOffset { consumer: group(), ..store_offset("c", "t", (0, 0)) };
    assert_eq!(root.call(&store), Err(missing));
    let delete = DeleteConsumerOffset { consumer: group(), ..delete_offset("c", "t", 0) };
    assert_eq!(root.call(&delete), Err(missing));
    let poll = PollMessages { consumer: group(), ..poll("t", 0, PollingStrategy::First) };
    assert_eq!(root.poll(&poll), Err(missing));
}

#[test]
fn next_goes_on_behind_the_stored_offset() {
    let (_rig, mut root) = with_messages();
    let next = PollMessages { count: 2, ..poll("t", 0, PollingStrategy::Next) };
    assert_eq!(root.poll(&next).unwrap().offsets(), [0, 1], "the oldest when nothing is stored");
    assert_eq!(root.poll(&next).unwrap().offsets(), [0, 1], "nothing was committed");
    root.call(&store_offset("reader", "t", (0, 2))).unwrap();
    assert_eq!(root.poll(&next).unwrap().offsets(), [3, 4]);
    root.call(&store_offset("reader", "t", (0, 4))).unwrap();
    let at_end = root.poll(&next).unwrap();
    assert_eq!((at_end.current_offset, at_end.offsets()), (4, vec![]));
    root.send("t", to(0), &["5"]).unwrap();
    assert_eq!(root.poll(&next).unwrap().offsets(), [5]);
}

#[test]
fn auto_commit_stores_the_last_returned_offset() {
    let (_rig, mut root) = with_messages();
    let next = PollMessages { count: 2, auto_commit: true, ..poll("t", 0, PollingStrategy::Next) };
    for expected in [vec![0, 1], vec![2, 3], vec![4], vec![], vec![]] {
        assert_eq!(root.poll(&next).unwrap().offsets(), expected);
    }
    assert_eq!(stored(&mut root, "reader"), Some(4), "an empty answer stores nothing");
    let other = PollMessages { consumer: consumer("other"), ..next };
    assert_eq!(root.poll(&other).unwrap().offsets(), [0, 1]);
    assert_eq!((stored(&mut root, "other"), stored(&mut root, "reader")), (Some(1), Some(4)));
}

#[test]
fn auto_commit_may_move_the_offset_back() {
    let (_rig, mut root) = with_messages();
    root.call(&store_offset("reader", "t", (0, 4))).unwrap();
    let first = PollMessages { count: 2, auto_commit: true, ..poll("t", 0, at(0)) };
    assert_eq!(root.poll(&first).unwrap().offsets(), [0, 1]);
    assert_eq!(stored(&mut root, "reader"), Some(1));
    let nothing = PollMessages { count: 0, ..first };
    assert_eq!(root.poll(&nothing).unwrap().offsets(), [0_u64; 0]);
    assert_eq!(stored(&mut root, "reader"), Some(1));
}

#[test]
fn offsets_survive_the_connection_that_stored_them() {
    let (rig, mut root) = with_messages();
    root.call(&store_offset("c", "t", (0, 2))).unwrap();
    drop(root);
    assert_eq!(stored(&mut rig.root(), "c"), Some(2));
}
