//! What a restart keeps, and what starts anew with it.

use galgo_wire::command::{Durability, GetClients, GetStreams};
use galgo_wire::{ErrorCode, PartitioningRef, PollingStrategy, UserId};

use crate::requests::{
    create_partitions, create_stream, create_topic, create_topic_with, delete_stream, get_offset,
    get_stream, get_topic, poll, purge_topic, store_offset, to, topic_settings, update_topic,
};
use crate::rig::{PASSWORD, Rig, login};

/// Streams 0 and 2, with topics that were changed in every way.
fn with_everything() -> Rig {
    let rig = Rig::new();
    let mut root = rig.root();
    for name in ["s", "gap", "t"] {
        rig.environment.advance_us(1);
        root.call(&create_stream(name)).unwrap();
    }
    root.call(&delete_stream("gap")).unwrap();
    root.call(&create_topic_with("a", 2, Durability::Os)).unwrap();
    root.call(&create_topic("s", "b", 1)).unwrap();
    root.call(&update_topic("s", "b", "renamed")).unwrap();
    root.call(&create_partitions("s", "renamed", 2)).unwrap();
    root.send("a", PartitioningRef::Balanced, &["a0"]).unwrap();
    root.send("renamed", to(2), &["old"]).unwrap();
    root.call(&purge_topic("s", "renamed")).unwrap();
    root.send("renamed", to(2), &["0", "1", "2"]).unwrap();
    root.send("renamed", to(1), &["x".repeat(5_000).as_str()]).unwrap();
    root.call(&store_offset("c", "renamed", (2, 1))).unwrap();
    root.call(&store_offset("c", "a", (0, 0))).unwrap();
    rig
}

/// All replies that describe what is stored.
fn everything(rig: &Rig) -> Vec<String> {
    let mut root = rig.root();
    let mut found = vec![format!("{:?}", root.call(&GetStreams {}))];
    for stream in ["s", "t"] {
        found.push(format!("{:?}", root.call(&get_stream(stream))));
    }
    for topic in ["a", "renamed"] {
        found.push(format!("{:?}", root.call(&get_topic("s", topic))));
        found.push(format!("{:?}", root.call(&topic_settings("s", topic))));
        for partition in 0..3 {
            found.push(format!("{:?}", root.poll(&poll(topic, partition, PollingStrategy::First))));
            found.push(format!("{:?}", root.call(&get_offset("c", topic, partition))));
        }
    }
    found
}

#[test]
fn an_orderly_restart_changes_nothing() {
    let rig = with_everything();
    let before = everything(&rig);
    let rig = rig.restart();
    assert!(!rig.report.created);
    assert_eq!(rig.report.partitions, 5);
    assert!(rig.report.recovered.is_empty(), "nothing to recover: {:?}", rig.report.recovered);
    assert_eq!(everything(&rig), before);
    let rig = rig.restart();
    assert_eq!(everything(&rig), before);
}

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let rig = with_everything();
    let before = everything(&rig);
    let rig = rig.kill();
    assert_eq!(everything(&rig), before);
    let rig = rig.kill();
    assert_eq!(everything(&rig), before);
    assert_eq!(everything(&rig.restart()), before);
}

#[test]
fn clients_logins_and_turns_start_anew() {
    let rig = with_everything();
    let rig = rig.restart();
    let mut caller = rig.connect();
    assert_eq!(caller.call(&GetClients {}), Err(ErrorCode::Unauthenticated));
    assert_eq!(caller.call(&login("root", PASSWORD)).unwrap().user_id, UserId::ROOT);
    assert_eq!(caller.call(&GetClients {}).unwrap().len(), 1);
    caller.send("a", PartitioningRef::Balanced, &["a1"]).unwrap();
    let polled = caller.poll(&poll("a", 0, PollingStrategy::First)).unwrap();
    assert_eq!(polled.texts(), ["a0", "a1"]);
    assert_eq!(caller.call(&create_stream("next")).unwrap().stream.id.get(), 1, "the gap");
}

#[test]
fn a_topic_goes_on_where_it_was() {
    let rig = with_everything().restart();
    let mut root = rig.root();
    root.send("renamed", to(2), &["3"]).unwrap();
    let polled = root.poll(&poll("renamed", 2, PollingStrategy::First)).unwrap();
    assert_eq!((polled.offsets(), polled.current_offset), (vec![0, 1, 2, 3], 3));
    drop(root);
    let rig = rig.kill();
    let polled = rig.root().poll(&poll("renamed", 2, PollingStrategy::First)).unwrap();
    assert_eq!(polled.texts(), ["0", "1", "2", "3"]);
}

#[test]
fn another_root_password_of_a_later_start_is_not_looked_at() {
    let rig = Rig::open_with(Rig::new().disk.kill_image(), "another");
    assert!(!rig.report.created);
    let refused = rig.connect().call(&login("root", "another")).unwrap_err();
    assert_eq!(refused, ErrorCode::InvalidCredentials);
    assert!(rig.connect().call(&login("root", PASSWORD)).is_ok());
}
