//! Segments, retention, snapshots and clients.

use crate::harness::{Server, run};

/// A server with small segments and a topic whose partition 0 has several sealed ones.
fn with_segments() -> Server {
    let server = Server::start_with(&[
        ("GALGO_STORAGE_SEGMENT_BYTES", "64 KiB"),
        ("GALGO_RETENTION_ENABLED", "false"),
    ]);
    server.ok("stream create s");
    server.ok("topic create s t");
    let line = [b"x".repeat(999).as_slice(), b"\n"].concat();
    server.send("--batch 10", &line.repeat(300));
    server
}

#[test]
fn the_oldest_segments_are_deleted_by_hand() {
    let server = with_segments();
    let before = server.json("topic get s t")["partitions"][0]["segments_count"].as_u64().unwrap();
    assert!(before > 2, "{before}");
    server.run("segment delete s t 0 --count 1").fails(2);
    let done = server.json("segment delete s t 0 --count 1 --yes");
    assert_eq!(done["segments_after"], before - 1);
    assert!(done["messages"].as_u64().unwrap() > 0);
    let said = server.ok("segment delete s t 0 --count 1000 --yes").out;
    assert!(said.contains("it has 1 segment"), "{said}");
    let missing = server.run("segment delete s t 7 --count 1 --yes").fails(4);
    assert!(missing.err.contains("partition 7"), "{}", missing.err);
}

#[test]
fn who_holds_a_segment_is_named() {
    let server = with_segments();
    server.ok("group create s t slow");
    server.ok("offset set s t --partition 0 --group slow 3");
    let said = server.ok("segment delete s t 0 --count 1 --yes").out;
    assert!(said.contains("group slow has processed messages up to offset 3 only"), "{said}");
    server.ok("topic retention s t --expiry 1s --max-size unlimited");
    crate::harness::eventually("the plan names the group", || {
        server.ok("topic retention s t --dry-run").out.contains("by group slow at offset 3")
    });
    server.ok("group delete s t slow --yes");
    server.ok("offset set s t --partition 0 --consumer me 3");
    let said = server.ok("segment delete s t 0 --count 1 --yes").out;
    assert!(said.contains("a consumer with a stored offset"), "{said}");
    server.ok("offset delete s t --partition 0 --consumer me --yes");
    server.ok("segment delete s t 0 --count 1000 --yes");
    let said = server.ok("segment delete s t 0 --count 1 --yes").out;
    assert!(said.contains("one segment, which is being written to"), "{said}");
}

