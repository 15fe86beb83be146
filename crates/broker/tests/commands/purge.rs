//! Purging and deleting: nothing old is seen again, under the old name or a new one.

use std::sync::Arc;

use galgo_broker::offset_book::OffsetBook;
use galgo_broker::partition::{
    AppendContext, Appended, Batch, DeduplicationBounds, IdKey, Partition,
};
use galgo_storage::disk::Disk;
use galgo_storage::file_cache::FileCache;
use galgo_storage::log::{IndexCache, Log, LogOptions};
use galgo_wire::batch::{BatchBuilder, NewMessage};
use galgo_wire::command::{Durability, TopicDetails};
use galgo_wire::id::PartitionUid;
use galgo_wire::{ErrorCode, PartitioningRef, PollingStrategy};

use crate::requests::{
    at, create_stream, create_topic, create_topic_with, delete_offset, delete_topic, get_offset,
    get_stream, get_topic, poll, purge_stream, purge_topic, store_offset, to, topic_settings,
};
use crate::rig::{Connection, Rig, SEGMENT_BYTES};

/// A topic `t` of two partitions with messages and offsets in both.
fn with_messages() -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 2)).unwrap();
    fill(&mut root, "t");
    (rig, root)
}

fn fill(root: &mut Connection, topic: &str) {
    for partition in 0..2 {
        root.send(topic, to(partition), &["old"; 5]).unwrap();
        root.call(&store_offset("reader", topic, (partition, 4))).unwrap();
        root.call(&store_offset("other", topic, (partition, 1))).unwrap();
    }
}

/// Nothing of what was sent or stored is left.
fn assert_empty(root: &mut Connection, topic: &str) {
    let TopicDetails { topic: stored, partitions } =
        root.call(&get_topic("s", topic)).unwrap().unwrap();
    assert_eq!((stored.size, stored.messages_count), (0, 0));
    for found in partitions {
        assert_eq!((found.segments_count, found.current_offset.get()), (1, 0));
        assert_eq!((found.size, found.messages_count), (0, 0));
        let partition = found.id.get();
        for strategy in [PollingStrategy::First, PollingStrategy::Next, PollingStrategy::Last] {
            let polled = root.poll(&poll(topic, partition, strategy)).unwrap();
            assert_eq!((polled.current_offset, polled.messages.len()), (0, 0));
        }
        assert!(root.poll(&poll(topic, partition, at(4))).unwrap().messages.is_empty());
        for name in ["reader", "other"] {
            assert_eq!(root.call(&get_offset(name, topic, partition)), Ok(None));
            let missing = Err(ErrorCode::ConsumerOffsetNotFound);
            assert_eq!(root.call(&delete_offset(name, topic, partition)), missing);
        }
        let empty = root.call(&store_offset("reader", topic, (partition, 0)));
        assert_eq!(empty, Err(ErrorCode::InvalidOffset));
    }
}

#[test]
fn a_purged_topic_is_empty_and_starts_at_offset_0() {
    let (_rig, mut root) = with_messages();
    root.call(&purge_topic("s", "t")).unwrap();
    assert_empty(&mut root, "t");
    root.send("t", to(1), &["new"]).unwrap();
    let polled = root.poll(&poll("t", 1, PollingStrategy::Next)).unwrap();
    assert_eq!((polled.offsets(), polled.texts()), (vec![0], vec!["new".to_owned()]));
    let topic = root.call(&get_topic("s", "t")).unwrap().unwrap().topic;
    assert_eq!((topic.size, topic.messages_count), (67, 1));
}

#[test]
fn a_purged_stream_is_empty_in_all_its_topics() {
    let (_rig, mut root) = with_messages();
    root.call(&create_topic("s", "u", 2)).unwrap();
    fill(&mut root, "u");
    root.call(&create_stream("other")).unwrap();
    root.call(&create_topic("other", "t", 1)).unwrap();
    root.call(&purge_stream("s")).unwrap();
    assert_empty(&mut root, "t");
    assert_empty(&mut root, "u");
    let stream = root.call(&get_stream("s")).unwrap().unwrap().stream;
    assert_eq!((stream.topics_count, stream.size, stream.messages_count), (2, 0, 0));
    root.call(&purge_stream("other")).unwrap();
    root.call(&create_stream("bare")).unwrap();
    assert_eq!(root.call(&purge_stream("bare")), Ok(()), "no topics, nothing to do");
}

#[test]
fn a_purge_keeps_settings_and_the_turn_of_balanced_sends() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("t", 3, Durability::Os)).unwrap();
    root.send("t", PartitioningRef::Balanced, &["to 0"]).unwrap();
    root.call(&purge_topic("s", "t")).unwrap();
    let settings = root.call(&topic_settings("s", "t")).unwrap().unwrap();
    assert_eq!(settings.durability, Some(Durability::Os));
    root.send("t", PartitioningRef::Balanced, &["to 1"]).unwrap();
    assert_eq!(root.poll(&poll("t", 1, PollingStrategy::First)).unwrap().texts(), ["to 1"]);
}

