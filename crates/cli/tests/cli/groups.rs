//! Consumer groups: their life, their offsets, and reading as a member.

use std::process::{Child, Stdio};

use crate::harness::{Server, eventually};

fn with_group() -> Server {
    let server = Server::with_topic(2);
    assert_eq!(
        server.ok("group create s t g").out,
        "group g created for topic t of stream s, number 0\n"
    );
    server.send("--partition 0", b"a\nb\nc\n");
    server.send("--partition 1", b"d\n");
    server
}

#[test]
fn a_group_lives_from_create_to_delete() {
    let server = Server::with_topic(2);
    assert_eq!(server.ok("group list s t").out, "no groups\n");
    server.ok("group create s t g");
    server.run("group create s t g").fails(4);
    assert_eq!(server.json("group list s t")[0]["name"], "g");
    assert!(server.ok("group get s t g").out.contains("PARTITION  MEMBER"));
    server.run("group delete s t g").fails(2);
    server.ok("group delete s t g --yes");
    let missing = server.run("group get s t g").fails(4);
    assert!(missing.err.contains("galgo group list s t"), "{}", missing.err);
    let missing = server.run("group list s nowhere").fails(4);
    assert!(missing.err.contains("nowhere"), "{}", missing.err);
    let missing = server.run("tail s t --group g").fails(4);
    assert!(missing.err.contains("galgo group create s t g"), "{}", missing.err);
}

#[test]
fn a_member_reads_what_the_group_has_not_processed() {
    let server = with_group();
    assert_eq!(server.json("group get s t g")["lag"], 4);
    let first = server.ok("tail s t --group g -n 1").out;
    assert_eq!(first.lines().count(), 1);
    let rest = server.ok("tail s t --group g").out;
    let mut all: Vec<&str> = first.lines().chain(rest.lines()).collect();
    all.sort_unstable();
    assert_eq!(all, ["a", "b", "c", "d"]);
    assert_eq!(server.ok("tail s t --group g").out, "");
    let group = server.json("group get s t g");
    assert_eq!((&group["lag"], &group["partitions"][0]["stored_offset"]), (&0.into(), &2.into()));
    server.send("--partition 1", b"e\n");
    let polled = server.json("poll s t --group g --auto-commit");
    assert_eq!((&polled["partition"], &polled["messages"][0]["payload"]), (&1.into(), &"e".into()));
    assert_eq!(server.json("poll s t --group g")["count"], 0);
}

#[test]
fn the_offset_of_a_group_is_read_set_and_deleted() {
    let server = with_group();
    let missing = server.run("offset get s t --partition 0 --group g").fails(4);
    assert!(missing.err.contains("group g in partition 0"), "{}", missing.err);
    server.ok("offset set s t --partition 0 --group g 1");
    assert_eq!(server.json("offset get s t --partition 0 --group g")["stored_offset"], 1);
    assert_eq!(server.json("group get s t g")["partitions"][0]["lag"], 1);
    server.ok("offset delete s t --partition 0 --group g --yes");
    server.run("offset delete s t --partition 0 --group g --yes").fails(4);
    let missing = server.run("offset get s t --partition 0 --group nobody").fails(4);
    assert!(missing.err.contains("group nobody"), "{}", missing.err);
}

/// INV-SHOWN.
#[test]
fn a_following_member_is_shown_and_survives_a_restart() {
    let mut server = with_group();
    let mut child: Child = server
        .command("tail s t --group g -f")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("all is processed", || server.json("group get s t g")["lag"] == 0);
    assert_eq!(server.json("group get s t g")["members_count"], 1);
    server.kill();
    server.restart();
    server.send("--partition 1", b"f\n");
    eventually("the new one is processed", || server.json("group get s t g")["lag"] == 0);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the member is gone", || server.json("group get s t g")["members_count"] == 0);
}
