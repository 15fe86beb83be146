//! Statistics: counts of everything, exact at rest.

use galgo_wire::command::{GetStats, Stats};

use crate::requests::{
    create_partitions, create_stream, create_topic, delete_partitions, delete_stream, purge_topic,
    to,
};
use crate::rig::{Connection, Rig, START_US};

/// Streams, topics, partitions, segments; messages and their bytes.
fn counts(root: &mut Connection) -> ([u32; 4], [u64; 2]) {
    let stats = root.call(&GetStats {}).unwrap();
    let Stats { streams_count, topics_count, partitions_count, segments_count, .. } = stats;
    assert_eq!(stats.consumer_groups_count, 0);
    let entities = [streams_count, topics_count, partitions_count, segments_count];
    (entities, [stats.messages_count, stats.messages_size_bytes])
}

#[test]
fn stats_count_what_is_there() {
    let rig = Rig::new();
    let mut root = rig.root();
    assert_eq!(counts(&mut root), ([0, 0, 0, 0], [0, 0]));
    root.call(&create_stream("s")).unwrap();
    root.call(&create_stream("empty")).unwrap();
    root.call(&create_topic("s", "t", 2)).unwrap();
    root.call(&create_topic("s", "u", 0)).unwrap();
    assert_eq!(counts(&mut root), ([2, 2, 2, 2], [0, 0]), "an empty partition has a segment");

    root.send("t", to(0), &["hello", "world"]).unwrap();
    assert_eq!(counts(&mut root), ([2, 2, 2, 2], [2, 138]));
    root.send("t", to(0), &["x".repeat(4_000).as_str()]).unwrap();
    root.send("t", to(0), &["x"]).unwrap();
    let (entities, messages) = counts(&mut root);
    assert_eq!((&entities[..3], messages), (&[2, 2, 2][..], [4, 138 + 4_064 + 65]));
    assert!(entities[3] > 2, "the segment was full");

    root.call(&purge_topic("s", "t")).unwrap();
    assert_eq!(counts(&mut root), ([2, 2, 2, 2], [0, 0]));
    root.call(&create_partitions("s", "u", 3)).unwrap();
    root.send("u", to(2), &["x"]).unwrap();
    assert_eq!(counts(&mut root), ([2, 2, 5, 5], [1, 65]));
    root.call(&delete_partitions("s", "u", 1)).unwrap();
    assert_eq!(counts(&mut root), ([2, 2, 4, 4], [0, 0]));
    root.call(&delete_stream("s")).unwrap();
    assert_eq!(counts(&mut root), ([1, 0, 0, 0], [0, 0]));
}

#[test]
fn stats_tell_of_the_process_and_its_time() {
    let rig = Rig::new();
    let mut root = rig.root();
    let other = rig.connect();
    rig.environment.advance_us(1_234);
    let stats = root.call(&GetStats {}).unwrap();
    assert_eq!((stats.run_time, stats.start_time.get()), (1_234, START_US));
    assert_eq!((stats.process_id, stats.clients_count), (std::process::id(), 2));
    assert_eq!((stats.server_version.as_str(), stats.server_semver), ("0.8.0", 8_000));
    assert!(stats.memory_usage > 0 && stats.total_memory >= stats.available_memory);
    assert!(stats.threads_count >= 1 && stats.cache_metrics.is_empty());
    assert!(!stats.os_name.is_empty() && !stats.kernel_version.is_empty());
    drop(other);
    assert_eq!(root.call(&GetStats {}).unwrap().clients_count, 1);
}