/// Whoever had mended the disk had to wait and to look into the server's log for what became of a partition.
#[test]
fn a_partition_that_takes_no_writes_is_rescued_on_request() {
    let mut server = Server::with_topic(2);
    server.send("--partition 1 --batch 1", b"a\n");
    let said = server.ok("partition rescue s t").out;
    assert!(
        said.contains("2 partitions of topic t of stream s") && said.contains("all take writes"),
        "{said}"
    );
    assert_eq!(server.json("partition rescue s t 1")[0]["outcome"], "healthy");
    server.run("partition rescue s t 7").fails(4);
    server.run("partition rescue s none 0").fails(4);

    server.stop();
    let partitions = std::fs::read_dir(server.data_dir().join("partitions")).unwrap();
    let mut partitions: Vec<_> = partitions.map(|entry| entry.unwrap().path()).collect();
    partitions.sort();
    let log = partitions.pop().unwrap().join("00000000000000000000.log");
    let aside = server.data_dir().join("aside");
    std::fs::rename(&log, &aside).unwrap();
    std::fs::create_dir(&log).unwrap();
    server.restart();
    let stuck = server.run("partition rescue s t").fails_with_output(1);
    assert!(
        stuck.out.contains("partition 1 of topic t of stream s takes no writes: "),
        "{}",
        stuck.out
    );
    assert!(
        stuck.out.contains("the log of the server says why")
            && !stuck.out.contains(".log")
            && !stuck.out.contains("partition 0"),
        "{}",
        stuck.out
    );
    assert!(stuck.err.contains("1 partition of topic t of stream s still"), "{}", stuck.err);
    assert!(stuck.err.contains("the server tries again by itself, next in"), "{}", stuck.err);

    std::fs::remove_dir(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    let rescued = server.json("partition rescue s t 1");
    let (next_try, cause) = (&rescued[0]["next_try_us"], &rescued[0]["cause"]);
    assert_eq!((next_try, cause.is_null()), (&0.into(), true), "{rescued}");
    assert_eq!((&rescued[0]["outcome"], &rescued[0]["end"]), (&"rescued".into(), &1.into()));
    server.send("--partition 1 --batch 1", b"b\n");
}

#[test]
fn retention_is_shown_before_it_happens() {
    let server = with_segments();
    let calm = server.ok("topic retention s t --dry-run").out;
    assert!(calm.contains("nothing would go now") && calm.contains("switched off"), "{calm}");
    let preview = server.json("topic retention s t --dry-run --max-size 1KiB");
    assert!(preview["going_messages"].as_u64().unwrap() > 0, "{preview}");
    assert_eq!(preview["plan"]["max_size_bytes"], 1_024);
    let before = server.json("topic get s t");
    assert_ne!(before["max_size_bytes"], 1_024, "{before}");
    server.ok("topic retention s t --expiry 1s --max-size unlimited");
    assert_eq!(server.json("topic get s t")["expiry_us"], 1_000_000);
    let mut plan = server.json("topic retention s t --dry-run");
    crate::harness::eventually("the messages are old enough", || {
        plan = server.json("topic retention s t --dry-run");
        plan["going_messages"].as_u64().unwrap() > 0
    });
    assert_eq!(plan["dry_run"], true);
    let shown = server.ok("topic retention s t --dry-run").out;
    assert!(shown.contains("messages kept for") && shown.contains(" go, "), "{shown}");
    assert_eq!(server.json("topic get s t")["messages_count"], 300);
    let missing = server.run("topic retention s nowhere --dry-run").fails(4);
    assert!(missing.err.contains("nowhere"), "{}", missing.err);
}

#[test]
fn deduplication_is_set_and_shown() {
    let server = Server::start();
    server.ok("stream create s");
    server.ok("topic create s t --deduplication on");
    assert_eq!(server.json("topic get s t")["deduplication"], "on");
    server.ok("topic update s t --deduplication off");
    let option = |name: &str| {
        let shown = server.ok("topic get s t").out;
        let line = shown.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.map(|value| value.trim().to_owned())
    };
    assert_eq!(option("deduplication").as_deref(), Some("off"));
    server.ok("topic set s t deduplication=on");
    assert_eq!(server.json("topic get s t")["deduplication"], "on");
    server.ok("topic update s t --deduplication default --segment-max-age 90m --set max_size=1GiB");
    assert_eq!(option("deduplication").as_deref(), Some("off"));
    assert_eq!(option("segment.max_age").as_deref(), Some("1h 30m"));
    assert_eq!(option("max_size").as_deref(), Some("1 GiB"));
    assert_eq!(option("retention.hold_for").as_deref(), Some("7days (default)"));
    server.ok("topic update s t --name u");
    server.ok(
        "topic update s u --name t --hold-for never --segment-max-age default --deduplication on",
    );
    assert_eq!(option("segment.max_age").as_deref(), Some("never (default)"));
    server.ok("topic update s t --name t --deduplication default --segment-max-age 90m");
    assert_eq!(option("deduplication").as_deref(), Some("off"));
    assert_eq!(
        option("segment.max_age").as_deref(),
        Some("1h 30m"),
        "a new name changes nothing else"
    );
    assert_eq!(option("retention.hold_for").as_deref(), Some("never"));
    server.ok("topic create s made --durability os --hold-consumers on");
    assert!(server.ok("topic get s made").out.contains("retention.hold_consumers  on\n"));
    let refused = server.run("topic set s t durability=raid").fails(4);
    assert!(refused.err.contains("\"fsync\" or \"os\""), "{}", refused.err);
    server.run("topic create s no --set nonsense=1").fails(4);
    server.run("topic create s no --durability raid").fails(2);
    server.run("topic update s t --expiry=").fails(2);
    server.run("topic update s t").fails(2);
}

#[test]
fn a_snapshot_is_written_once_and_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.zip");
    let mut command = server.command("snapshot --output json --types test --out");
    command.arg(&file);
    let done = run(command).ok().json();
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(done["bytes"], bytes.len());
    assert!(bytes.starts_with(b"PK"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut command = server.command("snapshot --out");
    command.arg(&file);
    let refused = run(command).fails(2);
    assert!(refused.err.contains("there already"), "{}", refused.err);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_client_is_shown_by_its_number() {
    let server = Server::start();
    let me = server.json("client me");
    assert_eq!(me["transport"], "tcp");
    assert_eq!(server.json("client list").as_array().map(Vec::len), Some(1));
    let gone = server.run(&format!("client get {}", me["client_id"])).fails(4);
    assert!(gone.err.contains("galgo client list"), "{}", gone.err);
}
