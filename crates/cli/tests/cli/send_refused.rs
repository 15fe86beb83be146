//! `galgo send` when the server refuses in the middle, and run again when it does not any longer.
//!
//! What broke: the batches behind a refused one were stored. The topic had a hole, and `--ack-log` run again put the
//! missing lines behind later ones of their key, which cli.md promised not to happen.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::{Done, Server, eventually, run_with_input};

/// A server that takes small requests only.
const SMALL: &[(&str, &str)] = &[("GALGO_LIMITS_REQUEST_BYTES", "32 KiB")];

const LINES: u64 = 4_000;

/// A line that makes its batch larger than the small server takes.
const LONG: u64 = 2_222;

fn with_topic(partitions: u32) -> Server {
    let server = Server::start_with(SMALL);
    server.ok("stream create s");
    server.ok(&format!("topic create s t --partitions {partitions}"));
    server
}

fn line(number: u64) -> String {
    let rest = if number == LONG { "x".repeat(40_000) } else { "x".to_owned() };
    format!("{number} key-{} {rest}\n", number % 13)
}

fn input() -> String {
    (1..=LINES).map(line).collect()
}

/// The numbers of the lines in each partition.
fn stored(server: &Server, partitions: u32) -> Vec<Vec<u64>> {
    let of = |partition| {
        let polled =
            server.json(&format!("poll s t --partition {partition} --first --count 100000"));
        let messages = polled["messages"].as_array().unwrap().iter();
        let number = |text: &str| text.split(' ').next().unwrap().parse().unwrap();
        messages.map(|message| number(message["payload"].as_str().unwrap())).collect()
    };
    (0..partitions).map(of).collect()
}

fn listed(log: &Path) -> Vec<u64> {
    std::fs::read_to_string(log).unwrap().lines().map(|it| it.parse().unwrap()).collect()
}

fn refused(server: &Server, options: &str) -> Done {
    let line = format!("--output json send s t --batch 20 {options}");
    let done = run_with_input(server.command(&line), input().as_bytes()).fails(4);
    let text = done.error()["message"].as_str().unwrap().to_owned();
    assert!(text.contains("the request is larger than the server takes"), "{text}");
    done
}

#[test]
fn lines_behind_a_refused_one_are_not_stored_and_a_rerun_sends_them_in_order() {
    for (options, partitions) in
        [("--key-field 2", 4), ("--key one", 4), ("--partition 1", 2), ("", 3)]
    {
        let mut server = with_topic(partitions);
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("acknowledged");
        let options = format!("{options} --ack-log {}", log.display());
        let error = refused(&server, &options).error();
        let (first_try, acknowledged) = (stored(&server, partitions), listed(&log));
        let mut of_all: Vec<u64> = first_try.concat();
        of_all.sort_unstable();
        assert_eq!(of_all, acknowledged, "{options}: what is stored is what was acknowledged");
        assert_eq!(error["acknowledged"], acknowledged.len());
        let first = (1..).find(|number| !acknowledged.contains(number)).unwrap();
        assert_eq!(error["first_unacknowledged_line"], first);
        assert!(first <= LONG, "{options}");

        server.stop_and_start(&[]);
        let again = format!("--output json send s t --batch 50 {options}");
        let report = run_with_input(server.command(&again), input().as_bytes()).ok().json();
        assert_eq!(report["skipped_acknowledged"], acknowledged.len());
        let second_try = stored(&server, partitions);
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for (before, after) in first_try.iter().zip(&second_try) {
            assert!(after.starts_with(before), "{options}");
            if partitions != 3 {
                assert!(after.is_sorted_by(|a, b| a < b), "{options}: {after:?}");
            }
            after.iter().for_each(|number| *times.entry(*number).or_default() += 1);
        }
        assert!((1..=LINES).all(|number| times.get(&number) == Some(&1)), "{options}: each once");
    }
}

#[test]
fn a_send_that_is_refused_at_once_stores_nothing() {
    let server = with_topic(2);
    let line = "send s t --key-field 2 --batch 1";
    let input = format!("a {}\nb key\nc key\n", "y".repeat(40_000));
    let done = run_with_input(server.command(line), input.as_bytes()).fails(4);
    assert!(done.err.contains("0 lines acknowledged, line 1 is the first"), "{}", done.err);
    assert!(stored_count(&server) == 0);
}

fn stored_count(server: &Server) -> u64 {
    server.json("topic get s t")["messages_count"].as_u64().unwrap()
}

/// A typing error in the name of the topic was a success when there was nothing to send.
#[test]
fn nothing_to_send_to_a_topic_that_is_not_there_is_an_error() {
    let server = with_topic(1);
    let done = server.run("send s typo /dev/null").fails(4);
    assert!(done.err.contains("typo"), "{}", done.err);
    server.run("send typo t /dev/null").fails(4);
    assert!(server.ok("send s t /dev/null").out.starts_with("0 messages sent"));
}

#[test]
fn what_makes_no_sense_is_said_plainly() {
    let server = with_topic(1);
    let twice = server.run("send s t /dev/null --header a=1 --header b=2 --header a=3").fails(2);
    assert!(twice.err.contains("the header a is given twice"), "{}", twice.err);
    for line in
        ["send s t --partition -1", "poll s t --partition -1", "offset get s t --partition -1"]
    {
        let done = server.run(line).fails(2);
        assert!(done.err.contains("a partition is a number from 0 to"), "{}", done.err);
        assert!(!done.err.contains("-- -1"), "{}", done.err);
    }
}

#[test]
fn a_send_with_ids_says_what_the_topic_remembers_and_counts_what_it_knew() {
    let server = Server::start_with(&[("GALGO_DEDUPLICATION_MAX_ENTRIES", "50")]);
    server.ok("stream create s");
    server.ok("topic create s plain");
    let plain = run_with_input(server.command("send s plain --id 7"), b"a\n").ok();
    assert!(plain.err.contains("topic plain of stream s does not deduplicate"), "{}", plain.err);

    server.ok("topic create s t --partitions 3 --deduplication on");
    let few: String = (0..40).map(|number| format!("{number}\n")).collect();
    let many: String = (0..60).map(|number| format!("{number}\n")).collect();
    // Balanced, in batches of another size each time: the ids find their partitions.
    for (batch, stored_before) in [(40, 0), (7, 40)] {
        let line = format!("--output json send s t --id 1000 --batch {batch}");
        let done = run_with_input(server.command(&line), few.as_bytes()).ok();
        assert_eq!(done.err, "");
        assert_eq!(done.json()["stored_before"], stored_before);
    }
    assert_eq!(stored_count(&server), 40);
    let done = run_with_input(server.command("send s t --id 1000"), many.as_bytes()).ok();
    assert!(done.out.contains("40 messages of these stored before, by id"), "{}", done.out);
    assert!(
        done.err.contains("the topic remembers the last 50 ids of a partition"),
        "{}",
        done.err
    );
    assert_eq!(stored_count(&server), 60);
    let whole =
        run_with_input(server.command("--output json send s t --whole --id 1001"), b"1").ok();
    assert_eq!(whole.json()["stored_before"], 1);
}

/// A log was read into memory as a whole, however long it was and whatever it held.
#[test]
fn a_log_that_is_none_is_refused_without_being_read_through() {
    let server = with_topic(1);
    let done = server.run("send s t /dev/null --ack-log /dev/zero").fails(2);
    assert!(done.err.contains("is not an acknowledgement log"), "{}", done.err);
    eventually("the server is there", || server.run("ping").code == 0);
}
