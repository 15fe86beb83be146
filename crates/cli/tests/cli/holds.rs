//! Stored offsets: listed, whose they are, and what they hold.

use crate::harness::{Server, eventually, run};

/// Small segments, retention that looks all the time, and a topic full of old messages.
fn with_old_messages() -> Server {
    let server = Server::start_with(&[
        ("GALGO_STORAGE_SEGMENT_BYTES", "64 KiB"),
        ("GALGO_RETENTION_INTERVAL", "1s"),
    ]);
    server.ok("stream create s");
    server.ok("topic create s t");
    server.ok("group create s t g");
    let line = [b"x".repeat(999).as_slice(), b"\n"].concat();
    server.send("--batch 10 --partition 0", &line.repeat(300));
    server
}

fn messages(server: &Server) -> u64 {
    server.json("topic get s t")["messages_count"].as_u64().unwrap()
}

#[test]
fn a_consumer_holds_nothing_a_group_does_and_a_topic_can_say_otherwise() {
    let server = with_old_messages();
    server.ok("offset set s t --partition 0 --consumer me 3");
    server.ok("offset set s t --partition 0 --group g 199");
    server.ok("topic retention s t --expiry 1s --max-size unlimited");
    eventually("what only a consumer has not read is gone", || messages(&server) < 300);
    eventually("the plan names the group, and until when", || {
        let plan = server.ok("topic retention s t --dry-run").out;
        plan.contains("by group g at offset 199, until 20")
    });
    assert!(messages(&server) > 100, "what the group has not read is there");
    eventually("so does the log", || {
        let log = server.log();
        let held = log.lines().find(|line| line.contains("segments that are due are held back"));
        held.is_some_and(|line| line.contains("group g") && line.contains("stream=\"s\""))
    });
    server.ok("topic set s t retention.hold_for=0");
    eventually("a topic whose groups hold nothing", || messages(&server) < 100);
}

#[test]
fn options_of_a_topic_are_set_by_name_and_shown() {
    let server = Server::with_topic(1);
    let shown = server.ok("topic get s t").out;
    assert!(shown.contains("retention.hold_for") && shown.contains("7days (default)"), "{shown}");
    server.ok("topic set s t retention.hold_for=30days retention.hold_consumers=on");
    let shown = server.ok("topic get s t").out;
    let mut chosen = shown.lines().filter(|line| line.contains("retention."));
    assert!(chosen.all(|line| !line.contains("(default)")) && shown.contains("30days"), "{shown}");
    let refused = server.run("topic set s t retention.hold=1h").fails(4);
    assert!(refused.err.contains("there is no option retention.hold"), "{}", refused.err);
    assert!(refused.err.contains("retention.hold_for"), "{}", refused.err);
    let refused = server.run("topic set s t retention.hold_for=soon").fails(4);
    assert!(refused.err.contains("7days"), "{}", refused.err);
    server.run("topic set s t retention.hold_for").fails(2);
    let missing = server.run("topic set s nowhere retention.hold_for=1h").fails(4);
    assert!(missing.err.contains("nowhere"), "{}", missing.err);
    server.ok("topic set s t retention.hold_for=");
    assert!(server.ok("topic get s t").out.contains("7days (default)"));
}

#[test]
fn stored_offsets_are_listed_with_whose_they_are_and_deleted_by_that() {
    let server = Server::with_topic(2);
    server.ok("group create s t g");
    server.send("--partition 0", b"a\nb\n");
    server.send("--partition 1", b"a\nb\n");
    assert!(server.ok("offset list s t").out.contains("no stored offsets"));
    server.ok("offset set s t --partition 0 --consumer somebody 1");
    server.ok("offset set s t --partition 1 --group g 0");
    let listed = server.ok("offset list s t").out;
    assert!(listed.contains("group g") && listed.contains("galgo"), "{listed}");
    let listed = server.json("offset list s t");
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!((&listed[0]["kind"], &listed[0]["user"]), (&"consumer".into(), &"galgo".into()));
    assert_eq!((&listed[1]["name"], &listed[1]["offset"]), (&"g".into(), &0.into()));
    assert_eq!(server.json("offset list s t --partition 1").as_array().map(Vec::len), Some(1));
    let missing = server.run("offset list s t --partition 2").fails(4);
    assert!(missing.err.contains("partition 2"), "{}", missing.err);
    let missing = server.run("offset list s nowhere").fails(4);
    assert!(missing.err.contains("nowhere"), "{}", missing.err);
    // The number is as good as the name, which the server does not know.
    let number = listed[0]["consumer_id"].as_u64().unwrap();
    server.ok(&format!("offset delete s t --partition 0 --consumer {number} --yes"));
    server.run("offset get s t --partition 0 --consumer somebody").fails(4);
}

/// The tool's own consumer has the same name for all users.
#[test]
fn who_polls_under_the_name_of_another_user_is_told_to_take_an_own_one() {
    let server = Server::with_topic(1);
    server.send("", b"a\nb\n");
    let as_anna = |line: &str| {
        let mut command = server.command(line);
        command.env("GALGO_USERNAME", "anna").env("GALGO_PASSWORD", "secret");
        run(command)
    };
    let mut command = server.command("user create anna --password-env NEW_PASSWORD");
    command.env("NEW_PASSWORD", "secret");
    run(command).ok();
    server.ok("permission set anna --topic s/t:poll-messages");
    server.ok("poll s t --partition 0 --count 1 --auto-commit");
    as_anna("poll s t --partition 0 --count 1").ok();
    let refused = as_anna("poll s t --partition 0 --count 1 --auto-commit").fails(4);
    assert!(refused.err.contains("--consumer NAME"), "{}", refused.err);
    as_anna("poll s t --partition 0 --count 1 --auto-commit --consumer anna").ok();
    let refused = as_anna("offset delete s t --partition 0 --consumer galgo --yes").fails(4);
    assert!(refused.err.contains("the right to manage the topic"), "{}", refused.err);
    as_anna("offset delete s t --partition 0 --consumer anna --yes").ok();
    server.ok("offset delete s t --partition 0 --consumer galgo --yes");
}
