//! `galgo poll` and `galgo tail`: what was sent is shown, all of it, in order.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use crate::harness::{Server, eventually, run_with_input};

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// Sends each line as a batch of its own, so that times differ, to partitions in turn.
fn send_in_turn(server: &Server, partitions: usize, count: usize) {
    for number in 0..count {
        let line = format!("send s t --partition {}", number % partitions);
        run_with_input(server.command(&line), format!("line {number}\n").as_bytes()).ok();
    }
}

#[test]
fn a_poll_shows_offset_time_and_payload() {
    let server = Server::with_topic(1);
    server.send("", b"hello\nwor\x1bld\n");
    let shown = server.ok("poll s t --partition 0").out;
    let rows = lines(&shown);
    assert!(rows[0].starts_with("PARTITION  OFFSET  TIME "), "{shown}");
    assert!(rows[1].ends_with("5 B  hello"), "{shown}");
    assert!(rows[2].ends_with("6 B  wor\\u{1b}ld"), "{shown}");
}

#[test]
fn a_poll_begins_where_it_is_told() {
    let server = Server::with_topic(1);
    server.send("", b"a\nb\nc\nd\n");
    for (place, expected) in [
        ("", vec!["a", "b"]),
        ("--first", vec!["a", "b"]),
        ("--last", vec!["c", "d"]),
        ("--next", vec!["a", "b"]),
        ("--offset 1", vec!["b", "c"]),
        ("--offset 9", vec![]),
        ("--timestamp 0", vec!["a", "b"]),
        ("--timestamp 2100-01-01T00:00:00Z", vec![]),
    ] {
        let polled = server.json(&format!("poll s t --partition 0 --count 2 {place}"));
        let messages = polled["messages"].as_array().unwrap();
        let payloads: Vec<_> = messages.iter().map(|m| m["payload"].as_str().unwrap()).collect();
        assert_eq!(payloads, expected, "{place}");
        assert_eq!(polled["last_offset"], 3);
    }
}

#[test]
fn auto_commit_walks_through_a_partition() {
    let server = Server::with_topic(1);
    server.send("", b"a\nb\nc\n");
    for expected in [vec!["a", "b"], vec!["c"], vec![]] {
        let polled = server.json("poll s t --partition 0 --count 2 --consumer me --auto-commit");
        let messages = polled["messages"].as_array().unwrap();
        let payloads: Vec<_> = messages.iter().map(|m| m["payload"].as_str().unwrap()).collect();
        assert_eq!(payloads, expected);
    }
}

#[test]
fn tail_shows_the_newest_over_all_partitions_in_the_order_of_their_time() {
    let server = Server::with_topic(3);
    assert_eq!(server.ok("tail s t").out, "");
    send_in_turn(&server, 2, 13);
    let expected: Vec<String> = (3..13).map(|number| format!("line {number}")).collect();
    assert_eq!(lines(&server.ok("tail s t").out), expected);
    assert_eq!(lines(&server.ok("tail s t -n 2").out), ["line 11", "line 12"]);
    assert_eq!(server.ok("tail s t -n 0").out, "");
    assert_eq!(lines(&server.ok("tail s t -n 1000").out).len(), 13);
    assert_eq!(lines(&server.ok("tail s t --from start").out).len(), 13);
    assert_eq!(lines(&server.ok("tail s t --from start -n 2").out), ["line 0", "line 1"]);
    assert_eq!(server.ok("tail s t --from end").out, "");
    assert_eq!(lines(&server.ok("tail s t --from -1h").out).len(), 13);
}

#[test]
fn tail_from_a_time_begins_at_the_first_message_not_older() {
    let server = Server::with_topic(2);
    send_in_turn(&server, 2, 6);
    let shown = server.json("poll s t --partition 1 --offset 1");
    let time = shown["messages"][0]["timestamp"].as_str().unwrap();
    let shown = server.ok(&format!("tail s t --from {time}")).out;
    assert_eq!(lines(&shown), ["line 3", "line 4", "line 5"]);
}

#[test]
fn tail_has_three_formats() {
    let server = Server::with_topic(1);
    server.send("--header a=b", b"hello\n");
    assert_eq!(server.ok("tail s t").out, "hello\n");
    let json = server.ok("tail s t --format json").out;
    let message: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&message["offset"], &message["headers"]["a"]), (&0.into(), &"b".into()));
    assert_eq!(server.ok("--output json tail s t").out, json);
    let hex = server.ok("tail s t --format hex").out;
    assert!(hex.starts_with("partition 0 offset 0 at 20"), "{hex}");
    assert!(hex.contains("00000000  68 65 6c 6c 6f  "), "{hex}");
}

#[test]
fn many_messages_pass_through_tail_in_order() {
    let server = Server::with_topic(1);
    let input: String = (0..30_000).map(|number| format!("line {number}\n")).collect();
    server.send("", input.as_bytes());
    assert!(server.ok("tail s t --from start").out == input, "not what was sent");
    let last: String = (25_000..30_000).map(|number| format!("line {number}\n")).collect();
    assert!(server.ok("tail s t -n 5000").out == last, "not the newest");
}

