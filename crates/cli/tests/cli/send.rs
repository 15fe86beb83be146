//! `galgo send`: every line arrives, once, in order, or the report says which did not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;

use crate::harness::{Server, eventually, run, run_with_input};

/// The payloads of a partition, oldest first.
fn payloads(server: &Server, partition: u32) -> Vec<String> {
    let line = format!("poll s t --partition {partition} --first --count 100000");
    let polled = server.json(&line);
    let messages = polled["messages"].as_array().unwrap().iter();
    messages.map(|message| message["payload"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn lines_become_messages_whatever_their_ends() {
    let server = Server::with_topic(1);
    let done = server.send("--batch 2", b"one\r\n\ntwo\nthree");
    assert!(done.out.starts_with("3 messages sent, 11 B, in "), "{}", done.out);
    assert!(done.out.contains("1 line empty and not sent"), "{}", done.out);
    assert_eq!(payloads(&server, 0), ["one", "two", "three"]);
}

#[test]
fn lines_of_any_bytes_come_back_as_they_were() {
    let server = Server::with_topic(1);
    server.send("", b"\xff\x00\x80\ncaf\xc3\xa9\n");
    let polled = server.json("poll s t --partition 0 --first");
    assert_eq!(polled["messages"][0]["payload_base64"], "/wCA");
    assert_eq!(polled["messages"][1]["payload"], "café");
}

#[test]
fn a_file_is_sent_with_headers_and_a_partition() {
    let server = Server::with_topic(3);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"a\nb\n").unwrap();
    let line = format!(
        "--output json send s t {} --partition 2 --header kind=log --header host=x",
        file.path().display()
    );
    let report = run(server.command(&line)).ok().json();
    assert_eq!((&report["messages"], &report["bytes"]), (&2.into(), &2.into()));
    assert_eq!(payloads(&server, 2), ["a", "b"]);
    let polled = server.json("poll s t --partition 2 --first");
    assert_eq!(polled["messages"][1]["headers"]["kind"], "log");
    assert_eq!(polled["messages"][1]["headers"]["host"], "x");
}

#[test]
fn lines_of_a_key_keep_their_order_in_one_partition() {
    let server = Server::with_topic(4);
    let input: String = (0..5000).map(|n| format!("{n} key-{} x\n", n * 7 % 31)).collect();
    server.send("--key-field 2 --batch 100", input.as_bytes());
    let mut home: BTreeMap<String, u32> = BTreeMap::new();
    let mut last: BTreeMap<String, u32> = BTreeMap::new();
    let mut seen = 0;
    for partition in 0..4 {
        for line in payloads(&server, partition) {
            let mut fields = line.split(' ');
            let number: u32 = fields.next().unwrap().parse().unwrap();
            let key = fields.next().unwrap().to_owned();
            assert_eq!(*home.entry(key.clone()).or_insert(partition), partition, "{key}");
            let before = last.insert(key, number);
            assert!(before.is_none_or(|before| before < number), "{line} after {before:?}");
            seen += 1;
        }
    }
    assert_eq!((seen, home.len()), (5000, 31));
}

#[test]
fn one_key_is_one_partition_and_lines_without_a_key_are_counted() {
    let server = Server::with_topic(4);
    server.send("--key order-7", b"a\nb\nc\n");
    let kept: Vec<_> = (0..4).map(|partition| payloads(&server, partition)).collect();
    assert!(kept.contains(&vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]), "{kept:?}");
    let done = server.send("--key-field 2", b"x k\nshort\n");
    assert!(done.out.contains("1 line without the key field"), "{}", done.out);
}

#[test]
fn a_whole_file_is_one_message() {
    let server = Server::with_topic(1);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"one\ntwo\n").unwrap();
    server.ok(&format!("send s t {} --whole", file.path().display()));
    assert_eq!(payloads(&server, 0), ["one\ntwo\n"]);
    let empty = tempfile::NamedTempFile::new().unwrap();
    server.run(&format!("send s t {} --whole", empty.path().display())).fails(2);
}

