//! Streams, topics, partitions and stored offsets.

use crate::harness::Server;

#[test]
fn a_stream_lives_from_create_to_delete() {
    let server = Server::start();
    assert!(server.ok("stream list").out.contains("there are no streams"));
    let created = server.ok("stream create orders");
    assert_eq!(created.out, "stream orders created, number 0\n");
    let list = server.ok("stream list").out;
    assert!(list.starts_with("ID  NAME    TOPICS  MESSAGES  SIZE  CREATED\n"), "{list}");
    assert!(list.contains(" 0  orders       0         0   0 B  20"), "{list}");
    server.ok("stream update orders sales");
    assert_eq!(server.json("stream get 0")["name"], "sales");
    server.ok("stream delete sales --yes");
    assert_eq!(server.json("stream list").as_array().map(Vec::len), Some(0));
}

#[test]
fn a_topic_shows_the_settings_it_was_given() {
    let server = Server::start();
    server.ok("stream create s");
    server.ok("topic create s t --partitions 3 --durability os --expiry 7days --max-size 10GiB");
    let shown = server.ok("topic get s t").out;
    let shown: Vec<Vec<&str>> =
        shown.lines().map(|line| line.split_whitespace().collect()).collect();
    for expected in [["durability", "os"], ["message_expiry", "7days"]] {
        assert!(shown.contains(&expected.to_vec()), "{shown:?}");
    }
    let topic = server.json("topic get s t");
    assert_eq!(topic["partitions_count"], 3);
    assert_eq!(topic["durability"], "os");
    assert_eq!(topic["partitions"].as_array().map(Vec::len), Some(3));
}

#[test]
fn an_update_changes_what_was_given_and_keeps_the_rest() {
    let server = Server::start();
    server.ok("stream create s");
    server.ok("topic create s t --durability os --expiry 7days --max-size 10GiB");
    server.ok("topic update s t --name u");
    server.ok("topic update s u --expiry never");
    let topic = server.json("topic get s u");
    assert!(topic["expiry_us"].is_null(), "{topic}");
    assert_eq!(topic["max_size_bytes"], 10u64 << 30);
    assert_eq!(topic["durability"], "os");
    let refused = server.run("topic update s u").fails(2);
    assert!(refused.err.contains("nothing to change"), "{}", refused.err);
}

#[test]
fn partitions_are_added_and_removed() {
    let server = Server::with_topic(1);
    server.ok("partition create s t --count 3");
    assert_eq!(server.json("topic get s t")["partitions_count"], 4);
    server.ok("partition delete s t --count 2 --yes");
    assert_eq!(server.json("topic get s t")["partitions_count"], 2);
}

#[test]
fn a_purge_empties_a_topic_and_offsets_start_again() {
    let server = Server::with_topic(1);
    server.send("", b"one\ntwo\n");
    server.ok("topic purge s t --yes");
    assert_eq!(server.json("topic get s t")["messages_count"], 0);
    server.send("", b"three\n");
    assert_eq!(server.json("poll s t --partition 0 --first")["messages"][0]["offset"], 0);
    server.ok("stream purge s --yes");
    assert_eq!(server.json("stream get s")["messages_count"], 0);
}

#[test]
fn a_stored_offset_is_read_set_and_deleted() {
    let server = Server::with_topic(1);
    server.send("", b"a\nb\nc\n");
    let missing = server.run("offset get s t --partition 0 --consumer me").fails(4);
    assert!(missing.err.contains("does not exist"), "{}", missing.err);
    server.ok("offset set s t --partition 0 --consumer me 1");
    let stored = server.json("offset get s t --partition 0 --consumer me");
    assert_eq!((&stored["stored_offset"], &stored["last_offset"]), (&1.into(), &2.into()));
    let next = server.json("poll s t --partition 0 --consumer me --next");
    assert_eq!(next["messages"][0]["payload"], "c");
    server.ok("offset delete s t --partition 0 --consumer me --yes");
    server.run("offset delete s t --partition 0 --consumer me --yes").fails(4);
}

#[test]
fn deleting_wants_yes_without_a_terminal() {
    let server = Server::with_topic(1);
    for line in [
        "stream delete s",
        "stream purge s",
        "topic delete s t",
        "topic purge s t",
        "partition delete s t --count 1",
    ] {
        let refused = server.run(line).fails(2);
        assert!(refused.err.contains("--yes"), "{line}: {}", refused.err);
    }
    assert_eq!(server.json("topic get s t")["partitions_count"], 1);
}

#[test]
fn the_server_tells_about_itself() {
    let server = Server::with_topic(2);
    assert!(server.ok("ping").out.contains("answered in"));
    assert_eq!(server.json("ping -c 5")["count"], 5);
    let stats = server.json("stats");
    assert_eq!((&stats["streams_count"], &stats["partitions_count"]), (&1.into(), &2.into()));
    assert!(server.ok("stats").out.contains("partitions"));
    assert!(server.ok("me").out.contains("address"));
    assert_eq!(server.json("clients").as_array().map(Vec::len), Some(1));
    assert!(server.ok("clients").out.contains("tcp"));
}