#[test]
fn what_was_purged_or_deleted_stays_away_after_a_restart() {
    let (rig, mut root) = with_messages();
    root.call(&purge_topic("s", "t")).unwrap();
    root.call(&create_topic("s", "u", 2)).unwrap();
    fill(&mut root, "u");
    root.call(&delete_topic("s", "u")).unwrap();
    root.call(&create_topic("s", "u", 2)).unwrap();
    drop(root);
    let rig = rig.kill();
    let mut root = rig.root();
    assert_empty(&mut root, "t");
    assert_empty(&mut root, "u");
    drop(root);
    let rig = rig.restart();
    let mut root = rig.root();
    assert_empty(&mut root, "t");
    assert_empty(&mut root, "u");
}

#[test]
fn a_topic_of_the_same_name_sees_nothing_of_the_deleted_one() {
    let (rig, mut root) = with_messages();
    for tick_between in [false, true] {
        root.call(&delete_topic("s", "t")).unwrap();
        assert_eq!(root.call(&get_topic("s", "t")), Ok(None));
        let gone = ErrorCode::TopicIdNotFound;
        assert_eq!(root.send("t", to(0), &["late"]), Err(gone));
        assert_eq!(root.poll(&poll("t", 0, PollingStrategy::First)), Err(gone));
        assert_eq!(root.call(&store_offset("reader", "t", (0, 0))), Err(gone));
        if tick_between {
            rig.broker.tick();
        }
        let created = root.call(&create_topic("s", "t", 2)).unwrap();
        assert_eq!(created.topic.id.get(), 0, "the id is given again");
        assert_empty(&mut root, "t");
        if !tick_between {
            rig.broker.tick();
        }
        assert_empty(&mut root, "t");
        fill(&mut root, "t");
        assert_eq!(root.poll(&poll("t", 0, PollingStrategy::First)).unwrap().texts(), ["old"; 5]);
    }
}

#[test]
fn a_send_that_waits_for_its_commit_does_not_reach_the_purged_topic() {
    let (rig, mut root) = with_messages();
    let small = root.submit_send("t", to(0), &["staged"]);
    let large = root.submit_send("t", to(1), &["x".repeat(2_000).as_str()]);
    root.call(&purge_topic("s", "t")).unwrap();
    assert!(root.finish(small).is_ok(), "it was sent before the purge");
    assert!(root.finish(large).is_ok(), "it was sent before the purge");
    assert_empty(&mut root, "t");
    rig.broker.tick();
    assert_empty(&mut root, "t");
    root.send("t", to(0), &["new"]).unwrap();
    drop(root);
    let rig = rig.kill();
    let polled = rig.root().poll(&poll("t", 0, PollingStrategy::First)).unwrap();
    assert_eq!(polled.texts(), ["new"]);
    let polled = rig.root().poll(&poll("t", 1, PollingStrategy::First)).unwrap();
    assert!(polled.messages.is_empty());
}

/// The files of a purged partition were removed before a batch that had been staged in it was synced.
/// The sync failed, the sender got an error of the disk, and the operator was told of a bad one.
#[test]
fn a_send_whose_files_are_purged_before_its_commit_was_sent_before_the_purge() {
    let (rig, mut root) = with_messages();
    let large = root.submit_send("t", to(1), &["x".repeat(2_000).as_str()]);
    root.call(&purge_topic("s", "t")).unwrap();
    rig.broker.tick();
    assert!(root.finish(large).is_ok());
    assert_empty(&mut root, "t");
    assert_eq!(rig.broker.counters().partitions_fenced, 0);
}

#[test]
fn a_closed_partition_takes_no_batch() {
    let rig = Rig::new();
    let disk: Arc<dyn Disk> = Arc::new(rig.disk.clone());
    let options = LogOptions {
        dir: "/data/partitions/closed".into(),
        segment_bytes: SEGMENT_BYTES,
        index_interval_bytes: 256,
        indexes: Arc::new(IndexCache::new(1 << 16)),
        name: Arc::default(),
    };
    let log = Log::create(Arc::clone(&disk), FileCache::new(disk, 4), options);
    let (uid, shard) = (PartitionUid::new(99), Arc::clone(rig.broker.shards().first()));
    let partition = Partition::new(uid, shard, log, OffsetBook::default(), Durability::Os);
    let partition = Arc::new(partition);
    let mut batch = BatchBuilder::new();
    batch.push(&NewMessage { payload: b"x", ..NewMessage::default() }).unwrap();
    let append = || {
        let (indexes, messages) = batch.parts();
        let mut messages = messages.to_vec();
        let batch = Batch { count: 1, indexes, messages: &mut messages };
        let context = AppendContext {
            clock: &*rig.environment,
            id_key: IdKey::new(7),
            deduplication: DeduplicationBounds { entries_max: 100, expiry_us: 60_000_000 },
        };
        partition.append(batch, context).unwrap()
    };
    assert!(matches!(append(), Appended::Published(_)));
    partition.close();
    assert!(matches!(append(), Appended::Closed));
    assert_eq!((partition.high_watermark().get(), partition.stats().messages), (1, 1));
}
