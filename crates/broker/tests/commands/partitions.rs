//! Partitions that come and go, and the files they leave.

use galgo_wire::command::{Partition, TopicDetails};
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::requests::{
    create_partitions, create_stream, create_topic, delete_partitions, delete_stream, delete_topic,
    get_offset, get_topic, poll, purge_topic, store_offset, to,
};
use crate::rig::{Connection, Rig};

/// A broker with the topic `t` in stream `s`, and root.
fn with_topic(partitions: u32) -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", partitions)).unwrap();
    (rig, root)
}

fn details(root: &mut Connection) -> TopicDetails {
    root.call(&get_topic("s", "t")).unwrap().unwrap()
}

fn texts(root: &mut Connection, partition: u32) -> Vec<String> {
    root.poll(&poll("t", partition, PollingStrategy::First)).unwrap().texts()
}

#[test]
fn partitions_are_added_behind_the_highest_id() {
    let (rig, mut root) = with_topic(1);
    root.send("t", to(0), &["kept"]).unwrap();
    rig.environment.advance_us(9);
    assert_eq!(root.send("t", to(1), &["too early"]), Err(ErrorCode::PartitionNotFound));
    root.call(&create_partitions("s", "t", 2)).unwrap();
    let TopicDetails { topic, partitions } = details(&mut root);
    assert_eq!((topic.partitions_count, topic.messages_count), (3, 1));
    let ids: Vec<_> = partitions.iter().map(|partition| partition.id.get()).collect();
    assert_eq!(ids, [0, 1, 2]);
    assert_eq!(partitions[2].created_at.get(), topic.created_at.get() + 9);
    root.send("t", to(2), &["new"]).unwrap();
    assert_eq!(texts(&mut root, 0), ["kept"]);
    assert_eq!(texts(&mut root, 2), ["new"]);
}

/// INV-CATALOG.
#[test]
fn the_highest_partitions_are_removed_with_their_messages_and_offsets() {
    let (_rig, mut root) = with_topic(3);
    for partition in 0..3 {
        root.send("t", to(partition), &["old"]).unwrap();
        root.call(&store_offset("c", "t", (partition, 0))).unwrap();
    }
    root.call(&delete_partitions("s", "t", 2)).unwrap();
    let TopicDetails { topic, partitions } = details(&mut root);
    assert_eq!((topic.partitions_count, topic.messages_count, partitions.len()), (1, 1, 1));
    assert_eq!(root.send("t", to(1), &["gone"]), Err(ErrorCode::PartitionNotFound));
    let gone = root.poll(&poll("t", 2, PollingStrategy::First));
    assert_eq!(gone, Err(ErrorCode::PartitionNotFound));
    assert_eq!(root.call(&get_offset("c", "t", 1)), Ok(None));

    root.call(&create_partitions("s", "t", 2)).unwrap();
    assert_eq!(texts(&mut root, 0), ["old"]);
    assert_eq!(root.call(&get_offset("c", "t", 0)).unwrap().unwrap().stored_offset.get(), 0);
    for partition in [1, 2] {
        assert!(texts(&mut root, partition).is_empty(), "a new partition is empty");
        assert_eq!(root.call(&get_offset("c", "t", partition)), Ok(None));
        let Partition { segments_count, current_offset, size, messages_count, .. } =
            details(&mut root).partitions[partition as usize];
        assert_eq!((segments_count, current_offset.get(), size, messages_count), (1, 0, 0, 0));
    }
}

#[test]
fn the_number_of_partitions_to_add_or_remove_has_bounds() {
    let (_rig, mut root) = with_topic(2);
    let too_many = Err(ErrorCode::TooManyPartitions);
    assert_eq!(root.call(&create_partitions("s", "t", 0)), too_many);
    assert_eq!(root.call(&create_partitions("s", "t", 1001)), too_many);
    assert_eq!(root.call(&delete_partitions("s", "t", 0)), too_many);
    let more = Err(ErrorCode::InvalidPartitionsCount);
    assert_eq!(root.call(&delete_partitions("s", "t", 3)), more);
    assert_eq!(root.call(&delete_partitions("s", "t", u32::MAX)), more);
    assert_eq!(details(&mut root).partitions.len(), 2);
    root.call(&delete_partitions("s", "t", 2)).unwrap();
    assert_eq!(details(&mut root).partitions.len(), 0);
    root.call(&create_partitions("s", "t", 1000)).unwrap();
    assert_eq!(details(&mut root).partitions.len(), 1000);
}

#[test]
fn partitions_of_a_missing_target_are_not_found() {
    let (_rig, mut root) = with_topic(2);
    let (stream, topic) = (ErrorCode::StreamIdNotFound, ErrorCode::TopicIdNotFound);
    assert_eq!(root.call(&create_partitions("none", "t", 1)), Err(stream));
    assert_eq!(root.call(&create_partitions("s", "none", 1)), Err(topic));
    assert_eq!(root.call(&delete_partitions("none", "t", 1)), Err(stream));
    assert_eq!(root.call(&delete_partitions("s", "none", 1)), Err(topic));
}

#[test]
fn empty_partitions_cost_no_files() {
    let (rig, mut root) = with_topic(1000);
    assert!(rig.partition_files().is_empty());
    root.send("t", to(5), &["one"]).unwrap();
    let logs = rig.partition_files();
    let logs: Vec<_> =
        logs.iter().filter(|path| path.extension() == Some("log".as_ref())).collect();
    assert_eq!(logs.len(), 1);
}

#[test]
fn files_of_what_was_deleted_or_purged_vanish_with_the_next_tick() {
    let (rig, mut root) = with_topic(3);
    root.call(&create_topic("s", "kept", 1)).unwrap();
    root.send("kept", to(0), &["kept"]).unwrap();
    let kept = rig.partition_files();
    let fill = |root: &mut Connection| {
        for partition in 0..3 {
            for _ in 0..3 {
                root.send("t", to(partition), &["x".repeat(4_000).as_str()]).unwrap();
            }
        }
    };
    fill(&mut root);
    assert!(rig.partition_files().len() > kept.len() + 3, "several segments each");

    root.call(&delete_partitions("s", "t", 2)).unwrap();
    rig.broker.tick();
    assert_eq!(texts(&mut root, 0).len(), 3, "the partition that stays is not touched");
    root.call(&purge_topic("s", "t")).unwrap();
    rig.broker.tick();
    assert_eq!(rig.partition_files(), kept);

    root.call(&create_partitions("s", "t", 2)).unwrap();
    fill(&mut root);
    root.call(&delete_topic("s", "t")).unwrap();
    rig.broker.tick();
    assert_eq!(rig.partition_files(), kept);

    root.call(&delete_stream("s")).unwrap();
    rig.broker.tick();
    assert_eq!(rig.partition_files(), [] as [std::path::PathBuf; 0]);
    rig.broker.tick();
}

#[test]
fn a_removal_that_was_cut_short_is_repeated_after_the_start() {
    let (rig, mut root) = with_topic(1);
    root.send("t", to(0), &["old"]).unwrap();
    root.call(&delete_topic("s", "t")).unwrap();
    drop(root);
    let rig = rig.kill();
    assert!(!rig.partition_files().is_empty());
    assert_eq!(rig.report.unknown, [] as [String; 0], "they are known, and known to be removed");
    rig.broker.tick();
    assert!(rig.partition_files().is_empty());
}