fn follow(server: &Server, line: &str) -> (Child, std::sync::mpsc::Receiver<String>) {
    let mut command = server.command(line);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    (child, receiver)
}

#[test]
fn following_shows_what_comes_and_ends_cleanly_on_an_interrupt() {
    let server = Server::with_topic(2);
    server.send("--partition 0", b"before\n");
    let (mut child, shown) = follow(&server, "tail s t -f");
    let patience = crate::harness::PATIENCE;
    assert_eq!(shown.recv_timeout(patience).unwrap(), "before");
    for number in 0..5 {
        let line = format!("--partition {}", number % 2);
        server.send(&line, format!("after {number}\n").as_bytes());
        assert_eq!(shown.recv_timeout(patience).unwrap(), format!("after {number}"));
    }
    // Partitions that come later are followed too, from their first message.
    server.ok("partition create s t --count 1");
    server.send("--partition 2", b"new partition\n");
    assert_eq!(shown.recv_timeout(patience).unwrap(), "new partition");
    server.ok("topic purge s t --yes");
    server.send("--partition 0", b"after the purge\n");
    assert_eq!(shown.recv_timeout(patience).unwrap(), "after the purge");
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    let mut complaints: Vec<_> = complaint.lines().collect();
    complaints.sort_unstable();
    let begins_anew = |partition: u32| {
        format!(
            "partition {partition} of topic t of stream s was purged or made again; going on with its first \
             message"
        )
    };
    let said: Vec<_> = (0..3).map(begins_anew).collect();
    assert_eq!((status.code(), complaints), (Some(0), said.iter().map(String::as_str).collect()));
}

#[test]
fn a_follower_goes_on_where_it_was_when_the_server_is_back() {
    let mut server = Server::with_topic(1);
    server.ok("group create s t g");
    let followers = [
        "tail s t -f --from start",
        "tail s t -f --group g",
        "tail s t -f --from start --format text --output json",
    ];
    let mut followers: Vec<_> = followers.map(|line| follow(&server, line)).into();
    let patience = crate::harness::PATIENCE;
    for round in 0..2 {
        let line = format!("round {round}");
        server.send("", format!("{line}\n").as_bytes());
        for (_, shown) in &followers {
            assert_eq!(shown.recv_timeout(patience).unwrap(), line);
        }
        if round == 0 {
            // What the member has shown is stored by then, so that it is not shown again.
            eventually("the group has stored its offset", || {
                server.run("offset get s t --partition 0 --group g").code == 0
            });
            server.kill();
            server.restart();
        }
    }
    for (number, (child, _)) in followers.iter_mut().enumerate() {
        let process = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
        let status = child.wait().unwrap();
        let mut remarks = String::new();
        child.stderr.take().unwrap().read_to_string(&mut remarks).unwrap();
        assert_eq!(status.code(), Some(0), "{remarks}");
        assert!(remarks.contains("trying again until Ctrl-C"), "{remarks}");
        assert!(remarks.contains("connected again"), "{remarks}");
        assert!(!remarks.contains("during the login"), "{remarks}");
        let is_json = |line| serde_json::from_str::<serde_json::Value>(line).is_ok();
        assert_eq!(remarks.lines().all(is_json), number == 2, "{remarks}");
    }
}

#[test]
fn a_closed_pipe_ends_a_tail_without_a_word() {
    let server = Server::with_topic(1);
    let input = "a line of some length, so that the pipe fills up\n".repeat(20_000);
    server.send("", input.as_bytes());
    for line in ["tail s t --from start", "tail s t -f", "--output json tail s t --from start"] {
        let mut command = server.command(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = [0; 1];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut first).unwrap();
        drop(out);
        eventually("the tail has ended", || child.try_wait().unwrap().is_some());
        let status = child.wait().unwrap();
        let mut complaint = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert_eq!((status.code(), complaint.as_str()), (Some(0), ""), "{line}");
    }
}

#[test]
fn a_follower_that_is_still_behind_goes_on_too() {
    let mut server = Server::with_topic(2);
    let lines: Vec<String> = (0..40_000).map(|number| format!("{number:>200}")).collect();
    server.send("--partition 0", (lines.join("\n") + "\n").as_bytes());
    let mut command = server.command("tail s t -f --from start");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(shown.next().unwrap().unwrap(), lines[0]);
    // It cannot have read all: the pipe and what it reads ahead hold less.
    server.kill();
    server.restart();
    server.send("--partition 1", b"new\n");
    for line in &lines[1..] {
        assert_eq!(&shown.next().unwrap().unwrap(), line);
    }
    assert_eq!(shown.next().unwrap().unwrap(), "new");
    child.kill().unwrap();
    child.wait().unwrap();
    let mut remarks = String::new();
    child.stderr.take().unwrap().read_to_string(&mut remarks).unwrap();
    assert!(remarks.contains("connected again"), "{remarks}");
}