#[test]
fn nothing_to_send_is_no_error() {
    let server = Server::with_topic(1);
    assert!(server.send("", b"").out.starts_with("0 messages sent"));
}

#[test]
fn a_missing_topic_is_named_before_anything_is_read() {
    let server = Server::with_topic(1);
    let refused = run_with_input(server.command("send s nowhere"), b"a\n").fails(4);
    assert!(refused.err.contains("nowhere"), "{}", refused.err);
    let refused = run_with_input(server.command("send s t --partition 9"), b"a\nb\n").fails(4);
    assert!(refused.err.contains("0 lines acknowledged, line 1 is the first"), "{}", refused.err);
}

/// INV-ACK.
#[test]
fn a_killed_server_ends_the_send_and_the_rest_goes_on_from_the_log() {
    let mut server = Server::with_topic(4);
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("acknowledged");
    let line =
        format!("--output json send s t --key-field 2 --batch 10 --ack-log {}", log.display());
    let lines = 20_000;
    let input: String = (1..=lines).map(|n| format!("{n} key-{}\n", n % 17)).collect();

    let mut command = server.command(&line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (half, rest) = input.split_at(input.len() / 2);
    stdin.write_all(half.as_bytes()).unwrap();
    eventually("some lines are acknowledged", || {
        std::fs::read_to_string(&log).unwrap_or_default().lines().count() > 100
    });
    server.kill();
    let _ = stdin.write_all(rest.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let listed = |text: String| text.lines().map(|n| n.parse().unwrap()).collect::<Vec<u64>>();
    let first_try = listed(std::fs::read_to_string(&log).unwrap());
    assert_eq!(error["error"]["acknowledged"], first_try.len());
    let first = (1..).find(|n| !first_try.contains(n)).unwrap();
    assert_eq!(error["error"]["first_unacknowledged_line"], first);

    server.restart();
    let report = run_with_input(server.command(&line), input.as_bytes()).ok().json();
    assert_eq!(report["skipped_acknowledged"], first_try.len());
    let both: BTreeSet<u64> = listed(std::fs::read_to_string(&log).unwrap()).into_iter().collect();
    assert_eq!(both.len(), lines as usize);

    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for partition in 0..4 {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for line in payloads(&server, partition) {
            let (number, key) = line.split_once(' ').unwrap();
            let number: u64 = number.parse().unwrap();
            let seen = times.entry(number).or_default();
            *seen += 1;
            // A line whose acknowledgement was under way may be there twice; its first time counts.
            if *seen == 1 {
                let before = last.insert(key.to_owned(), number);
                assert!(before.is_none_or(|before| before < number), "{line} after {before:?}");
            }
        }
    }
    assert_eq!(times.len(), lines as usize);
    for number in first_try {
        assert_eq!(times[&number], 1, "line {number} was acknowledged at once");
    }
}

#[test]
fn an_interrupt_settles_what_was_read() {
    let server = Server::with_topic(1);
    let mut command = server.command("--output json send s t");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").unwrap();
    eventually("both are stored", || server.json("topic get s t")["messages_count"] == 2);
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["acknowledged"], 2);
    assert_eq!(error["error"]["first_unacknowledged_line"], 3);
    drop(stdin);
}

#[test]
fn lines_have_ids_that_count_up_and_a_topic_with_deduplication_stores_each_once() {
    let server = Server::start();
    server.ok("stream create s");
    server.ok("topic create s t --deduplication on");
    server.send("--id 7", b"a\n\nb\n");
    server.send("--id 7", b"a\n\nb\nc\n");
    server.send("--whole --id 10", b"c again");
    let polled = server.json("poll s t --partition 0 --first");
    let of = |field: &str| -> Vec<String> {
        let messages = polled["messages"].as_array().unwrap().iter();
        messages.map(|message| message[field].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("payload"), ["a", "b", "c"]);
    assert_eq!(of("id"), [7, 9, 10].map(|id| format!("{id:032x}")));
}
